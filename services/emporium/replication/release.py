"""What may be told: the released index, and the leases of the holders (PROTOCOL 4.2 to 4.4).

A holder keeps copies of items and answers from them while its lease runs. So an entry that makes
copies old is shown to nobody before every holder has dropped them or its lease has run out:
`released` is the highest index for which that holds. A new reign waits for the leases of the old
one, unless it was handed the table of them.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emporium.replication import messages as m
from emporium.replication.states import State

if TYPE_CHECKING:
    from emporium.replication.core import Core

DRIFT = 1.01
"""Clocks may differ in speed by 1 %; the catalog's side of a lease is so much longer."""
MOST_HOLDERS = 1024
RIVAL_REIGN = 1.02
"""A new reign waits so many lease lengths: the holder's clock and its own may both drift."""
UNKNOWN_HOLDERS = ""
"""In a hand-over's table: whoever holds leases of reigns before, of which nobody was told."""


@dataclass(slots=True)
class Session:
    """One holder's session with this reign."""

    name: str
    holder: str
    until: float  # when its lease has run out, on our clock
    floor: int
    unacknowledged: deque[tuple[int, tuple[str, ...], float]] = field(default_factory=deque)


@dataclass(slots=True)
class Renewal:
    """A renewal that waits for its confirmation round."""

    message: m.Renew
    round: int


