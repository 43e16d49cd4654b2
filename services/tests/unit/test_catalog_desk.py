"""The catalog's desk: who is answered what, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emporium.catalog import settled as settled_module
from emporium.catalog.desk import OPEN_LIMIT, POLLERS_LIMIT, CatalogDesk
from emporium.catalog.requests import (
    SELL,
    AdmitOrders,
    AskDigest,
    ChangeItem,
    FindOutcome,
    ForwardChange,
    ItemChanged,
    ItemFound,
    ItemList,
    ItemMissing,
    LedgerMismatch,
    LedgerPage,
    NoOutcome,
    OrdersAdmitted,
    PollLedger,
    QueryItem,
    QueryTopic,
    StateDigest,
    StockTaken,
    Take,
    TakeConflict,
    TakeRefused,
)
from emporium.catalog.state_machine import CatalogState
from emporium.replication import wire
from emporium.replication.effects import (
    NOT_REIGNING,
    OVERLOADED,
    UNAVAILABLE,
    CallReply,
    Request,
)
from emporium.replication.failures import (
    Malformed,
    NotReigning,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from tests.unit.catalog_data import ORDERS, START, open_catalog, take_stock
from tests.unit.fake_port import FakePort, Replica, Said


def catalog(**port: Any) -> Replica:
    """A reigning catalog with its data set and an admitted order group."""
    state = open_catalog()
    return Replica(state, CatalogDesk(state), FakePort(**port))


def answer(replica: Replica) -> Said:
    """The one reply since the last look."""
    said = replica.port.take_said()
    assert len(said) == 1, said
    return said[0]


def take(replica: Replica, request_id: str, item: str = "1", **changes: Any) -> Any:
    """A take that commits; gives the answer."""
    replica.ask(take_stock(request_id, item, **changes))
    replica.commit()
    return answer(replica).payload


def test_a_take_is_decided_when_it_is_applied_and_told_with_its_index() -> None:
    """Nothing is said before the entry is applied; the reply waits for the entry's release."""
    replica = catalog()
    replica.ask(take_stock("r1"))
    assert not replica.port.said
    (_, command) = replica.port.proposed[0]
    proposed = wire.decode(command)
    assert isinstance(proposed, Take)
    assert proposed.stamp == replica.port.clock
    replica.commit()
    said = answer(replica)
    assert isinstance(said.payload, StockTaken)
    assert said.index == replica.port.applied == 3
    assert replica.port.operations == ["query_by_item,1", "update,1,na,-1"]


def test_a_repeat_is_answered_from_the_state_and_waits_for_the_release() -> None:
    """No second entry, no second stock check, and nothing told above the released index."""
    replica = catalog()
    first = take(replica, "r1")
    replica.port.operations.clear()
    replica.ask(take_stock("r1"))
    assert not replica.port.proposed
    said = answer(replica)
    assert said.payload == first
    assert said.index == replica.port.applied
    replica.ask(take_stock("r1", quantity=2))
    assert answer(replica).payload == TakeConflict()
    assert not replica.port.operations


def test_a_command_carries_the_later_of_stamp_and_clock() -> None:
    """A reign with a slow clock doesn't turn stamped time back."""
    replica = catalog(clock=START - 5)
    sold = take(replica, "r1")
    assert sold.sale.stamp == START
    replica.port.clock = START + 9
    assert take(replica, "r2").sale.stamp == START + 9


def test_who_does_not_reign_says_who_does() -> None:
    """Takes, changes, admissions and polls; nothing is proposed."""
    replica = catalog(reigning=False, primary=2, epoch=7)
    asked = (
        take_stock("r1"),
        ForwardChange(ChangeItem("1", 5, None, "c")),
        AdmitOrders(ORDERS, 1, 0, ""),
        PollLedger(0, "", 50),
    )
    for payload in asked:
        replica.ask(payload)
        assert answer(replica).payload == NotReigning(2, 7)
    assert not replica.port.proposed


