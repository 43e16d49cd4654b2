"""The order desk: a purchase, exactly once, whatever happens to calls and answers."""

from __future__ import annotations

from emporium.catalog.requests import (
    SELL,
    AdmitOrders,
    FindOutcome,
    OrdersAdmitted,
    PollLedger,
    StockTaken,
    TakeConflict,
    TakeFenced,
    TakeRefused,
    TakeStock,
)
from emporium.order.flights import FLIGHTS_LIMIT, WAITERS_LIMIT
from emporium.order.requests import (
    FindPurchase,
    OrderRecorded,
    PurchaseConflict,
    PurchaseRefused,
    ReadOrder,
)
from emporium.replication.effects import OVERLOADED
from emporium.replication.failures import (
    Malformed,
    NotReigning,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from tests.unit.catalog_data import START
from tests.unit.fake_port import heartbeat
from tests.unit.orders_bench import SALES, admitted, buy, purchase


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
