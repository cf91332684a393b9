"""Quick start: deploys a contract, then on each engine writes, reads, looks at the transaction and hears of it.

KONSORT_URL and KONSORT_KEY say where and who; KONSORT_CA names the certificates for https.
"""

import os
import uuid

from konsort import Client
from konsort_api import ArtifactRequest, ArtifactRequestBuiltin, DeployRequest

client = Client(os.environ["KONSORT_URL"], os.environ["KONSORT_KEY"], ca=os.environ.get("KONSORT_CA"))
networks = {str(network.engine.value): network.id for network in client.networks.list_networks().items}

# A long act: begin it and wait for its end.
artifact = ArtifactRequest(ArtifactRequestBuiltin(kind="builtin", name="asset-transfer"))
request = DeployRequest(name=f"assets_{uuid.uuid4().hex[:8]}", artifact=artifact)
deployed = client.wait(client.contracts.deploy_contract(networks["fabric"], request))
print(f"deployed {request.name} in {len(deployed.steps)} steps")


def write_and_read(engine, contract, create, arguments, read, field):
    """The same for both engines."""
    with client.events(topics=["transaction", "contract_event"], network=networks[engine]) as events:
        written = client.call(contract, create, arguments)
        value = client.call(contract, read, [arguments[0]]).output[field]
        transaction = client.explorer.get_transaction(networks[engine], written.transaction)
        event = next(event for event in events if event.data.get("transaction") == written.transaction)
    assert str(value) == str(arguments[-1]) and transaction.height == written.height == event.data["height"]
    print(f"{engine}: wrote {arguments[-1]}, read {value}, block {transaction.height}, heard of it as event {event.id}")


name = uuid.uuid4().hex
basic = deployed.request["contract"]
write_and_read("fabric", basic, "CreateAsset", [name, "blue", 5, "Tom", 300], "ReadAsset", "AppraisedValue")
(asset,) = [found.id for found in client.contracts.list_contracts(network=networks["bcos"]).items if found.name == "Asset"]
write_and_read("bcos", asset, "create", [name, "made with the SDK", "300"], "read", "value")
print("done")
