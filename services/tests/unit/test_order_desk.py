"""The order desk: a purchase, exactly once, whatever happens to calls, reigns and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emporium.catalog.requests import (
    BUY,
    SELL,
    AdmitOrders,
    FindOutcome,
    LedgerMismatch,
    LedgerPage,
    NoOutcome,
    OrdersAdmitted,
    OrdersBehind,
    PollLedger,
    Sale,
    StockTaken,
    TakeConflict,
    TakeFenced,
    TakeRefused,
    TakeStock,
)
from emporium.order.desk import OrderDesk
from emporium.order.digest import AskOrderDigest, OrderDigest
from emporium.order.flights import FLIGHTS_LIMIT, WAITERS_LIMIT
from emporium.order.forwarding import PARKED_LIMIT
from emporium.order.requests import (
    FindPurchase,
    OrderFound,
    OrderMissing,
    OrderPage,
    OrderRecorded,
    OrdersSince,
    Purchase,
    PurchaseConflict,
    PurchaseFound,
    PurchaseRefused,
    ReadOrder,
    RecordSale,
)
from emporium.order.state_machine import OrderState
from emporium.replication import wire
from emporium.replication.effects import NOT_REIGNING, OVERLOADED, UNAVAILABLE, Call
from emporium.replication.failures import (
    Malformed,
    NotReigning,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
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


# --- the straight way ---


def test_a_purchase_takes_records_and_answers() -> None:
    """Take under the client's own id, order number = sale number, one `bought` line."""
    replica = admitted(group="mine", epoch=4)
    replica.ask(purchase(), within_ms=2_000)
    call = replica.call(TakeStock)
    take = call.payload
    assert (call.role, call.replica) == ("catalog", 0)
    assert isinstance(take, TakeStock)
    assert (take.request_id, take.order_group, take.order_epoch) == ("request-1", "mine", 4)
    assert take.deadline_stamp == START + 2_000
    replica.port.now += 7
    replica.hear(call, StockTaken(SALES[0]))
    assert not replica.port.said
    replica.commit()
    said = replica.said()
    assert said.payload == OrderRecorded(SALES[0], repeated=False)
    assert said.index == replica.port.applied
    assert said.timings == (("catalog", 7.0),)
    assert replica.port.operations == ["bought book 1"]


def test_a_known_id_is_answered_from_the_state() -> None:
    """No take, no line; another body is a conflict."""
    replica = admitted()
    buy(replica, 1)
    replica.port.operations.clear()
    replica.ask(purchase())
    said = replica.said()
    assert said.payload == OrderRecorded(SALES[0], repeated=True)
    assert said.index == replica.port.applied
    replica.ask(purchase(quantity=2))
    assert replica.said().payload == PurchaseConflict()
    replica.ask(purchase(side=SELL))
    assert replica.said().payload == PurchaseConflict()
    assert replica.none(TakeStock)
    assert not replica.port.operations


def test_a_refusal_and_a_conflict_of_the_catalog_are_final() -> None:
    """Told as they are; nothing is proposed."""
    for fact, expected in (
        (TakeRefused("out_of_stock"), PurchaseRefused("out_of_stock")),
        (TakeConflict(), PurchaseConflict()),
        (Malformed("item", "x"), Malformed("item", "x")),
        (Overloaded(9), Overloaded(9)),
    ):
        replica = admitted()
        replica.ask(purchase())
        replica.hear(replica.call(TakeStock), fact)
        assert replica.said().payload == expected
        assert not replica.port.proposed


def test_concurrent_purchases_of_one_id_share_one_take() -> None:
    """The first gets the order, the others the same as a repeat; one line."""
    replica = admitted()
    for token in ("a", "b", "c"):
        replica.ask(purchase(), token)
    replica.ask(purchase(quantity=5), "d")
    assert replica.said().payload == PurchaseConflict()
    replica.hear(replica.call(TakeStock), StockTaken(SALES[0]))
    replica.commit()
    said = {reply.token: reply.payload for reply in replica.port.take_said()}
    assert said == {
        "a": OrderRecorded(SALES[0], repeated=False),
        "b": OrderRecorded(SALES[0], repeated=True),
        "c": OrderRecorded(SALES[0], repeated=True),
    }
    assert replica.port.operations == ["bought book 1"]


