"""A replica as one pure thing: the core of its group and the desk of its role.

The desk is the role's rule: it takes requests, asks the core for entries and reads, calls the
other group, and replies. Everything it says goes through its `Port`, so that the whole replica is
`step(events, now, clock) -> Effects`, in the simulation as in production.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from emporium.replication import effects as fx
from emporium.replication.core import Core
from emporium.replication.effects import Answer, CallReply, Request, Seen


class Port(Protocol):
    """What a desk can see and do. Valid within a step only."""

    @property
    def now(self) -> float:
        """Time of this step, ms, monotonic."""

    @property
    def clock(self) -> int:
        """Wall clock of this step, ms since 1970."""

    @property
    def replica(self) -> int:
        """Own id."""

    @property
    def group(self) -> str:
        """Group id; empty before the group has formed."""

    @property
    def epoch(self) -> int:
        """Epoch of the newest reign that is known here."""

    @property
    def reigning(self) -> bool:
        """Reigning here, its no-op committed, still admitting."""

    @property
    def primary(self) -> int:
        """Id of the reign as known here, -1 when none."""

    @property
    def applied(self) -> int:
        """Index up to which the state machine is."""

    @property
    def released(self) -> int:
        """Index up to which anybody may be told (PROTOCOL 4.3)."""

    @property
    def leaving(self) -> bool:
        """Whether this replica was asked to stop."""

    @property
    def serving(self) -> bool:
        """Caught up and in contact with a reign, so that reads can be served."""

    def propose(self, token: object, command: str) -> None:
        """Append a command; the `Answer` comes to `answered` under `token`."""

    def read(self, token: object, level: str) -> None:
        """Ask when the state may be looked at; the `Answer` comes to `answered`."""

    def reply(
        self,
        token: object,
        payload: object,
        index: int = 0,
        timings: tuple[tuple[str, float], ...] = (),
    ) -> None:
        """Answer the request `token`, as soon as `index` is released."""

    def call(
        self, role: str, replica: int, token: object, payload: object, deadline: float
    ) -> None:
        """Call a replica of another role, or of this one; the `CallReply` comes to `called`."""

    def operation(self, line: str) -> None:
        """A line of the operation log."""

    def note(self, name: str, detail: str = "") -> None:
        """Something to log and count."""


class Desk(Protocol):
    """The rule of a role over its replicated log."""

    def request(self, port: Port, request: Request) -> None:
        """A request has come in."""

    def answered(self, port: Port, answer: Answer) -> None:
        """The core's answer to a proposal or a read of this desk."""

    def called(self, port: Port, reply: CallReply) -> None:
        """The answer to a call."""

    def seen(self, port: Port, seen: Seen) -> None:
        """A heartbeat of a replica of another group."""

    def tick(self, port: Port) -> None:
        """Once in every step, after everything else: look at the time, the reign and `released`."""

    def noted(self, port: Port, note: fx.Note) -> None:
        """Something that the core noted in this step; most desks care for few of them."""

    def status(self) -> dict[str, object]:
        """What the role adds to the replica's status; between two steps."""

    def wake_at(self) -> float:
        """When the next `tick` is due at the latest, in ms of `now`; infinity when idle."""


