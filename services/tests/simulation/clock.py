"""Manual clocks that drift: what one machine shows when the virtual time is `true_ms`."""

from __future__ import annotations

from dataclasses import dataclass

WALL_START_MS = 1_700_000_000_000


@dataclass(slots=True)
class DriftingClock:
    """A monotonic clock that starts anywhere and runs at its own rate, and a wall clock."""

    start_ms: float
    rate: float
    wall_ahead_ms: int = 0
    origin_ms: float = 0.0  # what the monotonic clock showed at virtual time 0

    def __post_init__(self) -> None:
        """The wall clock is right at the start."""
        self.origin_ms = self.start_ms

    def local(self, true_ms: float) -> float:
        """Monotonic ms."""
        return self.start_ms + true_ms * self.rate

    def change_rate(self, rate: float, true_ms: float) -> None:
        """Run faster or slower from now on."""
        self.start_ms, self.rate = self.local(true_ms) - true_ms * rate, rate

    def true(self, local_ms: float) -> float:
        """When the monotonic clock shows `local_ms`."""
        return (local_ms - self.start_ms) / self.rate

    def wall(self, true_ms: float) -> int:
        """Wall clock, ms since 1970."""
        return WALL_START_MS + self.wall_ahead_ms + int(self.local(true_ms) - self.origin_ms)
