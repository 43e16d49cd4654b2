"""The cluster view among threads, and the calls that are in flight to what it shows.

A call is given up (Abandoned) as soon as the view shows that it waits in vain: its replica has
fallen silent, or, for a purchase, a newer reign has begun (PROTOCOL 3.5). A stopped process keeps
its connections; without this it would hold a thread of every frontend for the whole deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emporium.frontend.view import Change, ClusterView, ReignSeen
from emporium.replication.messages import Heartbeat
from emporium.runtime import errors, logs
from emporium.runtime.clock import SYSTEM, Clock
from emporium.runtime.ticker import Ticker

LOOK_MS = 50.0
"""How late silence may be noticed."""
_log = logs.logger("cluster")


class PendingCall(Protocol):
    """A call in flight."""

    def wait(self, timeout_ms: float) -> tuple[object, dict[str, float]]:
        """The answer. Raises CallError, Overloaded."""

    def abandon(self) -> None:
        """Give it up."""


class Caller(Protocol):
    """What is wanted of the hub."""

    def call(
        self, role: str, replica: int, payload: object, timeout_ms: float, request_id: str = ""
    ) -> PendingCall:
        """Ask a replica."""

    def connected(self, role: str, replica: int) -> bool:
        """Whether there is a stream."""

    def on_heartbeat(self, callback: Callable[[Heartbeat], None]) -> None:
        """Tell heartbeats."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A call in flight. `reign_epoch` is 0 where a newer reign makes no difference."""

    role: str
    replica: int
    reign_epoch: int


class Board:
    """The view with its lock, its clock and its calls. `now_ms` is the clock of deadlines."""

    def __init__(self, view: ClusterView, caller: Caller, clock: Clock = SYSTEM) -> None:
        """Listens to the caller's heartbeats; notices silence from `start` on."""
        self._view = view
        self._caller = caller
        self._clock = clock
        self._changed = threading.Condition()
        self._flights: dict[PendingCall, _Flight] = {}
        self._closed = False
        self.ticker = Ticker("cluster-view", self._tick, clock)
        caller.on_heartbeat(self._heard)

    def start(self) -> None:
        """Begin to notice silence."""
        self.ticker.start()

    def close(self) -> None:
        """Wake whoever waits; nothing more is noticed."""
        self._closed = True
        self.ticker.stop()
        with self._changed:
            self._changed.notify_all()

    def now_ms(self) -> float:
        """The clock of all deadlines here."""
        return self._clock.now_ms()

    # --- calls ---

    def call(
        self,
        role: str,
        replica: int,
        payload: object,
        deadline: float,
        *,
        trace: str = "",
        within_reign: bool = False,
    ) -> tuple[object, dict[str, float]]:
        """The answer of one replica, and the ms by tier behind and at it.

        Raises CallError (Abandoned when the view says that it waits in vain), Overloaded, and the
        error that an answer of `replication.failures` stands for."""
        timeout_ms = deadline - self._clock.now_ms()
        if timeout_ms <= 0:
            raise errors.Unreachable("no time was left to ask", sent=False)
        epoch = self._epoch(role) if within_reign else 0
        pending = self._caller.call(role, replica, payload, timeout_ms, trace)
        self._flights[pending] = _Flight(role, replica, epoch)
        try:
            if within_reign and self._epoch(role) > epoch > 0:
                pending.abandon()  # the reign changed before this flight was on the table
            payload, timings = pending.wait(timeout_ms)
        finally:
            self._flights.pop(pending, None)
        failure = errors.of_failure(payload)
        if failure is not None:
            raise failure
        return payload, timings

    def connected(self, role: str, replica: int) -> bool:
        """Whether there is a stream to it."""
        return self._caller.connected(role, replica)

    # --- the view ---

    def choose(self, role: str, without: frozenset[int] = frozenset()) -> int:
        """The next serving replica in turn, -1 when there is none."""
        with self._changed:
            return self._view.choose(role, without=without)

    def serving(self, role: str) -> tuple[int, ...]:
        """Who serves."""
        return self._view.serving(role)

    def healthy(self, role: str) -> tuple[int, ...]:
        """Who was heard lately, serving or not."""
        with self._changed:
            return self._view.healthy(role)

    def reign(self, role: str) -> ReignSeen | None:
        """Who reigns."""
        return self._view.reign(role)

    def wait_for_change(self, after: int, timeout_ms: float) -> int:
        """Wait until the view's last change is newer than `after`; the last change's number."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._view.last_change > after or self._closed,
                max(0.0, timeout_ms) / 1000,
            )
            return self._view.last_change

    @property
    def closed(self) -> bool:
        """Whether the process is ending."""
        return self._closed

    @property
    def last_change(self) -> int:
        """The number of the newest change."""
        return self._view.last_change

    def changes(self, after: int) -> list[Change]:
        """The changes with a number above `after`."""
        with self._changed:
            return self._view.changes(after)

    def rows(self) -> list[dict[str, object]]:
        """Every replica with what was heard of it."""
        with self._changed:
            return self._view.rows(self._clock.now_ms())

    def reigns(self) -> dict[str, ReignSeen | None]:
        """Who reigns, by role."""
        with self._changed:
            return self._view.reigns()

    def _epoch(self, role: str) -> int:
        reign = self._view.reign(role)
        return 0 if reign is None else reign.epoch

    # --- what comes in ---

    def _heard(self, beat: Heartbeat) -> None:
        with self._changed:
            self._obey(self._view.heard(beat, self._clock.now_ms()))

    def _tick(self) -> float:
        with self._changed:
            self._obey(self._view.tick(self._clock.now_ms()))
        return LOOK_MS

    def _obey(self, changes: list[Change]) -> None:
        """Within the lock: give up what is in vain, wake whoever waits."""
        if not changes:
            return
        for change in changes:
            _log.info(
                change.what,
                extra=logs.fields(of=f"{change.role}-{change.replica}", epoch=change.epoch),
            )
            for pending in self._in_vain(change):
                pending.abandon()
        self._changed.notify_all()

    def _in_vain(self, change: Change) -> list[PendingCall]:
        flights = list(self._flights.items())
        if change.what == "silent":
            gone = (change.role, change.replica)
            return [pending for pending, each in flights if (each.role, each.replica) == gone]
        if change.what == "reign":
            return [
                pending
                for pending, each in flights
                if each.role == change.role and 0 < each.reign_epoch < change.epoch
            ]
        return []
