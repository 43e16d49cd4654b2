"""The history checker agrees with brute force, is fast, and tells the shortest bad part."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import cache

from emporium.client.history import (
    BUY,
    OK,
    READ,
    REFUSED,
    RESTOCK,
    SELL,
    UNKNOWN,
    Operation,
)
from emporium.client.linearizability import Order, check

HISTORIES = 3_000
ITEM = "1"


def read(stock: int, invoked: int, returned: int, process: str = "r") -> Operation:
    """A read that saw `stock`."""
    return Operation(process, READ, ITEM, invoked, returned, OK, stock=stock)


def buy(number: int, invoked: int, returned: int | None, quantity: int = 1) -> Operation:
    """A sale."""
    return Operation("b", BUY, ITEM, invoked, returned, OK, f"id-{number}", quantity, number=number)


def orders_of(history: list[Operation]) -> list[Order]:
    """The order list that belongs to a history."""
    return [Order(o.number, o.request_id, o.item, o.quantity, o.kind) for o in history if o.number]


# --- brute force: every order of all operations that time allows ---


def brute_force(history: list[Operation], initial: int) -> bool:
    """Whether any sequence that respects time explains the (resolved) history."""
    everything = (1 << len(history)) - 1

    @cache
    def possible(done: int, stock: int, newest: int) -> bool:
        if done == everything:
            return True
        open_ones = [o for i, o in enumerate(history) if not done >> i & 1]
        first_answer = min(o.returned if o.returned is not None else 10**9 for o in open_ones)
        for index, operation in enumerate(history):
            if done >> index & 1 or operation.invoked > first_answer:
                continue
            after = step(operation, stock, newest)
            if after is not None and possible(done | 1 << index, *after):
                return True
        return False

    return possible(0, initial, 0)


def step(operation: Operation, stock: int, newest: int) -> tuple[int, int] | None:
    """The sequential object: (stock, newest number) after the operation, None if impossible."""
    if operation.kind == READ:
        return (stock, newest) if operation.stock == stock else None
    if operation.outcome == REFUSED:
        return (stock, newest) if stock < operation.quantity else None
    if operation.kind == RESTOCK:
        after = stock + operation.quantity
        return (after, newest) if after >= 0 else None
    after = stock + (operation.quantity if operation.kind == SELL else -operation.quantity)
    return (after, operation.number) if after >= 0 and operation.number > newest else None


def random_history(chance: random.Random, restocks: bool) -> tuple[list[Operation], int]:
    """A true history of a counter: every operation acts at one moment between its times."""
    initial, stock, number = chance.randint(0, 3), 0, 0
    stock = initial
    history = []
    for position in range(chance.randint(1, 8)):
        moment = 10 * (position + 1)
        invoked = moment - chance.randint(0, 30)
        returned: int | None = moment + chance.randint(0, 30)
        kinds = [READ, READ, BUY, BUY, BUY, SELL] + ([RESTOCK] if restocks else [])
        kind = chance.choice(kinds)
        quantity = chance.randint(1, 2)
        base = Operation("p", kind, ITEM, invoked, returned, OK, f"id-{position}", quantity)
        if kind == READ:
            history.append(replace(base, stock=stock))
        elif kind == RESTOCK:
            stock += quantity
            history.append(base)
        elif kind == BUY and stock < quantity:
            history.append(replace(base, outcome=REFUSED))
        else:
            stock += quantity if kind == SELL else -quantity
            number += 1
            returned = None if chance.random() < 0.1 else returned
            history.append(replace(base, number=number, returned=returned))
    return history, initial


def broken(chance: random.Random, history: list[Operation]) -> list[Operation]:
    """The history with one lie in it."""
    index = chance.randrange(len(history))
    victim = history[index]
    changed = list(history)
    lie = chance.randrange(3)
    if victim.kind == READ:
        changed[index] = replace(victim, stock=max(0, victim.stock + chance.choice([-2, -1, 1, 2])))
    elif victim.outcome == REFUSED or lie == 0:
        shift = chance.choice([-80, -40, 40, 80])
        end = None if victim.returned is None else victim.returned + shift
        changed[index] = replace(victim, invoked=victim.invoked + shift, returned=end)
    else:
        others = [i for i, o in enumerate(history) if o.number and i != index]
        if victim.number and others and lie == 1:
            other = chance.choice(others)
            changed[index] = replace(victim, number=history[other].number)
            changed[other] = replace(history[other], number=victim.number)
        else:
            changed[index] = replace(victim, quantity=victim.quantity + 1)
    return changed


def hide_some(chance: random.Random, history: list[Operation]) -> list[Operation]:
    """What the clients knew: some sales without an answer, some without a number."""
    told = []
    for operation in history:
        if operation.number and operation.returned is None:
            told.append(replace(operation, outcome=UNKNOWN, number=0))
        elif operation.number and chance.random() < 0.3:
            told.append(replace(operation, number=0))
        else:
            told.append(operation)
    return told


def test_agrees_with_brute_force_on_small_histories() -> None:
    """On thousands of small histories, half of them broken, both give the same verdict."""
    chance = random.Random(7)
    good = bad = 0
    while good + bad < HISTORIES:
        history, initial = random_history(chance, restocks=chance.random() < 0.4)
        want_bad = bad <= good
        if want_bad:
            history = broken(chance, history)
        expected = brute_force(history, initial)
        if expected == want_bad:
            continue  # the lie wasn't one
        good, bad = good + expected, bad + (not expected)
        violations = check(hide_some(chance, history), {ITEM: initial}, orders_of(history))
        assert (not violations) == expected, (initial, history, violations)
    assert bad >= HISTORIES // 2 and bad >= 1_000


def big_history(count: int, width: int) -> tuple[list[Operation], int]:
    """A true history: `width` clients, each always in a call, moments 10 µs apart."""
    chance = random.Random(3)
    stock, number, history = 1_000_000, 0, []
    for position in range(count):
        moment = 10 * position + 1_000
        invoked = moment - chance.randint(0, 10 * width)
        returned = moment + chance.randint(0, 10 * width)
        if chance.random() < 0.5:
            history.append(read(stock, invoked, returned))
        else:
            number, stock = number + 1, stock - 1
            history.append(buy(number, invoked, returned))
    return history, 1_000_000


def test_twenty_thousand_operations_take_seconds() -> None:
    """A large history of one item is decided fast, right and wrong."""
    history, initial = big_history(20_000, 10)
    began = time.process_time()
    assert check(history, {ITEM: initial}, orders_of(history)) == []
    position = next(i for i in range(10_000, 20_000) if history[i].kind == READ)
    history[position] = replace(history[position], stock=history[position].stock + 40)
    violations = check(history, {ITEM: initial}, orders_of(history))
    assert len(violations) == 1
    assert len(violations[0].part) < 45
    assert time.process_time() - began < 20


def test_shows_the_shortest_bad_part_of_a_stale_read() -> None:
    """Of a long history only the sale and the read that missed it are left."""
    history = [buy(n, 100 * n, 100 * n + 50) for n in range(1, 50)]
    history += [read(1_000 - n, 100 * n + 60, 100 * n + 70) for n in range(1, 50)]
    history.append(read(1_000 - 29, 3_080, 3_085, "stale"))
    (violation,) = check(history, {ITEM: 1_000}, orders_of(history))
    assert violation.stock == 1_000 - 30
    assert [o.process for o in violation.part if o.kind == READ] == ["stale"]
    assert "no moment" in str(violation) and "stale: read → saw 971" in str(violation)


def test_an_unanswered_sale_hides_no_later_part() -> None:
    """A sale whose answer nobody got has happened when a later number was answered."""
    history = [buy(n, 100 * n, 100 * n + 50 if n > 1 else None) for n in range(1, 50)]
    history.append(read(1_000 - 29, 3_080, 3_085, "stale"))
    (violation,) = check(history, {ITEM: 1_000}, orders_of(history))
    assert violation.stock == 1_000 - 30


def test_an_acknowledged_purchase_must_be_in_the_order_list() -> None:
    """A success without an order is a violation even when nothing else contradicts it."""
    violations = check([buy(1, 0, 10)], {ITEM: 3}, [])
    assert "no order has its request id" in str(violations[0])


def test_a_refused_purchase_must_not_be_in_the_order_list() -> None:
    """Refused and sold at once is a violation."""
    refused = Operation("b", BUY, ITEM, 0, 10, REFUSED, "id-1")
    violations = check([refused], {ITEM: 3}, [Order(1, "id-1", ITEM, 1, BUY)])
    assert "refused and yet" in str(violations[0])


def test_a_refusal_needs_a_moment_without_stock() -> None:
    """Out of stock while the stock sufficed all the time is a violation."""
    refused = Operation("b", BUY, ITEM, 0, 10, REFUSED, "id-1", reason="out_of_stock")
    assert check([refused], {ITEM: 3})
    assert not check([refused], {ITEM: 0})


def test_overselling_is_a_violation() -> None:
    """Two sales of the last copy can't both be."""
    history = [buy(1, 0, 10), buy(2, 5, 20)]
    assert check(history, {ITEM: 1}, orders_of(history))


