"""What is refused arrives as an error with its code; a session works as a key does. Prints one line for each."""

import os
import uuid

import konsort_api as api
from konsort import CallFailed, Client, OperationFailed, Problem

url = os.environ["KONSORT_URL"]
client = Client(url, os.environ["KONSORT_KEY"], language="zh")
asset = client.contracts.list_contracts(name="Asset").items[0]


def refused(kind, act):
    try:
        act()
    except kind as error:
        assert str(error)
        return error
    raise AssertionError(f"nothing was refused; {kind.__name__} was expected")


problem = refused(Problem, lambda: client.call(asset.id, "nothing", []))
print(problem.status, problem.code, problem.params["what"], problem.title)
print("no effect:", "does not exist" in refused(CallFailed, lambda: client.call(asset.id, "read", ["nothing"])).call.explanation)
artifact = api.ArtifactRequest(api.ArtifactRequestEvm(kind="evm", bytecode="fe", abi=[]))
request = api.DeployRequest(name="Broken", artifact=artifact)
failed = refused(OperationFailed, lambda: client.wait(client.contracts.deploy_contract(asset.network, request)))
print(failed.code, failed.operation.state.value)
plan = client.request("POST", f"/v1/networks/{asset.network}/stop", dry_run=True)
print("plan:", len(plan["steps"]) > 0)

name = f"sdk-{uuid.uuid4()}"
user = client.access.create_user(api.NewUserRequest(username=name, role="platform_admin"))
person = Client.log_in(url, name, user.initial_password)
print(person.session.get_session().proof.value, person.organisations.create_organisation(api.NewOrganisation(name=name)).name == name)
person.session.log_out()
print(refused(Problem, person.session.get_session).code)
