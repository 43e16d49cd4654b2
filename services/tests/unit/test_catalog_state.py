"""The catalog's rule: what a committed command does."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from emporium.catalog import settled as settled_module
from emporium.catalog.books import BrokenBooks, cost_text
from emporium.catalog.ledger import BrokenLedger, Ledger, next_chain
from emporium.catalog.requests import (
    SELL,
    ItemChanged,
    ItemMissing,
    LedgerMismatch,
    OrdersAdmitted,
    OrdersBehind,
    StockTaken,
    TakeConflict,
    TakeFenced,
    TakeRefused,
)
from emporium.catalog.settled import KEEP_MS
from emporium.catalog.state_machine import BadState, CatalogState
from emporium.replication import wire
from emporium.replication.failures import Malformed, Overloaded
from tests.unit.catalog_data import (
    DATA,
    FAR,
    ORDERS,
    START,
    admit,
    change,
    open_catalog,
    sales_of,
    take,
)


def stock(state: CatalogState, item: str) -> int:
    """The stock of an item that is there."""
    book = state.books.get(item)
    assert book is not None
    return book.stock


def check_books(state: CatalogState) -> None:
    """Conservation, by hand, and against the ledger."""
    for book in state.books.all():
        assert book.stock == book.initial + book.restocked + book.sold_back - book.bought >= 0
    sales = state.ledger.after(0, state.ledger.length, 10**6)
    for book in state.books.all():
        mine = [sale for sale in sales if sale.item == book.item]
        assert book.bought == sum(sale.quantity for sale in mine if sale.side != SELL)
        assert book.sold_back == sum(sale.quantity for sale in mine if sale.side == SELL)


def check_roundtrip(state: CatalogState) -> None:
    """Snapshot and restore give an equal state, equal text and an equal digest."""
    text = state.snapshot()
    other = CatalogState()
    other.restore(text)
    assert other.snapshot() == text
    assert other.digest() == state.digest()


def test_a_take_gives_the_sale_its_number_price_and_chain() -> None:
    """The first sale is number 1, at the item's price, on the chain's base."""
    state = open_catalog()
    outcome = state.apply(3, take("r1", "2", 2, START + 7))
    assert isinstance(outcome.fact, StockTaken)
    sale = outcome.fact.sale
    assert (sale.number, sale.price, sale.stamp, sale.quantity) == (1, 2050, START + 7, 2)
    assert sale.chain == next_chain(state.ledger.base, sale)
    assert outcome.keys == ("item:2", "topic:a", "lists")
    assert outcome.operations == ("update,2,na,-2",)
    assert stock(state, "2") == 3


def test_the_same_id_gives_the_same_sale_and_another_purchase_is_a_conflict() -> None:
    """A repeat changes nothing; item, quantity and side are the fingerprint."""
    state = open_catalog()
    first = state.apply(3, take("r1"))
    before = state.snapshot()
    assert state.apply(4, take("r1")).fact == first.fact
    assert state.apply(5, take("r1")).operations == ()
    for other in (take("r1", "2"), take("r1", "1", 2), take("r1", side=SELL)):
        assert state.apply(6, other).fact == TakeConflict()
    assert state.snapshot() == before


def test_a_refusal_is_an_outcome_even_after_a_restock() -> None:
    """Attempt 1 was refused, so attempt 2 is, although there is stock now."""
    state = open_catalog()
    assert state.apply(3, take("r1", "3")).fact == TakeRefused("out_of_stock")
    assert state.apply(4, take("r2", "9")).fact == TakeRefused("unknown_item")
    state.apply(5, change("c1", "3", None, 10))
    assert state.apply(6, take("r1", "3")).fact == TakeRefused("out_of_stock")
    assert isinstance(state.apply(7, take("r3", "3")).fact, StockTaken)
    assert state.apply(8, take("r1", "3", 2)).fact == TakeConflict()


def test_two_takes_of_the_last_copy_in_the_log_sell_it_once() -> None:
    """The log's order decides, not the proposer."""
    state = open_catalog()
    facts = [state.apply(3 + n, take(f"r{n}")).fact for n in range(5)]
    assert [type(fact) for fact in facts] == [StockTaken] * 3 + [TakeRefused] * 2
    assert state.ledger.length == 3


