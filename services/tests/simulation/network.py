"""The network: each direction of each link may lose, delay, duplicate and reorder.

`ordered` keeps the messages of one direction in their order, as a stream does; otherwise they may
overtake each other. A cut direction swallows everything without a word. Nothing is promised about
a message that is on its way when its receiver dies: it may reach the next process at that address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.world import World

Direction = tuple[str, str]


class Network:
    """All links, by the names of their ends."""

    def __init__(self, world: World, *, ordered: bool, delay_ms: float) -> None:
        self.world = world
        self.ordered = ordered
        self.delay_ms = delay_ms
        self.loss = 0.0
        self.duplicate = 0.0
        self.late = 0.0  # how many messages take `late_ms` more
        self.late_ms = 200.0
        self.swallow: Callable[[str, tuple[Any, ...]], bool] | None = None  # of a script
        self.cuts: dict[Direction, int] = {}  # how many faults cut this direction
        self._last: dict[Direction, float] = {}
        self._held: dict[Direction, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}

    def cut(self, source: str, target: str) -> None:
        """Swallow everything in this direction until `mend`."""
        self.cuts[source, target] = self.cuts.get((source, target), 0) + 1

    def mend(self, source: str, target: str) -> None:
        """Undo one `cut`."""
        left = self.cuts.pop((source, target), 0) - 1
        if left > 0:
            self.cuts[source, target] = left

    def hold(self, source: str, target: str) -> None:
        """Keep everything of this direction until `release`."""
        self._held[source, target] = []

    def release(self, source: str, target: str) -> None:
        """Bring what was held."""
        for deliver, arguments in self._held.pop((source, target), []):
            self._bring(source, target, deliver, arguments)

    def open(self, source: str, target: str) -> bool:
        """Whether anything gets through in this direction."""
        return (source, target) not in self.cuts

    def send(self, source: str, target: str, deliver: Callable[..., None], *arguments: Any) -> None:
        """Bring a message to `deliver(*arguments)`, or not."""
        if self.cuts and (source, target) in self.cuts:
            self.world.counts["cut_messages"] += 1
            return
        if self.swallow is not None and self.swallow(source, arguments):
            return
        if self._held and (source, target) in self._held:
            self._held[source, target].append((deliver, arguments))
            return
        world = self.world
        if self.loss and world.random.random() < self.loss:
            world.counts["lost_messages"] += 1
            return
        self._bring(source, target, deliver, arguments)
        if self.duplicate and world.random.random() < self.duplicate:
            world.counts["duplicated_messages"] += 1
            self._bring(source, target, deliver, arguments)

    def _bring(
        self, source: str, target: str, deliver: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        world = self.world
        delay = self.delay_ms * (0.5 + world.random.random())
        if self.late and world.random.random() < self.late:
            world.counts["late_messages"] += 1
            delay += self.late_ms * world.random.random()
        when = world.now + delay
        last = self._last.get((source, target), 0.0)
        if when < last:
            if self.ordered:
                when = last
            else:
                world.counts["reordered_messages"] += 1
        self._last[source, target] = max(when, last)
        world.at(when, deliver, *arguments)
