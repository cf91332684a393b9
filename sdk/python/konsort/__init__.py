"""Konsort from Python: consortium networks of two engines through one API.

    from konsort import Client

    client = Client("http://127.0.0.1:8080", key="kst_…")
    for network in client.networks.list_networks().items:
        print(network.name, network.height)

`Client` adds to the generated API (`konsort_api`) what a program needs around it: proof of who calls, repetitions that never
double a write, the stream of events, and waiting for long acts.
"""

from konsort.client import Client
from konsort.errors import CallFailed, KonsortError, OperationFailed, Problem
from konsort.events import Event, Events

__all__ = ["CallFailed", "Client", "Event", "Events", "KonsortError", "OperationFailed", "Problem"]
