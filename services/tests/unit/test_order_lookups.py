"""The order desk's reads, and its view of the catalog."""

from __future__ import annotations

import json

import pytest

from emporium.catalog.requests import (
    FindOutcome,
    NoOutcome,
    StockTaken,
    TakeRefused,
)
from emporium.order.digest import AskOrderDigest, OrderDigest
from emporium.order.requests import (
    FindPurchase,
    OrderFound,
    OrderMissing,
    OrderPage,
    OrdersSince,
    PurchaseFound,
    ReadOrder,
    RecordSale,
)
from emporium.replication import wire
from emporium.replication.effects import NOT_REIGNING, UNAVAILABLE
from emporium.replication.failures import (
    Malformed,
    NotReigning,
    Unavailable,
)
from tests.unit.catalog_data import START
from tests.unit.fake_port import heartbeat
from tests.unit.orders_bench import SALES, Orders, admitted, buy


def test_orders_are_read_at_the_level_that_is_asked_for() -> None:
    """By number, and in pages; linearizable ones wait for the release."""
    replica = admitted()
    for number in (1, 2, 3):
        buy(replica, number)
    cases: list[tuple[object, object, str]] = [
        (ReadOrder(2, "linearizable"), OrderFound(SALES[1]), "linearizable"),
        (ReadOrder(4, "local"), OrderMissing(4), "local"),
        (ReadOrder(0, "primary"), OrderMissing(0), "primary"),
        (OrdersSince(1, "linearizable"), OrderPage(tuple(SALES[1:3]), 3), "linearizable"),
        (OrdersSince(9, "local"), OrderPage((), 3), "local"),
    ]
    for query, expected, level in cases:
        replica.ask(query)
        assert replica.port.reads[0][1] == level
        replica.confirm()
        said = replica.said()
        assert said.payload == expected
        assert said.index == (replica.port.applied if level == "linearizable" else 0)
    replica.ask(ReadOrder(1, "linearizable"))
    replica.confirm(UNAVAILABLE)
    assert isinstance(replica.said().payload, Unavailable)
    replica.ask(ReadOrder(1, "primary"))
    replica.confirm(NOT_REIGNING)
    assert isinstance(replica.said().payload, NotReigning)


def find(replica: Orders, request_id: str) -> None:
    """Ask what became of a request id."""
    replica.ask(FindPurchase(request_id), within_ms=1_000)
    replica.confirm()


def test_a_purchase_is_found_here_or_at_the_catalog() -> None:
    """Recorded, refused, or unknown."""
    replica = admitted()
    buy(replica, 1)
    find(replica, "request-1")
    assert replica.said().payload == PurchaseFound("recorded", 1, "")
    for heard, expected in (
        (TakeRefused("unknown_item"), PurchaseFound("refused", 0, "unknown_item")),
        (NoOutcome("x"), PurchaseFound("unknown", 0, "")),
        (None, PurchaseFound("unknown", 0, "")),
        (NotReigning(1, 1), PurchaseFound("unknown", 0, "")),
    ):
        find(replica, "x")
        replica.hear(replica.call(FindOutcome), heard)
        assert replica.said().payload == expected
    alone = Orders(reigning=False)
    find(alone, "x")
    assert alone.said().payload == PurchaseFound("unknown", 0, "")
    find(alone, "")
    assert isinstance(alone.said().payload, Malformed)


@pytest.mark.parametrize("reigning", [True, False])
def test_a_sale_without_an_order_yet_is_found_when_its_order_is_there(reigning: bool) -> None:
    """Told "recorded" before, the client would read the order and miss it."""
    replica = admitted() if reigning else Orders(reigning=False)
    replica.see(heartbeat())
    find(replica, "request-1")
    replica.hear(replica.call(FindOutcome), StockTaken(SALES[0]))
    assert not replica.port.said
    if reigning:
        replica.commit()
    else:
        replica.state.apply(3, wire.encode(RecordSale(SALES[0])))
        replica.port.applied = 3
        replica.wait(1)
    assert replica.said().payload == PurchaseFound("recorded", 1, "")
    find(replica, "request-2")
    replica.hear(replica.call(FindOutcome), StockTaken(SALES[1]))
    replica.port.proposed.clear()
    replica.wait(1_000)
    assert replica.said().payload == PurchaseFound("unknown", 0, "")


def test_the_digest_is_told_at_once() -> None:
    """Watermark, chain, and pieces by item."""
    replica = admitted()
    buy(replica, 1)
    replica.ask(AskOrderDigest())
    payload = replica.said().payload
    assert isinstance(payload, OrderDigest)
    assert (payload.watermark, payload.chain) == (1, SALES[0].chain)
    assert json.loads(payload.books) == {"1": {"bought": 1, "sold_back": 0}}


# --- the watch ---


def test_the_watch_keeps_to_the_newest_reign() -> None:
    """Older epochs, backups, other roles and leftovers of another group are not followed."""
    replica = Orders()
    watch = replica.orders.watch
    replica.see(heartbeat(replica=1, epoch=3, stamp=START))
    for beat in (
        heartbeat(replica=0, epoch=2, stamp=START + 99),
        heartbeat(replica=0, epoch=9, reigning=False, stamp=START + 99),
        heartbeat(replica=0, epoch=9, role="order"),
        heartbeat(replica=0, epoch=9, group="other"),
        heartbeat(replica=0, epoch=9, group=""),
    ):
        replica.see(beat)
        assert (watch.primary, watch.epoch, watch.stamp) == (1, 3, START)
    replica.wait(3_000)
    replica.see(heartbeat(replica=0, epoch=1, group="other", stamp=START - 5))
    assert (watch.primary, watch.epoch, watch.stamp) == (0, 1, START - 5)
