"""What clients did and saw: one record per operation, with the times of its call and its answer.

Times are nanoseconds of one process's monotonic clock, so a history comes from one process (with
many threads). A purchase with all its retries under one request id is one operation: called when
the first try left, answered when a definite answer came. The history of a scenario lies beside
its report as JSON lines.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

READ, BUY, SELL, RESTOCK = "read", "buy", "sell", "restock"
OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"
KINDS = (READ, BUY, SELL, RESTOCK)
OUTCOMES = (OK, REFUSED, UNKNOWN)


def now_ns() -> int:
    """The clock of a history."""
    return time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. A read has `stock` when it is OK; a buy or sell that is OK has `number`, or
    0 where the answer named none (the bookstore's `/buy`)."""

    process: str
    kind: str
    item: str
    invoked: int
    returned: int | None  # None: no answer ever came
    outcome: str
    request_id: str = ""
    quantity: int = 1
    number: int = 0
    stock: int = -1
    commit_index: int = -1
    cached: bool = False
    repeated: bool = False
    reason: str = ""  # of a refusal, or why the outcome isn't known

    def __post_init__(self) -> None:
        """Refuse what no client can have seen."""
        if self.kind not in KINDS or self.outcome not in OUTCOMES:
            raise ValueError(f"no such operation: {self.kind} {self.outcome}")
        if self.returned is not None and self.returned < self.invoked:
            raise ValueError("an answer can't come before the call")

    @property
    def acknowledged(self) -> bool:
        """Whether the client was told that it has a purchase."""
        return self.kind in (BUY, SELL) and self.outcome == OK


class Recorder:
    """A history in the making; every thread may record into it."""

    def __init__(self) -> None:
        """Begin an empty history."""
        self._lock = threading.Lock()
        self._operations: list[Operation] = []

    def record(self, operation: Operation) -> None:
        """Add one finished (or given up) operation."""
        with self._lock:
            self._operations.append(operation)

    def operations(self) -> list[Operation]:
        """All operations so far, by the time of their call."""
        with self._lock:
            copy = list(self._operations)
        return sorted(copy, key=lambda operation: operation.invoked)

    def __len__(self) -> int:
        """How many operations there are."""
        with self._lock:
            return len(self._operations)


def write(path: Path, operations: Iterable[Operation]) -> None:
    """Write a history, one JSON object per line."""
    with path.open("w", encoding="utf-8") as file:
        for operation in operations:
            file.write(json.dumps(dataclasses.asdict(operation)) + "\n")


def read(path: Path) -> list[Operation]:
    """Read a history. Raises ValueError, naming the line."""
    operations = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                operations.append(Operation(**json.loads(line)))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    return operations
