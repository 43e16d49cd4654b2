"""Reads of orders, and the question what became of a request id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from emporium.catalog.limits import text_problem
from emporium.catalog.requests import FindOutcome, Sale, StockTaken, TakeRefused
from emporium.order.catalog_watch import CatalogWatch
from emporium.order.requests import (
    FindPurchase,
    OrderFound,
    OrderMissing,
    OrderPage,
    OrdersSince,
    PurchaseFound,
    ReadOrder,
)
from emporium.order.state_machine import OrderState
from emporium.replication.asking import Asking
from emporium.replication.effects import NOT_REIGNING, READY, Answer, Request
from emporium.replication.failures import Malformed, NotReigning, Unavailable
from emporium.replication.node import Port

RECORDED, REFUSED, UNKNOWN = "recorded", "refused", "unknown"
LINEARIZABLE = "linearizable"
LEVELS = ("local", "primary", LINEARIZABLE)
PAGE_ORDERS = 256

SaleHeard = Callable[[Port, Sale], None]


@dataclass(frozen=True, slots=True)
class _Finder:
    """Somebody who asked for a request id whose sale has no order here yet."""

    token: object
    request_id: str
    deadline: float


class OrderLookups:
    """Answers ReadOrder, OrdersSince and FindPurchase. `sale_heard` gets sales found by the way."""

    def __init__(
        self, state: OrderState, asking: Asking, watch: CatalogWatch, sale_heard: SaleHeard
    ) -> None:
        self._state = state
        self._asking = asking
        self._watch = watch
        self._sale_heard = sale_heard
        self._finders: list[_Finder] = []  # bounded: each had a place in `asking`

    def read(self, port: Port, request: Request) -> None:
        """ReadOrder and OrdersSince, at the level that they ask for."""
        query: Any = request.payload
        if query.read not in LEVELS:
            port.reply(request.token, Malformed("read", f"must be one of {', '.join(LEVELS)}"))
        else:
            handler = partial(self._look, request)
            self._asking.read(port, query.read, handler, request.deadline)

    def find(self, port: Port, request: Request) -> None:
        """FindPurchase: the orders first, then what the catalog knows."""
        query: FindPurchase = request.payload  # type: ignore[assignment]
        problem = text_problem("request_id", query.request_id)
        if problem is not None:
            port.reply(request.token, problem)
        else:
            handler = partial(self._look_for, request, query.request_id)
            self._asking.read(port, LINEARIZABLE, handler, request.deadline)

    def tick(self, port: Port) -> None:
        """Answer finders whose order has come, or whose time is over."""
        if self._finders:
            self._finders = [one for one in self._finders if not self._tell(port, one)]

    def wake_at(self) -> float:
        """The next finder's deadline."""
        return min((finder.deadline for finder in self._finders), default=float("inf"))

    def _look(self, request: Request, port: Port, answer: Answer) -> None:
        query: Any = request.payload
        if answer.status != READY:
            port.reply(request.token, _not_read(port, answer))
            return
        found = self._order(query) if isinstance(query, ReadOrder) else self._page(query)
        index = port.applied if query.read == LINEARIZABLE else 0
        port.reply(request.token, found, index=index)

    def _order(self, query: ReadOrder) -> OrderFound | OrderMissing:
        sale = self._state.orders.sale(query.number)
        return OrderMissing(query.number) if sale is None else OrderFound(sale)

    def _page(self, query: OrdersSince) -> OrderPage:
        watermark = self._state.watermark
        return OrderPage(self._state.orders.after(query.after, watermark, PAGE_ORDERS), watermark)

    def _look_for(self, request: Request, request_id: str, port: Port, answer: Answer) -> None:
        if answer.status != READY:
            port.reply(request.token, _not_read(port, answer))
            return
        finder = _Finder(request.token, request_id, request.deadline)
        if self._tell(port, finder):
            return
        if self._watch.primary < 0:
            port.reply(request.token, PurchaseFound(UNKNOWN, 0, ""))
            return
        target = ("catalog", self._watch.primary)
        handler = partial(self._catalog_said, finder)
        self._asking.call(port, target, FindOutcome(request_id), handler, request.deadline)

    def _catalog_said(self, finder: _Finder, port: Port, payload: object) -> None:
        if isinstance(payload, TakeRefused):
            port.reply(finder.token, PurchaseFound(REFUSED, 0, payload.reason))
        elif isinstance(payload, StockTaken):
            # Its order comes from the ledger. Told of it before, the client might read the order
            # and miss it.
            self._finders.append(finder)
            self._sale_heard(port, payload.sale)
        elif not self._tell(port, finder):
            port.reply(finder.token, PurchaseFound(UNKNOWN, 0, ""))

    def _tell(self, port: Port, finder: _Finder) -> bool:
        """Answer `finder` if its order is here or its time is over."""
        sale = self._state.orders.find(finder.request_id)
        if sale is not None:
            found = PurchaseFound(RECORDED, sale.number, "")
            port.reply(finder.token, found, index=port.applied)
        elif port.now >= finder.deadline:
            port.reply(finder.token, PurchaseFound(UNKNOWN, 0, ""))
        else:
            return False
        return True


def _not_read(port: Port, answer: Answer) -> NotReigning | Unavailable:
    if answer.status == NOT_REIGNING:
        return NotReigning(port.primary, port.epoch)
    return Unavailable("this replica is not serving yet, or no majority confirmed the read")
