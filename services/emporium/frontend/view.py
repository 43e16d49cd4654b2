"""The cluster as one frontend sees it, from heartbeats alone (DESIGN 3, Failure detection).

Pure: time comes in as an argument. It decides whom to ask and what to show; what is safe is
decided in the groups. Callers take turns (a lock is theirs).

Words. A replica is *healthy* while its last heartbeat is younger than the failure timeout, and
*serving* when it is healthy, caught up and hears a majority of its group. The *reign* of a role is
the healthy replica of the newest epoch that reigns and hears a majority.

`changes` are facts about what has changed, numbered from 1, the last 256 of them, for whoever
watches: `healthy` and `silent` (a replica), `reign` (a role; replica -1: nobody), `voter`,
`learner`, `caught_up`, `behind`, `leaving`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from emporium.replication.messages import Heartbeat
from emporium.runtime.reigns import newest_reign

REMEMBERED_CHANGES = 256
NOBODY = -1


@dataclass(frozen=True, slots=True)
class ReignSeen:
    """Who reigns over a role's group."""

    replica: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed in the view."""

    number: int
    what: str
    role: str
    replica: int
    epoch: int
    at_ms: float  # on the view's clock


@dataclass(slots=True)
class _Replica:
    beat: Heartbeat
    heard_at: float
    healthy: bool = True


class ClusterView:
    """Heartbeats in, healthy replicas and reigns out. `addresses` are the public ones by role, in
    id order; `first` shifts where the rounds begin, so that frontends don't all begin alike."""

    def __init__(
        self, addresses: Mapping[str, tuple[str, ...]], failure_timeout_ms: float, first: int = 0
    ) -> None:
        """Nothing was heard yet."""
        self.addresses = dict(addresses)
        self._timeout_ms = failure_timeout_ms
        self._replicas: dict[tuple[str, int], _Replica] = {}
        self._reigns: dict[str, ReignSeen | None] = dict.fromkeys(addresses)
        self._serving: dict[str, tuple[int, ...]] = dict.fromkeys(addresses, ())
        self._last_chosen: dict[str, int] = dict.fromkeys(addresses, first - 1)
        self._changes: deque[Change] = deque(maxlen=REMEMBERED_CHANGES)
        self._number = 0

    # --- what comes in ---

    def heard(self, beat: Heartbeat, now: float) -> list[Change]:
        """A heartbeat; what it changes. One of an unknown replica is ignored."""
        if not 0 <= beat.replica < len(self.addresses.get(beat.role, ())):
            return []
        key = (beat.role, beat.replica)
        before = self._replicas.get(key)
        self._replicas[key] = _Replica(beat, now)
        return [*self._compare(before, beat, now), *self._settle(beat.role, now)]

    def tick(self, now: float) -> list[Change]:
        """Time has passed; what that changes."""
        changes: list[Change] = []
        for replica in self._replicas.values():
            if replica.healthy and now - replica.heard_at > self._timeout_ms:
                replica.healthy = False
                changes.append(self._change("silent", replica.beat, now))
        for role in self._reigns:
            changes += self._settle(role, now)
        return changes

    # --- whom to ask ---

    def reign(self, role: str) -> ReignSeen | None:
        """Who reigns, as far as is known."""
        return self._reigns.get(role)

    def serving(self, role: str) -> tuple[int, ...]:
        """The replicas that reads and seed routes may be sent to, by id."""
        return self._serving.get(role, ())

    def healthy(self, role: str) -> tuple[int, ...]:
        """The replicas that were heard within the failure timeout, by id."""
        return tuple(
            replica
            for replica in range(len(self.addresses.get(role, ())))
            if (seen := self._replicas.get((role, replica))) is not None and seen.healthy
        )

    def choose(self, role: str, *, without: frozenset[int] = frozenset()) -> int:
        """The next serving replica in turn, so that over any stretch without a change the numbers
        of choices differ by at most 1; -1 when there is none. `without` are those that have failed
        for this request already."""
        choices = [each for each in self.serving(role) if each not in without]
        if not choices:
            return NOBODY
        last = self._last_chosen[role]
        chosen = next((each for each in choices if each > last), choices[0])
        self._last_chosen[role] = chosen
        return chosen

    # --- what to show ---

    def changes(self, after: int = 0) -> list[Change]:
        """The remembered changes with a number above `after`."""
        return [change for change in self._changes if change.number > after]

    @property
    def last_change(self) -> int:
        """The number of the newest change, 0 before the first."""
        return self._number

    def reigns(self) -> dict[str, ReignSeen | None]:
        """Who reigns, by role."""
        return dict(self._reigns)

    def rows(self, now: float) -> list[dict[str, object]]:
        """Every configured replica with what was heard of it."""
        return [
            self._row(role, replica, address, now)
            for role, addresses in self.addresses.items()
            for replica, address in enumerate(addresses)
        ]

    def _row(self, role: str, replica: int, address: str, now: float) -> dict[str, object]:
        row: dict[str, object] = {"role": role, "id": replica, "address": address}
        seen = self._replicas.get((role, replica))
        if seen is None:
            return {**row, "healthy": False, "reigning": False, "last_heartbeat_ms": None}
        beat = seen.beat
        reign = self._reigns.get(role)
        newest = max(
            (each.beat.commit for (r, _), each in self._replicas.items() if r == role), default=0
        )
        return {
            **row,
            "healthy": seen.healthy,
            "serving": replica in self.serving(role),
            "reigning": reign is not None and reign.replica == replica,
            "reign": None if reign is None else reign.replica,
            "epoch": beat.epoch,
            "voter": beat.voter,
            "caught_up": beat.caught_up,
            "leaving": beat.leaving,
            "hears_majority": beat.hears_majority,
            "commit_index": beat.commit,
            "lag": max(0, newest - beat.commit),
            "last_heartbeat_ms": round(now - seen.heard_at, 1),
            "incarnation": beat.incarnation,
            "group": beat.group,
        }

    # --- changes ---

    def _compare(self, before: _Replica | None, beat: Heartbeat, now: float) -> list[Change]:
        """What this heartbeat says differently from the last."""
        names: list[str] = []
        if before is None or not before.healthy or before.beat.incarnation != beat.incarnation:
            names.append("healthy")
        old = None if before is None else before.beat
        if old is None or old.voter != beat.voter:
            names.append("voter" if beat.voter else "learner")
        if old is None or old.caught_up != beat.caught_up:
            names.append("caught_up" if beat.caught_up else "behind")
        if beat.leaving and not (old is not None and old.leaving):
            names.append("leaving")
        return [self._change(name, beat, now) for name in names]

    def _settle(self, role: str, now: float) -> list[Change]:
        """Who serves and who reigns now."""
        beats = [each.beat for (r, _), each in self._replicas.items() if r == role and each.healthy]
        self._serving[role] = tuple(
            sorted(beat.replica for beat in beats if beat.caught_up and beat.hears_majority)
        )
        newest = newest_reign(beats)
        reign = None if newest is None else ReignSeen(newest.replica, newest.epoch)
        if reign == self._reigns.get(role):
            return []
        self._reigns[role] = reign
        replica, epoch = (NOBODY, 0) if reign is None else (reign.replica, reign.epoch)
        return [self._add(Change(self._number + 1, "reign", role, replica, epoch, now))]

    def _change(self, what: str, beat: Heartbeat, now: float) -> Change:
        return self._add(Change(self._number + 1, what, beat.role, beat.replica, beat.epoch, now))

    def _add(self, change: Change) -> Change:
        self._number = change.number
        self._changes.append(change)
        return change
