"""Is a history linearizable? A checker for stock counters whose sales are numbered.

Linearizability is local (Herlihy and Wing 1990, theorem 1), so every item is checked alone. The
object is (stock, newest number): a sale needs a number above the newest and, when it is a buy,
enough stock; a refusal needs too little stock; a read sees the stock; a restock adds. Purchases
whose answer never came are resolved from the final order list by their request id first, so what
is left has a known outcome.

**Theory of operation.** The order numbers give the order of all sales. So a configuration is only
how many sales have happened, which restocks, and which of the open reads and refusals have not
found their moment yet; reads change nothing and are satisfied whenever the state fits. Events are
walked in time, and a configuration moves only when an answer demands it (just-in-time
linearization, Lowe 2017). Without restocks the smallest move dominates every other, so there is
one configuration and the check is linear in the history. Restocks have no place in the order of
sales and are searched for; what that costs is bounded by a budget, and an exceeded budget is a
failure.

A failure is told as a `Violation` with the shortest bad part that could be cut out soundly: sales
are folded into the initial stock only when everything kept was called after they were answered,
and reads (which constrain, but never help) are left out as long as the rest stays bad.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from emporium.client.history import BUY, OK, READ, REFUSED, RESTOCK, SELL, UNKNOWN, Operation

NEVER = 1 << 62
"""Later than every time of a history."""
DEFAULT_BUDGET = 5_000_000
"""Steps of the search for one item; a history without restocks takes about ten per operation."""
SHRINK_TRIES = 200
SHOWN_LINES = 40


@dataclass(frozen=True, slots=True)
class Order:
    """One line of the final order list."""

    number: int
    request_id: str
    item: str
    quantity: int
    side: str


@dataclass(frozen=True, slots=True)
class Violation:
    """Why the history of an item isn't linearizable, or couldn't be decided."""

    item: str
    reason: str
    part: tuple[Operation, ...] = ()
    stock: int = 0  # before `part`

    def __str__(self) -> str:
        """The reason and the shortest bad part, one operation per line, times in ms."""
        lines = [f"item {self.item}: {self.reason}"]
        if self.part:
            start = min(operation.invoked for operation in self.part)
            lines.append(f"  stock before: {self.stock}; times in ms since the first call")
            lines += [f"  {describe(operation, start)}" for operation in self.part[:SHOWN_LINES]]
        if len(self.part) > SHOWN_LINES:
            lines.append(f"  … and {len(self.part) - SHOWN_LINES} more")
        return "\n".join(lines)


def describe(operation: Operation, start: int) -> str:
    """One operation as one line."""
    called = (operation.invoked - start) / 1e6
    answered = "     never"
    if operation.returned is not None and operation.returned < NEVER:
        answered = f"{(operation.returned - start) / 1e6:10.3f}"
    saw = f"saw {operation.stock}" if operation.kind == READ else operation.outcome
    number = f" as order {operation.number}" if operation.number else ""
    quantity = "" if operation.kind == READ else f" {operation.quantity}"
    return (
        f"{called:10.3f} …{answered}  {operation.process}: {operation.kind}{quantity}"
        f" → {saw}{number} {operation.request_id}"
    ).rstrip()


# --- from what was recorded to what must be explained ---


@dataclass(slots=True)
class _Item:
    """The history of one item, ready to be placed."""

    item: str
    stock: int
    writes: list[Operation] = field(default_factory=list)  # by number, each with a number
    restocks: list[Operation] = field(default_factory=list)
    looks: list[Operation] = field(default_factory=list)  # reads and refusals


def _delta(operation: Operation) -> int:
    return -operation.quantity if operation.kind == BUY else operation.quantity


def _merge(tries: Sequence[Operation]) -> Operation:
    """Several operations under one request id are one: called with the first, answered with the
    first success, or (refused) with the first refusal."""
    best = [t for t in tries if t.outcome == OK] or [t for t in tries if t.outcome == REFUSED]
    answers = [t.returned for t in best if t.returned is not None]
    model = best[0] if best else tries[0]
    return dataclasses.replace(
        model,
        invoked=min(t.invoked for t in tries),
        returned=min(answers) if answers else None,
        number=max(t.number for t in tries),
    )


def _contradiction(tries: Sequence[Operation]) -> str:
    numbers = {t.number for t in tries if t.outcome == OK and t.number}
    outcomes = {t.outcome for t in tries}
    if len(numbers) > 1:
        return f"one request id has several orders: {sorted(numbers)}"
    if OK in outcomes and REFUSED in outcomes:
        return "one request id was both sold and refused"
    return ""


class _Sorter:
    """Sorts a history by item and resolves purchases against the order list."""

    def __init__(self, initial: Mapping[str, int], orders: Iterable[Order]) -> None:
        self.items: dict[str, _Item] = {}
        self.violations: list[Violation] = []
        self._initial = initial
        self._orders = {order.request_id: order for order in orders}

    def _item(self, name: str) -> _Item:
        if name not in self.items:
            self.items[name] = _Item(name, self._initial.get(name, 0))
        return self.items[name]

    def sort(self, history: Iterable[Operation]) -> None:
        purchases: dict[str, list[Operation]] = {}
        for operation in history:
            if operation.kind in (BUY, SELL):
                purchases.setdefault(operation.request_id, []).append(operation)
            elif operation.kind == READ and operation.outcome == OK:
                self._item(operation.item).looks.append(operation)
            elif operation.kind == RESTOCK:
                self._restock(operation)
        for request_id, tries in purchases.items():
            self._purchase(request_id, tries)
        for order in self._orders.values():
            if order.request_id not in purchases:
                self._unasked(order)
        for item in self.items.values():
            item.writes.sort(key=lambda write: write.number)

    def _restock(self, operation: Operation) -> None:
        if operation.outcome == UNKNOWN:
            text = "the outcome of a restock isn't known; ask again under its request id"
            self.violations.append(Violation(operation.item, text, (operation,)))
        elif operation.outcome == OK:
            self._item(operation.item).restocks.append(operation)

    def _purchase(self, request_id: str, tries: list[Operation]) -> None:
        text = _contradiction(tries)
        operation = _merge(tries)
        order = self._orders.get(request_id)
        if not text and operation.outcome == OK:
            text = self._wrong(operation, order)
        elif not text and operation.outcome == REFUSED and order is not None:
            text = f"it was refused and yet is order {order.number}"
        if text:
            self.violations.append(Violation(operation.item, text, tuple(tries)))
        elif order is not None:
            sold = dataclasses.replace(operation, outcome=OK, number=order.number)
            self._item(operation.item).writes.append(sold)
        elif operation.outcome == REFUSED and operation.reason != "unknown_item":
            self._item(operation.item).looks.append(operation)

    @staticmethod
    def _wrong(operation: Operation, order: Order | None) -> str:
        if order is None:
            return "it was acknowledged and no order has its request id"
        if operation.number not in (0, order.number):
            return f"it was acknowledged as order {operation.number} and is order {order.number}"
        if (operation.item, operation.quantity, operation.kind) != (
            order.item,
            order.quantity,
            order.side,
        ):
            return f"order {order.number} has another item, quantity or side"
        return ""

    def _unasked(self, order: Order) -> None:
        """An order of somebody who isn't in the history: at any time."""
        self._item(order.item).writes.append(
            Operation(
                "somebody",
                order.side,
                order.item,
                invoked=-NEVER,
                returned=None,
                outcome=OK,
                request_id=order.request_id,
                quantity=order.quantity,
                number=order.number,
            )
        )


