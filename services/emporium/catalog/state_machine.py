"""The rule of the catalog: what a committed command does (PROTOCOL 3).

`apply` decides, and nobody else: two takes of the last copy are both proposed, and the log's order
says who gets it. Everything it looks at is in the log: the stamp comes with the command.

Invariants
- A request id has one outcome: a sale (for ever) or a settled refusal or change (24 hours).
- Sale number = length of the ledger + 1; no gap, no duplicate.
- A fenced take leaves no trace but the stamp: no outcome, no number, the id stays free.
- The books balance after every command (`books`).
- The stamp never goes back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from emporium.catalog import limits
from emporium.catalog.books import Book, Books, cost_text, view_of
from emporium.catalog.ledger import Ledger, fingerprint, first_chain, next_chain
from emporium.catalog.limits import DEADLINE, EPOCH, GROUP
from emporium.catalog.requests import (
    BUY,
    Admit,
    AdmitOrders,
    Change,
    ChangeItem,
    ItemChanged,
    ItemMissing,
    LedgerMismatch,
    OrdersAdmitted,
    OrdersBehind,
    Sale,
    StockTaken,
    Take,
    TakeConflict,
    TakeFenced,
    TakeRefused,
    TakeStock,
)
from emporium.catalog.settled import Mark, Settled
from emporium.replication import wire
from emporium.replication.failures import Malformed, Overloaded
from emporium.replication.state_machine import Outcome

UNKNOWN_ITEM, OUT_OF_STOCK = "unknown_item", "out_of_stock"
FULL_RETRY_MS = 5_000  # a full table of refusals empties slowly
_VERSION = 1
_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class BadState(ValueError):
    """A data set or a snapshot that can't be loaded: what is wrong with it, in one line."""


def mark_of(request: TakeStock | ChangeItem) -> Mark:
    """What the request id stands for: another mark under the same id is a conflict."""
    if isinstance(request, TakeStock):
        return ("take", *fingerprint(request))
    return ("change", request.item, request.price, request.restock)


