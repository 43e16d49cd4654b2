"""The transport's twin for tests: replicas in one process, no socket.

A `MemoryNetwork` joins any number of `MemoryTransport`s by name. Messages travel as wire text, so
that what couldn't be sent over a stream can't be sent here either; a fault table of the network
may lose, delay, repeat and cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from emporium.replication import wire
from emporium.replication.effects import FromHolder, Probed, Received, Request, Seen
from emporium.replication.messages import Envelope, Heartbeat
from emporium.runtime.clock import Clock
from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import Peer
from emporium.runtime.rpc import Done
from emporium.runtime.transport import Deliver, Identity


@dataclass(frozen=True, slots=True)
class MemoryToken:
    """Stands for a request from another replica of the network."""

    done: Callable[[object], None]

    def answer(self, payload: object, timings: tuple[tuple[str, float], ...]) -> None:
        """Give the answer back."""
        del timings
        self.done(payload)


class MemoryNetwork:
    """Who is there, and what is lost between them."""

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        """Nobody is there."""
        self.clock = clock
        self.faults = FaultTable("network", seed)
        self.members: dict[Peer, Deliver] = {}
        self.told: list[tuple[str, object]] = []  # to holders

    def carry(self, sender: Peer, to: Peer, act: Callable[[Deliver], object]) -> None:
        """Do `act` with the receiver's queue, if it is there and nothing is in the way."""

        def deliver() -> None:
            queue = self.members.get(to)
            if queue is not None:
                act(queue)

        if self.faults.active:
            self.faults.send(str(to), deliver, str(sender))
        else:
            deliver()

    def hold(self, holder: str, to: Peer, message: object) -> None:
        """A holder's message to a replica."""
        self.carry(Peer(holder, 0), to, lambda queue: queue(FromHolder(message)))


class MemoryTransport:
    """One replica's transport in a `MemoryNetwork`."""

    def __init__(
        self, network: MemoryNetwork, identity: Identity, group: tuple[int, ...], deliver: Deliver
    ) -> None:
        """`group` are the ids of the own role, this one among them or not."""
        self._network = network
        self._identity = identity
        self._own = identity.own
        self._group = tuple(replica for replica in group if replica != self._own.replica)
        self._deliver = deliver

    def start(self) -> None:
        """Be there."""
        self._network.members[self._own] = self._deliver

    def close(self) -> None:
        """Be gone: from now on a probe is refused."""
        self._network.members.pop(self._own, None)

    def send(self, replica: int, message: object) -> None:
        """To a replica of the group, in an envelope."""
        text = wire.encode(self._identity.wrap(message))
        to = Peer(self._own.role, replica)
        self._network.carry(self._own, to, lambda queue: queue(_received(text)))

    def probe(self, replica: int) -> None:
        """Answered at once: refused when nobody is there and no cut hides that."""
        to = Peer(self._own.role, replica)
        cut = self._network.faults.cuts(str(to), str(self._own))
        self._deliver(Probed(replica, refused=not cut and to not in self._network.members))

    def broadcast(self, heartbeat: Heartbeat) -> None:
        """To the group in envelopes, to everybody else as it is."""
        for replica in self._group:
            self.send(replica, heartbeat)
        for peer in tuple(self._network.members):
            if peer.role != self._own.role:
                self._network.carry(self._own, peer, lambda queue: queue(Seen(heartbeat)))

    def tell(self, holder: str, message: object) -> None:
        """To a holder: it is written down."""
        self._network.told.append((holder, message))

    def call(self, role: str, replica: int, payload: object, timeout_ms: float, done: Done) -> None:
        """Ask a replica; nobody there is no answer, at once."""
        to = Peer(role, replica)
        if to not in self._network.members:
            done(None, {})
            return
        token = MemoryToken(lambda answer: done(_copy(answer), {}))
        request = Request(token, _copy(payload), self._network.clock.now_ms() + timeout_ms)
        self._network.carry(self._own, to, lambda queue: queue(request))


def _received(text: str) -> Received:
    return Received(cast("Envelope", wire.decode(text, Envelope)))


def _copy(record: object) -> object:
    return wire.decode(wire.encode(record))
