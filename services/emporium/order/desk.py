"""The order group's rule over its log: a purchase, exactly once, over both groups (PROTOCOL 3).

The path of a purchase at the reigning replica: known? -> a take at the catalog's primary, under
the client's own request id -> the sale takes its place in the sequence -> its order is proposed ->
applied -> answered. Retries, newer reigns of the catalog and lost answers all end in the same
sale, because the id is the same; and whatever is forgotten here comes back through the ledger.

Invariants
- One take at a time per request id, and one flight for all who ask for it.
- An answer that isn't from the state or the catalog is never "failed": OutcomeUnknown, unless no
  take was sent.
- With the reign the flights end; a new reign knows only what is in its log and in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from emporium.catalog.ledger import fingerprint
from emporium.catalog.limits import DEADLINE, GROUP, purchase_problem
from emporium.catalog.requests import (
    BUY,
    Sale,
    StockTaken,
    TakeConflict,
    TakeFenced,
    TakeRefused,
    TakeStock,
)
from emporium.order.catalog_watch import CatalogWatch
from emporium.order.digest import AskOrderDigest, OrderDigest
from emporium.order.flights import FLIGHTS_LIMIT, WAITERS_LIMIT, Flight, Flights, Waiter
from emporium.order.forwarding import Forwarding
from emporium.order.lookups import OrderLookups
from emporium.order.recorder import SaleRecorder
from emporium.order.requests import (
    FindPurchase,
    OrderRecorded,
    OrdersSince,
    Purchase,
    PurchaseConflict,
    PurchaseRefused,
    ReadOrder,
)
from emporium.order.state_machine import OrderState
from emporium.order.tail import LedgerTail
from emporium.replication.asking import Asking, Token
from emporium.replication.effects import Answer, CallReply, Note, Request, Seen
from emporium.replication.failures import (
    Malformed,
    NotReigning,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from emporium.replication.node import Port

OPEN_LIMIT = 4_096
RETRY_MS = 50.0  # before a take is repeated at the same reign of the catalog
RETRY_AFTER_MS = 500
TAKE_LIFE_MS = 30_000  # a take's deadline lies at most so far ahead (PROTOCOL 3.3)


class OrderDesk:
    """`replication.node.Desk` of the order role."""

    def __init__(self, state: OrderState) -> None:
        self.state = state
        self.watch = CatalogWatch()
        self._asking = Asking(OPEN_LIMIT)
        self._flights = Flights()
        self._reign: tuple[str, int] | None = None  # (group, epoch) while reigning
        self._recorder = SaleRecorder(state, self._asking, self._recorded, self._interrupted)
        self._tail = LedgerTail(
            state, self._asking, self.watch, self._recorder, self._take_what_waits
        )
        self._forwarding = Forwarding(self._asking, self._purchase, self._log_order)
        self._lookups = OrderLookups(state, self._asking, self.watch, self._sale_heard)
        self._handlers: dict[type, Callable[[Port, Request], None]] = {
            Purchase: self._purchase,
            ReadOrder: self._lookups.read,
            OrdersSince: self._lookups.read,
            FindPurchase: self._lookups.find,
            AskOrderDigest: self._digest,
        }
        self._take_answers: dict[type, Callable[[Port, Flight, Any], None]] = {
            TakeFenced: self._fenced,
            NotReigning: self._redirected,
            Malformed: self._finish_with,
            Overloaded: self._overloaded,
        }

    # --- replication.node.Desk ---

    def request(self, port: Port, request: Request) -> None:
        """Hand a request to the handler of its kind."""
        self._notice_reign(port)
        handler = self._handlers.get(type(request.payload))
        if handler is None:
            name = type(request.payload).__name__
            port.reply(request.token, Malformed("payload", f"orders don't know {name}"))
        elif self._asking.crowded:
            port.reply(request.token, Overloaded(RETRY_AFTER_MS))
        else:
            handler(port, request)

    def answered(self, port: Port, answer: Answer) -> None:
        """The core's answer to a proposal or a read."""
        self._notice_reign(port)
        self._asking.answered(port, answer)

    def called(self, port: Port, reply: CallReply) -> None:
        """The catalog's answer, or that of this group's primary to a forwarded purchase."""
        self._notice_reign(port)
        self._asking.called(port, reply)

    def seen(self, port: Port, seen: Seen) -> None:
        """A heartbeat of the catalog: perhaps a newer reign, certainly a newer stamp."""
        self._notice_reign(port)
        if self.watch.hear(seen.heartbeat, port.now):
            self._look_again(port)

    def tick(self, port: Port) -> None:
        """Retries, deadlines, the ledger."""
        self._notice_reign(port)
        self._asking.expire(port)
        for flight, late in self._flights.expired(port.now):
            for waiter in late:
                port.reply(waiter.token, OutcomeUnknown(flight.purchase.request_id))
        for flight in self._flights.due(port.now):
            self._take(port, flight)
        self._recorder.tick(port)
        self._tail.tick(port)
        self._forwarding.tick(port)
        self._lookups.tick(port)

    def noted(self, port: Port, note: Note) -> None:
        """Nothing that the core notes concerns the orders."""

    def status(self) -> dict[str, object]:
        """Whether purchases are refused because the catalog's ledger isn't ours."""
        return {"ledger_trouble": bool(self._tail.trouble)}

    def wake_at(self) -> float:
        """The next deadline, retry or poll."""
        ours = (self._asking, self._flights, self._forwarding, self._lookups)
        return min(part.wake_at() for part in (*ours, self._recorder, self._tail))

    # --- reigns ---

    def _notice_reign(self, port: Port) -> None:
        """Begin and end with the reign of this replica, before anything else in a step."""
        reign = (port.group, port.epoch) if port.reigning else None
        if reign == self._reign:
            return
        if self._reign is not None:
            self._end_reign(port)
        self._reign = reign
        if reign is not None:
            self._give_up(port, list(self._flights.by_id.values()))
            self._recorder.start()
            self._tail.start(port)

    def _end_reign(self, port: Port) -> None:
        """Give up all flights but those whose order is proposed: a reign that hands over still
        commits what it has proposed."""
        self._recorder.stop()
        self._tail.stop()
        flights = self._flights.by_id.values()
        proposed = self._recorder.proposed
        self._give_up(port, [one for one in flights if one.purchase.request_id not in proposed])

    def _give_up(self, port: Port, flights: list[Flight]) -> None:
        for flight in flights:
            if flight.attempts == 0:
                self._finish(port, flight, NotReigning(port.primary, port.epoch))
            else:
                self._finish(port, flight, OutcomeUnknown(flight.purchase.request_id))

    def _interrupted(self, port: Port, sale: Sale) -> None:
        """The reign is over, and nobody here knows whether the order of `sale` will be."""
        flight = self._flights.by_id.get(sale.request_id)
        if flight is not None:
            self._give_up(port, [flight])

    # --- a purchase comes in ---

    def _purchase(self, port: Port, request: Request) -> None:
        purchase: Purchase = request.payload  # type: ignore[assignment]
        problem = purchase_problem(
            purchase.item, purchase.quantity, purchase.side, purchase.request_id
        )
        if problem is not None:
            port.reply(request.token, problem)
        elif not port.reigning:
            self._forwarding.pass_on(port, request, purchase)
        elif (known := self._known_order(purchase.request_id)) is not None:
            answer = _answer_for(purchase, known, repeated=True)
            port.reply(request.token, answer, index=port.applied)
        elif self._tail.trouble:
            port.reply(request.token, Unavailable(self._tail.trouble))
        else:
            self._board(port, request, purchase)

    def _known_order(self, request_id: str) -> Sale | None:
        """The order that this request id has already."""
        return self.state.orders.find(request_id)

    def _board(self, port: Port, request: Request, purchase: Purchase) -> None:
        """Join the flight of this request id, or begin it."""
        waiter = Waiter(request.token, request.deadline, not purchase.forwarded)
        flight = self._flights.by_id.get(purchase.request_id)
        if flight is None and len(self._flights.by_id) >= FLIGHTS_LIMIT:
            port.reply(request.token, Overloaded(RETRY_AFTER_MS))
        elif flight is None:
            self._take(port, self._flights.open(purchase, waiter))
        elif fingerprint(flight.purchase) != fingerprint(purchase):
            port.reply(request.token, PurchaseConflict())
        elif len(flight.waiters) >= WAITERS_LIMIT:
            port.reply(request.token, Overloaded(RETRY_AFTER_MS))
        else:
            self._flights.join(flight, waiter)

    # --- the take ---

    def _take(self, port: Port, flight: Flight) -> None:
        """Send the take, if the catalog's reign is known and has admitted this one; else the
        flight waits: for `_take_what_waits` or `_look_again`."""
        if not self._tail.admitted or self.watch.primary < 0:
            return
        purchase = flight.purchase
        take = TakeStock(
            item=purchase.item,
            quantity=purchase.quantity,
            side=purchase.side,
            request_id=self._request_id_for_retry(flight),
            order_group=port.group,
            order_epoch=port.epoch,
            deadline_stamp=self._deadline_stamp(port, flight),
        )
        if flight.attempts == 0:
            flight.called_at = port.now
        flight.attempts += 1
        flight.tried_epoch = self.watch.epoch
        self._flights.settle(flight)
        flight.call = token = self._asking.token()
        handler = partial(self._take_answered, self._reign, flight, token)
        target = ("catalog", self.watch.primary)
        self._asking.call(port, target, take, handler, flight.deadline, token)

    def _request_id_for_retry(self, flight: Flight) -> str:
        """Always the client's own id: it is what makes a repeated take harmless."""
        return flight.purchase.request_id

    def _deadline_stamp(self, port: Port, flight: Flight) -> int:
        """The catalog's stamped time after which the take must not happen any more. This
        replica's own clock isn't used, only a span of it."""
        remaining = min(max(flight.deadline - port.now, 0.0), TAKE_LIFE_MS)
        return self.watch.stamp + int(remaining)

    def _take_what_waits(self, port: Port) -> None:
        """The catalog has admitted this reign."""
        for flight in list(self._flights.by_id.values()):
            if not flight.call and not flight.taken:
                self._take(port, flight)

    def _look_again(self, port: Port) -> None:
        """The catalog has a newer reign: give up the calls in flight, repeat them there at once.
        An answer that still comes from the old one is used if it brings a sale."""
        self._tail.look_again(port)
        for flight in list(self._flights.by_id.values()):
            if not flight.taken and flight.tried_epoch < self.watch.epoch:
                self._flights.retry(flight, port.now)

    # --- the catalog's answer ---

    def _take_answered(
        self,
        reign: tuple[str, int] | None,
        flight: Flight,
        token: Token,
        port: Port,
        payload: object,
    ) -> None:
        if isinstance(payload, StockTaken):
            self._taken(port, flight, payload.sale)
        elif reign != self._reign or not self._flights.is_open(flight) or flight.taken:
            return
        elif isinstance(payload, TakeRefused):
            self._finish(port, flight, PurchaseRefused(payload.reason))
        elif isinstance(payload, TakeConflict):
            self._finish(port, flight, PurchaseConflict())
        elif token is flight.call:  # else: of a take that was given up, and brings nothing
            handler = self._take_answers.get(type(payload), self._retry)
            handler(port, flight, payload)

    def _taken(self, port: Port, flight: Flight, sale: Sale) -> None:
        flight.catalog_ms = port.now - flight.called_at
        flight.taken = True
        flight.call = None
        if self._flights.is_open(flight):
            self._flights.settle(flight)
        self._sale_heard(port, sale)

    def _sale_heard(self, port: Port, sale: Sale) -> None:
        """A sale is a sale, whoever asked for it and however late its answer comes."""
        if self._reign is not None:
            self._recorder.sequencer.offer(sale)
            self._recorder.pump(port)

    def _fenced(self, port: Port, flight: Flight, fact: TakeFenced) -> None:
        self.watch.hear_stamp(fact.stamp)
        if fact.reason == DEADLINE:
            self._take_later(port, flight, at_once=flight.attempts == 1)
        elif fact.reason == GROUP:
            flight.call = None
            self._tail.admit_again(port)
        else:  # a newer reign of this group takes already: this one is over
            self._finish(port, flight, OutcomeUnknown(flight.purchase.request_id))

    def _redirected(self, port: Port, flight: Flight, fact: NotReigning) -> None:
        newer = self.watch.hint(fact.primary, fact.epoch)
        if newer:
            self._tail.look_again(port)
        self._take_later(port, flight, at_once=flight.tried_epoch < self.watch.epoch)

    def _overloaded(self, port: Port, flight: Flight, fact: Overloaded) -> None:
        if flight.attempts == 1:  # surely not done, and the client should slow down
            self._finish(port, flight, fact)
        else:
            self._take_later(port, flight, at_once=False)

    def _finish_with(self, port: Port, flight: Flight, fact: Malformed) -> None:
        self._finish(port, flight, fact)

    def _retry(self, port: Port, flight: Flight, _payload: object) -> None:
        """Lost, unknown, unavailable: the same id again."""
        self._take_later(port, flight, at_once=flight.tried_epoch < self.watch.epoch)

    def _take_later(self, port: Port, flight: Flight, *, at_once: bool) -> None:
        self._flights.retry(flight, port.now if at_once else port.now + RETRY_MS)

    # --- the order ---

    def _recorded(self, port: Port, sale: Sale, index: int) -> None:
        """The order of `sale` is in the state: whoever waits for it hears of it."""
        flight = self._flights.by_id.get(sale.request_id)
        if flight is None:
            return
        timings = (("catalog", flight.catalog_ms),) if flight.taken else ()
        self._flights.close(flight)
        for position, waiter in enumerate(flight.waiters):
            answer = _answer_for(flight.purchase, sale, repeated=position > 0)
            if waiter.direct and isinstance(answer, OrderRecorded):
                self._log_order(port, answer)
            port.reply(waiter.token, answer, index=index, timings=timings)

    def _finish(self, port: Port, flight: Flight, payload: object) -> None:
        self._flights.close(flight)
        for waiter in flight.waiters:
            port.reply(waiter.token, payload)

    def _log_order(self, port: Port, recorded: OrderRecorded) -> None:
        """The line of the replica that took the request from the client; not on a repeat."""
        if not recorded.repeated:
            verb = "bought" if recorded.sale.side == BUY else "sold"
            port.operation(f"{verb} book {recorded.sale.item}")

    def _digest(self, port: Port, request: Request) -> None:
        state = self.state
        books = state.books_text()
        fact = OrderDigest(port.applied, state.digest(), state.watermark, state.chain, books)
        port.reply(request.token, fact)


def _answer_for(
    purchase: Purchase, sale: Sale, *, repeated: bool
) -> OrderRecorded | PurchaseConflict:
    if fingerprint(purchase) != fingerprint(sale):
        return PurchaseConflict()
    return OrderRecorded(sale, repeated)
