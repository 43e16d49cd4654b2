"""How a group chooses who reigns: a small policy over the core (DESIGN 3).

The policies decide who stands and when, and which log the reign begins with; who may commit is
decided by epochs, promises and majorities alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Mode(Protocol):
    """What the core asks a mode."""

    name: str
    adopts: bool  # a reign begins with the most up-to-date log of its promise majority
    hands_back: bool  # the reign is given to a preferred replica when it returns

    def rank(self, replica: int, others: Iterable[int]) -> int:
        """How many of the `others` (alive and caught up) stand before `replica`."""

    def preferred(self, replica: int, reigning: int) -> bool:
        """Whether `replica` should reign rather than `reigning` when both can."""


class PrimaryBackup:
    """The smallest id stands first and gets the reign back when it returns (seeds 000, 001)."""

    name = "primary-backup"
    adopts = True
    hands_back = True

    def rank(self, replica: int, others: Iterable[int]) -> int:
        """The number of smaller ids."""
        return sum(other < replica for other in others)

    def preferred(self, replica: int, reigning: int) -> bool:
        """The smaller id."""
        return replica < reigning


MODES: dict[str, type[PrimaryBackup]] = {PrimaryBackup.name: PrimaryBackup}


def mode_of(name: str) -> Mode:
    """The policy called `name`. Raises ValueError with the names there are."""
    if name not in MODES:
        raise ValueError(f"mode: {name!r} is not known; allowed: {', '.join(MODES)}")
    return MODES[name]()
