"""What stands behind the HTTP adapters in these tests: a hub, a replica, a store in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from emporium.cache.holder import Holder
from emporium.cache.requests import CacheMiss, LookupCache, PutCache, SearchCache, Stored
from emporium.catalog.requests import (
    ChangeItem,
    ItemChanged,
    ItemFound,
    ItemList,
    ItemMissing,
    ItemView,
    QueryItem,
    QueryTopic,
    Sale,
    TakeRefused,
)
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
)
from emporium.replication.failures import Malformed
from emporium.replication.messages import Granted, Heartbeat
from emporium.runtime import errors

Rule = Callable[[str, int, object], object]
STAMP = 1_700_000_000_000


def beat(role: str, replica: int, **changed: Any) -> Heartbeat:
    """A heartbeat of a healthy replica; replica 0 reigns."""
    plain = Heartbeat(
        role=role,
        replica=replica,
        incarnation=f"i{replica}",
        epoch=1,
        commit=5,
        last_index=5,
        voter=True,
        caught_up=True,
        reigning=replica == 0,
        leaving=False,
        hears_majority=True,
        clock=0,
        stamp=0,
        group="g",
    )
    return replace(plain, **changed)


class FakeStore:
    """Both groups in memory: enough of their rules to talk with. A `Rule`."""

    def __init__(self) -> None:
        self.items = {
            "1": ItemView("1", "How to wait", "distributed systems", 1000, 3, 7),
            "2": ItemView("2", "RPCs", "distributed systems", 2050, 2, 7),
            "7": ItemView("7", "Spring", "travel", 1500, 0, 7),
        }
        self.sales: list[Sale] = []
        self.refused: dict[str, str] = {}
        self.asked: list[tuple[str, int, object]] = []

    def __call__(self, role: str, replica: int, payload: object) -> object:
        """The answer of a replica."""
        self.asked.append((role, replica, payload))
        match payload:
            case QueryItem(item=item):
                view = self.items.get(item)
                return ItemMissing(item, 7) if view is None else ItemFound(view)
            case QueryTopic(topic=topic):
                views = [view for view in self.items.values() if topic in ("", view.topic)]
                return ItemList(topic, tuple(views), 7)
            case Purchase():
                return self._buy(payload)
            case ChangeItem():
                return self._change(payload)
            case ReadOrder(number=number):
                known = 0 < number <= len(self.sales)
                return OrderFound(self.sales[number - 1]) if known else OrderMissing(number)
            case OrdersSince(after=after):
                return OrderPage(tuple(self.sales[after:]), len(self.sales))
            case FindPurchase(request_id=request_id):
                return self._find(request_id)
            case LookupCache() | SearchCache():
                return CacheMiss("", lease=False)
            case PutCache():
                return Stored(stored=False)
            case _:
                return Malformed("payload", "unknown")

    def _buy(self, purchase: Purchase) -> object:
        for sale in self.sales:
            if sale.request_id == purchase.request_id:
                if (sale.item, sale.quantity) != (purchase.item, purchase.quantity):
                    return PurchaseConflict()
                return OrderRecorded(sale, repeated=True)
        view = self.items.get(purchase.item)
        if view is None or view.stock < purchase.quantity:
            reason = "unknown_item" if view is None else "out_of_stock"
            self.refused[purchase.request_id] = reason
            return PurchaseRefused(reason)
        self.items[view.item] = replace(view, stock=view.stock - purchase.quantity)
        number = len(self.sales) + 1
        sale = Sale(
            number=number,
            request_id=purchase.request_id,
            item=view.item,
            quantity=purchase.quantity,
            side=purchase.side,
            price=view.price,
            stamp=STAMP + number,
            chain="",
        )
        self.sales.append(sale)
        return OrderRecorded(sale, repeated=False)

    def _change(self, change: ChangeItem) -> object:
        view = self.items.get(change.item)
        if view is None:
            return ItemMissing(change.item, 7)
        stock = view.stock + (change.restock or 0)
        if stock < 0:
            return TakeRefused("out_of_stock")
        price = view.price if change.price is None else change.price
        self.items[change.item] = replace(view, stock=stock, price=price)
        return ItemChanged(self.items[change.item])

    def _find(self, request_id: str) -> PurchaseFound:
        for sale in self.sales:
            if sale.request_id == request_id:
                return PurchaseFound("recorded", sale.number, "")
        if request_id in self.refused:
            return PurchaseFound("refused", 0, self.refused[request_id])
        return PurchaseFound("unknown", 0, "")


class FakePending:
    """A call that is answered when it is waited for; `None` from the rule: never."""

    def __init__(self, rule: Rule, role: str, replica: int, payload: object) -> None:
        self._call = (role, replica, payload)
        self._rule = rule
        self.abandoned = False

    def abandon(self) -> None:
        """Whoever waits hears of it."""
        self.abandoned = True

    def wait(self, timeout_ms: float) -> tuple[object, dict[str, float]]:
        """The rule's answer, or the error that it raises."""
        answer = self._rule(*self._call)
        if self.abandoned:
            raise errors.Abandoned
        if answer is None:
            raise errors.TimedOut(f"no answer within {timeout_ms:.0f} ms")
        return answer, {self._call[0]: 0.1}


