"""The load of all measurements: a process of its own, with kept `http.client` connections.

`python -m emporium.local.generator` reads one JSON object from standard input and writes one to
standard output. It imports the standard library alone, so that it starts quickly and does the same
work for every side that is measured.

`{"mode": "measure", "address": "127.0.0.1:8000", "what": {"get": ["/lookup?item_number=1"]},
"clients": 9, "seconds": 2, "warm": 20}` sends requests one after another from each client and
answers with latencies and failures; `"requests": 1000` instead of seconds sends so many in all.

`{"mode": "watch", "addresses": [...], "what": {"buy": ["1"]}, "clients": 4}` buys until a line (or
the end) comes on standard input, each purchase under one request id until its outcome is known, at
the next frontend when one fails; it answers with the times of all successful buys, on the clock of
`time.monotonic`, which all processes of a machine share.

`{"mode": "cycle", "address": ..., "rounds": 200}` goes through the life of a copy, alone: a lookup
that fills it, one that finds it, a buy that makes it old, and the lookup after that.
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
import time
import uuid
from typing import Any

TIMEOUT_S = 10.0
WATCH_TIMEOUT_S = 6.0  # above the frontends' own limit of 5 s
PAUSE_S = 0.005  # after a failure, so that a store without a primary isn't hammered
GOOD = (200, 201)

Request = tuple[str, str, bytes | None, dict[str, str]]
"""Method, path, body, headers."""


def get(path: str) -> Request:
    """A read, or the bookstore's own `/buy`."""
    return "GET", path, None, {}


def buy(item: str) -> Request:
    """A purchase under a new request id."""
    body = json.dumps({"item": item, "quantity": 1}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
    return "POST", "/v1/orders", body, headers


class Connection:
    """One kept connection."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """To `address` (host:port); connects with the first request."""
        self._http = http.client.HTTPConnection(address, timeout=timeout_s)

    def send(self, request: Request, header: str = "Server-Timing") -> tuple[int, str]:
        """Status and one header of an answer, read to its end; status 0 for none."""
        method, path, body, headers = request
        try:
            self._http.request(method, path, body, headers)
            answer = self._http.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            return 0, ""
        return answer.status, answer.getheader(header) or ""

    def close(self) -> None:
        """Give it back."""
        self._http.close()


class Source:
    """The requests of one client, in turn. Clients begin at different places of the list."""

    def __init__(self, what: dict[str, list[str]], first: int) -> None:
        """`what` is {"get": paths} or {"buy": items}."""
        ((kind, things),) = what.items()
        self._make = {"get": get, "buy": buy}[kind]
        start = first % len(things)
        self._things = itertools.cycle(things[start:] + things[:start])

    def next(self) -> Request:
        """The next request."""
        return self._make(next(self._things))


class Measure:
    """Clients that send one request after the other."""

    def __init__(self, order: dict[str, Any]) -> None:
        """`order` as the module says."""
        self._order = order
        self._clients = int(order["clients"])
        self._start = threading.Barrier(self._clients + 1)
        self._left = itertools.count(int(order.get("requests", 0)), -1)
        self._seconds = float(order.get("seconds", 0.0))
        self._results: list[tuple[list[float], list[str], int]] = []

    def run(self) -> dict[str, Any]:
        """Latencies in ms, failures, seconds from the first request to the last answer."""
        threads = [
            threading.Thread(target=self._client, args=(number,)) for number in range(self._clients)
        ]
        for thread in threads:
            thread.start()
        self._start.wait()
        began = time.monotonic()
        for thread in threads:
            thread.join()
        return {
            "seconds": time.monotonic() - began,
            "latencies_ms": [each for result in self._results for each in result[0]],
            "timings": [each for result in self._results for each in result[1]],
            "failed": sum(result[2] for result in self._results),
        }

    def _client(self, number: int) -> None:
        connection = Connection(self._order["address"], TIMEOUT_S)
        source = Source(self._order["what"], number)
        for _ in range(int(self._order.get("warm", 0))):
            connection.send(source.next())
        latencies: list[float] = []
        timings: list[str] = []
        failed = 0
        self._start.wait()
        end = time.monotonic() + self._seconds if self._seconds else 0.0
        while self._goes_on(end):
            request = source.next()
            began = time.perf_counter()
            status, timing = connection.send(request)
            took = time.perf_counter() - began
            if status in GOOD:
                latencies.append(round(took * 1000, 4))
                timings.append(timing)
            else:
                failed += 1
        connection.close()
        self._results.append((latencies, timings if self._order.get("timings") else [], failed))

    def _goes_on(self, end: float) -> bool:
        return time.monotonic() < end if end else next(self._left) > 0


class Watch:
    """Clients that buy all the time and note when it worked."""

    def __init__(self, order: dict[str, Any]) -> None:
        """`order` as the module says."""
        self._order = order
        self._stop = threading.Event()
        self._successes: list[float] = []
        self._failures: list[tuple[float, int]] = []

    def run(self) -> dict[str, Any]:
        """The times of successful buys, and of failed tries with their status."""
        threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(int(self._order["clients"]))
        ]
        for thread in threads:
            thread.start()
        sys.stdin.readline()
        self._stop.set()
        for thread in threads:
            thread.join(2 * WATCH_TIMEOUT_S)
        return {"successes": self._successes, "failures": self._failures}

    def _client(self, number: int) -> None:
        addresses = self._order["addresses"]
        connections = [Connection(address, WATCH_TIMEOUT_S) for address in addresses]
        source = Source(self._order["what"], number)
        at = number
        while not self._stop.is_set():
            request = source.next()
            while not self._stop.is_set():
                status, _ = connections[at % len(connections)].send(request)
                now = time.monotonic()
                if status in GOOD:
                    self._successes.append(now)
                    break
                self._failures.append((now, status))
                at += 1
                self._stop.wait(PAUSE_S)
            self._stop.wait(float(self._order.get("pause", 0.0)))
        for connection in connections:
            connection.close()


class Cycle:
    """One client that looks a book up, buys it, and looks it up again."""

    def __init__(self, order: dict[str, Any]) -> None:
        """`order` as the module says."""
        self._order = order
        self._latencies: dict[str, list[float]] = {"hit": [], "buy": [], "after": []}

    def run(self) -> dict[str, Any]:
        """Latencies in ms of the lookup before, the buy and the lookup after; how many of the
        lookups before were answered from a copy, and how many of those after."""
        connection = Connection(self._order["address"], TIMEOUT_S)
        lookup = get("/lookup?item_number=1")
        hits = {"hit": 0, "after": 0}
        for _ in range(int(self._order["rounds"])):
            connection.send(lookup)
            for name, request in (("hit", lookup), ("buy", buy("1")), ("after", lookup)):
                began = time.perf_counter()
                status, cache = connection.send(request, "Cache-Status")
                took = time.perf_counter() - began
                if status in GOOD:
                    self._latencies[name].append(round(took * 1000, 4))
                if name in hits:
                    hits[name] += "; hit" in cache
        connection.close()
        return {"latencies_ms": self._latencies, "copies": hits}


MODES: dict[str, type[Measure | Watch | Cycle]] = {
    "measure": Measure,
    "watch": Watch,
    "cycle": Cycle,
}


def main() -> None:
    """Do what standard input says."""
    order = json.loads(sys.stdin.readline())
    json.dump(MODES[order["mode"]](order).run(), sys.stdout)


if __name__ == "__main__":
    main()