@pytest.mark.parametrize("payload", [TakeRefused("out_of_stock"), NotReigning(1, 8), None])
def test_a_backup_passes_a_change_on_once_and_relays_the_answer(payload: object) -> None:
    """The primary gets it marked as forwarded; a lost call leaves the outcome unknown."""
    replica = catalog(reigning=False, primary=2, epoch=7)
    change = ChangeItem("1", 5, None, "c")
    replica.ask(change)
    (call,) = replica.port.calls
    assert (call.role, call.replica, call.payload) == ("catalog", 2, ForwardChange(change))
    replica.desk.called(replica.port, CallReply(call.token, payload))
    assert answer(replica).payload == (OutcomeUnknown("c") if payload is None else payload)
    assert not replica.port.proposed


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (NOT_REIGNING, NotReigning(0, 1)),
        (OVERLOADED, Overloaded(500)),
        ("unknown", OutcomeUnknown("r1")),
    ],
)
def test_a_proposal_that_comes_to_nothing_says_so(status: str, expected: object) -> None:
    """Definite where it is, unknown where it may still happen."""
    replica = catalog()
    replica.ask(take_stock("r1"))
    replica.refuse(status)
    assert answer(replica).payload == expected


def test_a_deadline_answers_unknown_and_the_entry_may_still_come() -> None:
    """The waiter is told once; the late answer of the core goes nowhere."""
    replica = catalog()
    replica.ask(take_stock("r1"), within_ms=100)
    assert replica.desk.wake_at() == replica.port.now + 100
    replica.wait(100)
    assert answer(replica).payload == OutcomeUnknown("r1")
    replica.commit()
    assert not replica.port.said
    assert isinstance(take(replica, "r1"), StockTaken)
    assert replica.machine.ledger.length == 1  # type: ignore[attr-defined]


def test_a_sell_and_a_change_have_no_stock_check() -> None:
    """Only a buy logs `query_by_item`; the change logs its own update."""
    replica = catalog()
    take(replica, "s1", side=SELL)
    replica.ask(ChangeItem("2", 1500, 3, "c1"))
    replica.commit()
    said = answer(replica)
    assert isinstance(said.payload, ItemChanged)
    assert (said.payload.view.price, said.payload.view.stock) == (1500, 8)
    assert replica.port.operations == ["update,1,na,1", "update,2,15,3"]
    replica.ask(ChangeItem("2", 1500, 3, "c1"))
    assert answer(replica).payload == said.payload


def test_nonsense_is_refused_before_it_gets_into_the_log() -> None:
    """Each with the field's name."""
    replica = catalog()
    cases: list[tuple[object, str]] = [
        (take_stock("r1", quantity=0), "quantity"),
        (take_stock("r1", side="x"), "side"),
        (take_stock(""), "request_id"),
        (take_stock("r1", "a\nb"), "item"),
        (ChangeItem("1", None, None, "c"), "price"),
        (QueryItem("1", "sometimes"), "read"),
        (QueryTopic("a", ""), "read"),
        (StockTaken(take(catalog(), "r").sale), "payload"),
    ]
    for payload, field in cases:
        replica.ask(payload)
        said = answer(replica)
        assert isinstance(said.payload, Malformed)
        assert said.payload.field == field
    assert not replica.port.proposed


