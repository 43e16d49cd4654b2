"""The clocks."""

from __future__ import annotations

import pytest

from emporium.runtime.clock import SYSTEM, Clock, ManualClock


def test_the_system_clock_never_goes_back() -> None:
    """Periods are differences of `now_ms`."""
    moments = [SYSTEM.now_ms() for _ in range(1000)]
    assert moments == sorted(moments)


def test_a_sleep_takes_at_least_its_time() -> None:
    """Milliseconds in, milliseconds gone."""
    before = SYSTEM.now_ms()
    SYSTEM.sleep_ms(5)
    assert SYSTEM.now_ms() - before >= 5


def test_stamps_are_milliseconds_since_1970() -> None:
    """Some time after this was written, and in this millennium."""
    assert 1_700_000_000_000 < SYSTEM.stamp_ms() < 32_503_680_000_000


def test_a_manual_clock_moves_only_when_told() -> None:
    """A sleep is an advance; the wall clock may jump by itself."""
    clock = ManualClock(now_ms=10, stamp_ms=1000)
    port: Clock = clock
    port.sleep_ms(2.5)
    assert (port.now_ms(), port.stamp_ms()) == (12.5, 1002)
    clock.set_stamp(7)
    assert (port.now_ms(), port.stamp_ms()) == (12.5, 7)


def test_a_manual_clock_refuses_to_go_back() -> None:
    """No monotonic clock does."""
    with pytest.raises(ValueError, match="can't go back by 1 ms"):
        ManualClock().advance(-1)