# --- the search ---


@dataclass(frozen=True, slots=True)
class _Place:
    """A configuration: sales done, restocks done (bits), looks without their moment yet."""

    sales: int
    restocks: int
    open: frozenset[int]


class _BudgetError(Exception):
    """The search has taken too many steps."""


class _Search:
    """Walks the events of one item. `run` gives None or the operation that can't be placed."""

    def __init__(self, item: _Item, budget: int) -> None:
        self._writes, self._restocks, self._looks = item.writes, item.restocks, item.looks
        self._budget = budget
        self._levels = [item.stock]
        for write in item.writes:
            self._levels.append(self._levels[-1] + _delta(write))
        self._called_writes: set[int] = set()
        self._called_restocks: list[int] = []
        self._places: set[_Place] = {_Place(0, 0, frozenset())}

    def run(self) -> Operation | None:
        for _, is_return, kind, index in self._events():
            if not is_return:
                self._call(kind, index)
                continue
            moved: set[_Place] = set()
            for place in self._places:
                moved |= self._until_done(place, kind, index)
            if not moved:
                return self._operation(kind, index)
            self._places = _minimal(moved)
        return self._rest()

    def _rest(self) -> Operation | None:
        """Sales whose answer nobody got still happened: they must fit behind everything."""
        if not self._writes:
            return None
        last = len(self._writes) - 1
        if any(self._until_done(place, "write", last) for place in self._places):
            return None
        return self._writes[last]

    def _events(self) -> list[tuple[int, int, str, int]]:
        events = []
        groups = (("write", self._writes), ("restock", self._restocks), ("look", self._looks))
        for kind, operations in groups:
            for index, operation in enumerate(operations):
                events.append((operation.invoked, 0, kind, index))
                if operation.returned is not None:
                    events.append((operation.returned, 1, kind, index))
        events.sort()  # at the same time, calls come before answers: they are concurrent
        return events

    def _operation(self, kind: str, index: int) -> Operation:
        groups = {"write": self._writes, "restock": self._restocks, "look": self._looks}
        return groups[kind][index]

    def _stock(self, place: _Place) -> int:
        stock = self._levels[place.sales]
        for bit, restock in enumerate(self._restocks):
            if place.restocks >> bit & 1:
                stock += restock.quantity
        return stock

    def _fits(self, look: int, stock: int) -> bool:
        operation = self._looks[look]
        return stock == operation.stock if operation.kind == READ else stock < operation.quantity

    def _call(self, kind: str, index: int) -> None:
        if kind == "write":
            self._called_writes.add(index)
        elif kind == "restock":
            self._called_restocks.append(index)
        else:
            opened = set()
            for place in self._places:
                done = self._fits(index, self._stock(place))
                opened.add(place if done else _Place(*_key(place), place.open | {index}))
            self._places = opened

    def _done(self, place: _Place, kind: str, index: int) -> bool:
        if kind == "write":
            return place.sales > index
        if kind == "restock":
            return bool(place.restocks >> index & 1)
        return index not in place.open

    def _until_done(self, start: _Place, kind: str, index: int) -> set[_Place]:
        """Every place, reached by as few moves as its path allows, where the operation is done."""
        found: set[_Place] = set()
        seen = {start}
        stack = [start]
        while stack:
            place = stack.pop()
            self._budget -= 1
            if self._budget < 0:
                raise _BudgetError
            if self._done(place, kind, index):
                found.add(place)
                continue
            fresh = [step for step in self._steps(place) if step not in seen]
            seen.update(fresh)
            stack += fresh
        return found

    def _steps(self, place: _Place) -> list[_Place]:
        stock, steps = self._stock(place), []
        if place.sales < len(self._writes) and place.sales in self._called_writes:
            change = _delta(self._writes[place.sales])
            if stock + change >= 0:
                steps.append(self._settle(place.sales + 1, place.restocks, place.open))
        for restock in self._called_restocks:
            bit = 1 << restock
            possible = stock + self._restocks[restock].quantity >= 0
            if possible and not place.restocks & bit:
                steps.append(self._settle(place.sales, place.restocks | bit, place.open))
        return steps

    def _settle(self, sales: int, restocks: int, waiting: frozenset[int]) -> _Place:
        place = _Place(sales, restocks, waiting)
        if waiting:
            stock = self._stock(place)
            still = frozenset(look for look in waiting if not self._fits(look, stock))
            place = _Place(sales, restocks, still)
        return place


