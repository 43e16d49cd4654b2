"""What customers do, and the history of it for the checker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emporium.catalog.requests import (
    ChangeItem,
    ItemChanged,
    ItemFound,
    ItemList,
    ItemView,
    Sale,
)
from emporium.client.history import BUY, OK, READ, REFUSED, RESTOCK, SELL, UNKNOWN, Operation
from emporium.order.requests import (
    OrderFound,
    OrderMissing,
    OrderRecorded,
    Purchase,
    PurchaseConflict,
    PurchaseFound,
    PurchaseRefused,
)
from tests.simulation.frontend import Frontend
from tests.simulation.plan import ITEMS
from tests.simulation.world import SimulationFailure, World

if TYPE_CHECKING:
    from tests.simulation.run import Store

TOPICS = ("systems", "novels", "")
PATIENCE = 5.0  # failure timeouts until a frontend says "unknown"
TRIES = 4  # of the client, under one request id
NANOSECONDS = 1e6  # in a millisecond


class Client:
    """One customer: one operation after the other, through any frontend."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.name = store, f"x{number}"
        self.world: World = store.world
        self.stopped = False
        self.settled: set[str] = set()  # request ids with a definite outcome
        self._last: Purchase | None = None
        self._count = 0

    def start(self) -> None:
        """Begin after a moment."""
        self._think()

    def _think(self) -> None:
        if not self.stopped:
            pause = self.store.plan.think_ms * self.world.between(0.1, 2.0)
            self.world.after(pause, self._act)

    def _act(self) -> None:
        if self.stopped:
            return
        dice = self.world.random.random()
        reads = self.store.plan.reads
        if dice < reads:
            self.read()
        elif dice < reads + 0.07 and self._last is not None:
            self._repeat(self._last)
        elif (
            dice < reads + 0.08 and self._last is not None and self._last.request_id in self.settled
        ):
            self._conflict(self._last)
        else:
            self.purchase(self.any_purchase())

    def any_frontend(self) -> Frontend:
        """One that lives, if any does."""
        living = [frontend for frontend in self.store.frontends if frontend.alive]
        return self.world.random.choice(living or self.store.frontends)

    def _item(self) -> str:
        return self.world.random.choices([item for item, _, _ in ITEMS], (1, 2, 2))[0]

    def any_purchase(self) -> Purchase:
        """A new purchase of any kind."""
        self._count += 1
        side = SELL if self.world.chance(0.15) else BUY
        quantity = self.world.random.choice((1, 1, 1, 2, 3))
        request_id = f"{self.name}-{self._count}"
        return Purchase(self._item(), quantity, side, request_id, forwarded=False)

    def _now(self) -> int:
        return int(self.world.now * NANOSECONDS)

    # --- purchases ---

    def purchase(self, purchase: Purchase) -> None:
        """Make it, with retries under the same id; think afterwards."""
        self._last = purchase
        storm = self.world.chance(0.06)
        Attempt(self, purchase, self._think).begin()
        if storm:  # the same at the same time, as an impatient customer does
            self.world.count("storms")
            Attempt(self, purchase, _nothing).begin()

    def buy_once(self, item: str = "1") -> None:
        """A purchase beside whatever this customer does (for scripts)."""
        self._count += 1
        request_id = f"{self.name}-{self._count}"
        Attempt(self, Purchase(item, 1, BUY, request_id, forwarded=False), _nothing).begin()

    def _repeat(self, purchase: Purchase) -> None:
        self.world.count("asked_again")
        Attempt(self, purchase, self._think).begin()

    def _conflict(self, purchase: Purchase) -> None:
        """Another purchase under a used id: never an order (PROTOCOL 3.1)."""
        other = Purchase(purchase.item, 9, purchase.side, purchase.request_id, forwarded=False)

        def done(answer: object, **_: bool) -> None:
            if isinstance(answer, PurchaseConflict):
                self.world.count("conflicts")
            elif answer is not None:
                raise SimulationFailure(f"{other} was answered with {answer}")
            self._think()

        self.any_frontend().purchase(other, PATIENCE * self.store.plan.timeout_ms, done)

    # --- reads ---

    def read(self) -> None:
        """One item, sometimes a list."""
        item = "" if self.world.chance(0.2) else self._item()
        self._read(self.any_frontend(), item, self._think)

    def look(self, frontend: Frontend, item: str) -> None:
        """A read beside whatever this customer does (for scripts)."""
        self._read(frontend, item, _nothing)

    def _read(self, frontend: Frontend, item: str, then: Any) -> None:
        topic = self.world.random.choice(TOPICS)
        invoked = self._now()

        def done(answer: object, *, cached: bool) -> None:
            views: tuple[ItemView, ...] = ()
            if isinstance(answer, ItemFound):
                views = (answer.view,)
            elif isinstance(answer, ItemList):
                views = answer.items
            for view in views:
                self._record_read(view, invoked, cached=cached)
            then()

        if self.world.tracing:
            self.world.log(self.name, "call", f"read {item or 'list ' + topic}")
        frontend.read(item, topic, PATIENCE * self.store.plan.timeout_ms, done)

    def _record_read(self, view: ItemView, invoked: int, *, cached: bool) -> None:
        if self.world.tracing:
            how = "copy" if cached else "read"
            line = f"{how} {view.item}: {view.stock} at {view.commit_index}"
            self.world.log(self.name, "done", line)
        self.store.history.append(
            Operation(
                self.name,
                READ,
                view.item,
                invoked,
                self._now(),
                OK,
                stock=view.stock,
                commit_index=view.commit_index,
                cached=cached,
            )
        )

    # --- restocks ---

    def restock(self, item: str, pieces: int) -> None:
        """The operator's change, repeated under its id until its outcome is known."""
        self._count += 1
        change = ChangeItem(item, None, pieces, f"{self.name}-{self._count}")
        invoked = self._now()

        def again() -> None:
            self.any_frontend().change(change, PATIENCE * self.store.plan.timeout_ms, done)

        def done(answer: object, **_: bool) -> None:
            if answer is None:
                self.world.after(20.0, again)
            elif isinstance(answer, ItemChanged):
                self.store.open_restocks -= 1
                self.world.count("restocks")
                self.store.history.append(
                    Operation(
                        self.name,
                        RESTOCK,
                        item,
                        invoked,
                        self._now(),
                        OK,
                        request_id=change.request_id,
                        quantity=pieces,
                    )
                )
            else:
                raise SimulationFailure(f"a restock was answered with {answer}")

        self.store.open_restocks += 1
        again()


