"""A small store in memory that really sells over HTTP, and a `Cluster` that breaks it.

It keeps the promises by being one object behind one lock; planted bugs break one promise each, so
that the tests can see that the scenarios notice. `FakeCluster.open(...)` starts the HTTP servers of
the frontends and the catalog replicas on loopback.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from emporium.client import cluster
from emporium.client.cluster import Replica
from emporium.client.items import scenario_items

OVERSELL, LOSE, DOUBLE, GAP, STALE, UNEQUAL, UNEVEN, NO_FAULT, NOT_CONSERVED, UNCACHED = (
    "oversell",
    "lose",
    "double",
    "gap",
    "stale",
    "unequal",
    "uneven",
    "no fault",
    "not conserved",
    "uncached",
)
Reply = tuple[int, dict[str, Any], dict[str, str]]
FROM_CACHE = {"Server-Timing": "frontend;dur=1, cache;dur=1"}
FROM_CATALOG = {"Server-Timing": "frontend;dur=1, catalog;dur=1"}


@dataclass
class Book:
    """An item with its books."""

    item: str
    cost: str
    topic: str
    title: str
    initial: int
    bought: int = 0

    @property
    def stock(self) -> int:
        """What is left."""
        return self.initial - self.bought


@dataclass
class Process:
    """One pretended process."""

    name: str
    role: str
    replica: int
    pid: int
    incarnation: str = ""
    paused: bool = False
    epoch: int = 1
    notes: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    address: str = "127.0.0.1:9"
    waiting_note: bool = False


class FakeStore:
    """The store. `bug` names the promise that it breaks."""

    def __init__(self, bug: str = "") -> None:
        self.bug = bug
        self.lock = threading.RLock()
        self.books: dict[str, Book] = {}
        for line in scenario_items().splitlines():
            _, item, stock, cost, topic, title = line.split(",", 5)
            self.books[item] = Book(item, cost, topic, title, int(stock))
        self.orders: dict[int, dict[str, Any]] = {}
        self.by_id: dict[str, tuple[dict[str, Any], Reply]] = {}
        self.next_number = 1
        self.copies: dict[str, object] = {}
        self.pids = itertools.count(100)
        self.processes: dict[str, Process] = {}
        for role, count in (("frontend", 2), ("cache", 1), ("catalog", 3), ("order", 3)):
            for number in range(count):
                name = f"{role}-{number}"
                mark = f"{name}-a" if role in cluster.GROUPS else ""
                self.processes[name] = Process(name, role, number, next(self.pids), mark)
        self.epochs = {"catalog": 1, "order": 1}
        self.primaries = {"catalog": "catalog-0", "order": "order-0"}
        self.cuts: set[tuple[str, str]] = set()
        self.delays: set[tuple[str, str]] = set()
        self.turn = 0
        self.token = ""

    # --- who is there ---

    def isolated(self, name: str) -> bool:
        """Whether a replica can't talk both ways with both others."""
        return sum(name in pair for pair in self.cuts) >= 2

    def able(self, name: str) -> bool:
        """Whether a process runs and is reached."""
        process = self.processes[name]
        return bool(process.pid) and not process.paused and not self.isolated(name)

    def elect(self) -> None:
        """A dead primary is replaced at once, where a majority lives."""
        for role, primary in self.primaries.items():
            names = [
                p.name for p in self.processes.values() if p.role == role and self.able(p.name)
            ]
            if len(names) >= 2 and primary not in names:
                self.primaries[role] = names[0]
                self.epochs[role] += 1
            for name in names if len(names) >= 2 else []:
                self.processes[name].epoch = self.epochs[role]

    def serves(self, role: str) -> bool:
        """Whether the group has a living reign."""
        names = [p.name for p in self.processes.values() if p.role == role and self.able(p.name)]
        return len(names) >= 2 and self.primaries[role] in names

    def log(self, role: str, line: str, *, everywhere: bool = False) -> None:
        """A line in the log of the next able replica of a role, or of all."""
        names = [p for p in self.processes.values() if p.role == role and self.able(p.name)]
        if everywhere:
            for process in names:
                process.log.append(line)
        elif names:
            self.turn += 0 if self.bug == UNEVEN else 1
            names[self.turn % len(names)].log.append(line)

    # --- what it does ---

    def take(self, item: str, quantity: int, request_id: str) -> Reply:
        """A purchase, exactly once per request id."""
        with self.lock:
            if not (self.serves("catalog") and self.serves("order")):
                return 503, {"definite": True}, {}
            wanted = {"item": item, "quantity": quantity}
            known = self.by_id.get(request_id)
            if known is not None and known[0] != wanted:
                return 422, {}, {}
            if known is not None and not (self.bug == DOUBLE and len(self.by_id) % 7 == 0):
                return (200 if known[1][0] == 201 else known[1][0]), known[1][1], {}
            reply = self._sell(item, quantity, request_id)
            self.by_id[request_id] = (wanted, reply)
            return reply

    def _sell(self, item: str, quantity: int, request_id: str) -> Reply:
        book = self.books.get(item)
        if book is None:
            return 404, {}, {}
        self.processes[self.primaries["catalog"]].log.append(f"query_by_item,{item}")
        if book.stock < quantity and self.bug != OVERSELL:
            return 409, {}, {}
        book.bought += quantity
        self.copies.pop(f"lookup:{item}", None)
        self.log("catalog", f"update,{item},na,-{quantity}", everywhere=True)
        self.log("order", f"bought book {item}")
        self.processes["cache-0"].log.append(f"invalidate_cache,{item}")
        number = self.next_number
        self.next_number += 2 if self.bug == GAP and number == 300 else 1
        order = {
            "number": number,
            "request_id": request_id,
            "item": item,
            "quantity": quantity,
            "side": "buy",
            "price": 7,
        }
        if not (self.bug == LOSE and number % 40 == 0):
            self.orders[number] = order
        return 201, order, {}

    def cached(self, kind: str, key: str, fill: Any) -> tuple[Any, dict[str, str]]:
        """A copy, or a fresh one from the catalog; both logged."""
        cache = self.processes["cache-0"]
        if cache.pid:
            cache.log.append(f"{kind},{key}")
        name = f"{kind}:{key}"
        if name in self.copies and cache.pid and self.bug != UNCACHED:
            return self.copies[name], FROM_CACHE
        value = fill()
        if cache.pid:
            cache.log.append(f"put_{kind}_cache,{key}")
            self.copies[name] = value
        return value, FROM_CATALOG

    def lookup(self, item: str) -> Reply:
        """An item, through the cache."""
        with self.lock:
            if not self.serves("catalog"):
                return 503, {}, {}

            def fill() -> dict[str, Any]:
                self.log("catalog", f"query_by_item,{item}")
                return self.view(item)

            value, headers = self.cached("lookup", item, fill)
            if self.bug == STALE and sum(b.bought for b in self.books.values()) % 100 >= 90:
                value = {**value, "stock": value["stock"] + 30}
            return 200, {"result": value}, headers

    def view(self, item: str) -> dict[str, Any]:
        """An item as the bookstore prints it."""
        book = self.books[item]
        return {
            "cost": book.cost,
            "item_number": item,
            "stock": book.stock,
            "title": book.title,
            "type": book.topic,
        }

    def search(self, topic: str) -> Reply:
        """The items of a topic, through the cache."""
        with self.lock:

            def fill() -> list[dict[str, str]]:
                self.log("catalog", f"query_by_topic,{topic}")
                found = [book for book in self.books.values() if book.topic == topic]
                return [{"item_number": book.item, "title": book.title} for book in found]

            value, headers = self.cached("search", topic, fill)
            return 200, {"result": value}, headers

    def digest(self, name: str) -> dict[str, Any]:
        """What a replica says of its state."""
        with self.lock:
            books = {
                book.item: {
                    "initial": book.initial,
                    "restocked": 0,
                    "sold_back": 0,
                    "bought": book.bought,
                    "stock": book.stock + (self.bug == NOT_CONSERVED),
                }
                for book in self.books.values()
            }
            length = self.next_number - 1
            text = json.dumps(books) + (name if self.bug == UNEQUAL else "")
            return {
                "applied": length + 2,
                "digest": hashlib.sha256(text.encode()).hexdigest(),
                "length": length,
                "chain": str(length),
                "books": books if name.startswith("catalog") else {},
            }

    # --- HTTP ---

    def answer(self, name: str, method: str, target: str, headers: Any, body: bytes) -> Reply:
        """One request at the process `name`."""
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        if path == "/search" and name == "cache-0":
            self.processes[name].log.append(f"search,{query['topic']}")
            return 200, {}, {}
        if path == "/search":
            return self.search(query["topic"])
        if path == "/query_by_topic":
            self.processes[name].log.append(f"query_by_topic,{query['topic']}")
            return 200, {"result": []}, {}
        if path == "/lookup":
            return self.lookup(query["item_number"])
        if path == "/query_by_item":
            self.processes[name].log.append(f"query_by_item,{query['item_number']}")
            return 200, {"result": self.view(query["item_number"])}, {}
        if path == "/v1/digest":
            return (200 if headers.get("Authorization") == f"Bearer {self.token}" else 401), {}, {}
        if path == "/buy":
            status, _, _ = self.take(query["item_number"], 1, headers["Idempotency-Key"])
            words = {201: "Success", 200: "Success", 409: "Failed", 404: "Failed"}
            return (200 if status in words else status), {"result": words.get(status, "?")}, {}
        return self._v1(method, path, headers, body, query.get("after", "0"))

    def _v1(self, method: str, path: str, headers: Any, body: bytes, after: str) -> Reply:
        last = path.rsplit("/", 1)[-1]
        if path == "/v1/orders" and method == "POST":
            told = json.loads(body)
            return self.take(told["item"], told["quantity"], headers["Idempotency-Key"])
        if path == "/v1/orders":
            page = [each for number, each in sorted(self.orders.items()) if number > int(after)]
            return 200, {"orders": page[:256], "watermark": self.next_number - 1}, {}
        if path.startswith("/v1/orders/"):
            order = self.orders.get(int(last))
            return (200, order, {}) if order else (404, {}, {})
        if path.startswith("/v1/purchases/"):
            known = self.by_id.get(last)
            told = {"state": "recorded", "number": known[1][1].get("number")} if known else {}
            return 200, told, {}
        if path.startswith("/v1/items/") and method == "PATCH":
            with self.lock:
                self.log("catalog", f"update,{last},10,na", everywhere=True)
                self.copies.clear()
                self.processes["cache-0"].log.append(f"invalidate_cache,{last}")
            return 200, {"item": last}, {}
        if path.startswith("/v1/items/"):
            status, told, more = self.lookup(last)
            view = told.get("result", {})
            return status, {**view, "item": last, "topic": view.get("type"), "price": 1000}, more
        return 404, {}, {}