def test_a_fenced_take_leaves_nothing_but_its_stamp() -> None:
    """Another group, an older epoch, or a stamp past the deadline: the id stays free."""
    state = open_catalog()
    state.apply(3, admit(epoch=4))
    late = take("r1", stamp=START + 50, order_epoch=4, deadline_stamp=START + 49)
    assert state.apply(4, late).fact == TakeFenced("deadline", START + 50)
    assert state.apply(5, take("r1", order_epoch=3)).fact == TakeFenced("epoch", START + 50)
    other = take("r1", order_group="other", order_epoch=9)
    assert state.apply(6, other).fact == TakeFenced("group", START + 50)
    assert state.outcome("r1") is None
    assert state.ledger.length == 0
    assert isinstance(state.apply(7, take("r1", order_epoch=4)).fact, StockTaken)


def test_no_take_before_an_order_group_is_admitted() -> None:
    """A catalog without an admitted order group fences all takes, also those of no group."""
    state = CatalogState()
    state.start(DATA)
    assert state.apply(2, take("r1")).fact == TakeFenced("group", START)
    assert state.apply(3, take("r1", order_group="")).fact == TakeFenced("group", START)


def test_a_take_exactly_at_its_deadline_is_in_time() -> None:
    """Past the deadline means later than it."""
    state = open_catalog()
    assert isinstance(state.apply(3, take("r1", deadline_stamp=START)).fact, StockTaken)


def test_the_stamp_never_goes_back() -> None:
    """Stamped time is the maximum of all stamps."""
    state = open_catalog()
    state.apply(3, take("r1", stamp=START + 100))
    outcome = state.apply(4, take("r2", stamp=START + 1))
    assert isinstance(outcome.fact, StockTaken)
    assert outcome.fact.sale.stamp == START + 100
    assert state.stamp == START + 100


def test_refusals_age_out_after_a_day_of_stamped_time_and_sales_never() -> None:
    """23 h 59 later the refusal stands, at 24 h it is forgotten; the sale is not."""
    state = open_catalog()
    deadline: dict[str, Any] = {"deadline_stamp": START + 10 * KEEP_MS}
    state.apply(3, take("r1", "3"))
    state.apply(4, take("sold"))
    state.apply(5, take("x", "9", stamp=START + KEEP_MS - 1, **deadline))
    assert state.outcome("r1") == TakeRefused("out_of_stock")
    sold = state.apply(6, take("sold", stamp=START + KEEP_MS, **deadline)).fact
    assert state.outcome("r1") is None
    assert state.outcome("x") is not None
    assert isinstance(sold, StockTaken)
    assert sold.sale.number == 1
    check_roundtrip(state)


