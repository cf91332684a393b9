"""Fills a running server with a network, a contract and a project, then lets schemathesis try every endpoint of its OpenAPI
document with good and bad values. Arguments: URL, key, folder to work in, folder of the sample contract."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

url, key, folder, sample = sys.argv[1:5]
folder, sample = Path(folder), Path(sample)


def call(method, path, body=None):
    request = urllib.request.Request(url + path, method=method)
    request.add_header("authorization", f"Bearer {key}")
    data = None
    if body is not None:
        request.add_header("content-type", "application/json")
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error


def done(method, path, body=None):
    """Begins a long act and waits for its end."""
    operation = call(method, path, body)
    begun = time.monotonic()
    while operation["state"] not in ("done", "failed", "cancelled"):
        if time.monotonic() - begun > 120:
            raise SystemExit(f"{method} {path} is not done after two minutes: {operation}")
        time.sleep(0.2)
        operation = call("GET", f"/v1/operations/{operation['id']}")
    if operation["state"] != "done":
        raise SystemExit(f"{method} {path}: {json.dumps(operation, indent=1)}")
    return operation


organisation = call("POST", "/v1/organisations", {"name": "一号组织"})["id"]
user = call("POST", "/v1/users", {"username": "dev", "role": "developer", "organisation": organisation})["id"]
made = done("POST", "/v1/networks", {
    "name": "链", "engine": "bcos", "consensus": "pbft", "block_time_ms": 200,
    "organisations": [{"id": organisation, "name": "Agency1", "nodes": 1}],
})
network = made["network"]
evm = {
    "kind": "evm",
    "bytecode": (sample / "Asset.bin").read_text().strip(),
    "abi": json.loads((sample / "Asset.abi").read_text()),
}
done("POST", f"/v1/networks/{network}/contracts", {"name": "Asset", "artifact": evm})
contract = call("GET", f"/v1/contracts?network={network}")["items"][0]["id"]
sent = call("POST", f"/v1/contracts/{contract}/methods/create", {
    "arguments": {"id": "one", "description": "blue", "value": "300"},
})
node = call("GET", f"/v1/networks/{network}/nodes")["items"][0]["id"]
channel = call("GET", f"/v1/networks/{network}/channels")["items"][0]["name"]
project = call("POST", "/v1/projects", {"name": "p", "language": "solidity"})["id"]

# What is looked at is looked at with ids of things that are there; what would stop or remove them gets ids of nothing.
# Plans are made with real ids and not carried out.
def table(name, parameters):
    values = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in parameters.items())
    return f"[[operations]]\ninclude-name-regex = {json.dumps(name)}\nparameters = {{ {values} }}\n"


def without(name):
    return f"[[operations]]\ninclude-name-regex = {json.dumps(name)}\nenabled = false\n"


tables = [
    table(r"^GET /v1/networks/\{id\}", {
        "path.id": network, "path.node": node, "path.channel": channel, "path.block": "1", "path.tx": sent["transaction"],
    }),
    table(r"^GET /v1/contracts/\{id\}", {"path.id": contract}),
    table(r"^POST /v1/contracts/\{id\}/methods", {"path.id": contract, "path.method": "create"}),
    table(r"^GET /v1/projects/\{id\}", {"path.id": project}),
    table(r"^GET /v1/operations/\{id\}", {"path.id": made["id"]}),
    table(r"^(GET|PATCH) /v1/organisations/\{id\}", {"path.id": organisation}),
    table(r"^GET /v1/users/\{id\}", {"path.id": user}),
    table(r"^POST /v1/networks$", {"query.dry_run": True}),
    table(r"^POST /v1/networks/\{id\}/(nodes|members|channels|contracts|identities)$", {
        "path.id": network, "query.dry_run": True,
    }),
    # Streams do not end, compilers come from outside, archives are files.
    without(r"stream$|^GET /v1/events$"),
    without(r"^POST /v1/compilers$"),
    without(r"^POST /v1/networks/import$"),
    without(r"^PUT /v1/projects/\{id\}/archive$"),
]
config = folder / "schemathesis.toml"
config.write_text(
    f'headers = {{ Authorization = "Bearer {key}" }}\n\n'
    # Ids found in answers would be used to stop and remove what the other requests look at.
    "[phases.coverage.extra-data-sources]\nresponses = false\n\n"
    "[phases.fuzzing.extra-data-sources]\nresponses = false\n\n" + "\n".join(tables)
)
run = [
    sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
    f"--config-file={config}", "run", f"{url}/v1/openapi.json",
    "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
                "response_headers_conformance,ignored_auth",
    "--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "4", "--workers", "1",
    "--request-timeout", "60", "--suppress-health-check", "all", "--warnings", "off",
    "--generation-database", "none", "--continue-on-failure", "--no-color",
]
outcome = subprocess.run(run, cwd=folder, check=False).returncode
# Nodes outlive the server; so the network goes first.
done("DELETE", f"/v1/networks/{network}")
raise SystemExit(outcome)
