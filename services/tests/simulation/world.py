"""Virtual time, random numbers, counts and the trace.

The trace has one line per event, `TIME WHO VERB DETAIL`, time in virtual ms since the start:

    c0 o2 f1 k0 x3   catalog 0, order 2, frontend 1, cache 0, client 3
    > name message   sends (also `>>`, early: while it still syncs)
    step n           steps with n events
    sync             a transaction reached the disk
    note name ...    a note of the core or desk (elections, adoptions, snapshots, ...)
    reply            answers a request
    fault ...        the nemesis did something
    call, done       a client's operation begins, ends
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any


class SimulationFailure(Exception):
    """A promise is broken. The message says which and how."""


class World:
    """What everything in a simulation shares."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0  # true virtual time in ms; every process sees it through its own clock
        self.counts: Counter[str] = Counter()
        self.tracing = tracing
        self.trace: list[str] = []
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action` in `delay` ms."""
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action, arguments))

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action` at `when`, or now if that is over."""
        heapq.heappush(self._queue, (max(when, self.now), next(self._order), action, arguments))

    def run_until(self, end: float) -> None:
        """Let virtual time pass up to `end`."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(queue)
            action(*arguments)
        self.now = end

    def log(self, who: str, verb: str, detail: object = "") -> None:
        """One line of the trace. Callers look at `tracing` first where it costs."""
        if self.tracing:
            self.trace.append(f"{self.now:10.3f} {who:3} {verb} {detail}".rstrip())

    def count(self, name: str) -> None:
        """Something happened that the summary tells."""
        self.counts[name] += 1

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        """Any number of this range."""
        return low + (high - low) * self.random.random()
