"""Brings sales into their order: from takes and from the ledger feed, in whatever order they come.

The window: numbers up to `recorded` are in the state; up to `proposed` they have been handed out;
up to `reach` all are here, without a gap; above a gap some may wait in the buffer. The ledger is
asked for what follows `reach`: after the first gap, never after the greatest number seen (else
sale 7 is skipped when 8 comes first).

Invariant: recorded <= proposed <= reach, and the buffer holds exactly the sales of
recorded + 1 ... reach, and at most BUFFER_LIMIT in all.
"""

from __future__ import annotations

from emporium.catalog.ledger import next_chain
from emporium.catalog.requests import Sale

BUFFER_LIMIT = 1_024
IN_FLIGHT_LIMIT = 256  # sales proposed and not yet recorded


class SaleSequencer:
    """The next sales to record, without gap or duplicate."""

    def __init__(self, watermark: int = 0, chain: str = "") -> None:
        self._buffer: dict[int, Sale] = {}
        self.recorded = watermark
        self.proposed = watermark
        self.reach = watermark
        self.reach_chain = chain

    def restart(self, watermark: int, chain: str) -> None:
        """Forget everything and go on after `watermark`, whose chain hash is `chain`."""
        self._buffer = {}
        self.recorded = self.proposed = self.reach = watermark
        self.reach_chain = chain

    def offer(self, sale: Sale) -> bool:
        """Take a sale in. False: known already, no place, or not of this ledger."""
        if sale.number <= self.reach or sale.number in self._buffer:
            return False
        if not self._make_room(sale.number):
            return False
        self._buffer[sale.number] = sale
        self._extend_reach()
        return sale.number in self._buffer

    def ready(self) -> list[Sale]:
        """The next sales to propose, in order; each is handed out once."""
        last = min(self.reach, self.recorded + IN_FLIGHT_LIMIT)
        sales = [self._buffer[number] for number in range(self.proposed + 1, last + 1)]
        self.proposed = max(self.proposed, last)
        return sales

    def record(self, number: int, chain: str) -> None:
        """The state has every sale up to `number`, whose chain hash is `chain`."""
        if number <= self.recorded:
            return
        for old in range(self.recorded + 1, number + 1):
            self._buffer.pop(old, None)
        self.recorded = number
        self.proposed = max(self.proposed, number)
        if number > self.reach:
            self.reach, self.reach_chain = number, chain
            self._extend_reach()

    def rewind(self) -> None:
        """What was handed out and isn't recorded has failed: hand it out again."""
        self.proposed = self.recorded

    @property
    def gap(self) -> bool:
        """Whether a sale waits here for one before it that is missing."""
        return len(self._buffer) > self.reach - self.recorded

    @property
    def has_room(self) -> bool:
        """Whether a page of the ledger is welcome; what waits above a gap gives way to it."""
        return self.reach - self.recorded < BUFFER_LIMIT // 2

    def fetch_after(self) -> tuple[int, str]:
        """After which sale to ask the ledger: its number and its chain hash."""
        return self.reach, self.reach_chain

    def _make_room(self, number: int) -> bool:
        """Whether there is a place for `number`; a farther sale gives up its own, because the
        nearest are needed first, and the ledger brings the others again."""
        if len(self._buffer) < BUFFER_LIMIT:
            return True
        farthest = max(self._buffer)
        if farthest <= max(number, self.reach):
            return False
        del self._buffer[farthest]
        return True

    def _extend_reach(self) -> None:
        while self.reach + 1 in self._buffer:
            sale = self._buffer[self.reach + 1]
            if not self._fits(sale):
                del self._buffer[sale.number]
                return
            self.reach, self.reach_chain = sale.number, sale.chain

    def _fits(self, sale: Sale) -> bool:
        """Whether `sale` follows `reach` in the same ledger; before sale 1 any base will do."""
        if not self.reach_chain:
            return bool(sale.chain)
        return sale.chain == next_chain(self.reach_chain, sale)