def test_a_full_table_of_refusals_is_seen_before_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `apply` would only turn away costs no entry; sales go on."""
    monkeypatch.setattr(settled_module.Settled.__init__, "__defaults__", (1,))
    replica = catalog()
    assert take(replica, "r1", "3") == TakeRefused("out_of_stock")
    replica.ask(take_stock("r2", "3"))
    assert not replica.port.proposed
    assert isinstance(answer(replica).payload, Overloaded)
    assert isinstance(take(replica, "r3"), StockTaken)


def test_the_table_of_open_questions_is_bounded() -> None:
    """Beyond it requests are refused at once; it empties with the deadlines."""
    replica = catalog()
    for number in range(OPEN_LIMIT):
        request = Request(number, QueryItem("1", "local"), 1_100.0)
        replica.desk.request(replica.port, request)
    replica.ask(QueryItem("1", "local"))
    assert isinstance(answer(replica).payload, Overloaded)
    replica.wait(100)
    assert len(replica.port.take_said()) == OPEN_LIMIT
    replica.ask(QueryItem("1", "local"))
    assert not replica.port.said


# --- the ledger feed ---


def test_a_poll_waits_for_the_first_sale() -> None:
    """The page comes with the sale, the length and a stamp; nothing before."""
    replica = catalog()
    replica.ask(PollLedger(0, "", 1_000), "poll")
    assert not replica.port.said
    sold = take_later(replica, "r1")
    page = answer_for(replica, "poll")
    assert page == LedgerPage(0, (sold.sale,), 1, replica.port.clock)


def take_later(replica: Replica, request_id: str) -> StockTaken:
    """A take whose own answer is looked up beside other replies."""
    replica.ask(take_stock(request_id), "take")
    replica.commit()
    payload = answer_for(replica, "take")
    assert isinstance(payload, StockTaken)
    return payload


def answer_for(replica: Replica, token: str) -> Any:
    """The reply under this token; the others stay."""
    found = [said for said in replica.port.said if said.token == token]
    assert len(found) == 1
    replica.port.said.remove(found[0])
    return found[0].payload


def test_a_poll_never_shows_a_sale_above_the_released_index() -> None:
    """Applied isn't enough: a holder may still answer from an older copy."""
    replica = catalog(released=2)
    replica.ask(PollLedger(0, "", 1_000), "poll")
    first, second = take_later(replica, "r1"), take_later(replica, "r2")
    assert not replica.port.said
    replica.port.released = 3
    replica.wait(1)
    page = answer_for(replica, "poll")
    assert (page.sales, page.length) == ((first.sale,), 1)
    replica.port.released = 4
    replica.ask(PollLedger(1, first.sale.chain, 1_000), "poll")
    assert answer_for(replica, "poll").sales == (second.sale,)


def test_a_poll_comes_back_empty_when_its_wait_or_its_deadline_is_over() -> None:
    """With the stamp of now: an idle store's takes must not be fenced for it."""
    replica = catalog()
    replica.ask(PollLedger(0, "", 300), "poll")
    replica.wait(299)
    assert not replica.port.said
    replica.wait(1)
    assert answer_for(replica, "poll") == LedgerPage(0, (), 0, replica.port.clock)
    replica.ask(PollLedger(0, "", 9_000), "poll", within_ms=200)
    assert replica.desk.wake_at() < replica.port.now + 200
    replica.wait(190)
    assert answer_for(replica, "poll").sales == ()


def test_a_poll_of_somebody_with_another_past_is_a_mismatch() -> None:
    """A longer ledger, or another chain, and the answer waits for the release."""
    replica = catalog()
    sold = take_later(replica, "r1")
    for after, chain in ((1, "x"), (2, sold.sale.chain), (5, "")):
        replica.ask(PollLedger(after, chain, 100), "poll")
        said = answer(replica)
        assert said.payload == LedgerMismatch(1, sold.sale.chain)
        assert said.index == replica.port.applied


def test_a_page_is_bounded_and_says_how_much_there_is() -> None:
    """300 sales: 256 now, the rest with the next poll."""
    state = open_catalog(json.dumps({"items": [_item(400)], "ledger_chain": "b"}))
    replica = Replica(state, CatalogDesk(state))
    for number in range(300):
        take(replica, f"r{number}")
    replica.ask(PollLedger(0, "", 0))
    page = answer(replica).payload
    assert (len(page.sales), page.length) == (256, 300)
    replica.ask(PollLedger(256, page.sales[-1].chain, 0))
    assert len(answer(replica).payload.sales) == 44


def _item(stock: int) -> dict[str, object]:
    return {"item": "1", "title": "One", "topic": "a", "price": 1, "stock": stock}


def test_pollers_are_bounded_and_sent_away_when_the_reign_ends() -> None:
    """One too many is refused; all others hear who reigns now."""
    replica = catalog()
    for number in range(POLLERS_LIMIT + 1):
        replica.ask(PollLedger(0, "", 10_000), number, within_ms=20_000)
    assert answer(replica).payload == Overloaded(500)
    replica.port.reigning, replica.port.primary, replica.port.epoch = False, 1, 2
    replica.wait(1)
    said = replica.port.take_said()
    assert [reply.payload for reply in said] == [NotReigning(1, 2)] * POLLERS_LIMIT