def test_a_full_table_of_refusals_leaves_new_ids_free_and_lets_sales_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never by count: what would need a place is answered Overloaded, in apply, the same
    everywhere."""
    monkeypatch.setattr(settled_module.Settled.__init__, "__defaults__", (2,))
    state = open_catalog()
    for name in ("a", "b"):
        state.apply(3, take(name, "3"))
    assert isinstance(state.apply(4, take("c", "3")).fact, Overloaded)
    assert isinstance(state.apply(5, change("d", "3", None, 1)).fact, Overloaded)
    assert state.outcome("c") is None
    assert state.outcome("a") == TakeRefused("out_of_stock")
    assert isinstance(state.apply(6, take("e")).fact, StockTaken)


def test_a_sell_gives_stock_back_under_a_sale_of_its_own() -> None:
    """Sells are sales: numbered, with side sell, never out of stock."""
    state = open_catalog()
    outcome = state.apply(3, take("s1", "3", 4, side=SELL))
    assert isinstance(outcome.fact, StockTaken)
    assert (outcome.fact.sale.number, outcome.fact.sale.side) == (1, SELL)
    assert outcome.operations == ("update,3,na,4",)
    assert stock(state, "3") == 4
    assert state.apply(4, take("s2", "9", side=SELL)).fact == TakeRefused("unknown_item")
    check_books(state)


def test_a_change_sets_the_price_and_restocks_once_per_id() -> None:
    """A repeat gives the first answer; another change under the id is a conflict."""
    state = open_catalog()
    outcome = state.apply(3, change("c1", "1", 1234, 5))
    assert isinstance(outcome.fact, ItemChanged)
    assert (outcome.fact.view.price, outcome.fact.view.stock) == (1234, 8)
    assert outcome.operations == ("update,1,12.34,5",)
    assert outcome.keys == ("item:1", "topic:a", "lists")
    assert state.apply(4, change("c1", "1", 1234, 5)).fact == outcome.fact
    assert stock(state, "1") == 8
    assert state.apply(5, change("c1", "1", 1234, 6)).fact == TakeConflict()
    assert state.apply(6, take("c1")).fact == TakeConflict()
    assert state.outcome("c1") is None
    assert state.apply(7, change("c2", "1", 2000, None)).operations == ("update,1,20,na",)
    assert state.apply(8, change("c3", "9", 1, None)).fact == ItemMissing("9", 8)
    assert state.apply(9, change("c4", "1", None, -9)).fact == TakeRefused("out_of_stock")
    assert state.apply(10, change("c5", "1", None, -8)).operations == ("update,1,na,-8",)
    check_books(state)


def test_a_sale_keeps_the_price_of_its_moment() -> None:
    """A repeat after a change of price tells the old price."""
    state = open_catalog()
    state.apply(3, take("r1"))
    state.apply(4, change("c1", "1", 9, None))
    repeated, fresh = state.apply(5, take("r1")).fact, state.apply(6, take("r2")).fact
    assert isinstance(repeated, StockTaken)
    assert isinstance(fresh, StockTaken)
    assert (repeated.sale.price, fresh.sale.price) == (1000, 9)


def test_admission_fences_older_reigns_and_former_groups() -> None:
    """A new group enters when it has the whole ledger; the old one never comes back."""
    state = open_catalog()
    state.apply(3, take("r1"))
    chain = state.ledger.chain
    assert state.apply(4, admit("new", 1)).fact == OrdersBehind(1)
    assert state.apply(5, admit("new", 1, 1, "wrong")).fact == LedgerMismatch(1, chain)
    assert state.apply(6, admit("new", 1, 2, chain)).fact == LedgerMismatch(1, chain)
    assert state.apply(7, admit("new", 1, 1, chain)).fact == OrdersAdmitted(START)
    assert state.apply(8, take("r2", order_epoch=9)).fact == TakeFenced("group", START)
    assert state.apply(9, admit(ORDERS, 9, 1, chain)).fact == TakeFenced("group", START)
    assert isinstance(state.apply(10, take("r2", order_group="new")).fact, StockTaken)
    assert state.apply(11, admit("new", 0, 1, chain)).fact == TakeFenced("epoch", START)
    assert state.apply(12, admit("new", 5)).fact == OrdersAdmitted(START)  # behind, but its own
    check_roundtrip(state)


def test_apply_never_raises_for_a_command() -> None:
    """Nonsense gives Malformed and changes nothing."""
    state = open_catalog()
    before = state.snapshot()
    deep = "[" * 100_000
    nonsense = ["", "{}", "[]", '["Nope"]', '["Take",1,2]', "\x00", deep, '["Take"]', "9" * 9_999]
    foreign = [wire.encode(TakeConflict()), wire.encode(Malformed("a", "b"))]
    bad = [
        take("r", quantity=0),
        take("r", quantity=-1),
        take("r", quantity=10**9),
        take("r", side="steal"),
        take(""),
        take("x" * 200),
        take("a\nb"),
        take("\ud800"),
        take("r", "\ud800"),
        change("c", "1", None, None),
        change("c", "1", -1, None),
        change("c", "1", None, 10**9),
    ]
    for command in nonsense + foreign + bad:
        assert isinstance(state.apply(3, command).fact, Malformed), command[:80]
    assert state.snapshot() == before


def test_init_lines_are_those_of_the_seeds_file() -> None:
    """Number, stock, whole cost, topic, title."""
    lines = CatalogState().start(DATA)
    assert lines[:2] == ("init,1,3,10,a,One", "init,2,5,20.50,a,Two")
    assert [cost_text(cents) for cents in (1000, 1050, 5)] == ["10", "10.50", "0.05"]


def test_a_data_set_that_makes_no_sense_is_refused() -> None:
    """The start says what is wrong; nothing is half loaded silently."""
    items = json.loads(DATA)["items"]
    for data in (
        "",
        "[]",
        "{}",
        json.dumps({"items": items + items[:1]}),
        json.dumps({"items": [{**items[0], "stock": "3"}]}),
        json.dumps({"items": [{**items[0], "price": 1.5}]}),
        json.dumps({"items": [{**items[0], "stock": -1}]}),
        json.dumps({"restored": "{}"}),
    ):
        with pytest.raises(BadState):
            CatalogState().start(data)


def test_a_snapshot_that_was_tampered_with_is_refused() -> None:
    """A sale out of sequence, a book that doesn't balance, an unknown version."""
    state = open_catalog()
    state.apply(3, take("r1"))
    state.apply(4, take("r2"))
    plain = json.loads(state.snapshot())

    def refused(**changes: Any) -> None:
        with pytest.raises(BadState):
            CatalogState().restore(json.dumps({**plain, **changes}))

    refused(version=2)
    refused(sales=plain["sales"][::-1])
    refused(sales=[plain["sales"][0], [*plain["sales"][1][:3], 2, *plain["sales"][1][4:]]])
    refused(books=[[*plain["books"][0][:-1], 99]])
    with pytest.raises(BadState):
        CatalogState().restore("no json")


