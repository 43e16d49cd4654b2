"""The rule of the order group: orders are the catalog's sales, in their order (PROTOCOL 3.2).

`apply` accepts only number watermark + 1 with the chain hash that fits, under a new request id. So
order numbers have neither gap nor duplicate whatever is proposed, and the orders can be rebuilt
from the ledger with the same numbers.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from emporium.catalog.ledger import Ledger
from emporium.catalog.requests import BUY, Sale
from emporium.order.requests import OrderRecorded, RecordSale
from emporium.replication import wire
from emporium.replication.failures import Malformed, Unavailable
from emporium.replication.state_machine import Outcome

_VERSION = 1
_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class BadState(ValueError):
    """A snapshot or data set that can't be loaded: what is wrong with it, in one line."""


class OrderState:
    """All orders by number and by request id; the replicated state of the order group."""

    stamp: int  # the newest order's, by the catalog's stamped time, ms since 1970
    orders: Ledger

    def __init__(self) -> None:
        self._clear("")

    @property
    def watermark(self) -> int:
        """The newest order number; 0 before the first."""
        return self.orders.length

    @property
    def chain(self) -> str:
        """The ledger's chain hash at the watermark; empty before the first order."""
        return self.orders.chain

    def start(self, data: str) -> tuple[str, ...]:
        """Begin empty (data "" or "{}"), or from a backup: {"restored": what `snapshot` gave}.
        Raises BadState."""
        try:
            plain = _json_object(data or "{}")
            if "restored" in plain:
                self._load(_json_object(plain["restored"]), keep_indexes=False)
            else:
                self._clear("")
        except (ValueError, TypeError, KeyError, LookupError, RuntimeError) as error:
            raise BadState(f"no data set of the orders: {error!r}") from error
        return ()

    def apply(self, index: int, command: str) -> Outcome:
        """Record one sale, or say why not. Never raises for a command."""
        try:
            record = wire.decode(command)
        except (wire.WireError, RecursionError) as error:
            return Outcome(Malformed("command", str(error)[:200]))
        if not isinstance(record, RecordSale):
            return Outcome(Malformed("command", f"{type(record).__name__} is no order command"))
        return self._record(index, record.sale)

    def snapshot(self) -> str:
        """The whole state as JSON text, the same for equal states."""
        base, stamp = _dump(self.orders.base), _dump(self.stamp)
        head = f'"version":{_VERSION},"stamp":{stamp},"base":{base}'
        return f'{{{head},"orders":{self.orders.rows_text()}}}'

    def restore(self, state: str) -> None:
        """Replace everything by what `snapshot` gave. Raises BadState."""
        try:
            self._load(_json_object(state), keep_indexes=True)
        except (ValueError, TypeError, KeyError, LookupError, RuntimeError) as error:
            raise BadState(f"no snapshot of the orders: {error!r}") from error

    def digest(self) -> str:
        """A hash of the state, equal for equal states, in O(1): the chain covers all orders."""
        text = _dump([self.orders.length, self.orders.chain, self.stamp])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def books_text(self) -> str:
        """Pieces by item as JSON text: {item: {"bought": pieces, "sold_back": pieces}}."""
        names = ("bought", "sold_back")
        return _dump({item: dict(zip(names, row, strict=True)) for item, row in self._items()})

    def _record(self, index: int, sale: Sale) -> Outcome:
        known = self.orders.sale(sale.number)
        if known is not None and known == sale:
            return Outcome(OrderRecorded(sale, repeated=True))
        if not self._accepts(sale):
            reason = f"order {self.watermark + 1} of the ledger is next, not sale {sale.number}"
            return Outcome(Unavailable(reason))
        self.orders.append(index, sale)
        self._count(sale)
        return Outcome(OrderRecorded(sale, repeated=False))

    def _accepts(self, sale: Sale) -> bool:
        """Only the next sale of the same ledger, under a request id of its own."""
        return self.orders.fits(sale)

    def _count(self, sale: Sale) -> None:
        self.stamp = max(self.stamp, sale.stamp)
        pieces = self._pieces.setdefault(sale.item, [0, 0])
        pieces[0 if sale.side == BUY else 1] += sale.quantity

    def _items(self) -> list[tuple[str, list[int]]]:
        return sorted(self._pieces.items())

    def _clear(self, base: str) -> None:
        self.stamp = 0
        self.orders = Ledger(base)
        self._pieces: dict[str, list[int]] = {}  # by item: bought, sold back

    def _load(self, plain: dict[str, Any], *, keep_indexes: bool) -> None:
        if plain["version"] != _VERSION:
            raise BadState(f"snapshot version {plain['version']}, this is version {_VERSION}")
        self._clear(plain["base"])
        self.orders.load(plain["orders"], keep_indexes=keep_indexes)
        for number in range(1, self.orders.length + 1):
            sale = self.orders.sale(number)
            if sale is not None:
                self._count(sale)
        self.stamp = max(self.stamp, plain["stamp"])


def _json_object(text: str) -> dict[str, Any]:
    plain = json.loads(text)
    if not isinstance(plain, dict):
        raise BadState(f"expected a JSON object, got {text[:40]!r}")
    return plain