# --- reads ---


def test_a_linearizable_read_waits_for_the_release_of_what_it_saw() -> None:
    """The view names the applied index at which it was read; the lower levels may be early."""
    replica = catalog(reigning=False)
    for level, held in (("linearizable", True), ("local", False), ("primary", False)):
        replica.ask(QueryItem("2", level))
        assert replica.port.reads[0][1] == level
        replica.port.applied += 1
        replica.confirm()
        said = answer(replica)
        assert isinstance(said.payload, ItemFound)
        assert said.payload.view.commit_index == replica.port.applied
        assert said.index == (replica.port.applied if held else 0)
    assert replica.port.operations == ["query_by_item,2"] * 3


def test_a_topic_is_matched_exactly_and_no_topic_means_all() -> None:
    """In the data set's order."""
    replica = catalog()
    found: dict[str, list[str]] = {}
    for topic in ("a", "b", "", "A", "a "):
        replica.ask(QueryTopic(topic, "linearizable"))
        replica.confirm()
        payload = answer(replica).payload
        assert isinstance(payload, ItemList)
        found[topic] = [view.item for view in payload.items]
    assert found == {"a": ["1", "2"], "b": ["3"], "": ["1", "2", "3"], "A": [], "a ": []}
    assert replica.port.operations[0] == "query_by_topic,a"


def test_a_read_that_nobody_confirms_is_unavailable() -> None:
    """Said by the core, or by the clock; no operation line for it."""
    replica = catalog()
    for status, expected in (
        (
            UNAVAILABLE,
            Unavailable("this replica is not serving yet, or no majority confirmed the read"),
        ),
        (NOT_REIGNING, NotReigning(0, 1)),
    ):
        replica.ask(QueryItem("2", "linearizable"))
        replica.confirm(status)
        assert answer(replica).payload == expected
    replica.ask(QueryItem("2", "linearizable"), within_ms=50)
    replica.wait(50)
    assert isinstance(answer(replica).payload, Unavailable)
    assert not replica.port.operations


def test_a_missing_item_is_missing_at_an_index() -> None:
    """So that the answer can be ordered, too."""
    replica = catalog()
    replica.ask(QueryItem("9", "linearizable"))
    replica.confirm()
    assert answer(replica).payload == ItemMissing("9", 2)


def test_an_outcome_is_found_by_its_request_id() -> None:
    """A sale, a refusal, nothing; always a linearizable read."""
    replica = catalog()
    sold = take(replica, "r1")
    take(replica, "r2", "3")
    for request_id, expected in (
        ("r1", sold),
        ("r2", TakeRefused("out_of_stock")),
        ("r3", NoOutcome("r3")),
    ):
        replica.ask(FindOutcome(request_id))
        assert replica.port.reads[0][1] == "linearizable"
        replica.confirm()
        assert answer(replica).payload == expected


def test_an_admission_is_an_entry() -> None:
    """Answered when it is applied."""
    state = CatalogState()
    state.start(json.dumps({"items": [_item(1)], "ledger_chain": ""}))
    replica = Replica(state, CatalogDesk(state))
    replica.ask(AdmitOrders(ORDERS, 1, 0, ""))
    replica.commit()
    assert answer(replica).payload == OrdersAdmitted(replica.port.clock)
    assert state.order_group == ORDERS


def test_the_digest_is_told_by_every_replica_at_once() -> None:
    """With the books by item."""
    replica = catalog(reigning=False, serving=False)
    replica.ask(AskDigest())
    payload = answer(replica).payload
    assert isinstance(payload, StateDigest)
    assert (payload.applied, payload.length) == (2, 0)
    assert json.loads(payload.books)["2"] == {
        "initial": 5,
        "restocked": 0,
        "sold_back": 0,
        "bought": 0,
        "stock": 5,
        "price": 2050,
    }
