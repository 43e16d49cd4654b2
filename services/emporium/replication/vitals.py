"""How a replica is, as it tells others: heartbeat, readiness, status. Liveness, never safety."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from emporium.replication import messages as m
from emporium.replication.states import State

if TYPE_CHECKING:
    from emporium.replication.core import Core

CLOCK_AHEAD_MS = 10_000


@dataclass(slots=True)
class Peer:
    """What this replica knows of another one of its group. Times in ms of `now`."""

    replica: int
    incarnation: str = ""
    heard: float = -math.inf  # the last message of any kind
    steady_since: float = math.inf  # heard without a gap, and caught up, since
    beat: m.Heartbeat | None = None
    dead: bool = False  # a fresh connect was refused and nothing was heard since
    probing: bool = False


class Vitals:
    """The part of a core that describes it."""

    def __init__(self, core: Core) -> None:
        """Only a view: no state of its own."""
        self.core = core

    @property
    def caught_up(self) -> bool:
        """Whether this replica is within one batch of what it knows to be committed."""
        core = self.core
        if core.reigning:
            return core.open
        if core.state is State.EMPTY:
            return False
        known = max((p.beat.commit for p in core.peers.values() if p.beat), default=0)
        return core.log.last_index + core.settings.batch_entries >= known and (
            core.reign_id < 0 or core.following.verified_epoch == core.reign_epoch
        )

    @property
    def serving(self) -> bool:
        """Whether reads can be served: open, or following a live reign, caught up."""
        core = self.core
        if core.reigning:
            return core.open
        fresh = core.reign_id >= 0 and core.now - core.reign_heard <= core.timeout
        return core.state is State.FOLLOWING and fresh and self.caught_up

    @property
    def hears_majority(self) -> bool:
        """Whether a majority of the voters was heard within the timeout, this one included if it is
        one. Voters by incarnation: whoever came back without its disk isn't the voter whose id it
        has, so learners that hear each other hear nobody."""
        core = self.core
        heard = [(p.replica, p.incarnation) for p in core.peers.values() if self.alive(p)]
        heard.append((core.replica, core.incarnation))
        voters = sum(core.voters.counts(*one, core.commit) for one in heard)
        return voters >= core.voters.majority

    @property
    def clock_ahead(self) -> bool:
        """Whether this wall clock is so far ahead of the others' median that stamps would jump:
        bars it from standing first (PROTOCOL 3.3)."""
        core = self.core
        beats = [p.beat for p in core.peers.values() if p.beat is not None and self.alive(p)]
        return bool(beats) and core.clock - median(b.clock for b in beats) > CLOCK_AHEAD_MS

    def alive(self, peer: Peer) -> bool:
        """Neither silent for a timeout nor proven dead."""
        core = self.core
        return not peer.dead and core.now - peer.heard <= core.timeout

    def beat(self) -> m.Heartbeat:
        """This replica's heartbeat as of now."""
        core = self.core
        stamp = max(core.machine.stamp, core.clock) if core.open else core.machine.stamp
        return m.Heartbeat(
            role=core.settings.role,
            replica=core.replica,
            incarnation=core.incarnation,
            epoch=core.epoch,
            commit=core.commit,
            last_index=core.log.last_index,
            voter=core.voter,
            caught_up=self.caught_up,
            reigning=core.open,
            leaving=core.leaving or core.state is State.LEAVING,
            hears_majority=self.hears_majority,
            clock=core.clock,
            stamp=stamp,
            group=core.group,
        )

    def status(self) -> dict[str, object]:
        """What a person or a scenario wants to know of this replica."""
        core = self.core
        return {
            "role": core.settings.role,
            "id": core.replica,
            "incarnation": core.incarnation,
            "group": core.group,
            "state": core.state.value,
            "epoch": core.epoch,
            "reigning": core.open,
            "primary": core.replica if core.open else core.reign_id,
            "voter": core.voter,
            "voters": list(core.voters.at(core.commit)),
            "caught_up": self.caught_up,
            "serving": self.serving,
            "hears_majority": self.hears_majority,
            "clock_ahead": self.clock_ahead,
            "leaving": core.leaving or core.state is State.LEAVING,
            "commit": core.commit,
            "applied": core.applied,
            "released": core.gate.released,
            "last_index": core.log.last_index,
            "first_index": core.log.base_index + 1,
            "snapshot_index": core.snapshot.index if core.snapshot else 0,
        }