class FakeHub:
    """The hub as frontends and holders see it. `rule` answers; `sent` are the messages."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.sent: list[tuple[str, int, object]] = []
        self.calls: list[tuple[str, int, object]] = []
        self.heartbeat: list[Callable[[Heartbeat], None]] = []
        self.message: list[Callable[[str, int, object], None]] = []
        self.disconnect: list[Callable[[str, int], None]] = []

    def call(
        self, role: str, replica: int, payload: object, timeout_ms: float, request_id: str = ""
    ) -> FakePending:
        """Answered by the rule."""
        del timeout_ms, request_id
        self.calls.append((role, replica, payload))
        return FakePending(self.rule, role, replica, payload)

    def connected(self, role: str, replica: int) -> bool:
        """Always."""
        del role, replica
        return True

    def send(self, role: str, replica: int, message: object) -> bool:
        """Remembered."""
        self.sent.append((role, replica, message))
        return True

    def on_heartbeat(self, callback: Callable[[Heartbeat], None]) -> None:
        """For `beat`."""
        self.heartbeat.append(callback)

    def on_message(self, callback: Callable[[str, int, object], None]) -> None:
        """For `tell`."""
        self.message.append(callback)

    def on_disconnect(self, callback: Callable[[str, int], None]) -> None:
        """For `lose`."""
        self.disconnect.append(callback)

    def beat(self, role: str, replica: int, **changed: Any) -> None:
        """A heartbeat comes in."""
        for heard in self.heartbeat:
            heard(beat(role, replica, **changed))

    def beat_all(self) -> None:
        """Three replicas of both groups are there."""
        for role in ("catalog", "order"):
            for replica in range(3):
                self.beat(role, replica)

    def tell(self, replica: int, message: object) -> None:
        """A catalog replica's message comes in."""
        for told in self.message:
            told("catalog", replica, message)


class FakeFaults:
    """A fault table that remembers."""

    def __init__(self) -> None:
        self.rules: list[dict[str, object]] = []

    def set_from_json(self, document: object) -> None:
        """Take it, with one rule of the real one."""
        assert isinstance(document, dict)
        if document.get("loss", 0) > 1:
            raise ValueError("loss: must be between 0 and 1")
        self.rules.append(document)

    def clear(self) -> None:
        """Forget."""
        self.rules.clear()

    def describe(self) -> list[dict[str, object]]:
        """All of them."""
        return list(self.rules)


class FakeReplica:
    """A replica behind its adapter."""

    def __init__(self, rule: Rule, role: str = "catalog") -> None:
        self.rule = rule
        self.role = role
        self.up = True
        self.recovers = True
        self.faults = FakeFaults()
        self.operations: list[str] = []

    def ask(
        self, payload: object, timeout_ms: float, request_id: str = ""
    ) -> tuple[object, dict[str, float]]:
        """The rule's answer; failures as errors."""
        del timeout_ms
        if not self.up:
            raise errors.NotServing("this replica is shut down")
        answer = self.rule(self.role, 0, payload)
        if answer is None:
            raise errors.OutcomeUnknown(request_id) if request_id else errors.TimedOut("late")
        failure = errors.of_failure(answer)
        if failure is not None:
            raise failure
        return answer, {self.role: 0.5}

    def status(self) -> dict[str, object]:
        """A few fields."""
        return {"role": self.role, "replica": 0, "up": self.up}

    def operation(self, line: str) -> None:
        """Remembered."""
        self.operations.append(line)

    def shutdown(self) -> None:
        """Down."""
        self.up = False

    def recover(self, timeout_ms: float) -> None:
        """Up, if it recovers."""
        if not self.recovers:
            raise errors.NotServing(f"not serving again after {timeout_ms:.0f} ms")
        self.up = True


def give_lease(holder: Holder, now: float, session: str = "1-0-1", floor: int = 1) -> None:
    """Bring a holder to a long lease from catalog-0."""
    holder.tick(now, 0)
    holder.receive(0, Granted(session, 1, floor, 0.0, now), now)
    holder.receive(0, Granted(session, 1, floor, 1e9, now), now)
