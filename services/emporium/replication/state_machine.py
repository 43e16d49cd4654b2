"""What a group replicates: three methods, nothing more (DESIGN 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `apply` decided: a fact (any registered record), the cache keys whose copies it made
    old, and the lines for the operation log. A refusal is an outcome, never an exception."""

    fact: object
    keys: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()


class StateMachine(Protocol):
    """Deterministic: the same commands in the same order give the same state and outcomes."""

    stamp: int  # newest stamped time, in ms since 1970; 0 where the machine has none

    def apply(self, index: int, command: str) -> Outcome:
        """Apply one committed command (JSON text). Never raises for a command (PROTOCOL 1.10)."""

    def start(self, data: str) -> tuple[str, ...]:
        """Load the data set that the genesis entry carries (JSON text); give the lines that the
        operation log gets for it."""

    def snapshot(self) -> str:
        """The whole state as text."""

    def restore(self, state: str) -> None:
        """Replace the whole state by one that `snapshot` gave."""
