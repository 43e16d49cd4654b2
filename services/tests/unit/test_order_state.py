"""The order group's rule: only the next sale of the same ledger."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from emporium.catalog.requests import Sale
from emporium.order.requests import OrderRecorded, RecordSale
from emporium.order.state_machine import BadState, OrderState
from emporium.replication import wire
from emporium.replication.failures import Malformed, Unavailable
from tests.unit.catalog_data import sales_of, take

SALES = sales_of(30)


def record(sale: Sale) -> str:
    """The command."""
    return wire.encode(RecordSale(sale))


def with_orders(count: int) -> OrderState:
    """A state with the first orders."""
    state = OrderState()
    state.start("")
    for index, sale in enumerate(SALES[:count], start=2):
        assert state.apply(index, record(sale)).fact == OrderRecorded(sale, repeated=False)
    return state


def test_the_next_sale_becomes_the_order_of_its_number() -> None:
    """By number and by request id, with watermark, chain and stamp."""
    state = with_orders(3)
    assert (state.watermark, state.chain, state.stamp) == (3, SALES[2].chain, SALES[2].stamp)
    assert state.orders.sale(2) == SALES[1]
    assert state.orders.find("request-3") == SALES[2]
    assert state.orders.sale(4) is None
    assert json.loads(state.books_text()) == {"1": {"bought": 3, "sold_back": 0}}


def test_anything_else_is_refused_and_changes_nothing() -> None:
    """A gap, another chain, another sale of an old number, an id that has an order."""
    state = with_orders(3)
    before = state.snapshot()
    for sale in (
        SALES[4],
        replace(SALES[3], chain="0" * 32),
        replace(SALES[3], quantity=2),
        replace(SALES[1], request_id="x"),
        replace(SALES[3], request_id="request-1"),
        replace(SALES[3], number=0),
        replace(SALES[3], number=-1),
    ):
        assert isinstance(state.apply(9, record(sale)).fact, Unavailable)
    for command in ("", "[]", take("r1"), '["RecordSale", 3]'):
        assert isinstance(state.apply(9, command).fact, Malformed)
    assert state.snapshot() == before


def test_a_sale_that_is_recorded_already_is_a_repeat() -> None:
    """Proposed twice over two reigns: one order."""
    state = with_orders(3)
    before = state.digest()
    assert state.apply(9, record(SALES[1])).fact == OrderRecorded(SALES[1], repeated=True)
    assert state.digest() == before


def test_the_first_sale_needs_a_chain() -> None:
    """The base isn't known before sale 1, but a sale without a chain is none."""
    state = OrderState()
    assert isinstance(state.apply(2, record(replace(SALES[0], chain=""))).fact, Unavailable)


def test_a_restore_at_every_point_gives_the_same_end() -> None:
    """Equal text and digest at every point, whatever the restart."""
    straight = with_orders(len(SALES))
    for point in range(len(SALES) + 1):
        text = with_orders(point).snapshot()
        state = OrderState()
        state.restore(text)
        assert state.snapshot() == text
        for index, sale in enumerate(SALES[point:], start=2 + point):
            state.apply(index, record(sale))
        assert state.snapshot() == straight.snapshot()
        assert state.digest() == straight.digest()
        assert state.books_text() == straight.books_text()


def test_a_backup_starts_a_new_group_with_the_same_orders() -> None:
    """The new log's indexes mean nothing for the old orders."""
    old = with_orders(5)
    state = OrderState()
    state.start(json.dumps({"restored": old.snapshot()}))
    assert (state.watermark, state.chain) == (5, old.chain)
    assert state.orders.visible(0) == 5
    assert state.apply(2, record(SALES[5])).fact == OrderRecorded(SALES[5], repeated=False)


def test_a_snapshot_that_makes_no_sense_is_refused() -> None:
    """Sales out of sequence, an unknown version, no JSON object."""
    plain = json.loads(with_orders(3).snapshot())
    for text in (
        "no",
        "[]",
        "{}",
        json.dumps({**plain, "version": 2}),
        json.dumps({**plain, "orders": plain["orders"][::-1]}),
    ):
        with pytest.raises(BadState):
            OrderState().restore(text)
        with pytest.raises(BadState):
            OrderState().start(json.dumps({"restored": text}))


@pytest.mark.parametrize("seed", range(10))
def test_random_proposals_give_the_ledger_and_nothing_else(seed: int) -> None:
    """Whatever is proposed in whatever order, the orders are a prefix of the ledger."""
    chance = random.Random(seed)
    state = OrderState()
    for index in range(2, 600):
        sale = chance.choice(SALES)
        if chance.random() < 0.3:
            sale = replace(sale, number=chance.randrange(2, 40), request_id="other")
        before = state.watermark
        fact = state.apply(index, record(sale)).fact
        assert (state.watermark == before + 1) == (fact == OrderRecorded(sale, repeated=False))
        recorded = state.orders.after(0, state.watermark, 99)
        assert list(recorded) == SALES[: state.watermark]
    assert state.watermark > 3
