"""A fake world around the driver: node, journal and transport that write down what happens."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from emporium.catalog.requests import QueryItem
from emporium.replication.effects import Effects, Persist, Reply, Request
from emporium.replication.messages import Heartbeat
from emporium.runtime.clock import SYSTEM
from emporium.runtime.driver import ReplicaHandle, Running, Waiter
from emporium.runtime.faults import FaultTable
from emporium.runtime.lifecycle import Lifecycle
from emporium.runtime.metrics import Metrics
from emporium.runtime.operation_log import OperationLog
from emporium.runtime.rpc import Done
from emporium.runtime.settings import CatalogSettings, read
from emporium.runtime.stepper import Stepper

QUERY = QueryItem("1", "local")
BEAT = Heartbeat("catalog", 0, "a", 1, 1, 1, True, True, True, False, True, 0, 0, "g")  # noqa: FBT003


class World:
    """Fake node, journal and transport that write one common list of what happens."""

    def __init__(self) -> None:
        """A node that does nothing until `react` says more."""
        self.happened: list[object] = []
        self.steps: list[list[object]] = []
        self.react: Callable[[list[object], Effects], None] = lambda _events, _effects: None
        self.wake = math.inf
        self.seen: dict[str, Any] = {"serving": True, "reigning": True}
        self.writing = threading.Event()
        self.disk = threading.Event()
        self.disk.set()
        self.failure: Exception | None = None
        self.fatal: list[tuple[str, int]] = []
        self.dones: list[Done] = []

    # the node
    def step(self, events: list[object], now_ms: float, clock_ms: int) -> Effects:
        """Write the events down and react."""
        assert clock_ms > 1_600_000_000_000 > now_ms
        effects = Effects()
        if events:
            self.steps.append(events)
        self.react(events, effects)
        return effects

    def wake_at(self) -> float:
        """When the test wants the next step."""
        return self.wake

    def status(self) -> dict[str, Any]:
        """What the test says."""
        return dict(self.seen)

    # the journal
    def write(self, persist: Persist) -> None:
        """Take as long as the test wants."""
        self.writing.set()
        self.disk.wait(10)
        if self.failure is not None:
            raise self.failure
        self.happened.append(persist)

    # the transport
    def send(self, replica: int, message: object) -> None:
        """To a replica."""
        self.happened.append(("send", replica, message))

    def probe(self, replica: int) -> None:
        """A fresh connect."""
        self.happened.append(("probe", replica))

    def broadcast(self, heartbeat: Heartbeat) -> None:
        """To everybody."""
        self.happened.append(heartbeat)

    def tell(self, holder: str, message: object) -> None:
        """To a holder."""
        self.happened.append(("tell", holder, message))

    def call(self, role: str, replica: int, payload: object, timeout_ms: float, done: Done) -> None:
        """Keep the callback for the test."""
        self.happened.append(("call", role, replica, payload, timeout_ms > 0))
        self.dones.append(done)

    # the rest
    def operation(self, line: str) -> None:
        """A line of the operation log."""
        self.happened.append(line)

    def died(self, sentence: str, exit_code: int) -> None:
        """The process would end here."""
        self.fatal.append((sentence, exit_code))


@contextmanager
def driven(world: World) -> Iterator[Stepper]:
    """A stepper over the fake world."""
    driver = Stepper(world, world, SYSTEM, Metrics("catalog", 0), world.operation, world.died)
    driver.start(world)
    try:
        yield driver
    finally:
        world.disk.set()
        driver.stop()


class Folder:
    """A data folder that is only closed."""

    def __init__(self, happened: list[object]) -> None:
        """Nothing is open."""
        self._happened = happened

    def close(self) -> None:
        """Written down."""
        self._happened.append("folder closed")


class Streams:
    """A transport's outside: port and streams that are only closed."""

    def __init__(self, happened: list[object]) -> None:
        """Its hub and its server are itself."""
        self._happened = happened
        self.server = self.hub = self
        self.refused = self.in_flight = 0

    def dropped(self) -> int:
        """Of the hub."""
        return 0

    def message_version(self) -> int:
        """With nobody."""
        return 1

    def close(self) -> None:
        """Of all three."""
        self._happened.append("port closed")


def settings(threads: int = 4) -> CatalogSettings:
    """Those of a catalog replica with few threads."""
    environ = {"EMPORIUM_DATA_DIR": "unused", "EMPORIUM_THREADS": str(threads)}
    found = read(environ, "catalog")
    assert isinstance(found, CatalogSettings)
    return found


class Lines:
    """A stream that the operation log writes to."""

    def __init__(self) -> None:
        """Empty."""
        self.text = ""

    def write(self, text: str) -> None:
        """Append."""
        self.text += text

    def flush(self) -> None:
        """Nothing to do."""


@contextmanager
def handled(world: World, threads: int = 4) -> Iterator[ReplicaHandle]:
    """A handle over the fake world, running."""

    def assemble() -> Running:
        driver = Stepper(world, world, SYSTEM, Metrics("catalog", 0), world.operation, world.died)
        driver.start(world)
        streams: Any = Streams(world.happened)
        folder: Any = Folder(world.happened)
        return Running(folder, driver, streams)

    lines: Any = Lines()
    handle = ReplicaHandle(
        settings(threads),
        FaultTable("catalog-0"),
        Metrics("catalog", 0),
        OperationLog(lines, owned=False),
        assemble,
        lifecycle=Lifecycle(),
    )
    handle.start()
    try:
        yield handle
    finally:
        world.disk.set()
        handle.close()


def answering(events: list[object], effects: Effects) -> None:
    """A node that answers each request with its payload."""
    for event in events:
        if isinstance(event, Request):
            effects.replies.append(Reply(event.token, event.payload, (("order", 1.0),)))


def request(waiter: Waiter | None = None) -> Request:
    """Some request of a thread."""
    return Request(waiter or Waiter(), QUERY, SYSTEM.now_ms() + 1000)
