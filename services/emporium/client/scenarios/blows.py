"""Blows that are repeated and timed: how long can nobody buy?

The gap of a blow is the longest time between two successful buys of any client, from just before
the blow until the store is whole again, a hand-back included.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emporium.client.cluster import GROUPS, DeadlinePassedError, Replica
from emporium.client.history import BUY, UNKNOWN, Operation, now_ns
from emporium.client.scenarios.stage import Stage

Strike = Callable[[str], None]
"""Hits the named process, and returns when that is done."""
Compare = Callable[[Replica, Replica], bool]
"""Whether a blow did what it should, by the replica as it was before and as it is after."""
PROMPT_S = 5.0
"""A purchase that takes longer is a slow one."""


@dataclass(frozen=True, slots=True)
class Bar:
    """How long nobody may be able to buy: the median over all blows and the longest, in
    seconds."""

    median_s: float
    most_s: float

    def verdict(self, gaps: Sequence[float]) -> str:
        """Figures and bar, in one line."""
        median, most = statistics.median(gaps), max(gaps)
        word = "met" if median <= self.median_s and most <= self.most_s else "MISSED"
        return (
            f"{word}: {len(gaps)} blows, median {median:.2f} s (bar {self.median_s:g}),"
            f" longest {most:.2f} s (bar {self.most_s:g})"
        )


def longest_gap_s(operations: Sequence[Operation], since: int, until: int | None = None) -> float:
    """The longest time without a successful buy from `since` to the last one (or to `until`)."""
    moments = sorted(
        operation.returned
        for operation in operations
        if operation.kind == BUY and operation.acknowledged and operation.returned is not None
    )
    inside = [moment for moment in moments if since < moment < (until or moment + 1)]
    ends = [until] if until else []
    return max((b - a for a, b in itertools.pairwise([since, *inside, *ends])), default=0) / 1e9


@dataclass(frozen=True, slots=True)
class Promptness:
    """How soon purchases ended that weren't refused."""

    share: float  # of them acknowledged within PROMPT_S
    count: int
    longest_s: float  # of those acknowledged

    def __str__(self) -> str:
        """In one line."""
        return (
            f"{self.share:.2%} of {self.count} purchases within {PROMPT_S:g} s,"
            f" the longest took {self.longest_s:.2f} s"
        )


def promptness(operations: Sequence[Operation]) -> Promptness:
    """Of all purchases of a history."""
    buys = [o for o in operations if o.kind == BUY and (o.acknowledged or o.outcome == UNKNOWN)]
    took = [(o.returned - o.invoked) / 1e9 for o in buys if o.acknowledged and o.returned]
    soon = sum(seconds <= PROMPT_S for seconds in took)
    return Promptness(soon / max(1, len(buys)), len(buys), max(took, default=0.0))


def blow(
    stage: Stage, role: str, strike: Strike, mend: Strike | None = None
) -> tuple[float, Replica, Replica]:
    """Hit the primary of a group; another reigns and sells; mend it, and wait until the store is
    whole. Gives the gap in seconds, and the replica before and after; raises DeadlinePassedError
    where it doesn't heal."""
    # What is mended takes a while to strike, and mustn't find the reign handed back meanwhile. Else
    # whoever reigns is hit at once: after many blows a hand-back takes its time (PROTOCOL 2.4).
    before = stage.primary(role) if mend is None else stage.settled_primary(role)
    struck = now_ns()
    strike(before.name)
    try:
        stage.wait_reign(role, before.epoch)
        stage.go_on_buying(10)
    finally:
        if mend is not None:
            mend(before.name)
    after = next(r for r in stage.wait_healthy() if r.name == before.name)
    stage.go_on_buying(1)
    gap = longest_gap_s(stage.recorder.operations(), struck, now_ns())
    return gap, before, after


def _proved(stage: Stage, proof: Compare, before: Replica, now: Replica) -> Replica:
    """The replica once it proves the blow, or as it is at last: a busy substrate may still tell of
    the old process when the new one serves."""
    found = [now]

    def proves() -> bool:
        if proof(before, found[-1]):
            return True
        found.append(stage.replica(before.name))
        return False

    with contextlib.suppress(DeadlinePassedError):  # the evidence will say so
        stage.cluster.wait_until(proves, stage.options.settle_s, f"{before.name} proves the blow")
    return found[-1]


def repeat(
    stage: Stage,
    strike: Strike,
    bar: Bar | None = None,
    *,
    mend: Strike | None = None,
    times: int = 0,
    proof: tuple[str, Compare] | None = None,
) -> None:
    """Blows to the primaries of catalog and order in turn (`times`; 0: as the options say); their
    gaps become figures. `proof` is evidence that must hold of each. A missed bar is told, not
    failed: it speaks of one machine's speed."""
    gaps: list[float] = []
    shown: list[bool] = []
    processes: list[str] = []
    epochs = {role: stage.primary(role).epoch for role in GROUPS}
    times = times or stage.options.repeats
    for number in range(times):
        role = GROUPS[number % len(GROUPS)]
        gap, before, now = blow(stage, role, strike, mend)
        gaps.append(gap)
        if proof is not None:
            now = _proved(stage, proof[1], before, now)
            shown.append(proof[1](before, now))
        processes.append(f"{now.name} {before.process or before.pid} → {now.process or now.pid}")
        stage.say(f"   {number + 1}/{times} {role}'s primary: {gaps[-1]:.2f} s")
    after = {role: stage.primary(role).epoch for role in GROUPS}
    told = ", ".join(f"{role} {epochs[role]} → {after[role]}" for role in GROUPS)
    if proof is not None:
        stage.evidence(proof[0], all(shown), ", ".join(processes))
    hit = GROUPS[: len(gaps)]
    stage.evidence("a new epoch for each blow", all(after[r] > epochs[r] for r in hit), told)
    stage.result.figures["gaps_s"] = " ".join(f"{gap:.2f}" for gap in gaps)
    stage.result.figures["gap_median_s"] = statistics.median(gaps)
    stage.result.figures["gap_longest_s"] = max(gaps)
    if bar is not None:
        stage.result.figures["bar"] = bar.verdict(gaps)
