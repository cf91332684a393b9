"""Sends requests, and sends them again where that is safe.

A write carries an idempotency key, the same one in every repetition: the server carries it out once and answers repetitions as it
answered the first. Repeated are requests whose connection failed or that got 429, 502, 503 or 504, and writes whose first try is
still running. One answer is final for writes: a 502 of Konsort itself, which says that a node did not answer in time. The
transaction may still be committed, so the caller must look before trying again.
"""

import json
import random
import time
import uuid

import urllib3
from konsort_api.exceptions import ApiException
from konsort_api.rest import RESTClientObject

from konsort.errors import Problem

WRITES = ("POST", "PUT", "PATCH", "DELETE")
AGAIN = (429, 502, 503, 504)


class Transport(RESTClientObject):
    """The generated client's way to the server, with repetitions."""

    def __init__(self, configuration, attempts, timeout):
        super().__init__(configuration)
        self.attempts = attempts
        self.timeout = timeout

    def request(self, method, url, headers=None, body=None, post_params=None, _request_timeout=None):
        """Sends a request; gives an answer of success with its body read, or raises."""
        headers = dict(headers or {})
        writes = method.upper() in WRITES
        if writes and not any(name.lower() == "idempotency-key" for name in headers):
            headers["Idempotency-Key"] = str(uuid.uuid4())
        attempt, until = 1, time.monotonic() + self.timeout
        while True:
            try:
                answer = super().request(method, url, headers, body, post_params, _request_timeout or self.timeout)
                content = answer.read()
            except urllib3.exceptions.SSLError as error:
                # A certificate does not become better by waiting.
                raise ApiException(status=0, reason=str(error)) from error
            except urllib3.exceptions.HTTPError:
                if attempt >= self.attempts:
                    raise
                time.sleep(pause(attempt, None))
                attempt += 1
                continue
            if answer.status < 400:
                return answer
            problem = Problem(answer.status, answer.reason, answer.headers, content.decode("utf-8", "replace"))
            if problem.code == "idempotency_in_progress":
                # Only waits for what an earlier try began.
                if time.monotonic() > until:
                    raise problem
            elif attempt >= self.attempts or not may_be_sent_again(problem, writes):
                raise problem
            else:
                attempt += 1
            time.sleep(pause(attempt, answer.headers.get("retry-after")))


def may_be_sent_again(problem, writes):
    """Whether a repetition makes sense and cannot double anything."""
    if writes and problem.code == "node_unreachable":
        return False
    return problem.status in AGAIN


def pause(attempt, retry_after):
    """Seconds until the next try: what the server asks for, or twice as long every time, with some chance in it."""
    try:
        return min(float(retry_after), 60.0)
    except (TypeError, ValueError):
        return min(0.2 * 2 ** (attempt - 1), 10.0) * random.uniform(0.5, 1.0)


def document(answer):
    """The JSON of an answer; `None` when it has none."""
    content = answer.read()
    return json.loads(content) if content else None
