"""An order replica in the hands of a test, which plays the catalog."""

from __future__ import annotations

from typing import Any

from emporium.catalog.requests import (
    BUY,
    AdmitOrders,
    LedgerPage,
    OrdersAdmitted,
    PollLedger,
    Sale,
    StockTaken,
    TakeStock,
)
from emporium.order.desk import OrderDesk
from emporium.order.requests import (
    Purchase,
)
from emporium.order.state_machine import OrderState
from emporium.replication.effects import Call
from tests.unit.catalog_data import START, sales_of
from tests.unit.fake_port import FakePort, Replica, Said, heartbeat

SALES = sales_of(40)


class Orders(Replica):
    """An order replica, and the test in the catalog's place."""

    def __init__(self, **port: Any) -> None:
        self.state = OrderState()
        self.orders = OrderDesk(self.state)
        super().__init__(self.state, self.orders, FakePort(**port))

    def call(self, kind: type) -> Call:
        """The one call of this kind since the last look; the others stay."""
        found = [call for call in self.port.calls if isinstance(call.payload, kind)]
        assert len(found) == 1, (kind, self.port.calls)
        self.port.calls.remove(found[0])
        return found[0]

    def none(self, kind: type) -> bool:
        """There is no such call."""
        return not any(isinstance(call.payload, kind) for call in self.port.calls)

    def said(self) -> Said:
        """The one reply since the last look."""
        said = self.port.take_said()
        assert len(said) == 1, said
        return said[0]

    def page(self, *sales: Sale, length: int = 0) -> None:
        """The answer to the poll that is under way."""
        call = self.call(PollLedger)
        assert isinstance(call.payload, PollLedger)
        known = max([length, call.payload.after, *(sale.number for sale in sales)])
        self.hear(call, LedgerPage(call.payload.after, sales, known, START))
        self.commit()


def admitted(**port: Any) -> Orders:
    """A reigning replica that the catalog has admitted, with a poll under way."""
    replica = Orders(**port)
    replica.see(heartbeat())
    replica.hear(replica.call(AdmitOrders), OrdersAdmitted(START))
    return replica


def purchase(number: int = 1, **changes: Any) -> Purchase:
    """The purchase that sale `number` stands for."""
    sale = SALES[number - 1]
    fields = {"item": sale.item, "quantity": sale.quantity, "side": BUY, "forwarded": False}
    return Purchase(**{"request_id": sale.request_id, **fields, **changes})


def buy(replica: Orders, number: int) -> Said:
    """A purchase that goes well."""
    replica.ask(purchase(number))
    replica.hear(replica.call(TakeStock), StockTaken(SALES[number - 1]))
    replica.commit()
    return replica.said()