def test_tables_are_bounded() -> None:
    """One waiter and one flight too many are refused, definitely."""
    replica = admitted()
    for token in range(WAITERS_LIMIT + 1):
        replica.ask(purchase(), token)
    assert isinstance(replica.said().payload, Overloaded)
    for number in range(FLIGHTS_LIMIT):
        replica.ask(purchase(request_id=f"more-{number}"), number)
    assert isinstance(replica.said().payload, Overloaded)
    assert replica.none(FindOutcome)


def test_nonsense_is_refused_with_its_field() -> None:
    """Before anybody else is asked."""
    replica = admitted()
    for payload, field in (
        (purchase(quantity=0), "quantity"),
        (purchase(request_id=""), "request_id"),
        (ReadOrder(1, "x"), "read"),
        (FindPurchase(""), "request_id"),
        (StockTaken(SALES[0]), "payload"),
    ):
        replica.ask(payload)
        said = replica.said().payload
        assert isinstance(said, Malformed)
        assert said.field == field


# --- sequence ---


def test_orders_keep_the_ledgers_order_when_answers_overtake_each_other() -> None:
    """Sale 2 waits for sale 1, and both are answered."""
    replica = admitted()
    replica.ask(purchase(1), "one")
    replica.ask(purchase(2), "two")
    first, second = replica.port.calls[-2:]
    replica.hear(second, StockTaken(SALES[1]))
    replica.commit()
    assert not replica.port.said
    replica.hear(first, StockTaken(SALES[0]))
    replica.commit()
    assert [reply.token for reply in replica.port.take_said()] == ["one", "two"]
    assert replica.state.watermark == 2


def test_a_sale_whose_answer_was_lost_gets_its_order_from_the_ledger() -> None:
    """The waiting client hears of it although the take's answer never came."""
    replica = admitted()
    replica.ask(purchase(1))
    replica.call(TakeStock)
    replica.page(SALES[0])
    assert replica.said().payload == OrderRecorded(SALES[0], repeated=False)


def test_a_gap_is_fetched_at_once() -> None:
    """Sale 3 came by its take, 1 and 2 are somebody else's: ask after 0, not after 3."""
    replica = admitted()
    replica.page()
    replica.ask(purchase(3))
    replica.hear(replica.call(TakeStock), StockTaken(SALES[2]))
    poll = replica.port.calls[-1].payload
    assert isinstance(poll, PollLedger)
    assert (poll.after, poll.chain) == (0, "")
    replica.page(*SALES[:3])
    assert replica.said().payload == OrderRecorded(SALES[2], repeated=False)
    assert replica.state.watermark == 3


def test_the_ledger_is_polled_all_the_time() -> None:
    """One poll follows the other, each after the last sale here; a lost one is repeated."""
    replica = admitted()
    for number in range(5):
        replica.page(SALES[number])
        replica.wait(30)
    call = replica.call(PollLedger)
    assert isinstance(call.payload, PollLedger)
    assert (call.payload.after, call.payload.chain) == (5, SALES[4].chain)
    replica.hear(call, None)
    assert replica.none(PollLedger)
    replica.wait(50)
    replica.page(length=5)
    assert replica.state.watermark == 5


def test_a_page_that_says_there_is_more_is_followed_at_once() -> None:
    """Rebuilding doesn't wait for the pace."""
    replica = admitted()
    replica.page(*SALES[:3], length=9)
    replica.page(*SALES[3:9])
    assert replica.state.watermark == 9


def test_a_proposal_that_failed_is_made_again_in_order() -> None:
    """Overloaded: after a pause the same sales, from the first that is missing."""
    replica = admitted()
    replica.ask(purchase(1), "one")
    replica.ask(purchase(2), "two")
    for sale, call in zip(SALES, replica.port.calls[-2:], strict=False):
        replica.hear(call, StockTaken(sale))
    replica.refuse(OVERLOADED)
    assert not replica.port.said
    replica.wait(50)
    replica.commit()
    assert [reply.payload for reply in replica.port.take_said()] == [
        OrderRecorded(SALES[0], repeated=False),
        OrderRecorded(SALES[1], repeated=False),
    ]


# --- retries ---


