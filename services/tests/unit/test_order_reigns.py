"""The order desk and its reigns: admission, hand-over, forwarding."""

from __future__ import annotations

import pytest

from emporium.catalog.requests import (
    AdmitOrders,
    LedgerMismatch,
    LedgerPage,
    OrdersAdmitted,
    OrdersBehind,
    PollLedger,
    StockTaken,
    TakeStock,
)
from emporium.order.forwarding import PARKED_LIMIT
from emporium.order.requests import (
    OrderRecorded,
    Purchase,
    PurchaseRefused,
)
from emporium.replication.effects import NOT_REIGNING, Call
from emporium.replication.failures import (
    NotReigning,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from tests.unit.catalog_data import START
from tests.unit.fake_port import Said, heartbeat
from tests.unit.orders_bench import SALES, Orders, admitted, buy, purchase


def test_a_purchase_waits_for_the_admission() -> None:
    """No take before the catalog has admitted this reign."""
    replica = Orders(group="mine", epoch=3)
    replica.ask(purchase())
    replica.see(heartbeat())
    assert replica.none(TakeStock)
    call = replica.call(AdmitOrders)
    assert call.payload == AdmitOrders("mine", 3, 0, "")
    replica.hear(call, None)
    replica.wait(50)
    replica.hear(replica.call(AdmitOrders), OrdersAdmitted(START))
    replica.hear(replica.call(TakeStock), StockTaken(SALES[0]))
    replica.commit()
    assert isinstance(replica.said().payload, OrderRecorded)


def test_a_new_group_rebuilds_itself_before_it_is_admitted() -> None:
    """Behind: the ledger first, at full speed, then the question again with the new watermark."""
    replica = Orders()
    replica.see(heartbeat())
    replica.hear(replica.call(AdmitOrders), OrdersBehind(5))
    assert replica.none(AdmitOrders)
    replica.page(*SALES[:3], length=5)
    assert replica.none(AdmitOrders)
    replica.page(*SALES[3:5])
    call = replica.call(AdmitOrders)
    assert call.payload == AdmitOrders("group", 1, 5, SALES[4].chain)
    replica.hear(call, OrdersAdmitted(START))
    assert buy(replica, 6).payload == OrderRecorded(SALES[5], repeated=False)


@pytest.mark.parametrize("by", ["admission", "poll"])
def test_a_catalog_without_our_past_stops_purchases_until_it_is_back(by: str) -> None:
    """Refused with the reason, definitely; tailing stops; the question is repeated."""
    replica = admitted()
    buy(replica, 1)
    if by == "poll":
        replica.hear(replica.call(PollLedger), LedgerMismatch(0, "x"))
    else:
        replica.port.epoch = 2
        replica.wait(1)
        replica.hear(replica.call(AdmitOrders), LedgerMismatch(0, "x"))
    for call in replica.port.take_calls():
        replica.hear(call, None)
    replica.ask(purchase(2))
    said = replica.said().payload
    assert isinstance(said, Unavailable)
    assert "lost its past" in said.reason
    assert replica.orders.status() == {"ledger_trouble": True}  # an alert asks for it
    replica.ask(purchase(1))
    assert replica.said().payload == OrderRecorded(SALES[0], repeated=True)
    assert replica.none(PollLedger)
    replica.wait(1_000)
    replica.hear(replica.call(AdmitOrders), OrdersAdmitted(START))
    assert replica.orders.status() == {"ledger_trouble": False}
    assert not replica.none(PollLedger)
    assert buy(replica, 2).payload == OrderRecorded(SALES[1], repeated=False)


def test_with_the_reign_the_flights_end() -> None:
    """A take was sent: unknown. None was: surely not done here, with a hint who reigns."""
    replica = admitted()
    replica.ask(purchase(1))
    call = replica.call(TakeStock)
    replica.port.reigning, replica.port.primary, replica.port.epoch = False, 1, 2
    replica.wait(1)
    assert replica.said().payload == OutcomeUnknown("request-1")
    replica.hear(call, StockTaken(SALES[0]))
    assert not replica.port.proposed
    waiting = Orders()
    waiting.ask(purchase(1))
    waiting.port.reigning, waiting.port.primary, waiting.port.epoch = False, 2, 9
    waiting.wait(1)
    assert waiting.said().payload == NotReigning(2, 9)


def test_every_reign_presents_itself_and_goes_on_after_its_watermark() -> None:
    """A new epoch begins with its own admission, and with the orders that are in its log."""
    replica = admitted()
    buy(replica, 1)
    replica.port.take_calls()
    replica.port.epoch = 2
    replica.wait(1)
    call = replica.call(AdmitOrders)
    assert call.payload == AdmitOrders("group", 2, 1, SALES[0].chain)
    poll = replica.call(PollLedger).payload
    assert poll == PollLedger(1, SALES[0].chain, 1_000)
    replica.hear(call, OrdersAdmitted(START))
    assert buy(replica, 2).payload == OrderRecorded(SALES[1], repeated=False)


def test_answers_of_an_earlier_reign_to_proposals_are_ignored() -> None:
    """The sale is proposed again by the new reign, once."""
    replica = admitted()
    replica.page(*SALES[:3])
    replica.hear(_poll(replica, 30), LedgerPage(3, tuple(SALES[3:5]), 5, START))
    stale, replica.port.proposed = replica.port.proposed, []
    replica.port.epoch = 2
    replica.wait(1)
    replica.port.proposed = stale
    replica.refuse(NOT_REIGNING)
    assert not replica.port.proposed
    replica.hear(replica.call(AdmitOrders), OrdersAdmitted(START))
    polls = [call for call in replica.port.take_calls() if isinstance(call.payload, PollLedger)]
    assert polls[-1].payload == PollLedger(3, SALES[2].chain, 1_000)
    replica.hear(polls[-1], LedgerPage(3, tuple(SALES[3:5]), 5, START))
    replica.commit()
    assert replica.state.watermark == 5


def _poll(replica: Orders, pause_ms: float) -> Call:
    replica.wait(pause_ms)
    return replica.call(PollLedger)


# --- forwarding ---


def test_a_backup_forwards_once_and_logs_its_own_client() -> None:
    """Marked as forwarded; the answer is relayed; the primary logs nothing for it."""
    backup = Orders(reigning=False, replica=1, primary=0)
    backup.ask(purchase())
    call = backup.call(Purchase)
    assert (call.role, call.replica) == ("order", 0)
    assert call.payload == purchase(forwarded=True)
    primary = admitted()
    primary.ask(call.payload)
    primary.hear(primary.call(TakeStock), StockTaken(SALES[0]))
    primary.commit()
    assert not primary.port.operations
    backup.port.now += 12
    backup.hear(call, primary.said().payload)
    said = backup.said()
    assert said.payload == OrderRecorded(SALES[0], repeated=False)
    assert said.timings == (("order", 12.0),)
    assert backup.port.operations == ["bought book 1"]
    backup.ask(purchase())
    backup.hear(backup.call(Purchase), OrderRecorded(SALES[0], repeated=True))
    assert backup.port.operations == ["bought book 1"]


def test_a_forwarded_purchase_is_not_forwarded_again() -> None:
    """421 with a hint."""
    backup = Orders(reigning=False, replica=1, epoch=6, primary=0)
    backup.ask(purchase(forwarded=True))
    assert backup.said().payload == NotReigning(0, 6)
    assert backup.none(Purchase)


@pytest.mark.parametrize("primary", [-1, 1])
def test_a_purchase_waits_a_moment_while_nobody_reigns(primary: int) -> None:
    """Until another replica reigns, or this one, or for a second at most."""
    replica = Orders(reigning=False, replica=1, epoch=6, primary=primary)
    replica.ask(purchase(1), "one")
    assert replica.orders.wake_at() == replica.port.now + 1_000
    replica.wait(999)
    assert not replica.port.said
    replica.wait(1)
    assert replica.said().payload == NotReigning(primary, 6)
    replica.ask(purchase(2), "two")
    replica.ask(purchase(2, forwarded=True), "three")
    replica.port.primary = 2
    replica.wait(1)
    assert replica.call(Purchase).replica == 2
    assert replica.said() == Said("three", NotReigning(2, 6), 0, ())
    replica.port.primary = primary
    replica.ask(purchase(3), "four")
    replica.see(heartbeat())
    replica.port.reigning, replica.port.primary, replica.port.epoch = True, 1, 7
    replica.wait(1)
    replica.hear(replica.call(AdmitOrders), OrdersAdmitted(START))
    assert isinstance(replica.call(TakeStock).payload, TakeStock)


def test_purchases_that_wait_for_a_reign_are_bounded() -> None:
    """One too many is refused."""
    replica = Orders(reigning=False, primary=-1)
    for number in range(PARKED_LIMIT + 1):
        replica.ask(purchase(request_id=f"r{number}"), number)
    assert isinstance(replica.said().payload, Overloaded)


def test_a_reign_that_hands_over_still_answers_what_it_commits() -> None:
    """Proposed orders are waited for; a take under way is unknown at once; what the core gives
    up is unknown, too."""
    replica = admitted()
    for number in (1, 2, 3):
        replica.ask(purchase(number), number)
    takes = [call for call in replica.port.take_calls() if isinstance(call.payload, TakeStock)]
    replica.hear(takes[0], StockTaken(SALES[0]))
    replica.hear(takes[1], StockTaken(SALES[1]))
    replica.port.reigning = False
    replica.wait(1)
    assert replica.said() == Said(3, OutcomeUnknown("request-3"), 0, ())
    late = replica.port.proposed.pop()
    replica.commit()
    said = replica.said()
    assert (said.token, said.payload) == (1, OrderRecorded(SALES[0], repeated=False))
    replica.port.proposed = [late]
    replica.refuse()
    assert replica.said() == Said(2, OutcomeUnknown("request-2"), 0, ())
    assert not replica.orders._flights.by_id


def test_a_forwarded_call_that_is_lost_is_unknown() -> None:
    """And what the primary says is relayed as it is."""
    backup = Orders(reigning=False, replica=1, primary=0)
    for heard, expected in (
        (None, OutcomeUnknown("request-1")),
        (PurchaseRefused("out_of_stock"), PurchaseRefused("out_of_stock")),
        (NotReigning(2, 4), NotReigning(2, 4)),
    ):
        backup.ask(purchase())
        backup.hear(backup.call(Purchase), heard)
        assert backup.said().payload == expected
    backup.ask(purchase(), within_ms=100)
    backup.wait(100)
    assert backup.said().payload == OutcomeUnknown("request-1")
