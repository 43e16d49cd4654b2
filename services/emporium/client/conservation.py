"""The checks on the store's books: pure functions over digests, orders and a history.

Each gives a `Finding`; together they say that nothing was lost, doubled or oversold (DESIGN 2,
promises 1, 3, 4 and 6). What they need is collected at rest: the load has stopped and the
replicas are equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emporium.client.history import BUY, REFUSED, SELL, Operation
from emporium.client.linearizability import Order

SHOWN = 5
"""How many examples a failed finding names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was checked, whether it held, and the numbers or the first exceptions."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Digest:
    """What one replica says of its state. `books` by item: initial, restocked, sold_back, bought,
    stock; the order role's have bought and sold_back alone. Its ledger is its list of orders."""

    name: str
    role: str
    applied: int
    digest: str
    length: int
    chain: str
    books: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, name: str, role: str, told: Mapping[str, Any]) -> Digest:
        """From the JSON of `GET /v1/digest`. Raises KeyError and ValueError."""
        books = told.get("books") or {}
        return cls(
            name,
            role,
            int(told["applied"]),
            str(told["digest"]),
            int(told["length"] if "length" in told else told["watermark"]),
            str(told["chain"]),
            books if isinstance(books, Mapping) else {},
        )


def _finding(name: str, wrong: Sequence[str], fine: str) -> Finding:
    if not wrong:
        return Finding(name, passed=True, detail=fine)
    more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return Finding(name, passed=False, detail="; ".join(wrong[:SHOWN]) + more)


def numbers_without_gap(orders: Iterable[Order], length: int) -> Finding:
    """Order numbers are 1 to n, each once, and n is the length of the ledger."""
    counts = Counter(order.number for order in orders)
    newest = max(counts, default=0)
    wrong = [f"order {number} is missing" for number in range(1, newest + 1) if not counts[number]]
    wrong += [f"order {n} is there {count} times" for n, count in counts.items() if count > 1]
    wrong += [f"order number {number} is below 1" for number in counts if number < 1]
    if newest != length:
        wrong.append(f"the newest order is {newest}, the ledger has {length} sales")
    return _finding("order numbers without gap", wrong, f"1 to {newest}")


def one_order_per_request(orders: Iterable[Order]) -> Finding:
    """No request id has two orders: nobody was charged twice."""
    counts = Counter(order.request_id for order in orders)
    wrong = [f"request {name} has {count} orders" for name, count in counts.items() if count > 1]
    return _finding("no duplicate order", wrong, f"{len(counts)} request ids")


def acknowledged_are_there(orders: Iterable[Order], history: Iterable[Operation]) -> Finding:
    """Every acknowledged purchase is an order, the same as acknowledged; no refused one is."""
    by_request = {order.request_id: order for order in orders}
    wrong, count = [], 0
    for operation in history:
        order = by_request.get(operation.request_id)
        if operation.acknowledged:
            count += 1
            wrong += _misses(operation, order)
        elif operation.kind in (BUY, SELL) and operation.outcome == REFUSED and order is not None:
            wrong.append(f"refused {operation.request_id} is order {order.number}")
    return _finding("no acknowledged purchase lost", wrong, f"{count} acknowledged, all there")


def _misses(operation: Operation, order: Order | None) -> list[str]:
    name = f"{operation.request_id} (order {operation.number or 'unnamed'})"
    if order is None:
        return [f"acknowledged {name} is lost"]
    said = (operation.number or order.number, operation.item, operation.quantity, operation.kind)
    if said != (order.number, order.item, order.quantity, order.side):
        return [f"acknowledged {name} is {order}"]
    return []


def conserved(digests: Iterable[Digest], orders: Iterable[Order]) -> Finding:
    """At every catalog replica: initial + restocked + sold back - bought = stock, as the orders
    say."""
    bought, sold = _totals(orders)
    wrong, count = [], 0
    for digest in digests:
        if digest.role != "catalog":
            wrong += _order_errors(digest, bought, sold)
            continue
        count += 1
        if not digest.books:
            wrong.append(f"{digest.name} shows no books")
        for item, book in digest.books.items():
            wrong += _book_errors(digest.name, item, book, bought[item], sold[item])
        wrong += [
            f"{digest.name}: orders for {i}, unknown" for i in bought if i not in digest.books
        ]
    if not count:
        wrong.append("no catalog replica was asked")
    return _finding("conservation", wrong, f"holds at {count} replicas and against the orders")