def _key(place: _Place) -> tuple[int, int]:
    return place.sales, place.restocks


def _minimal(places: set[_Place]) -> set[_Place]:
    """Of places with the same state, those that no other beats with fewer open looks."""
    if len(places) == 1:
        return places
    by_key: dict[tuple[int, int], list[_Place]] = {}
    for place in sorted(places, key=lambda place: len(place.open)):
        kept = by_key.setdefault(_key(place), [])
        if not any(other.open <= place.open for other in kept):
            kept.append(place)
    return {place for kept in by_key.values() for place in kept}


def _first_bad(item: _Item, budget: int) -> Operation | None:
    return _Search(item, budget).run()


# --- the shortest bad part ---


def _upto(item: _Item, bad: Operation) -> _Item:
    """Without everything that was called after the bad operation's answer."""
    end = NEVER if bad.returned is None else bad.returned
    return _Item(
        item.item,
        item.stock,
        [write for write in item.writes if write.invoked <= end],
        [restock for restock in item.restocks if restock.invoked <= end],
        [look for look in item.looks if look.invoked <= end and look is not bad] + _look(bad),
    )


def _look(bad: Operation) -> list[Operation]:
    return [bad] if bad.kind == READ or bad.outcome == REFUSED else []


def _ends(writes: Sequence[Operation]) -> list[int]:
    """By when each sale has happened at the latest: with its answer, or with any later one's."""
    ends, end = [], NEVER
    for write in reversed(writes):
        end = min(end, NEVER if write.returned is None else write.returned)
        ends.append(end)
    return ends[::-1]