def test_an_unknown_outcome_is_resolved_by_its_request_id() -> None:
    """A purchase without an answer happened when the order list has it, and not otherwise."""
    unknown = Operation("b", BUY, ITEM, 0, None, UNKNOWN, "id-1")
    seen = [unknown, read(2, 20, 30)]
    assert not check(seen, {ITEM: 3}, [Order(1, "id-1", ITEM, 1, BUY)])
    assert check(seen, {ITEM: 3}, [])


def test_repeats_under_one_request_id_are_one_purchase() -> None:
    """Many calls with one id sell once; two orders for one id are a violation."""
    tries = [buy(1, n, n + 100) for n in range(20)]
    assert not check([*tries, read(2, 200, 210)], {ITEM: 3}, [Order(1, "id-1", ITEM, 1, BUY)])
    second = replace(tries[0], number=2)
    assert "several orders" in str(check([*tries, second], {ITEM: 3}, orders_of(tries[:1]))[0])


def test_an_exceeded_budget_is_a_failure() -> None:
    """Too many restocks at once can't be decided, and that is said."""
    history = [Operation("o", RESTOCK, ITEM, 0, 100, OK, quantity=2**n) for n in range(12)]
    history.append(read(1, 50, 60))
    (violation,) = check(history, {ITEM: 0}, budget=100)
    assert "budget" in str(violation)


def test_items_are_checked_alone() -> None:
    """A violation of one item doesn't hide behind another."""
    other = replace(read(9, 0, 10), item="2")
    violations = check([read(3, 0, 10), other], {ITEM: 3, "2": 8})
    assert [violation.item for violation in violations] == ["2"]
