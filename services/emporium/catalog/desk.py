"""The catalog's rule over its log: who is answered what, and when.

- Takes, changes and admissions are proposed by the reigning replica and decided in `apply`. A
  known request id is answered from the state at once; like every answer it leaves when its index
  is released (PROTOCOL 4.3).
- The ledger is shown up to the newest released sale, never further, to whoever polls.
- Reads are served by every replica at the level that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from emporium.catalog import limits
from emporium.catalog.books import view_of
from emporium.catalog.requests import (
    BUY,
    Admit,
    AdmitOrders,
    AskDigest,
    Change,
    ChangeItem,
    FindOutcome,
    ForwardChange,
    ItemFound,
    ItemList,
    ItemMissing,
    LedgerMismatch,
    LedgerPage,
    NoOutcome,
    PollLedger,
    QueryItem,
    QueryTopic,
    StateDigest,
    Take,
    TakeStock,
)
from emporium.catalog.state_machine import FULL_RETRY_MS, CatalogState
from emporium.replication import wire
from emporium.replication.asking import Asking
from emporium.replication.effects import (
    DONE,
    NOT_REIGNING,
    OVERLOADED,
    READY,
    Answer,
    CallReply,
    Note,
    Request,
    Seen,
)
from emporium.replication.failures import (
    Malformed,
    NotReigning,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from emporium.replication.node import Port

LINEARIZABLE = "linearizable"
LEVELS = ("local", "primary", LINEARIZABLE)
PAGE_SALES = 256
OPEN_LIMIT = 4_096  # open proposals and reads
POLLERS_LIMIT = 64  # each order replica polls once at a time
WAIT_LIMIT_MS = 30_000
RETRY_AFTER_MS = 500
_DEADLINE_MARGIN_MS = 20  # a poll is answered this long before its caller gives up


@dataclass(frozen=True, slots=True)
class _Poller:
    """Somebody who waits for the sale after number `after`."""

    token: object
    after: int
    due: float


class CatalogDesk:
    """`replication.node.Desk` of the catalog."""

    def __init__(self, state: CatalogState) -> None:
        self.state = state
        self._asking = Asking(OPEN_LIMIT)
        self._pollers: list[_Poller] = []
        self._handlers: dict[type, Callable[[Port, Request], None]] = {
            TakeStock: self._take,
            ChangeItem: self._change_or_forward,
            ForwardChange: self._forwarded_change,
            AdmitOrders: self._admit,
            PollLedger: self._poll,
            QueryItem: self._query,
            QueryTopic: self._query,
            FindOutcome: self._find,
            AskDigest: self._digest,
        }

    # --- replication.node.Desk ---

    def request(self, port: Port, request: Request) -> None:
        """Hand a request to the handler of its kind."""
        handler = self._handlers.get(type(request.payload))
        if handler is None:
            name = type(request.payload).__name__
            port.reply(request.token, Malformed("payload", f"the catalog doesn't know {name}"))
        elif self._asking.crowded:
            port.reply(request.token, Overloaded(RETRY_AFTER_MS))
        else:
            handler(port, request)

    def answered(self, port: Port, answer: Answer) -> None:
        """The core's answer to a proposal or a read."""
        self._asking.answered(port, answer)

    def called(self, port: Port, reply: CallReply) -> None:
        """The primary's answer to a change that was forwarded."""
        self._asking.called(port, reply)

    def seen(self, port: Port, seen: Seen) -> None:
        """The catalog needs no view of other groups."""

    def tick(self, port: Port) -> None:
        """Answer pollers, and whoever has waited too long."""
        self._asking.expire(port)
        if self._pollers:
            self._pollers = [waiter for waiter in self._pollers if not self._serve(port, waiter)]

    def noted(self, port: Port, note: Note) -> None:
        """A replica that was away is brought up to date from here: logged at the donor."""
        if note.name == "resync":
            port.operation(f"resync,{note.detail}")

    def status(self) -> dict[str, object]:
        """Nothing beyond the core's."""
        return {}

    def wake_at(self) -> float:
        """The next deadline."""
        due = min((poller.due for poller in self._pollers), default=float("inf"))
        return min(due, self._asking.wake_at())

    # --- takes, changes, admissions ---

    def _take(self, port: Port, request: Request) -> None:
        take: TakeStock = request.payload  # type: ignore[assignment]
        problem = limits.purchase_problem(take.item, take.quantity, take.side, take.request_id)
        if problem is not None:
            port.reply(request.token, problem)
        elif self._answer_at_once(port, request.token, take):
            return
        elif self.state.settled.full and self.state.refusal(take) is not None:
            port.reply(request.token, Overloaded(FULL_RETRY_MS))  # `apply` would say the same
        else:
            if take.side == BUY:  # the stock check of a buy, as the seed logs it
                port.operation(f"query_by_item,{take.item}")
            self._propose(port, request, Take(take, self._stamp(port)), take.request_id)

    def _change_or_forward(self, port: Port, request: Request) -> None:
        """A change at a backup is passed on to the primary, once (seed: notify the primary)."""
        change: ChangeItem = request.payload  # type: ignore[assignment]
        if port.reigning or port.primary in (-1, port.replica):
            self._change(port, request, change)
        else:
            target = ("catalog", port.primary)
            relay = partial(self._relay_change, request.token, change.request_id)
            self._asking.call(port, target, ForwardChange(change), relay, request.deadline)

    def _forwarded_change(self, port: Port, request: Request) -> None:
        forwarded: ForwardChange = request.payload  # type: ignore[assignment]
        self._change(port, request, forwarded.change)

    def _relay_change(self, token: object, request_id: str, port: Port, payload: object) -> None:
        port.reply(token, OutcomeUnknown(request_id) if payload is None else payload)

    def _change(self, port: Port, request: Request, change: ChangeItem) -> None:
        problem = limits.change_problem(change)
        if problem is not None:
            port.reply(request.token, problem)
        elif not self._answer_at_once(port, request.token, change):
            self._propose(port, request, Change(change, self._stamp(port)), change.request_id)

    def _admit(self, port: Port, request: Request) -> None:
        admit: AdmitOrders = request.payload  # type: ignore[assignment]
        if not port.reigning:
            port.reply(request.token, NotReigning(port.primary, port.epoch))
        else:
            self._propose(port, request, Admit(admit, self._stamp(port)), "")

    def _answer_at_once(self, port: Port, token: object, asked: TakeStock | ChangeItem) -> bool:
        """Answer what needs no entry: not reigning here, or the request id is known."""
        if not port.reigning:
            port.reply(token, NotReigning(port.primary, port.epoch))
            return True
        known = self.state.known(asked)
        if known is None:
            return False
        port.reply(token, known, index=self._repeat_index(port))
        return True

    def _propose(self, port: Port, request: Request, command: object, request_id: str) -> None:
        handler = partial(self._proposed, request.token, request_id)
        self._asking.propose(port, wire.encode(command), handler, request.deadline)

    def _proposed(self, token: object, request_id: str, port: Port, answer: Answer) -> None:
        if answer.status == DONE:
            port.reply(token, answer.fact, index=answer.index)
        elif answer.status == NOT_REIGNING:
            port.reply(token, NotReigning(port.primary, port.epoch))
        elif answer.status == OVERLOADED:
            port.reply(token, Overloaded(RETRY_AFTER_MS))
        else:
            port.reply(token, OutcomeUnknown(request_id))

    def _stamp(self, port: Port) -> int:
        """The stamped time of a command that is proposed now (PROTOCOL 3.3)."""
        return max(self.state.stamp, port.clock)

    def _repeat_index(self, port: Port) -> int:
        """What must be released before a known outcome is told once more."""
        return port.applied

    # --- the ledger feed ---

    def _poll(self, port: Port, request: Request) -> None:
        poll: PollLedger = request.payload  # type: ignore[assignment]
        ledger = self.state.ledger
        if not port.reigning:
            port.reply(request.token, NotReigning(port.primary, port.epoch))
        elif not ledger.holds(poll.after, poll.chain):
            mismatch = LedgerMismatch(ledger.length, ledger.chain)
            port.reply(request.token, mismatch, index=port.applied)
        elif len(self._pollers) >= POLLERS_LIMIT:
            port.reply(request.token, Overloaded(RETRY_AFTER_MS))
        else:
            wait_ms = min(max(poll.wait_ms, 0), WAIT_LIMIT_MS)
            due = min(port.now + wait_ms, request.deadline - _DEADLINE_MARGIN_MS)
            poller = _Poller(request.token, poll.after, due)
            if not self._serve(port, poller):
                self._pollers.append(poller)

    def _serve(self, port: Port, poller: _Poller) -> bool:
        """Answer a poller if there is something for it, or its time is over."""
        if not port.reigning:
            port.reply(poller.token, NotReigning(port.primary, port.epoch))
            return True
        length = self._visible_length(port)
        if length <= poller.after and port.now < poller.due:
            return False
        sales = self.state.ledger.after(poller.after, length, PAGE_SALES)
        page = LedgerPage(poller.after, sales, max(length, poller.after), self._stamp(port))
        port.reply(poller.token, page)
        return True

    def _visible_length(self, port: Port) -> int:
        """The newest sale that anybody may be told of."""
        return self.state.ledger.visible(port.released)

    # --- reads ---

    def _query(self, port: Port, request: Request) -> None:
        query: Any = request.payload
        if query.read not in LEVELS:
            port.reply(request.token, Malformed("read", f"must be one of {', '.join(LEVELS)}"))
        else:
            self._read(port, request, query.read)

    def _find(self, port: Port, request: Request) -> None:
        self._read(port, request, LINEARIZABLE)

    def _read(self, port: Port, request: Request, level: str) -> None:
        handler = partial(self._look, request, level)
        self._asking.read(port, level, handler, request.deadline)

    def _look(self, request: Request, level: str, port: Port, answer: Answer) -> None:
        if answer.status == NOT_REIGNING:
            port.reply(request.token, NotReigning(port.primary, port.epoch))
        elif answer.status != READY:
            port.reply(
                request.token,
                Unavailable("this replica is not serving yet, or no majority confirmed the read"),
            )
        else:
            found = self._found(port, request.payload)
            port.reply(request.token, found, index=self._read_index(port, level))

    def _read_index(self, port: Port, level: str) -> int:
        """What must be released before a read may be told; the lower levels may be early."""
        return port.applied if level == LINEARIZABLE else 0

    def _found(self, port: Port, query: object) -> object:
        if isinstance(query, QueryItem):
            return self._found_item(port, query.item)
        if isinstance(query, QueryTopic):
            return self._found_topic(port, query.topic)
        if isinstance(query, FindOutcome):
            return self.state.outcome(query.request_id) or NoOutcome(query.request_id)
        raise TypeError(f"no read: {type(query).__name__}")

    def _found_item(self, port: Port, item: str) -> ItemFound | ItemMissing:
        port.operation(f"query_by_item,{item}")
        book = self.state.books.get(item)
        if book is None:
            return ItemMissing(item, port.applied)
        return ItemFound(view_of(book, port.applied))

    def _found_topic(self, port: Port, topic: str) -> ItemList:
        port.operation(f"query_by_topic,{topic}")
        views = [view_of(book, port.applied) for book in self.state.books.topic(topic)]
        return ItemList(topic, tuple(views), port.applied)

    def _digest(self, port: Port, request: Request) -> None:
        ledger = self.state.ledger
        digest = self.state.digest()
        books = self.state.books.text()
        fact = StateDigest(port.applied, digest, ledger.length, ledger.chain, books)
        port.reply(request.token, fact)
