"""What carries a replica's words: to its group, to holders, to another group, and back.

The stepper needs five verbs of a `Transport`; this is the real one, over the streams of `hub`
(those that this process dials) and `internal_server` (those that others dialled).
`memory_transport` is its twin for tests. Nothing here waits and nothing decides: what can't be
sent is dropped, for the core repeats and a call ends as unanswered.

What goes over which stream: messages to the group and heartbeats to it over the dialled ones, so
that a one-way cut cuts one way; answers over the stream of their request; heartbeats to frontends,
caches and the other group over theirs; a holder's messages over the stream that it last used.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emporium.replication.effects import FromHolder, Lost, Probed, Received, Request, Seen
from emporium.replication.failures import OutcomeUnknown, Overloaded
from emporium.replication.messages import (
    Envelope,
    Heartbeat,
    Invalidated,
    Renew,
    ReturnLease,
)
from emporium.runtime import frames, logs
from emporium.runtime.clock import Clock
from emporium.runtime.frames import Answered, Ask, FrameError, Peer
from emporium.runtime.hub import Addresses, Hub
from emporium.runtime.internal_server import InternalServer
from emporium.runtime.rpc import Done
from emporium.runtime.streams import Credentials, Stream, probe

_log = logs.logger("transport")

HOLDERS_KNOWN = 1_024
RETRY_AFTER_MS = 200

Deliver = Callable[[object], bool]
"""Takes an event for the node; False when the queue is full."""


class Transport(Protocol):
    """What the stepper asks for."""

    def send(self, replica: int, message: object) -> None:
        """To a replica of the group, in an envelope."""

    def probe(self, replica: int) -> None:
        """Make a fresh connect; `Probed` comes back."""

    def broadcast(self, heartbeat: Heartbeat) -> None:
        """To the group and to everybody who listens."""

    def tell(self, holder: str, message: object) -> None:
        """To a holder of copies."""

    def call(self, role: str, replica: int, payload: object, timeout_ms: float, done: Done) -> None:
        """Ask a replica; `done` gets the answer, or None, perhaps from another thread."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks. `group` is asked each time: it is empty until the group has formed."""

    own: Peer
    incarnation: str
    group: Callable[[], str]

    def wrap(self, message: object) -> Envelope:
        """The message in this replica's envelope."""
        return Envelope(self.group(), self.own.replica, self.incarnation, message)


@dataclass(eq=False, slots=True)
class StreamToken:
    """Stands for a request that came over a stream."""

    stream: Stream
    id: int
    started_ms: float
    clock: Clock
    asked: str = ""  # the kind of request
    trace: str = ""  # of the request from outside that this one belongs to

    def answer(self, payload: object, timings: tuple[tuple[str, float], ...]) -> None:
        """Send the answer to whoever asked, if it is still there."""
        took_ms = round(self.clock.now_ms() - self.started_ms, 3)
        self.stream.send(Answered(self.id, payload, timings, took_ms))
        level = logging.INFO if isinstance(payload, OutcomeUnknown) else logging.DEBUG
        if self.trace and _log.isEnabledFor(level):
            with logs.request(self.trace):
                told = logs.fields(asked=self.asked, answer=type(payload).__name__, ms=took_ms)
                _log.log(level, "answered", extra=told)