def _handler(store: FakeStore, name: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one write per answer
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if not store.processes[name].pid:
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, told, headers = store.answer(name, self.command, self.path, self.headers, body)
            payload = json.dumps(told).encode()
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_PATCH = do_GET  # noqa: N815 (the name that http.server calls)
        do_POST = do_GET  # noqa: N815 (the name that http.server calls)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class FakeCluster:
    """The `Cluster` port over a `FakeStore`."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self._drills = frozenset({cluster.KILL, cluster.PAUSE, cluster.LOSE_DISK, cluster.CUT})

    @classmethod
    @contextmanager
    def open(cls, bug: str = "") -> Iterator[FakeCluster]:
        """A running fake store."""
        store = FakeStore(bug)
        servers = []
        for process in store.processes.values():
            if process.role != "order":
                server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store, process.name))
                server.daemon_threads = True
                process.address = f"127.0.0.1:{server.server_address[1]}"
                poll = {"poll_interval": 0.05}
                threading.Thread(target=server.serve_forever, kwargs=poll, daemon=True).start()
                servers.append(server)
        try:
            yield cls(store)
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()

    def without(self, drill: str) -> FakeCluster:
        """The same, but it can't do one drill."""
        self._drills -= {drill}
        return self

    def drills(self) -> frozenset[str]:
        return self._drills

    def frontends(self) -> list[str]:
        return [f"http://{self.store.processes[f'frontend-{n}'].address}" for n in (0, 1)]

    def cache_mode(self) -> str:
        return "server"

    def operator_token(self) -> str:
        return ""

    def replicas(self, role: str = "") -> list[Replica]:
        with self.store.lock:
            return [self._replica(p) for p in self.store.processes.values() if role in ("", p.role)]

    def _replica(self, process: Process) -> Replica:
        store = self.store
        answers = bool(process.pid) and not process.paused
        plain = (process.name, process.role, process.replica, process.address, process.pid, "")
        if not answers or process.role not in cluster.GROUPS:
            return Replica(*plain, answers)
        return Replica(
            *plain,
            answers,
            reigning=store.primaries[process.role] == process.name and store.serves(process.role),
            epoch=process.epoch,
            voter=True,
            caught_up=True,
            serving=True,
            incarnation=process.incarnation,
        )

    def pods(self, role: str) -> dict[str, bool]:
        return {p.name: True for p in self.store.processes.values() if p.role == role and p.pid}

    def secret_generations(self) -> tuple[int, int]:
        raise cluster.DrillError("a fake store has no secrets")

    def reachable(self) -> bool:
        return True

    def kill(self, name: str, signal: int = 9) -> None:
        assert signal in (9, 15)
        with self.store.lock:
            if self.store.bug != NO_FAULT:
                self.store.processes[name].pid = 0
            if name == "cache-0":
                self.store.copies.clear()
            self.store.elect()

    def start(self, name: str) -> None:
        with self.store.lock:
            process = self.store.processes[name]
            process.pid = process.pid if self.store.bug == NO_FAULT else next(self.store.pids)
            role = process.role
            back = process.replica == 0  # the smallest id gets the reign back
            if role in cluster.GROUPS and (back or not self.store.serves(role)):
                self.store.primaries[role] = name
                self.store.epochs[role] += 1
            self.store.elect()

    def pause(self, name: str) -> None:
        with self.store.lock:
            self.store.processes[name].paused = True
            self.store.elect()

    def resume(self, name: str) -> None:
        with self.store.lock:
            process = self.store.processes[name]
            process.paused = False
            if (name, "catalog-1") in self.store.delays:
                notes = self.store.processes["catalog-1"].notes
                notes["old_epoch_refused"] = notes.get("old_epoch_refused", 0) + 1
            self.store.elect()

    def kill_all(self, names: Sequence[str], signal: int = 9) -> None:
        for name in names:
            self.kill(name, signal)

    def lose_disk(self, name: str) -> None:
        self.kill(name)
        self.store.processes[name].incarnation += "b"

    def drill(self, verb: str, **about: str) -> dict[str, Any]:
        raise cluster.DrillError(f"a fake store has no {verb} {about}")

    def cut(self, source: str, target: str) -> None:
        with self.store.lock:
            self.store.cuts.add((source, target))
            self.store.elect()

    def delay(self, source: str, target: str, milliseconds: float) -> None:
        assert milliseconds > 0
        self.store.delays.add((source, target))

    def heal(self) -> None:
        with self.store.lock:
            self.store.delays.clear()
            self.store.cuts.clear()
            self.store.elect()

    def logs(self, name: str) -> list[str]:
        with self.store.lock:
            return list(self.store.processes[name].log)

    def notes(self, name: str) -> dict[str, int]:
        return {"reign_heard": 1, **self.store.processes[name].notes}  # a running one has some

    def digest(self, name: str) -> dict[str, Any]:
        return self.store.digest(name)

    def wait_until(self, condition: Any, deadline_s: float, what: str) -> None:
        cluster.wait_until(condition, deadline_s, what)
