"""The checks on the books hold for honest books, and each sees the one lie it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from emporium.client.conservation import Digest, Finding, check_all
from emporium.client.history import BUY, OK, REFUSED, SELL, UNKNOWN, Operation
from emporium.client.linearizability import Order

World = tuple[list[Digest], list[Order], list[Operation]]


def honest() -> World:
    """Two buys and a sell of one item, at three replicas of both groups."""
    orders = [
        Order(1, "a", "1", 2, BUY),
        Order(2, "b", "1", 1, SELL),
        Order(3, "c", "1", 1, BUY),
    ]
    book = {"initial": 3, "restocked": 0, "sold_back": 1, "bought": 3, "stock": 1}
    sums = {"bought": 3, "sold_back": 1}
    digests = [Digest(f"catalog-{n}", "catalog", 5, "d", 3, "c3", {"1": book}) for n in range(3)]
    digests += [Digest(f"order-{n}", "order", 6, "e", 3, "c3", {"1": sums}) for n in range(3)]
    history = [
        Operation("p", BUY, "1", 0, 5, OK, "a", 2, number=1),
        Operation("p", SELL, "1", 5, 9, OK, "b", 1),
        Operation("p", BUY, "1", 9, None, UNKNOWN, "c"),
        Operation("p", BUY, "1", 9, 12, REFUSED, "d", 5),
    ]
    return digests, orders, history


def failed(findings: list[Finding]) -> set[str]:
    """Names of the checks that failed."""
    return {finding.name for finding in findings if not finding.passed}


def test_honest_books_pass() -> None:
    """All checks hold, and say what they looked at."""
    findings = check_all(*honest())
    assert failed(findings) == set()
    assert len(findings) == 6
    assert all(finding.detail for finding in findings)


def _book(world: World, **changes: int) -> None:
    digests = world[0]
    book = {**digests[0].books["1"], **changes}
    for index in range(3):
        digests[index] = replace(digests[index], books={"1": book})


def _stock(world: World) -> None:
    _book(world, stock=2)


def _bought(world: World) -> None:
    _book(world, bought=2, stock=2)


def _below_zero(world: World) -> None:
    _book(world, initial=1, stock=-1)


def _other_digest(world: World) -> None:
    world[0][4] = replace(world[0][4], digest="x")


def _behind(world: World) -> None:
    world[0][2] = replace(world[0][2], applied=4)


def _other_ledger(world: World) -> None:
    for index in range(3, 6):
        world[0][index] = replace(world[0][index], chain="other")


def _order_sums(world: World) -> None:
    world[0][3] = replace(world[0][3], books={"1": {"bought": 2, "sold_back": 1}})


def _gap(world: World) -> None:
    world[1][2] = replace(world[1][2], number=4)


def _number_twice(world: World) -> None:
    world[1][2] = replace(world[1][2], number=2)


def _no_last_order(world: World) -> None:
    world[1].pop()


def _lost(world: World) -> None:
    world[2].append(Operation("p", BUY, "1", 20, 30, OK, "lost", number=9))


def _another_number(world: World) -> None:
    world[2][0] = replace(world[2][0], number=3)


def _charged_twice(world: World) -> None:
    world[1][2] = replace(world[1][2], request_id="a", quantity=2)


def _refused_and_sold(world: World) -> None:
    world[2][0] = replace(world[2][0], outcome=REFUSED, number=0)


@pytest.mark.parametrize(
    ("lie", "name"),
    [
        (_stock, "conservation"),
        (_bought, "conservation"),
        (_order_sums, "conservation"),
        (_below_zero, "nothing oversold"),
        (_other_digest, "replicas equal"),
        (_behind, "replicas equal"),
        (_other_ledger, "replicas equal"),
        (_gap, "order numbers without gap"),
        (_number_twice, "order numbers without gap"),
        (_no_last_order, "order numbers without gap"),
        (_lost, "no acknowledged purchase lost"),
        (_another_number, "no acknowledged purchase lost"),
        (_refused_and_sold, "no acknowledged purchase lost"),
        (_charged_twice, "no duplicate order"),
    ],
)
def test_each_lie_is_seen(lie: Callable[[World], None], name: str) -> None:
    """One false number fails the check that is there for it."""
    world = honest()
    lie(world)
    assert name in failed(check_all(*world))