def test_broken_books_stop_the_replica() -> None:
    """An impossible state raises: it must not go on."""
    state = open_catalog()
    book = state.books.get("1")
    assert book is not None
    with pytest.raises(BrokenBooks):
        state.books.buy(book, 4)
    with pytest.raises(BrokenLedger):
        Ledger("base").load([[2, "r", "1", 1, "buy", 1, 1, "c", 3]], keep_indexes=True)


def test_a_backup_starts_a_new_group_with_the_same_ledger() -> None:
    """The chain is kept, log indexes begin anew, the ids are still known."""
    state = open_catalog()
    sold = state.apply(300, take("r1")).fact
    state.apply(301, take("r2", "3"))
    restored = CatalogState()
    lines = restored.start(json.dumps({"restored": state.snapshot()}))
    assert lines[0] == "init,1,2,10,a,One"
    assert restored.ledger.visible(0) == 1
    assert restored.ledger.chain == state.ledger.chain
    assert restored.apply(2, take("r1")).fact == sold
    assert restored.apply(3, take("r2", "3")).fact == TakeRefused("out_of_stock")


def test_the_chains_base_is_given_or_made_from_the_data_set() -> None:
    """Two data sets have two bases; a given text wins."""
    states = [CatalogState(), CatalogState(), CatalogState()]
    given = json.dumps({"items": [], "ledger_chain": "given"})
    for state, data in zip(states, (DATA, json.dumps({"items": []}), given), strict=True):
        state.start(data)
    assert states[0].ledger.base != states[1].ledger.base
    assert states[2].ledger.base == "given"


def test_the_ledger_knows_whose_past_it_holds() -> None:
    """Number and chain must both be right; who has nothing is at home anywhere."""
    ledger = Ledger("base")
    sales = sales_of(5)
    for index, sale in enumerate(sales):
        assert ledger.fits(sale)
        ledger.append(10 * index, sale)
        assert not ledger.fits(sale)
    assert ledger.holds(0, "")
    assert ledger.holds(0, "base")
    assert not ledger.holds(0, "other")
    assert ledger.holds(3, sales[2].chain)
    assert not ledger.holds(3, sales[1].chain)
    assert not ledger.holds(6, "")
    assert not ledger.holds(-1, "")
    assert [ledger.visible(index) for index in (-1, 0, 9, 10, 99)] == [0, 1, 1, 2, 5]
    assert ledger.after(1, 4, 2) == tuple(sales[1:3])
    assert ledger.after(3, 4, 9) == tuple(sales[3:4])
    assert ledger.after(4, 4, 9) == ()


