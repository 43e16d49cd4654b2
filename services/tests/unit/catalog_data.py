"""A small data set, and the commands and requests that the catalog's tests use."""

from __future__ import annotations

import json

from emporium.catalog.requests import (
    BUY,
    Admit,
    AdmitOrders,
    Change,
    ChangeItem,
    Sale,
    StockTaken,
    Take,
    TakeStock,
)
from emporium.catalog.state_machine import CatalogState
from emporium.replication import wire

START = 1_700_000_000_000  # a stamp
FAR = START + 10**9
ORDERS = "order-group"

DATA = json.dumps(
    {
        "items": [
            {"item": "1", "title": "One", "topic": "a", "price": 1000, "stock": 3},
            {"item": "2", "title": "Two", "topic": "a", "price": 2050, "stock": 5},
            {"item": "3", "title": "Three", "topic": "b", "price": 5, "stock": 0},
        ],
        "ledger_chain": "",
    }
)


def take_stock(request_id: str, item: str = "1", quantity: int = 1, **changes: object) -> TakeStock:
    """A take of the admitted order group, far from its deadline."""
    fields: dict[str, object] = {
        "side": BUY,
        "order_group": ORDERS,
        "order_epoch": 1,
        "deadline_stamp": FAR,
        **changes,
    }
    return TakeStock(item=item, quantity=quantity, request_id=request_id, **fields)  # type: ignore[arg-type]


def take(
    request_id: str, item: str = "1", quantity: int = 1, stamp: int = START, **changes: object
) -> str:
    """The command of a take."""
    return wire.encode(Take(take_stock(request_id, item, quantity, **changes), stamp))


def change(
    request_id: str, item: str, price: int | None, restock: int | None, stamp: int = START
) -> str:
    """The command of an operator's change."""
    return wire.encode(Change(ChangeItem(item, price, restock, request_id), stamp))


def admit(
    group: str = ORDERS, epoch: int = 1, watermark: int = 0, chain: str = "", stamp: int = START
) -> str:
    """The command of an admission."""
    return wire.encode(Admit(AdmitOrders(group, epoch, watermark, chain), stamp))


def open_catalog(data: str = DATA) -> CatalogState:
    """A catalog with its data set and an admitted order group."""
    state = CatalogState()
    state.start(data)
    state.apply(2, admit())
    return state


def sales_of(count: int) -> list[Sale]:
    """So many sales of a real ledger."""
    items = [{"item": "1", "title": "One", "topic": "a", "price": 100, "stock": count}]
    state = open_catalog(json.dumps({"items": items, "ledger_chain": "base"}))
    facts = [state.apply(3 + n, take(f"request-{n + 1}")).fact for n in range(count)]
    return [fact.sale for fact in facts if isinstance(fact, StockTaken)]
