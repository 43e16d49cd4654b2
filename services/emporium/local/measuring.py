"""The arithmetic of measuring: medians with their ranges, ratios side by side, parts of a header.

Pure: numbers in, numbers and texts out. Two sides are compared round by round (A B A B ...), so
that a machine that is slow for a while is slow for both; a ratio is the median over the rounds.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave."""

    median: float
    low: float
    high: float

    def text(self, form: str = "{:.2f}") -> str:
        """Median, and the range in brackets."""
        low, high = form.format(self.low), form.format(self.high)
        return f"{form.format(self.median)} ({low}-{high})"

    def to_json(self) -> dict[str, float]:
        """For programs."""
        return {"median": self.median, "low": self.low, "high": self.high}


def spread(values: Iterable[float]) -> Spread:
    """Median and range. Raises ValueError for no values."""
    found = sorted(values)
    if not found:
        raise ValueError("no values")
    return Spread(statistics.median(found), found[0], found[-1])


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Each round's ratio to the same round of the other side. Raises ValueError for rounds that
    don't pair, and where the other side did nothing."""
    if len(numerators) != len(denominators) or not all(denominators):
        raise ValueError("each round needs both sides")
    return spread(a / b for a, b in zip(numerators, denominators, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values don't exceed."""
    found = sorted(values)
    if not found:
        raise ValueError("no values")
    return found[max(0, math.ceil(share * len(found)) - 1)]


# --- gaps ---


def longest_gap(times: Iterable[float], begin: float, end: float) -> float:
    """The longest time without an event in [begin, end], in the unit of the times. An event before
    `begin` and one after `end` bound the gaps at the edges; without one, the edge itself does."""
    found = sorted(times)
    first = max((time for time in found if time <= begin), default=begin)
    last = min((time for time in found if time >= end), default=end)
    inner = [time for time in found if first < time < last]
    marks = [first, *inner, last]
    return max((later - earlier for earlier, later in itertools.pairwise(marks)), default=0.0)


# --- Server-Timing ---


def server_timing(header: str) -> dict[str, float]:
    """Milliseconds by tier of a `Server-Timing` header (W3C); what has no duration isn't there."""
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "dur":
                duration = _number(value.strip().strip('"'))
                if name and duration is not None:
                    found[name] = duration
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def mean_by_tier(headers: Iterable[str]) -> dict[str, float]:
    """The mean of each tier over the answers that name it."""
    found: dict[str, list[float]] = {}
    for header in headers:
        for tier, duration in server_timing(header).items():
            found.setdefault(tier, []).append(duration)
    return {tier: statistics.fmean(durations) for tier, durations in found.items()}


# --- aims ---


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure should reach. `most`: it should be at most `bound`, otherwise at least."""

    bound: float
    text: str
    most: bool = False

    def met(self, value: float) -> bool:
        """Whether `value` reaches it."""
        return value <= self.bound if self.most else value >= self.bound

    def verdict(self, value: float) -> str:
        """`>= 0.8x: met`, or `not met`."""
        return f"{self.text}: {'met' if self.met(value) else 'not met'}"


# --- tables ---


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; all columns but the first are set to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def within(tiers: Mapping[str, float], order: Sequence[str]) -> dict[str, float]:
    """The tiers that were timed, from the outermost of `order` to the innermost."""
    return {tier: tiers[tier] for tier in order if tier in tiers}
