"""The sequence of all sales, which is also the table of all successful request ids.

It isn't trimmed (PROTOCOL 3.4). Each sale carries the hash over everything up to it, starting from
`base`: the text `ledger_chain` of the catalog's data set, or, where that is empty, a hash of the
data set; a backup keeps the chain, so that a restored store goes on in the same ledger.

The order group keeps the same structure: its orders are the sales. It starts with an empty base
and adopts the chain of sale 1.

A sale is kept as one compact JSON row: a snapshot of many sales is then a join of texts, not an
encoding that would stop the replica for seconds.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from emporium.catalog.requests import Sale

_CHAIN_CHARACTERS = 32  # of the hexadecimal SHA-256: 128 bits against accidents and mix-ups
_SALE_FIELDS = 8  # of a row; the log index follows
_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class BrokenLedger(RuntimeError):
    """A ledger that contradicts itself: this replica must not go on."""


def first_chain(text: str) -> str:
    """The base of a chain, made from any text."""
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:_CHAIN_CHARACTERS]


def next_chain(previous: str, sale: Sale) -> str:
    """The chain hash of `sale` after `previous`; the sale's own chain field isn't looked at."""
    number, stamp = sale.number, sale.stamp
    row = [number, sale.request_id, sale.item, sale.quantity, sale.side, sale.price, stamp]
    return first_chain(previous + _dump(row))


def fingerprint(purchase: Any) -> tuple[str, int, str]:
    """What a request id stands for (PROTOCOL 3.1), of a TakeStock, a Purchase or a Sale."""
    return (purchase.item, purchase.quantity, purchase.side)


class Ledger:
    """Sales by number (from 1) and by request id. Equal ledgers give equal rows and chains."""

    def __init__(self, base: str = "") -> None:
        self.base = base
        self.chain = base
        self._rows: list[str] = []
        self._indexes: list[int] = []  # log index at which each sale was applied; ascending
        self._numbers: dict[str, int] = {}  # by request id

    @property
    def length(self) -> int:
        """How many sales there are; the newest number."""
        return len(self._rows)

    def fits(self, sale: Sale) -> bool:
        """Whether `sale` is the next one, under a request id that isn't used yet."""
        if sale.number != self.length + 1 or sale.request_id in self._numbers:
            return False
        if not self.chain:
            return bool(sale.chain)
        return sale.chain == next_chain(self.chain, sale)

    def append(self, index: int, sale: Sale) -> None:
        """Add `sale`, applied at log index `index`. The caller has made sure that it fits."""
        row = [sale.number, sale.request_id, sale.item, sale.quantity, sale.side, sale.price]
        self._add(index, [*row, sale.stamp, sale.chain, index])

    def sale(self, number: int) -> Sale | None:
        """The sale of this number."""
        if not 0 < number <= self.length:
            return None
        return Sale(*json.loads(self._rows[number - 1])[:_SALE_FIELDS])

    def find(self, request_id: str) -> Sale | None:
        """The sale under this request id."""
        number = self._numbers.get(request_id)
        return None if number is None else self.sale(number)

    def knows(self, request_id: str) -> bool:
        """Whether there is a sale under this request id."""
        return request_id in self._numbers

    def after(self, number: int, last: int, limit: int) -> tuple[Sale, ...]:
        """At most `limit` sales with numbers above `number`, up to `last`."""
        start = max(0, number)
        rows = self._rows[start : min(start + limit, last)]
        return tuple([Sale(*json.loads(row)[:_SALE_FIELDS]) for row in rows])

    def visible(self, released: int) -> int:
        """The number of the newest sale whose log index is at most `released`."""
        return bisect.bisect_right(self._indexes, released)

    def chain_at(self, number: int) -> str | None:
        """The chain hash after sale `number`; None when the ledger is shorter."""
        if number == 0:
            return self.base
        sale = self.sale(number)
        return None if sale is None else sale.chain

    def holds(self, number: int, chain: str) -> bool:
        """Whether the past of somebody who is at `number` with hash `chain` is in this ledger.
        Somebody who has nothing yet doesn't know the base, and is at home in any ledger."""
        if number == 0 and not chain:
            return True
        return self.chain_at(number) == chain

    def rows_text(self) -> str:
        """All rows as one JSON array."""
        return f"[{','.join(self._rows)}]"

    def load(self, rows: Iterable[list[Any]], *, keep_indexes: bool) -> None:
        """Take over the rows of a snapshot into this empty ledger; `keep_indexes` is False for
        another group's rows, whose log indexes mean nothing here. Raises BrokenLedger."""
        for row in rows:
            sale = Sale(*row[:_SALE_FIELDS])
            if not self.fits(sale):
                raise BrokenLedger(f"sale {sale.number} doesn't follow sale {self.length}")
            self.append(int(row[_SALE_FIELDS]) if keep_indexes else 0, sale)

    def _add(self, index: int, row: list[Any]) -> None:
        self._rows.append(_dump(row))
        self._indexes.append(index)
        self._numbers[row[1]] = row[0]
        self.chain = row[_SALE_FIELDS - 1]
