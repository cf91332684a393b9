"""The stream of events (`GET /v1/events`)."""

import dataclasses
import json
import time

import urllib3

from konsort.errors import Problem
from konsort.transport import AGAIN, pause

#: The server says something at least every 15 seconds; a stream that is silent for so long is dead.
SILENCE = 45.0


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened."""

    #: Its place in the stream; `Client.events(last_event_id=…)` goes on after it.
    id: str
    #: `block`, `transaction`, `contract_event`, `operation`, `node`; `gap`: events in between are not kept any more.
    topic: str
    #: `{topic, at, network, channel, …}`.
    data: dict


class Events:
    """Iterates over events and connects again by itself, going on after the last event that was seen.

    It is connected when it is made: what happens after that is not missed. Close it (or use it in `with`) when done.
    """

    def __init__(self, pool, url, headers, attempts, last_event_id=None):
        self._pool = pool
        self._url = url
        self._headers = headers
        self._attempts = attempts
        self._last = last_event_id
        self._closed = False
        self._answer = None
        self._connect()
        self._all = self._forever()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._all)

    def _forever(self):
        while not self._closed:
            try:
                yield from self._read()
            except (urllib3.exceptions.HTTPError, OSError):
                # Below it is connected again.
                pass
            if not self._closed:
                self._connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the stream."""
        self._closed = True
        self._answer.close()

    def _connect(self):
        if self._answer is not None:
            self._answer.close()
        headers = {**self._headers, "Accept": "text/event-stream"}
        if self._last is not None:
            headers["Last-Event-ID"] = self._last
        timeout = urllib3.Timeout(connect=10.0, read=SILENCE)
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            retry_after = None
            try:
                self._answer = self._pool.request(
                    "GET", self._url, headers=headers, timeout=timeout, preload_content=False, retries=False
                )
                if self._answer.status == 200:
                    return
                content = self._answer.data.decode("utf-8", "replace")
                if last or self._answer.status not in AGAIN:
                    raise Problem(self._answer.status, self._answer.reason, self._answer.headers, content)
                retry_after = self._answer.headers.get("retry-after")
            except urllib3.exceptions.HTTPError:
                if last:
                    raise
            time.sleep(pause(attempt, retry_after))

    def _read(self):
        fields = {}
        for line in lines(self._answer):
            if line:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                fields[name] = f"{fields['data']}\n{value}" if name == "data" and "data" in fields else value
                continue
            if "id" in fields:
                self._last = fields["id"]
            if "data" in fields:
                yield Event(self._last or "", fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}


def lines(answer):
    """Lines of an answer as they come."""
    rest = b""
    for part in answer.stream(65536):
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
