"""Two ends of the internal port on loopback, for the tests of streams, hub and transport."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import Peer
from emporium.runtime.hub import Hub
from emporium.runtime.internal_server import InternalServer
from emporium.runtime.streams import Credentials, Stream, credentials_of

SECRET = "a secret of enough letters"
CATALOG, FRONTEND = Peer("catalog", 0), Peer("frontend", 0)


class Listener:
    """A server that writes down what happens to it; `handle` may answer."""

    def __init__(
        self,
        credentials: Credentials | None = None,
        handle: Callable[[Stream, object], object] | None = None,
    ) -> None:
        """Not yet listening."""
        self.records: list[object] = []
        self.changes: list[tuple[str, bool]] = []
        self.faults = FaultTable(str(CATALOG))
        self._handle = handle
        self.server = InternalServer(
            CATALOG,
            ("127.0.0.1", 0),
            credentials or credentials_of([SECRET]),
            self.faults,
            self._record,
            self._changed,
        )

    def _record(self, stream: Stream, record: object) -> None:
        self.records.append(record)
        if self._handle is not None:
            self._handle(stream, record)

    def _changed(self, stream: Stream, *, up: bool) -> None:
        self.changes.append((str(stream.peer), up))


@contextmanager
def listening(
    credentials: Credentials | None = None,
    handle: Callable[[Stream, object], object] | None = None,
) -> Iterator[Listener]:
    """A listener that is closed afterwards."""
    listener = Listener(credentials, handle)
    listener.server.start()
    try:
        yield listener
    finally:
        listener.server.close()


@contextmanager
def dialling(
    port: int, credentials: Credentials | None = None, own: Peer = FRONTEND
) -> Iterator[Hub]:
    """A hub with one replica to dial, catalog-0."""
    hub = Hub(
        own,
        {"catalog": {0: ("127.0.0.1", port)}},
        credentials or credentials_of([SECRET]),
        FaultTable(str(own)),
        connect_timeout_ms=250.0,
    )
    hub.start()
    try:
        yield hub
    finally:
        hub.close()


class Gate:
    """Holds whoever passes until it is opened."""

    def __init__(self) -> None:
        """Closed."""
        self._open = threading.Event()

    def open(self) -> None:
        """Let everybody pass."""
        self._open.set()

    def pass_through(self, *_: object) -> None:
        """Wait until it is open, at most ten seconds."""
        self._open.wait(10)