def _folded(item: _Item, count: int) -> _Item:
    """The first `count` sales as part of the initial stock; only what came after them is kept."""
    end = _ends(item.writes)[count - 1] if count else -NEVER
    return _Item(
        item.item,
        item.stock + sum(_delta(write) for write in item.writes[:count]),
        item.writes[count:],
        item.restocks,
        [look for look in item.looks if look.invoked > end],
    )


def _shrink(item: _Item, bad: Operation, budget: int) -> _Item:
    """A smaller history of the item that is bad for the same reason."""

    def is_bad(candidate: _Item) -> bool:
        try:
            return _first_bad(candidate, budget) is not None
        except _BudgetError:
            return False

    item = _upto(item, bad)
    if not item.restocks:
        low, high = 0, len(item.writes)
        while low < high:  # the more is folded, the less is left to contradict
            middle = (low + high + 1) // 2
            if is_bad(_folded(item, middle)):
                low = middle
            else:
                high = middle - 1
        item = _folded(item, low)
    size, tries = max(1, len(item.looks) // 2), 0
    while size and tries < SHRINK_TRIES:
        start = 0
        while start < len(item.looks) and tries < SHRINK_TRIES:
            looks = item.looks[:start] + item.looks[start + size :]
            fewer = _Item(item.item, item.stock, item.writes, item.restocks, looks)
            tries += 1
            if is_bad(fewer):
                item = fewer
            else:
                start += size
        size //= 2
    return item


def _explain(bad: Operation, item: _Item) -> str:
    if bad.kind == READ:
        why = f"no moment between its call and its answer had a stock of {bad.stock}"
        return why + ("" if item.restocks else _age(bad, item))
    if bad.outcome == REFUSED:
        return "it was refused though the stock sufficed all the time"
    if bad.kind == RESTOCK:
        return "a restock fits nowhere"
    return f"order {bad.number} fits nowhere: by its number, the stock or the time of its call"


def _age(bad: Operation, item: _Item) -> str:
    """Where the stock that a read saw belongs, if anywhere: which sale ended it, and how long
    before the read that was answered."""
    stock, age = item.stock, ""
    for write in item.writes:
        if stock == bad.stock and write.returned is not None and write.returned < bad.invoked:
            early = (bad.invoked - write.returned) / 1e6
            age = f" (order {write.number} ended that, answered {early:.3f} ms before the call)"
        stock += _delta(write)
    return age


def check(
    history: Iterable[Operation],
    initial: Mapping[str, int],
    orders: Iterable[Order] = (),
    budget: int = DEFAULT_BUDGET,
) -> list[Violation]:
    """All violations, at most one per item from the search; an empty list means linearizable.

    `initial` is the stock of each item before the history, `orders` the final order list of what
    was sold during it. `budget` bounds the search steps of each item.
    """
    sorter = _Sorter(initial, orders)
    sorter.sort(history)
    violations = sorter.violations
    for item in sorter.items.values():
        try:
            bad = _first_bad(item, budget)
            if bad is None:
                continue
            part = _shrink(item, bad, budget)
            shown = sorted(part.writes + part.restocks + part.looks, key=lambda o: o.invoked)
            violations.append(Violation(item.item, _explain(bad, item), tuple(shown), part.stock))
        except _BudgetError:
            text = f"undecided: the budget of {budget} steps is exceeded, which counts as failed"
            violations.append(Violation(item.item, text))
    return violations
