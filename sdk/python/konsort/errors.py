"""What can go wrong. Every error has a stable `code` for programs; texts are in the client's language."""

import json

from konsort_api.exceptions import ApiException


class KonsortError(Exception):
    """Anything that the server or a network said no to."""

    code: str = ""


class Problem(KonsortError, ApiException):
    """An answer that reports a problem (RFC 9457)."""

    def __init__(self, status, reason, headers, body):
        ApiException.__init__(self, status=status, reason=reason, body=body)
        self.headers = headers
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        document = document if isinstance(document, dict) else {}
        #: Stable word; of an answer that did not come from Konsort, `http_` and the status.
        self.code = document.get("code") or f"http_{status}"
        #: What happened.
        self.title = document.get("title") or reason or ""
        #: What exactly happened here.
        self.detail = document.get("detail")
        #: What to do about it.
        self.hint = document.get("hint") or ""
        #: Values that belong to it.
        self.params = document.get("params") or {}
        #: Id of the request in the server's log.
        self.trace_id = document.get("trace_id")

    def __str__(self):
        parts = [f"{self.status} {self.code}: {self.detail or self.title}", self.hint]
        return "; ".join(part for part in parts if part)


class OperationFailed(KonsortError):
    """A long act that failed or was cancelled; `operation` is all of it."""

    def __init__(self, operation):
        self.operation = operation
        failed = next((step for step in operation.steps if step.error is not None), None)
        #: Stable word: of the failed step, or `cancelled`.
        self.code = failed.error.code if failed else str(operation.state.value)
        #: What went wrong.
        self.cause = failed.error.cause if failed else f"the operation was {operation.state.value}"
        #: What to do.
        self.remedy = failed.error.remedy if failed else ""
        where = f" at “{failed.title}”" if failed else ""
        super().__init__(f"{operation.kind} {operation.subject} ended{where}: {self.code}: {self.cause}; {self.remedy}")


class CallFailed(KonsortError):
    """A call that had no effect; `call` is all of it. `code` is the engine's."""

    def __init__(self, method, call):
        self.call = call
        self.code = call.code or ""
        super().__init__(f"{method} had no effect: {call.explanation or call.code or 'no reason was given'}")