def _nothing() -> None:
    pass


class Attempt:
    """A purchase with its retries: one operation of the history."""

    def __init__(self, client: Client, purchase: Purchase, then: Any) -> None:
        self.client, self.purchase, self._then = client, purchase, then
        self.store, self.world = client.store, client.world
        self._tries = 0
        self._invoked = 0

    def begin(self) -> None:
        """The first try."""
        self._invoked = int(self.world.now * NANOSECONDS)
        self.store.open_attempts[self] = None
        self.store.asked.add(self.purchase.request_id)
        if self.world.tracing:
            self.world.log(self.client.name, "call", self.purchase)
        self._try()

    def _try(self) -> None:
        self._tries += 1
        patience = PATIENCE * self.store.plan.timeout_ms
        self.client.any_frontend().purchase(self.purchase, patience, self._done)

    def _done(self, answer: object, **_: bool) -> None:
        if self.world.tracing:
            self.world.log(self.client.name, "done", f"{self.purchase.request_id} {answer}")
        if isinstance(answer, OrderRecorded):
            if answer.repeated:
                self.world.count("repeats")
            self.world.count("purchases")
            self._record(OK, answer.sale.number)
            if self.world.chance(0.1):
                self._read_back(answer.sale)
        elif isinstance(answer, PurchaseRefused):
            self.world.count("refusals")
            self._record(REFUSED, 0, answer.reason)
        elif isinstance(answer, PurchaseConflict):
            raise SimulationFailure(f"{self.purchase} conflicts with nothing")
        elif self._tries < TRIES and self.world.chance(0.8) and not self.client.stopped:
            self.world.after(10.0, self._try)
            return
        else:
            self._find_out()
            return
        self._then()

    def _read_back(self, sale: Sale) -> None:
        """An acknowledged order is there for every linearizable read."""

        def done(answer: object, **_: bool) -> None:
            if isinstance(answer, OrderMissing):
                raise SimulationFailure(f"{answer}, but it was acknowledged")
            if isinstance(answer, OrderFound):
                self.world.count("orders_read")
                if answer.sale != sale:
                    raise SimulationFailure(f"acknowledged {sale}, read {answer}")

        frontend, patience = self.client.any_frontend(), PATIENCE * self.store.plan.timeout_ms
        frontend.read_order(sale.number, patience, done)

    def _find_out(self) -> None:
        """Ask what became of it (PROTOCOL 3.5)."""

        def done(answer: object, **_: bool) -> None:
            state = answer.state if isinstance(answer, PurchaseFound) else "unknown"
            self.world.count(f"found_{state}")
            if isinstance(answer, PurchaseFound) and state == "recorded":
                self._record(OK, answer.number)
            elif isinstance(answer, PurchaseFound) and state == "refused":
                self._record(REFUSED, 0, answer.reason)
            else:
                self._record(UNKNOWN, 0)
            self._then()

        patience = PATIENCE * self.store.plan.timeout_ms
        self.client.any_frontend().find(self.purchase.request_id, patience, done)

    def give_up(self) -> None:
        """The run is over; the outcome isn't known."""
        self._record(UNKNOWN, 0)

    def _record(self, outcome: str, number: int, reason: str = "") -> None:
        purchase = self.purchase
        self.store.open_attempts.pop(self, None)
        if outcome != UNKNOWN:
            self.client.settled.add(purchase.request_id)
        self.store.history.append(
            Operation(
                self.client.name,
                purchase.side,
                purchase.item,
                self._invoked,
                None if outcome == UNKNOWN else int(self.world.now * NANOSECONDS),
                outcome,
                request_id=purchase.request_id,
                quantity=purchase.quantity,
                number=number,
                reason=reason,
            )
        )