class StreamTransport:
    """The transport of a replica, over TCP. It owns the hub and the internal server."""

    def __init__(
        self,
        identity: Identity,
        addresses: Addresses,
        listen: tuple[str, int],
        credentials: Credentials,
        hub: Hub,
        clock: Clock,
        connect_timeout_ms: float,
        deliver: Deliver,
    ) -> None:
        """`addresses` are the internal ones; those of the own role are the group."""
        self.hub = hub
        self.misplaced = 0
        self._identity = identity
        self._role = identity.own.role
        self._group = dict(addresses[self._role])
        self._clock = clock
        self._timeout_s = connect_timeout_ms / 1000
        self._deliver = deliver
        self._holders: dict[str, Stream] = {}
        self._probing: set[int] = set()
        self._lock = threading.Lock()
        self._packed: tuple[object, bytes] = (None, b"")
        self.server = InternalServer(
            identity.own, listen, credentials, hub.faults, self._record, self._changed
        )
        hub.on_heartbeat(self._heard)
        hub.on_disconnect(self._disconnected)

    def start(self) -> None:
        """Listen and dial. Raises FatalError when the port can't be had."""
        self.server.start()
        self.hub.start()

    def close(self) -> None:
        """Close the port and every stream."""
        self.server.close()
        self.hub.close()

    def message_version(self) -> int:
        """The lowest message version that is spoken with a process that is connected now; the
        newest of this program when none is."""
        streams = (*self.server.streams(), *self.hub.streams())
        return min((each.version for each in streams), default=frames.spoken().newest)

    # --- out ---

    def send(self, replica: int, message: object) -> None:
        """To a replica of the group, in an envelope."""
        last, body = self._packed
        if last is not message:  # the same message often goes to all
            try:
                body = frames.pack(self._identity.wrap(message))
            except FrameError as error:
                _log.warning("to %s-%s: %s", self._role, replica, error)
                return
            self._packed = (message, body)
        self.hub.send_body(self._role, replica, body)

    def probe(self, replica: int) -> None:
        """A fresh connect in a thread of its own, at most one for each replica."""
        with self._lock:
            if replica in self._probing or replica not in self._group:
                return
            self._probing.add(replica)
        name = f"probe-{replica}"
        threading.Thread(target=self._probe, args=(replica,), name=name, daemon=True).start()

    def broadcast(self, heartbeat: Heartbeat) -> None:
        """To the group in envelopes, to everybody else as it is."""
        for replica in self._group:
            self.send(replica, heartbeat)
        body = frames.pack(heartbeat)
        for stream in self.server.streams():
            if stream.peer.role != self._role:
                stream.send_body(body)

    def tell(self, holder: str, message: object) -> None:
        """To a holder, over the stream that it last used."""
        stream = self._holders.get(holder)
        if stream is not None:
            stream.send(message)

    def call(self, role: str, replica: int, payload: object, timeout_ms: float, done: Done) -> None:
        """Ask a replica of this or another role."""
        self.hub.call(role, replica, payload, timeout_ms, done=done)

    # --- in ---

    def _record(self, stream: Stream, record: object) -> None:
        """Something came over a stream that another process dialled."""
        match record:
            case Envelope() if self._is_peer(stream, record.sender):
                self._deliver(Received(record))
            case Ask():
                self._asked(stream, record)
            case Renew() | Invalidated() | ReturnLease():
                self._remember(record.holder, stream)
                self._deliver(FromHolder(record))
            case _:
                self.misplaced += 1

    def _is_peer(self, stream: Stream, sender: int) -> bool:
        return stream.peer == Peer(self._role, sender)

    def _asked(self, stream: Stream, ask: Ask) -> None:
        now = self._clock.now_ms()
        kind = type(ask.payload).__name__
        token = StreamToken(stream, ask.id, now, self._clock, kind, ask.request_id)
        if not self._deliver(Request(token, ask.payload, now + ask.deadline_ms)):
            token.answer(Overloaded(RETRY_AFTER_MS), ())

    def _remember(self, holder: str, stream: Stream) -> None:
        if self._holders.get(holder) is not stream:
            with self._lock:
                if len(self._holders) < HOLDERS_KNOWN and not stream.closed:
                    self._holders[holder] = stream

    def _changed(self, stream: Stream, *, up: bool) -> None:
        peer = stream.peer
        if up and peer.role == self._role:
            self.hub.nudge(peer.role, peer.replica)
        elif peer.role == self._role:
            self._deliver(Lost(peer.replica))
        elif not up:
            with self._lock:
                gone = [name for name, held in self._holders.items() if held is stream]
                for name in gone:
                    del self._holders[name]

    def _heard(self, heartbeat: Heartbeat) -> None:
        if heartbeat.role != self._role:
            self._deliver(Seen(heartbeat))

    def _disconnected(self, role: str, replica: int) -> None:
        if role == self._role:
            self._deliver(Lost(replica))

    def _probe(self, replica: int) -> None:
        peer = Peer(self._role, replica)
        # A cut swallows the connect as well: nothing comes back, which proves nothing.
        cut = self.hub.faults.cuts(str(peer))
        refused = not cut and probe(self._group[replica], self._timeout_s)
        with self._lock:
            self._probing.discard(replica)
        self._deliver(Probed(replica, refused))
