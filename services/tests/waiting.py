"""Waiting in tests: for a fact and up to a deadline, never for a time (test_tidy)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    fact: Callable[[], T], what: str, timeout_s: float = 10.0, every_s: float = 0.01
) -> T:
    """The first true value of `fact`. Raises AssertionError, naming `what`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {value!r}")
        time.sleep(every_s)


def never(fact: Callable[[], object], what: str, for_s: float, every_s: float = 0.01) -> None:
    """`fact` stays false for `for_s`. Raises AssertionError, naming `what`, when it doesn't."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        value = fact()
        assert not value, f"unexpected: {what}; seen: {value!r}"
        time.sleep(every_s)