class CatalogState:
    """Items, ledger, settled outcomes, and who may take: the replicated state of the catalog."""

    stamp: int  # newest stamped time, ms since 1970
    books: Books
    ledger: Ledger
    settled: Settled
    order_group: str  # the admitted order group; empty before the first
    order_epoch: int  # its newest reign that has taken or presented itself
    former_groups: list[str]  # admitted before it; never again

    def __init__(self) -> None:
        self._handlers: dict[type, Callable[[int, Any], Outcome]] = {
            Take: self._apply_take,
            Change: self._apply_change,
            Admit: self._apply_admit,
        }
        self._clear("")

    # --- the state machine ---

    def start(self, data: str) -> tuple[str, ...]:
        """Load a data set: {"items": [{item, title, topic, price, stock}], "ledger_chain": text},
        price in cents; or a backup: {"restored": what `snapshot` gave}. Gives the lines
        `init,number,stock,cost,topic,title`. Raises BadState."""
        try:
            plain = _json_object(data)
            if "restored" in plain:
                self._load(_json_object(plain["restored"]), keep_indexes=False)
            else:
                self._clear(plain.get("ledger_chain") or first_chain(data))
                self.books.load(_first_row(item) for item in plain["items"])
        except (ValueError, TypeError, KeyError, LookupError, RuntimeError) as error:
            raise BadState(f"no data set of a catalog: {error!r}") from error
        return tuple([_init_line(book) for book in self.books.all()])

    def apply(self, index: int, command: str) -> Outcome:
        """Decide one committed command; a refusal is an outcome. Never raises for a command."""
        try:
            record = wire.decode(command)
        except (wire.WireError, RecursionError) as error:
            return Outcome(Malformed("command", str(error)[:200]))
        handler = self._handlers.get(type(record))
        if handler is None:
            return Outcome(Malformed("command", f"{type(record).__name__} is no catalog command"))
        return handler(index, record)

    def snapshot(self) -> str:
        """The whole state as JSON text, the same for equal states."""
        orders = [self.order_group, self.order_epoch, self.former_groups]
        parts = {
            "version": _dump(_VERSION),
            "stamp": _dump(self.stamp),
            "orders": _dump(orders),
            "books": _dump(self.books.rows()),
            "base": _dump(self.ledger.base),
            "sales": self.ledger.rows_text(),
            "settled": self.settled.rows_text(),
        }
        return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"

    def restore(self, state: str) -> None:
        """Replace everything by what `snapshot` gave. Raises BadState."""
        try:
            self._load(_json_object(state), keep_indexes=True)
        except (ValueError, TypeError, KeyError, LookupError, RuntimeError) as error:
            raise BadState(f"no snapshot of a catalog: {error!r}") from error

    # --- what the desk and the checks look at ---

    def digest(self) -> str:
        """A hash of the state, equal for equal states, in O(1)."""
        parts = [self.stamp, self.order_group, self.order_epoch, self.former_groups]
        sums = [self.ledger.length, self.ledger.chain, self.books.digest, self.settled.digest]
        data = _dump([*parts, *sums]).encode("utf-8", "surrogatepass")
        return hashlib.sha256(data).hexdigest()[:32]

    def known(self, request: TakeStock | ChangeItem) -> object | None:
        """The outcome that this request id has already, or TakeConflict; None for a new id."""
        sale = self.ledger.find(request.request_id)
        if sale is not None:
            same = mark_of(request) == ("take", *fingerprint(sale))
            return StockTaken(sale) if same else TakeConflict()
        settled = self.settled.find(request.request_id)
        if settled is None:
            return None
        mark, fact = settled
        return fact if mark == mark_of(request) else TakeConflict()

    def outcome(self, request_id: str) -> object | None:
        """StockTaken or TakeRefused of a take under this id; None where there is none."""
        sale = self.ledger.find(request_id)
        if sale is not None:
            return StockTaken(sale)
        settled = self.settled.find(request_id)
        return settled[1] if settled is not None and settled[0][0] == "take" else None

    def refusal(self, request: TakeStock) -> TakeRefused | None:
        """Why there can be no sale now; None when there can."""
        book = self.books.get(request.item)
        if book is None:
            return TakeRefused(UNKNOWN_ITEM)
        if request.side == BUY and book.stock < request.quantity:
            return TakeRefused(OUT_OF_STOCK)
        return None

    # --- takes ---

    def _apply_take(self, index: int, take: Take) -> Outcome:
        request = take.request
        problem = limits.purchase_problem(
            request.item, request.quantity, request.side, request.request_id
        )
        if problem is not None:
            return Outcome(problem)
        self._advance(take.stamp)
        known = self.known(request)
        if known is not None:
            return Outcome(known)
        fence = self._fence(request)
        if fence:
            return Outcome(TakeFenced(fence, self.stamp))
        self.order_epoch = request.order_epoch
        refused = self.refusal(request)
        if refused is None:
            return self._sell(index, request)
        if self.settled.full:
            return Outcome(Overloaded(FULL_RETRY_MS))
        self._record_refusal(request, refused)
        return Outcome(refused)

    def _fence(self, request: TakeStock) -> str:
        """Why nothing may be decided (PROTOCOL 3.3); empty when it may."""
        if not self.order_group or request.order_group != self.order_group:
            return GROUP
        if request.order_epoch < self.order_epoch:
            return EPOCH
        if self.stamp > request.deadline_stamp:
            return DEADLINE
        return ""

    def _sell(self, index: int, request: TakeStock) -> Outcome:
        book = self._book(request.item)
        if request.side == BUY:
            self.books.buy(book, request.quantity)
            stock_change = -request.quantity
        else:
            self.books.sell_back(book, request.quantity)
            stock_change = request.quantity
        sale = self._next_sale(request, book.price)
        self.ledger.append(index, sale)
        line = f"update,{book.item},na,{stock_change}"
        return Outcome(StockTaken(sale), _keys(book), (line,))

    def _next_sale(self, request: TakeStock, price: int) -> Sale:
        sale = Sale(
            number=self.ledger.length + 1,
            request_id=request.request_id,
            item=request.item,
            quantity=request.quantity,
            side=request.side,
            price=price,
            stamp=self.stamp,
            chain="",
        )
        return replace(sale, chain=next_chain(self.ledger.chain, sale))

    def _record_refusal(self, request: TakeStock, refused: TakeRefused) -> None:
        self.settled.add(request.request_id, self.stamp, mark_of(request), refused)

    # --- the operator's changes ---

    def _apply_change(self, index: int, change: Change) -> Outcome:
        request = change.request
        problem = limits.change_problem(request)
        if problem is not None:
            return Outcome(problem)
        self._advance(change.stamp)
        known = self.known(request)
        if known is not None:
            return Outcome(known)
        if self.settled.full:
            return Outcome(Overloaded(FULL_RETRY_MS))
        outcome = self._change(index, request)
        self.settled.add(request.request_id, self.stamp, mark_of(request), outcome.fact)
        return outcome

    def _change(self, index: int, request: ChangeItem) -> Outcome:
        book = self.books.get(request.item)
        if book is None:
            return Outcome(ItemMissing(request.item, index))
        if book.stock + (request.restock or 0) < 0:
            return Outcome(TakeRefused(OUT_OF_STOCK))
        self.books.change(book, request.price, request.restock)
        cost = "na" if request.price is None else cost_text(request.price)
        stock = "na" if request.restock is None else str(request.restock)
        line = f"update,{book.item},{cost},{stock}"
        return Outcome(ItemChanged(view_of(book, index)), _keys(book), (line,))

    # --- order groups ---

    def _apply_admit(self, _index: int, admit: Admit) -> Outcome:
        request = admit.request
        self._advance(admit.stamp)
        if request.order_group in self.former_groups or not request.order_group:
            return Outcome(TakeFenced(GROUP, self.stamp))
        same = request.order_group == self.order_group
        if same and request.order_epoch < self.order_epoch:
            return Outcome(TakeFenced(EPOCH, self.stamp))
        if not self.ledger.holds(request.watermark, request.chain):
            return Outcome(LedgerMismatch(self.ledger.length, self.ledger.chain))
        if not same and request.watermark < self.ledger.length:
            return Outcome(OrdersBehind(self.ledger.length))
        self._let_in(request)
        return Outcome(OrdersAdmitted(self.stamp))

    def _let_in(self, request: AdmitOrders) -> None:
        if self.order_group not in ("", request.order_group):
            self.former_groups.append(self.order_group)  # one for each new order group, ever
        self.order_group = request.order_group
        self.order_epoch = request.order_epoch

    # --- small things ---

    def _advance(self, stamp: int) -> None:
        self.stamp = max(self.stamp, stamp)
        self.settled.age(self.stamp)

    def _book(self, item: str) -> Book:
        book = self.books.get(item)
        if book is None:
            raise BadState(f"item {item} vanished between decision and sale")
        return book

    def _clear(self, base: str) -> None:
        self.stamp = 0
        self.books = Books()
        self.ledger = Ledger(base)
        self.settled = Settled()
        self.order_group = ""
        self.order_epoch = 0
        self.former_groups = []

    def _load(self, plain: dict[str, Any], *, keep_indexes: bool) -> None:
        if plain["version"] != _VERSION:
            raise BadState(f"snapshot version {plain['version']}, this is version {_VERSION}")
        self._clear(plain["base"])
        self.stamp = plain["stamp"]
        self.order_group, self.order_epoch, self.former_groups = plain["orders"]
        self.books.load(plain["books"])
        self.ledger.load(plain["sales"], keep_indexes=keep_indexes)
        self.settled.load(plain["settled"])


def _json_object(text: str) -> dict[str, Any]:
    plain = json.loads(text)
    if not isinstance(plain, dict):
        raise BadState(f"expected a JSON object, got {text[:40]!r}")
    return plain


def _keys(book: Book) -> tuple[str, ...]:
    """The cache keys whose copies a change of `book` makes old (PROTOCOL 4.4)."""
    return (f"item:{book.item}", f"topic:{book.topic}", "lists")


def _first_row(item: dict[str, Any]) -> list[Any]:
    stock, price = item["stock"], item["price"]
    if type(stock) is not int or type(price) is not int or price < 0:
        raise BadState(f"item {item['item']}: price and stock must be whole numbers from 0")
    names = [str(item["item"]), str(item["title"]), str(item["topic"])]
    return [*names, price, stock, 0, 0, 0, stock]


def _init_line(book: Book) -> str:
    return f"init,{book.item},{book.stock},{cost_text(book.price)},{book.topic},{book.title}"