class Node:
    """Core and desk together: what a driver or a simulation steps."""

    def __init__(self, core: Core, desk: Desk) -> None:
        """A node is made anew at every start of the process."""
        self.core, self.desk = core, desk
        # Heap of (index, order, reply). Bounded by what may be asked: each entry belongs to a
        # request that somebody waits for, and the desks refuse more of those than they can hold.
        self._held: list[tuple[int, int, fx.Reply]] = []
        self._order = 0
        self._to_core: list[object] = []
        self._desk_events: dict[type, Callable[[Port, Any], None]] = {
            fx.Request: desk.request,
            fx.CallReply: desk.called,
            fx.Seen: desk.seen,
        }

    def step(self, events: Sequence[object], now: float, clock: int) -> fx.Effects:
        """Take a batch of events at `now` (ms, monotonic) and `clock` (ms since 1970)."""
        core = self.core
        core.begin(now, clock)
        for event in events:
            handler = self._desk_events.get(type(event))
            if handler is None:
                core.handle(event)
            else:
                handler(self, event)
        self._settle()
        effects = core.finish()
        if core.answers:  # finishing may commit, apply and confirm
            self._settle()
            effects = core.finish()
        self.desk.tick(self)
        if self._to_core or core.answers:
            self._settle()
            effects = core.finish()
        for note in tuple(effects.notes):
            self.desk.noted(self, note)
        self._release()
        return effects

    def _settle(self) -> None:
        """Pass proposals and reads to the core and its answers to the desk, until both rest."""
        core = self.core
        while self._to_core or core.answers:
            events, self._to_core = self._to_core, []
            for event in events:
                core.handle(event)
            answers, core.answers = core.answers, []
            for answer in answers:
                self.desk.answered(self, answer)

    def _release(self) -> None:
        """Let the replies go whose index is released."""
        while self._held and self._may_leave(self._held[0][0]):
            self.core.effects.replies.append(heapq.heappop(self._held)[2])

    def _may_leave(self, index: int) -> bool:
        """Nobody is told what a holder's copy may still contradict (PROTOCOL 4.3)."""
        return index <= self.core.gate.released

    def wake_at(self) -> float:
        """When the next step is due at the latest, in ms of `now`."""
        return min(self.core.wake_at(), self.desk.wake_at())

    def status(self) -> dict[str, object]:
        """The core's status, the role's, and how many replies wait for their release."""
        held = {"held_replies": len(self._held)}
        return {**self.core.vitals.status(), **self.desk.status(), **held}

    # --- the port ---

    @property
    def now(self) -> float:
        """Time of this step, ms."""
        return self.core.now

    @property
    def clock(self) -> int:
        """Wall clock of this step, ms since 1970."""
        return self.core.clock

    @property
    def replica(self) -> int:
        """Own id."""
        return self.core.replica

    @property
    def group(self) -> str:
        """Group id, empty before the group has formed."""
        return self.core.group

    @property
    def epoch(self) -> int:
        """Epoch of the newest reign known here."""
        return self.core.epoch if self.core.reigning else self.core.reign_epoch

    @property
    def reigning(self) -> bool:
        """Reigning, open and admitting."""
        return self.core.open and not self.core.handing_over

    @property
    def primary(self) -> int:
        """Who reigns, as known here; -1 when nobody is known."""
        return self.core.replica if self.reigning else self.core.known_primary

    @property
    def applied(self) -> int:
        """Index up to which the state machine is."""
        return self.core.applied

    @property
    def released(self) -> int:
        """Index up to which anybody may be told."""
        return self.core.gate.released

    @property
    def serving(self) -> bool:
        """Whether reads can be served here."""
        return self.core.vitals.serving

    @property
    def leaving(self) -> bool:
        """Whether this replica was asked to stop."""
        return self.core.leaving

    def propose(self, token: object, command: str) -> None:
        """See `Port`."""
        self._to_core.append(fx.Propose(token, command))

    def read(self, token: object, level: str) -> None:
        """See `Port`."""
        self._to_core.append(fx.Read(token, level))

    def reply(
        self,
        token: object,
        payload: object,
        index: int = 0,
        timings: tuple[tuple[str, float], ...] = (),
    ) -> None:
        """See `Port`."""
        self._order += 1
        heapq.heappush(self._held, (index, self._order, fx.Reply(token, payload, timings)))

    def call(
        self, role: str, replica: int, token: object, payload: object, deadline: float
    ) -> None:
        """See `Port`."""
        self.core.effects.calls.append(fx.Call(role, replica, token, payload, deadline))

    def operation(self, line: str) -> None:
        """See `Port`."""
        self.core.effects.operations.append(line)

    def note(self, name: str, detail: str = "") -> None:
        """See `Port`."""
        self.core.note(name, detail)


IDLE = math.inf
"""`wake_at` of a desk that waits for nothing."""
