"""The two clocks: a monotonic one for periods, leases and deadlines, and the wall's for stamps.

The monotonic clock must also run while the machine sleeps: a holder that wakes from a suspended
laptop must see that its lease is over (PROTOCOL 4.2). Linux has CLOCK_BOOTTIME for that; on macOS
CLOCK_MONOTONIC does it. Nothing else in Emporium reads a clock (test_tidy).
"""

from __future__ import annotations

import time
from typing import Final, Protocol

NANOSECONDS_PER_MS: Final = 1_000_000
_THROUGH_SLEEP: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the runtime asks for the time."""

    def now_ms(self) -> float:
        """Milliseconds, monotonic; only differences mean something."""

    def stamp_ms(self) -> int:
        """Milliseconds since 1970; may jump."""

    def sleep_ms(self, duration_ms: float) -> None:
        """Let so many milliseconds pass."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> float:
        """Milliseconds since the machine started, sleep included."""
        return time.clock_gettime_ns(_THROUGH_SLEEP) / NANOSECONDS_PER_MS

    def stamp_ms(self) -> int:
        """Milliseconds since 1970 by the wall clock."""
        return time.time_ns() // NANOSECONDS_PER_MS

    def sleep_ms(self, duration_ms: float) -> None:
        """Block this thread."""
        time.sleep(max(0.0, duration_ms) / 1000)


class ManualClock:
    """A clock that moves only when told to. Its twin for tests; not for several threads."""

    def __init__(self, now_ms: float = 0.0, stamp_ms: int = 1_700_000_000_000) -> None:
        """Start at any time."""
        self._now_ms = now_ms
        self._stamp_ms = float(stamp_ms)

    def now_ms(self) -> float:
        """Where `advance` has brought it."""
        return self._now_ms

    def stamp_ms(self) -> int:
        """Where `advance` and `set_stamp` have brought it."""
        return int(self._stamp_ms)

    def sleep_ms(self, duration_ms: float) -> None:
        """Advance at once."""
        self.advance(max(0.0, duration_ms))

    def advance(self, duration_ms: float) -> None:
        """Move both clocks forward. Raises ValueError for going back."""
        if duration_ms < 0:
            raise ValueError(f"a monotonic clock can't go back by {-duration_ms:g} ms")
        self._now_ms += duration_ms
        self._stamp_ms += duration_ms

    def set_stamp(self, stamp_ms: int) -> None:
        """Let the wall clock jump, in either direction."""
        self._stamp_ms = float(stamp_ms)


SYSTEM: Final = SystemClock()
