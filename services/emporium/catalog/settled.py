"""The outcomes that are no sale: refused takes, and the operator's changes, by request id.

They age out after 24 hours of stamped time and never by count (PROTOCOL 3.3). When the table is
full, a command that would need a place in it is answered `Overloaded` and leaves its id free;
takes that succeed go on, because the ledger has room for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from emporium.catalog.books import add_hash, text_hash
from emporium.replication import wire

KEEP_MS = 24 * 60 * 60 * 1000
LIMIT = 50_000  # about 15 MB of memory

Mark = tuple[object, ...]  # what the request id stands for: kind and fields of the request
_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Settled:
    """Outcomes in the order of their stamps, as compact JSON rows. `digest`: of the set."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.digest = 0
        self._rows: dict[str, tuple[int, str]] = {}  # request id to (stamp, row)

    def __len__(self) -> int:
        """The number of outcomes."""
        return len(self._rows)

    @property
    def full(self) -> bool:
        """Whether there is no place for another outcome."""
        return len(self._rows) >= self.limit

    def find(self, request_id: str) -> tuple[Mark, object] | None:
        """What the id stands for, and its outcome."""
        found = self._rows.get(request_id)
        if found is None:
            return None
        _, _, mark, fact = json.loads(found[1])
        return tuple(mark), wire.from_plain(fact)

    def add(self, request_id: str, stamp: int, mark: Mark, fact: object) -> None:
        """Keep an outcome. Stamps never go back, so that the oldest is always the first."""
        self._add(request_id, stamp, _dump([request_id, stamp, mark, wire.to_plain(fact)]))

    def age(self, stamp: int) -> None:
        """Forget what is older than 24 hours at `stamp`."""
        while self._rows:
            request_id, (written, row) = next(iter(self._rows.items()))
            if written + KEEP_MS > stamp:
                return
            del self._rows[request_id]
            self.digest = add_hash(self.digest, -text_hash(row))

    def rows_text(self) -> str:
        """All rows as one JSON array."""
        return f"[{','.join(row for _, row in self._rows.values())}]"

    def load(self, rows: Iterable[list[Any]]) -> None:
        """Take over the rows of a snapshot into this empty table."""
        for row in rows:
            self._add(row[0], row[1], _dump(row))

    def _add(self, request_id: str, stamp: int, row: str) -> None:
        self._rows[request_id] = (stamp, row)
        self.digest = add_hash(self.digest, text_hash(row))