def _order_errors(digest: Digest, bought: Counter[str], sold: Counter[str]) -> list[str]:
    """An order replica's own sums, where it tells them."""
    if not digest.books:
        return []
    items = sorted({*digest.books, *bought, *sold})
    told = [digest.books.get(item, {}) for item in items]
    return [
        f"{digest.name}, item {item}: sums {dict(book)}, orders {bought[item]} and {sold[item]}"
        for item, book in zip(items, told, strict=True)
        if (book.get("bought", 0), book.get("sold_back", 0)) != (bought[item], sold[item])
    ]


def _totals(orders: Iterable[Order]) -> tuple[Counter[str], Counter[str]]:
    bought: Counter[str] = Counter()
    sold: Counter[str] = Counter()
    for order in orders:
        (bought if order.side == BUY else sold)[order.item] += order.quantity
    return bought, sold


def _book_errors(
    name: str, item: str, book: Mapping[str, int], bought: int, sold: int
) -> list[str]:
    wrong = []
    expected = book["initial"] + book["restocked"] + book["sold_back"] - book["bought"]
    if book["stock"] != expected:
        wrong.append(f"{name}, item {item}: stock {book['stock']}, the books say {expected}")
    if book["bought"] != bought or book["sold_back"] != sold:
        wrong.append(
            f"{name}, item {item}: bought {book['bought']} and sold back {book['sold_back']},"
            f" the orders say {bought} and {sold}"
        )
    return wrong


def nothing_oversold(digests: Iterable[Digest], orders: Iterable[Order]) -> Finding:
    """No stock is below zero, now or, where nothing was restocked, after any order."""
    wrong, books = [], {}
    for digest in digests:
        if digest.role == "catalog":
            books = dict(digest.books)
            for item, book in digest.books.items():
                if book["stock"] < 0:
                    wrong.append(f"{digest.name}, item {item}: stock {book['stock']}")
    stock = {item: book["initial"] + book["restocked"] for item, book in books.items()}
    for order in sorted(orders, key=lambda order: order.number):
        change = -order.quantity if order.side == BUY else order.quantity
        stock[order.item] = stock.get(order.item, 0) + change
        if stock[order.item] < 0:
            wrong.append(f"order {order.number} of item {order.item} leaves {stock[order.item]}")
    return _finding("nothing oversold", wrong, f"{len(stock)} items")


def replicas_equal(digests: Iterable[Digest]) -> Finding:
    """Within a group applied index, digest and ledger are equal; both groups have one ledger."""
    everybody = list(digests)
    wrong = []
    for role in sorted({digest.role for digest in everybody}):
        group = [digest for digest in everybody if digest.role == role]
        first = group[0]
        for other in group[1:]:
            for field in ("applied", "digest", "length", "chain"):
                ours, theirs = getattr(first, field), getattr(other, field)
                if ours != theirs:
                    wrong.append(f"{field}: {first.name} {ours}, {other.name} {theirs}")
    ledgers = {(digest.length, digest.chain) for digest in everybody if digest.length}
    ledgers |= {(0, "") for digest in everybody if not digest.length}  # no sale, no chain yet
    if len(ledgers) > 1 and not wrong:
        wrong.append(f"the groups' ledgers differ: {sorted(ledgers)}")
    return _finding("replicas equal", wrong, f"{len(everybody)} replicas")


def check_all(
    digests: Sequence[Digest], orders: Sequence[Order], history: Sequence[Operation]
) -> list[Finding]:
    """All findings on the books, in the order in which a report shows them."""
    length = max((digest.length for digest in digests), default=0)
    return [
        replicas_equal(digests),
        conserved(digests, orders),
        nothing_oversold(digests, orders),
        numbers_without_gap(orders, length),
        one_order_per_request(orders),
        acknowledged_are_there(orders, history),
    ]