class ReleaseGate:
    """The part of a core that holds answers back while somebody may answer from an old copy."""

    def __init__(self, core: Core) -> None:
        """No reign, no holder."""
        self.core = core
        self.released = 0
        self._sessions: dict[str, Session] = {}  # by holder
        self._renewals: deque[Renewal] = deque()
        self._blanket_until = -math.inf  # old leases of an unknown table may run until then
        self._inherited: dict[str, float] = {}  # holder → until, from the hand-over's table
        self._base = 0
        self._count = 0
        self._offered: dict[str, str] = {}  # holder → session that it hasn't taken up yet

    # --- the reign's begin and end ---

    def begin(self, table: m.StandNow | None) -> None:
        """A reign begins. `table` is what the last one handed over, None when it didn't."""
        core = self.core
        self.end()
        if table is None:
            self._blanket_until = core.now + RIVAL_REIGN * core.lease_ms
            self._inherited, self._base = {}, 0
            self.released = 0
        else:
            self._blanket_until = -math.inf
            self._inherited = {h: core.now + rest * RIVAL_REIGN for h, rest in table.leases}
            self._base = self.released = min(table.released, core.applied)

    def end(self) -> None:
        """The reign is over: its sessions are the next reign's worry."""
        self._sessions.clear()
        self._renewals.clear()
        self._offered.clear()
        self._inherited.clear()
        self._blanket_until = -math.inf

    def table(self) -> tuple[tuple[str, float], ...]:
        """Each holder's remaining lease in ms, for the hand-over."""
        now = self.core.now
        rests = {h: until - now for h, until in self._inherited.items()}
        rests.update({s.holder: s.until - now for s in self._sessions.values()})
        rests[UNKNOWN_HOLDERS] = max(self._blanket_until - now, rests.get(UNKNOWN_HOLDERS, 0.0))
        return tuple((holder, rest) for holder, rest in sorted(rests.items()) if rest > 0)

    # --- the released index ---

    def advance(self) -> None:
        """Release what no running lease stands against."""
        core = self.core
        if not core.reigning:
            return
        self._grant_confirmed()
        for holder in [h for h, s in self._sessions.items() if core.now > s.until]:
            del self._sessions[holder]
            core.note("lease_lapsed", holder)
        for holder in [h for h, until in self._inherited.items() if core.now > until]:
            del self._inherited[holder]
        self.released = max(self.released, min(self._limits()))

    def _limits(self) -> list[int]:
        limits = [self.core.applied]
        if self.core.now < self._blanket_until or self._inherited:
            limits.append(self._base)
        limits += [s.unacknowledged[0][0] - 1 for s in self._sessions.values() if s.unacknowledged]
        return limits

    def learn(self, released: int) -> None:
        """A backup hears of the reign's released index: holders have dropped what is older, and
        that stays true."""
        if not self.core.reigning:
            self.released = max(self.released, released)

    def wake_at(self) -> float:
        """When a lease that holds something back runs out."""
        if not self.core.reigning or self.released >= self.core.applied:
            return math.inf
        times = [s.until for s in self._sessions.values() if s.unacknowledged]
        times += list(self._inherited.values())
        if self.core.now < self._blanket_until:
            times.append(self._blanket_until)
        return min(times, default=math.inf) + 1.0

    def applied(self, index: int, keys: tuple[str, ...]) -> None:
        """An entry was applied that makes copies of `keys` old: tell every holder."""
        if not keys or not self.core.reigning:
            return
        for session in self._sessions.values():
            session.unacknowledged.append((index, keys, self.core.now))
            self._invalidate(session, index, keys)

    def _invalidate(self, session: Session, index: int, keys: tuple[str, ...]) -> None:
        self.core.effects.to_holders.append(
            (session.holder, m.Invalidate(session.name, index, keys))
        )

    # --- what holders say ---

    def on_message(self, message: object) -> None:
        """A `Renew`, `Invalidated` or `ReturnLease`."""
        if isinstance(message, m.Renew):
            self._on_renew(message)
        elif isinstance(message, m.Invalidated):
            self._on_invalidated(message)
        elif isinstance(message, m.ReturnLease):
            session = self._sessions.get(message.holder)
            if session is not None and session.name == message.session:
                del self._sessions[message.holder]

    def _on_renew(self, renew: m.Renew) -> None:
        """Leases are granted by a reign that a majority confirms after the renewal arrived: one
        that was cut off would keep an old cache alive."""
        core = self.core
        if not self._may_grant():
            primary = core.reign_id if core.reign_id != core.replica else -1
            core.effects.to_holders.append((renew.holder, m.NotGranted(primary, core.epoch)))
            return
        session = self._sessions.get(renew.holder)
        known = {self._offered.get(renew.holder), session.name if session else None}
        if renew.session not in known:
            self._offer(renew)
        elif len(self._renewals) < 2 * MOST_HOLDERS:
            self._renewals.append(Renewal(renew, core.reign.want_round()))

    def _offer(self, renew: m.Renew) -> None:
        """Offer a session without a lease. The holder drops its copies and renews under the new
        name; until then nothing waits for it, and leases that it may have had before count on."""
        core = self.core
        self._count += 1
        name = f"{core.epoch}-{core.replica}-{self._count}"
        if len(self._offered) >= MOST_HOLDERS and renew.holder not in self._offered:
            return
        self._offered[renew.holder] = name
        core.effects.to_holders.append(
            (renew.holder, m.Granted(name, core.epoch, core.commit, 0.0, renew.sent))
        )

    def _may_grant(self) -> bool:
        core = self.core
        return core.lease_ms > 0 and core.state is State.REIGNING and core.open

    def _grant_confirmed(self) -> None:
        core = self.core
        while self._renewals and self._renewals[0].round <= core.reign.confirmed:
            renewal = self._renewals.popleft()
            if self._may_grant():
                self._grant(renewal.message)

    def _grant(self, renew: m.Renew) -> None:
        core = self.core
        if self._offered.get(renew.holder) == renew.session:
            self._begin_session(renew)
        session = self._sessions.get(renew.holder)
        if session is None or session.name != renew.session:
            return
        if self._overdue(session):
            for index, keys, _ in session.unacknowledged:
                self._invalidate(session, index, keys)
            return
        session.until = core.now + core.lease_ms * DRIFT
        granted = m.Granted(session.name, core.epoch, session.floor, core.lease_ms, renew.sent)
        core.effects.to_holders.append((renew.holder, granted))

    def _begin_session(self, renew: m.Renew) -> None:
        """The holder took the offer up, so it has dropped all older copies: invalidations go to
        it from here on, and its floor is what is committed now."""
        core = self.core
        del self._offered[renew.holder]
        self._inherited.pop(renew.holder, None)
        self._sessions[renew.holder] = Session(renew.session, renew.holder, core.now, core.commit)
        core.note("session_opened", f"{renew.holder} {renew.session}")

    def _overdue(self, session: Session) -> bool:
        """No renewal while an invalidation is unacknowledged for half a lease: a write waits at
        most about one lease for a holder that is gone."""
        if not session.unacknowledged:
            return False
        return self.core.now - session.unacknowledged[0][2] > self.core.lease_ms / 2

    def _on_invalidated(self, message: m.Invalidated) -> None:
        session = self._sessions.get(message.holder)
        if session is None or session.name != message.session:
            return
        # Each by itself: of two invalidations the first may be lost and the second arrive.
        for place, (index, _, _) in enumerate(session.unacknowledged):
            if index == message.index:
                del session.unacknowledged[place]
                return
