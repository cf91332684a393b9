"""The client."""

import json
import time
from urllib.parse import urlencode

import konsort_api as api

from konsort.errors import CallFailed, OperationFailed
from konsort.events import Events
from konsort.transport import Transport, document


class Client:
    """A server, as somebody sees it.

    - `key`: an API key (`kst_…`); or use `Client.log_in` with a name and a password.
    - `ca`: file with the certificates (PEM) that the server's is checked against; default: those of the system.
    - `language`: of titles and hints, `en` or `zh`.
    - `attempts`: how often a request is sent at most; see `konsort.transport`.
    - `timeout`: seconds for the answer to one try. A call that is submitted is answered when it is committed.

    The generated API is in `networks`, `contracts`, `explorer`, … A method's `idempotency_key` is filled in when it is absent.
    """

    def __init__(self, url, key=None, *, ca=None, language="en", attempts=6, timeout=120.0):
        self.url = url.rstrip("/")
        configuration = api.Configuration(host=self.url, access_token=key, ssl_ca_cert=ca, retries=False)
        self.api = api.ApiClient(configuration)
        self.api.rest_client = Transport(configuration, attempts, timeout)
        self.api.user_agent = "konsort-python"
        self.api.set_default_header("Accept-Language", language)
        if key is not None:
            self.api.set_default_header("Authorization", f"Bearer {key}")
        self.access = api.AccessApi(self.api)
        self.audit = api.AuditApi(self.api)
        self.channels = api.ChannelsApi(self.api)
        self.contracts = api.ContractsApi(self.api)
        self.explorer = api.ExplorerApi(self.api)
        self.identities = api.IdentitiesApi(self.api)
        self.members = api.MembersApi(self.api)
        self.networks = api.NetworksApi(self.api)
        self.nodes = api.NodesApi(self.api)
        self.operations = api.OperationsApi(self.api)
        self.organisations = api.OrganisationsApi(self.api)
        self.projects = api.ProjectsApi(self.api)
        self.server = api.ServerApi(self.api)
        self.session = api.SessionApi(self.api)
        self.settings = api.SettingsApi(self.api)

    @classmethod
    def log_in(cls, url, username, password, **options):
        """A client with a session; it ends with `client.session.log_out()` or by time."""
        client = cls(url, **options)
        answer = client.session.log_in_with_http_info(api.Credentials(username=username, password=password))
        cookie = answer.headers["set-cookie"].partition(";")[0]
        client.api.set_default_header("Cookie", cookie)
        client.api.set_default_header("x-csrf-token", answer.data.csrf_token)
        return client

    def request(self, method, path, body=None, **query):
        """Any request: the JSON of its answer. For what the generated API leaves out, such as `dry_run=True`."""
        pairs = {name: json.dumps(value) if isinstance(value, bool) else value for name, value in query.items()}
        headers = {**self.api.default_headers, "Accept": "application/json", "Content-Type": "application/json"}
        url = f"{self.url}{path}" + (f"?{urlencode(pairs)}" if pairs else "")
        return document(self.api.rest_client.request(method, url, headers=headers, body=body))

    def wait(self, operation, timeout=600.0):
        """Waits for the end of a long act and gives it; raises `OperationFailed`, or `TimeoutError` (the act goes on)."""
        until, pause = time.monotonic() + timeout, 0.1
        states = api.OperationState
        while operation.state not in (states.DONE, states.FAILED, states.CANCELLED):
            if time.monotonic() > until:
                raise TimeoutError(f"operation {operation.id} is not done after {timeout:g} s; it goes on by itself")
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)
            operation = self.operations.get_operation(operation.id)
        if operation.state is not states.DONE:
            raise OperationFailed(operation)
        return operation

    def call(self, contract, method, arguments, mode=None, **options):
        """Calls a contract's method and gives the outcome; raises `CallFailed` when it had no effect.

        Read-only methods are evaluated, others submitted: the answer comes when the transaction is committed. `options` are the
        other fields of the body (`organisation`, `signer`, …).
        """
        body = api.CallBody(arguments=arguments, **options)
        outcome = self.contracts.call_contract(contract, method, body, mode=mode)
        if not outcome.ok:
            raise CallFailed(method, outcome)
        return outcome

    def events(self, topics=None, network=None, last_event_id=None):
        """The stream of events, from now on or after an event that was seen; `topics` as `["block", "contract_event"]`."""
        query = {"topics": ",".join(topics) if topics else None, "network": network}
        query = urlencode({name: value for name, value in query.items() if value is not None})
        transport = self.api.rest_client
        headers = dict(self.api.default_headers)
        return Events(transport.pool_manager, f"{self.url}/v1/events?{query}", headers, transport.attempts, last_event_id)