class Model:
    """The rule once more, as dumb as possible: lists and a dict, no aging of sales."""

    def __init__(self) -> None:
        self.stock = {"1": 3, "2": 5, "3": 0}
        self.sales: list[tuple[str, str, int, str]] = []
        self.done: dict[str, tuple[tuple[object, ...], str]] = {}

    def take(self, request_id: str, item: str, quantity: int, side: str, fence: str) -> str:
        """The outcome as a word."""
        mark = ("take", item, quantity, side)
        if request_id in self.done:
            known, word = self.done[request_id]
            return word if known == mark else "conflict"
        if fence:
            return fence
        if item not in self.stock:
            word = "unknown_item"
        elif side == "buy" and self.stock[item] < quantity:
            word = "out_of_stock"
        else:
            self.stock[item] += quantity if side == SELL else -quantity
            self.sales.append((request_id, item, quantity, side))
            word = f"sale {len(self.sales)}"
        self.done[request_id] = (mark, word)
        return word

    def restock(self, request_id: str, item: str, pieces: int) -> str:
        """The outcome as a word."""
        mark = ("change", item, pieces)
        if request_id in self.done:
            known, word = self.done[request_id]
            return word if known == mark else "conflict"
        word = "missing"
        if item in self.stock:
            word = "out_of_stock" if self.stock[item] + pieces < 0 else "changed"
        if word == "changed":
            self.stock[item] += pieces
        self.done[request_id] = (mark, word)
        return word


def word_of(fact: object) -> str:
    """A fact as the model's word."""
    if isinstance(fact, StockTaken):
        return f"sale {fact.sale.number}"
    if isinstance(fact, TakeRefused | TakeFenced):
        return fact.reason
    words = {TakeConflict: "conflict", ItemChanged: "changed", ItemMissing: "missing"}
    return words[type(fact)]


@pytest.mark.parametrize("seed", range(20))
def test_random_commands_do_what_the_dumb_model_says(seed: int) -> None:
    """300 commands over few ids and items, a restore in the middle of everything, equal digests
    at every point."""
    chance = random.Random(seed)
    state, twin, model = open_catalog(), open_catalog(), Model()
    for index in range(3, 303):
        request_id = f"r{chance.randrange(60)}"
        item = chance.choice("11223349")
        quantity = chance.choice((1, 1, 2, 3))
        if chance.random() < 0.2:
            pieces = chance.choice((-2, 1, 3))
            command = change(request_id, item, None, pieces)
            expected = model.restock(request_id, item, pieces)
        else:
            side = chance.choice(("buy", "buy", "sell"))
            fence = chance.choice(("", "", "", "group", "epoch", "deadline"))
            fenced: dict[str, dict[str, Any]] = {
                "": {},
                "group": {"order_group": "other"},
                "epoch": {"order_epoch": 0},
                "deadline": {"deadline_stamp": START - 1},
            }
            command = take(request_id, item, quantity, side=side, **fenced[fence])
            expected = model.take(request_id, item, quantity, side, fence)
        assert word_of(state.apply(index, command).fact) == expected
        twin.apply(index, command)
        assert twin.digest() == state.digest()
        assert {book.item: book.stock for book in state.books.all()} == model.stock
        if chance.random() < 0.1:
            check_roundtrip(state)
            state.restore(state.snapshot())
    check_books(state)
    assert state.snapshot() == twin.snapshot()
    assert [sale.request_id for sale in state.ledger.after(0, 10**6, 10**6)] == [
        sale[0] for sale in model.sales
    ]


def test_a_restore_at_every_point_gives_the_same_end() -> None:
    """Whatever the point at which a replica restarts from a snapshot, it ends equal."""
    chance = random.Random(7)
    commands = [admit()]
    for number in range(40):
        stamp = START + number * KEEP_MS // 20
        request_id = f"r{chance.randrange(25)}"
        item = chance.choice("1239")
        commands.append(take(request_id, item, stamp=stamp, deadline_stamp=FAR * 2))
        if number % 5 == 0:
            commands.append(change(f"c{number}", item, None, 2, stamp))
    straight = CatalogState()
    straight.start(DATA)
    texts = [straight.snapshot()]
    digests = [straight.digest()]
    for index, command in enumerate(commands, start=2):
        straight.apply(index, command)
        texts.append(straight.snapshot())
        digests.append(straight.digest())
    assert len(set(digests)) > 20
    for point in range(len(commands) + 1):
        state = CatalogState()
        state.restore(texts[point])
        for index, command in enumerate(commands[point:], start=2 + point):
            state.apply(index, command)
            assert state.digest() == digests[index - 1]
        assert state.snapshot() == texts[-1]
