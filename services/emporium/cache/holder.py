"""The rule of a holder: a process that keeps copies of items and answers from them (PROTOCOL 4).

Pure: time comes in as an argument, messages go out as return values. The cache role has one
holder, in `frontend` mode each frontend has its own; callers take turns (a lock is theirs).

Theory of operation. The holder has a session with the reign of the catalog, and a lease that it
renews three times while it runs, counted from its own sending. While the lease runs the reign tells
it every change before anybody is told of its effect, so a copy that is still here is as good as a
linearizable read. Without a lease nothing is answered from copies.

A session begins in three steps: `Renew` without a session; the offer, a `Granted` without a lease,
on which every copy is dropped; `Renew` under the offered name, whose `Granted` starts the lease.

House rules
- Asking for a new session, or taking up an offer, gives up the old one: the catalog counts on the
  new session from then on, so no older copy may answer any more.
- Only the newest request's offer is taken up, and a lease only for the present session: a late
  grant revives nothing.
- A new session (the only way on after a lapse, a new epoch or a lost stream) raises the general
  floor to the commit index in the grant. Floors never go down: indexes of a group don't.
- A fill is kept if its session is the present one and its index reaches the general floor and the
  key's floor, which is the index of the last invalidation of that key. The key floors are few and
  the longest untouched goes first; its floor is then the general one.
- An invalidation is obeyed and acknowledged also under a session that isn't known yet: the grant
  may still be on its way, and dropping is always safe.
- A lost stream to the reign ends the session: an invalidation may have been lost with it.

Invariants
- No copy is older than its key's floor.
- Copies are there only within a session.
- At most `copies` copies and 4 times as many key floors.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from emporium.replication.messages import (
    Granted,
    Invalidate,
    Invalidated,
    NotGranted,
    Renew,
    ReturnLease,
)

RENEWALS_PER_LEASE = 3
FLOORS_PER_COPY = 4
NOBODY = -1

Outgoing = list[tuple[int, object]]
"""Messages with the catalog replica that each is for."""


@dataclass(slots=True)
class Counters:
    """What the holder has done since its start."""

    hits: int = 0
    misses: int = 0
    fills: int = 0
    fills_refused: int = 0
    invalidated: int = 0  # keys named in invalidations
    grants: int = 0
    sessions: int = 0
    lapses: int = 0


@dataclass(slots=True)
class _Copy:
    value: object
    index: int


class Holder:
    """Copies by key, and the right to answer from them. `name` is unique to this process's run;
    `lease_ms` is what is expected until a grant says it."""

    def __init__(self, name: str, *, copies: int, lease_ms: float) -> None:
        """No session, no copy."""
        self.name = name
        self.counters = Counters()
        self._most_copies = copies
        self._most_floors = copies * FLOORS_PER_COPY
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._key_floors: OrderedDict[str, int] = OrderedDict()
        self._floor = 0
        self._session = ""
        self._offered = ""  # a session that is taken up and has no lease yet
        self._epoch = 0
        self._granter = NOBODY  # who gave or offered the session
        self._primary = NOBODY  # whom to ask next
        self._until = -math.inf  # end of the lease
        self._lease_ms = lease_ms
        self._asked = -math.inf  # sending time of the newest request
        self._next_renewal = -math.inf
        self._closed = False

    # --- reads and fills ---

    def get(self, key: str, now: float) -> object | None:
        """The copy of `key`, or None: none here, or no lease."""
        if now >= self._until:
            self._lapse()
            self.counters.misses += 1
            return None
        copy = self._copies.get(key)
        if copy is None:
            self.counters.misses += 1
            return None
        self._copies.move_to_end(key)
        self.counters.hits += 1
        return copy.value

    def has(self, key: str, now: float) -> bool:
        """Whether `get` would answer; counts nothing."""
        return self._lease_runs(now) and key in self._copies

    def session(self, now: float) -> str:
        """The session that a fill must name; empty without a lease. Ask before the read."""
        return self._session if self._lease_runs(now) else ""

    def put(self, key: str, value: object, index: int, session: str, now: float) -> bool:
        """Keep `value`, read at `index` under `session`. False when it isn't kept."""
        if not self._lease_runs(now) or not self._accepts_fill(key, index, session):
            self.counters.fills_refused += 1
            return False
        present = self._copies.get(key)
        if present is None or present.index <= index:
            self._copies[key] = _Copy(value, index)
        self._copies.move_to_end(key)
        self.counters.fills += 1
        while len(self._copies) > self._most_copies:
            self._copies.popitem(last=False)
        return True

    def drop(self, keys: Iterable[str]) -> list[str]:
        """The operator's invalidation: forget these copies; those that were there."""
        return [key for key in keys if self._copies.pop(key, None) is not None]

    def copies(self) -> dict[str, object]:
        """All copies, lease or not, the longest unused first: to look at, not to answer with."""
        return {key: copy.value for key, copy in self._copies.items()}

    def _accepts_fill(self, key: str, index: int, session: str) -> bool:
        """PROTOCOL 4.4: the same session, and nothing newer known of the key."""
        if session != self._session:
            return False
        return index >= max(self._floor, self._key_floors.get(key, 0))

    # --- time and messages ---

    def tick(self, now: float, primary: int) -> Outgoing:
        """Time has passed; `primary` reigns as far as is known (-1: nobody). What to send."""
        if now >= self._until:
            self._lapse()
        if self._closed:
            return []
        if primary != self._primary:
            self._primary = primary
            self._next_renewal = now
        if self._primary == NOBODY or now < self._next_renewal:
            return []
        return [(self._primary, self._renewal(now))]

    def wake_at(self) -> float:
        """When the next `tick` is due."""
        return self._next_renewal

    def receive(self, replica: int, message: object, now: float) -> Outgoing:
        """A message of a catalog replica. What to send."""
        match message:
            case Granted(lease_ms=lease_ms) if lease_ms <= 0:
                return self._take_up(replica, message, now)
            case Granted():
                self._granted(replica, message, now)
            case NotGranted():
                self._not_granted(message, now)
            case Invalidate():
                return self._invalidate(replica, message)
            case _:
                pass  # of a later version, or not for holders
        return []

    def disconnected(self, replica: int) -> None:
        """The stream to a catalog replica was lost, and what it was bringing with it."""
        if replica == self._granter:
            self._end_session()

    def close(self) -> Outgoing:
        """Answer from no copy any more and give the lease back."""
        session, granter = self._session, self._granter
        self._end_session()
        self._closed = True
        return [(granter, ReturnLease(self.name, session))] if session else []

    def status(self, now: float) -> dict[str, object]:
        """For people and metrics."""
        return {
            "lease": self._lease_runs(now),
            "session": self._session,
            "granter": self._granter,
            "epoch": self._epoch,
            "floor": self._floor,
            "copies": len(self._copies),
            "key_floors": len(self._key_floors),
        }

    # --- the session ---

    def _lease_runs(self, now: float) -> bool:
        return now < self._until

    def _renewal(self, now: float) -> Renew:
        if self._primary != self._granter:
            self._end_session()
        self._next_renewal = now + self._lease_ms / RENEWALS_PER_LEASE
        self._asked = now
        return Renew(self.name, self._session or self._offered, now)

    def _take_up(self, replica: int, offer: Granted, now: float) -> Outgoing:
        """A session without a lease: drop all copies, then ask for the lease."""
        if self._closed or offer.sent != self._asked or replica != self._primary:
            return []
        if now >= self._until:
            self._lapse()
        self._end_session()
        self._offered = offer.session
        self._epoch = offer.epoch
        self._granter = replica
        self._raise_floor(offer.floor)
        return [(replica, self._renewal(now))]

    def _granted(self, replica: int, grant: Granted, now: float) -> None:
        until = grant.sent + grant.lease_ms  # counted from the own sending (PROTOCOL 4.2)
        if now >= self._until:
            self._lapse()
        own = (self._session or self._offered, self._epoch, self._granter)
        if until <= now or not grant.session or (grant.session, grant.epoch, replica) != own:
            return
        if not self._session:
            self._session, self._offered = self._offered, ""
            self._raise_floor(grant.floor)
            self.counters.sessions += 1
        self._until = max(self._until, until)
        self._lease_ms = grant.lease_ms
        self.counters.grants += 1

    def _not_granted(self, refusal: NotGranted, now: float) -> None:
        if refusal.epoch > self._epoch and self._granter != NOBODY:
            self._end_session()  # the reign that granted it is over
            self._next_renewal = min(self._next_renewal, now)

    def _lapse(self) -> None:
        """The lease has run out: what was missed since isn't known."""
        if self._session:
            self.counters.lapses += 1
            self._end_session()

    def _end_session(self) -> None:
        self._session = self._offered = ""
        self._granter = NOBODY
        self._until = -math.inf
        self._copies.clear()

    # --- floors ---

    def _invalidate(self, replica: int, message: Invalidate) -> Outgoing:
        for key in message.keys:
            self._make_old(key, message.index)
        self.counters.invalidated += len(message.keys)
        return [(replica, Invalidated(self.name, message.session, message.index))]

    def _make_old(self, key: str, index: int) -> None:
        copy = self._copies.get(key)
        if copy is not None and copy.index < index:
            del self._copies[key]
        self._key_floors[key] = max(index, self._key_floors.get(key, 0))
        self._key_floors.move_to_end(key)
        while len(self._key_floors) > self._most_floors:
            _, floor = self._key_floors.popitem(last=False)
            self._floor = max(self._floor, floor)

    def _raise_floor(self, floor: int) -> None:
        """Nothing below `floor` is good enough any more; key floors up to it say nothing new."""
        self._floor = max(self._floor, floor)
        for key in [key for key, copy in self._copies.items() if copy.index < self._floor]:
            del self._copies[key]
        for key in [key for key, low in self._key_floors.items() if low <= self._floor]:
            del self._key_floors[key]