def test_a_lost_take_is_repeated_under_the_same_id() -> None:
    """After a pause at the same reign; then unknown when the deadline is over."""
    replica = admitted()
    replica.ask(purchase(), within_ms=1_000)
    for lost in (None, OutcomeUnknown("request-1"), Unavailable("x"), NotReigning(-1, 0)):
        call = replica.call(TakeStock)
        assert isinstance(call.payload, TakeStock)
        assert call.payload.request_id == "request-1"
        replica.hear(call, lost)
        assert replica.none(TakeStock)
        replica.wait(50)
    replica.wait(1_000)
    assert replica.said().payload == OutcomeUnknown("request-1")
    replica.wait(1_000)
    assert not replica.port.said


def test_a_newer_reign_of_the_catalog_is_asked_at_once() -> None:
    """The call in flight is given up; its late sale is still used, its late nonsense isn't."""
    replica = admitted()
    replica.ask(purchase(1), "one")
    replica.ask(purchase(2), "two")
    old = [call for call in replica.port.take_calls() if isinstance(call.payload, TakeStock)]
    replica.see(heartbeat(replica=1, epoch=2, stamp=START + 500))
    new = [call for call in replica.port.calls if isinstance(call.payload, TakeStock)]
    assert [call.replica for call in new] == [1, 1]
    assert [call.payload.request_id for call in new] == ["request-1", "request-2"]  # type: ignore[attr-defined]
    replica.hear(old[1], None)
    replica.hear(old[0], StockTaken(SALES[0]))
    replica.commit()
    assert replica.said().token == "one"
    replica.hear(new[0], StockTaken(SALES[0]))
    replica.hear(new[1], StockTaken(SALES[1]))
    replica.commit()
    assert replica.said().token == "two"
    assert replica.state.watermark == 2


def test_a_hint_of_the_old_primary_is_followed_at_once() -> None:
    """NotReigning names the newer reign: no heartbeat is waited for."""
    replica = admitted()
    replica.ask(purchase())
    replica.hear(replica.call(TakeStock), NotReigning(2, 5))
    assert replica.call(TakeStock).replica == 2


def test_a_take_that_came_too_late_is_repeated_with_a_fresh_stamp() -> None:
    """Fenced by its deadline: nothing was decided, so the same id goes again."""
    replica = admitted()
    replica.ask(purchase(), within_ms=400)
    replica.hear(replica.call(TakeStock), TakeFenced("deadline", START + 90_000))
    again = replica.call(TakeStock).payload
    assert isinstance(again, TakeStock)
    assert again.deadline_stamp == START + 90_400


def test_a_deadline_is_counted_from_the_catalogs_time_and_is_never_far() -> None:
    """Newest stamp heard + at most 30 s; this replica's own clock plays no part."""
    replica = admitted(clock=5)
    replica.see(heartbeat(stamp=START + 3))
    replica.ask(purchase(), within_ms=10**6)
    take = replica.call(TakeStock).payload
    assert isinstance(take, TakeStock)
    assert take.deadline_stamp == START + 3 + 30_000


def test_a_deposed_reign_answers_unknown() -> None:
    """A newer reign of this group takes already."""
    replica = admitted()
    replica.ask(purchase())
    replica.hear(replica.call(TakeStock), TakeFenced("epoch", START))
    assert replica.said().payload == OutcomeUnknown("request-1")


def test_an_unadmitted_group_presents_itself_again_and_the_purchase_waits() -> None:
    """Fenced by its group: the catalog was restored; admission first, then the take."""
    replica = admitted()
    replica.ask(purchase())
    replica.hear(replica.call(TakeStock), TakeFenced("group", START))
    assert replica.none(TakeStock)
    replica.hear(replica.call(AdmitOrders), OrdersAdmitted(START))
    replica.hear(replica.call(TakeStock), StockTaken(SALES[0]))
    replica.commit()
    assert replica.said().payload == OrderRecorded(SALES[0], repeated=False)


def test_an_overloaded_catalog_is_definite_for_a_first_take_only() -> None:
    """A second take can't say what became of the first."""
    replica = admitted()
    replica.ask(purchase(), within_ms=120)
    replica.hear(replica.call(TakeStock), None)
    replica.wait(50)
    replica.hear(replica.call(TakeStock), Overloaded(5))
    assert not replica.port.said
    replica.wait(70)
    assert replica.said().payload == OutcomeUnknown("request-1")


# --- reigns ---


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
    replica.ask(purchase(1))
    assert replica.said().payload == OrderRecorded(SALES[0], repeated=True)
    assert replica.none(PollLedger)
    replica.wait(1_000)
    replica.hear(replica.call(AdmitOrders), OrdersAdmitted(START))
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


# --- reads ---


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
