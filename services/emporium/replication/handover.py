"""Giving the reign away: hand-back to the preferred replica, hand-over at SIGTERM (PROTOCOL 2.4).

Only the incumbent gives a reign away: it stops admitting and granting, drains, tells the target
the table of leases and asks it to stand now.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from emporium.replication import messages as m
from emporium.replication.states import State

if TYPE_CHECKING:
    from emporium.replication.core import Core
    from emporium.replication.vitals import Peer

LOST_REIGN_MEMORY_MS = 600_000
LONGEST_STEADY_MS = 60_000


class HandOver:
    """The part of a core that passes the reign on."""

    def __init__(self, core: Core) -> None:
        """Nothing to pass on."""
        self.core = core
        self._target = -1
        self._asked_at = math.inf  # when the target was asked to stand
        self._leaving_since = 0.0
        self._table: m.StandNow | None = None  # what a leaving reign told us
        self._lost: dict[int, deque[float]] = {}  # id → when it lost a reign without hand-over

    def tick(self) -> None:
        """Begin, drain, ask, or take the reign back when nobody stood."""
        core = self.core
        if core.state is State.REIGNING and core.open:
            target = self._choose()
            if target >= 0:
                self._begin(target)
        if core.state is State.LEAVING:
            self._go_on()

    def wake_at(self) -> float:
        """When to look again."""
        core = self.core
        if core.state is State.LEAVING:
            asked = self._asked_at < math.inf
            return (self._asked_at if asked else self._leaving_since) + core.timeout
        if core.state is State.REIGNING and core.leaving:
            return core.now + core.settings.heartbeat_interval_ms / 4
        return math.inf

    # --- the incumbent's side ---

    def _choose(self) -> int:
        """To whom the reign should go now, -1 for nobody."""
        core = self.core
        able = [
            peer
            for peer in core.peers.values()
            if core.vitals.alive(peer)
            and core.reign.within_batch(peer.replica)
            and not (peer.beat is not None and peer.beat.leaving)
        ]
        if core.leaving:
            return able[0].replica if able else -1
        if not core.mode.hands_back:
            return -1
        for peer in able:
            if core.mode.preferred(peer.replica, core.replica) and self._steady(peer):
                return peer.replica
        return -1

    def _steady(self, peer: Peer) -> bool:
        core = self.core
        lost = self._lost.get(peer.replica, deque())
        while lost and core.now - lost[0] > LOST_REIGN_MEMORY_MS:
            lost.popleft()
        doubled = core.settings.steady_ms * float(2 ** max(0, len(lost) - 1))
        needed = min(LONGEST_STEADY_MS, doubled)
        return core.now - peer.steady_since >= needed

    def _begin(self, target: int) -> None:
        core = self.core
        self._target, self._asked_at, self._leaving_since = target, math.inf, core.now
        core.become(State.LEAVING)
        core.beat_now()
        core.note("handing_over", f"to {target}")

    def _go_on(self) -> None:
        core = self.core
        if self._asked_at < math.inf:
            if core.now - self._asked_at >= core.timeout:
                core.step_down("nobody took the reign over")
            return
        drained = core.commit == core.log.last_index and not core.reign.pending
        matched = core.reign.progress(self._target).match == core.log.last_index
        if drained and matched:
            self._asked_at = core.now
            core.send(self._target, m.StandNow(core.epoch, core.gate.released, core.gate.table()))
        elif core.now - self._leaving_since >= core.timeout:
            core.step_down("the queue did not drain")

    def reign_ended(self) -> None:
        """Stepped down, by hand-over or otherwise."""
        self._target, self._asked_at = -1, math.inf

    def reign_changed(self, previous: int, *, handed_over: bool) -> None:
        """Another reign is known now: remember who lost one without handing it over."""
        if previous >= 0 and previous != self.core.replica and not handed_over:
            self._lost.setdefault(previous, deque(maxlen=8)).append(self.core.now)

    # --- the target's side ---

    def on_stand_now(self, peer: Peer, stand: m.StandNow) -> None:
        """The reign asks us to take over, at once."""
        core = self.core
        if stand.epoch != core.epoch or not core.voter or core.state is not State.FOLLOWING:
            return
        self._table = stand
        core.note("asked_to_stand", f"by {peer.replica} after epoch {stand.epoch}")
        core.elections.stand(leaving_epoch=stand.epoch)

    def table_for(self, epoch: int, handed_by: int) -> m.StandNow | None:
        """The table of leases that holds for a reign of `epoch`: only for the one directly after
        the reign that handed it over."""
        table, self._table = self._table, None
        if table is None or not handed_by or table.epoch + 1 != epoch:
            return None
        return table
