"""What the catalog is asked, what it answers, and the commands in its log."""

from __future__ import annotations

from dataclasses import dataclass

from emporium.replication import wire

BUY, SELL = "buy", "sell"


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item as a reader sees it. `price` in cents; `commit_index` is the applied index at
    which it was read."""

    item: str
    title: str
    topic: str
    price: int
    stock: int
    commit_index: int


@dataclass(frozen=True, slots=True)
class Sale:
    """A committed take of stock: one line of the ledger. `number` starts at 1, without a gap.
    `chain` is the ledger's own chain hash up to here (PROTOCOL 3.4)."""

    number: int
    request_id: str
    item: str
    quantity: int
    side: str  # BUY or SELL
    price: int  # of one piece, in cents
    stamp: int  # when it was committed, ms since 1970, by the reign that stamped it
    chain: str


# --- requests, each with its answers ---


@dataclass(frozen=True, slots=True)
class TakeStock:
    """Take `quantity` pieces of `item` (or give them back), exactly once per request id. Answers:
    StockTaken, TakeRefused, TakeConflict, TakeFenced, and those of `failures`."""

    item: str
    quantity: int
    side: str
    request_id: str
    order_group: str
    order_epoch: int
    deadline_stamp: int


@dataclass(frozen=True, slots=True)
class StockTaken:
    """The sale, new or repeated."""

    sale: Sale


@dataclass(frozen=True, slots=True)
class TakeRefused:
    """No sale, now and for this request id ever: `reason` is unknown_item or out_of_stock."""

    reason: str


@dataclass(frozen=True, slots=True)
class TakeConflict:
    """The request id was used for another purchase (422)."""


@dataclass(frozen=True, slots=True)
class TakeFenced:
    """Nothing was decided and the id stays free: `reason` is epoch, group or deadline. `stamp` is
    the catalog's stamped time."""

    reason: str
    stamp: int


@dataclass(frozen=True, slots=True)
class PollLedger:
    """The sales after number `after`, whose chain hash is `chain`; waits for the first up to
    `wait_ms`. Answers: LedgerPage, LedgerMismatch."""

    after: int
    chain: str
    wait_ms: int


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """At most 256 sales that follow `after`, perhaps none; `length` counts all sales."""

    after: int
    sales: tuple[Sale, ...]
    length: int
    stamp: int


@dataclass(frozen=True, slots=True)
class LedgerMismatch:
    """The asker's watermark isn't in this ledger: one of the two groups lost its past."""

    length: int
    chain: str


@dataclass(frozen=True, slots=True)
class AdmitOrders:
    """An order group's reign presents itself, rebuilt up to `watermark`. Answers: OrdersAdmitted,
    OrdersBehind, LedgerMismatch, TakeFenced."""

    order_group: str
    order_epoch: int
    watermark: int
    chain: str


@dataclass(frozen=True, slots=True)
class OrdersAdmitted:
    """Takes of this group from this epoch on are welcome."""

    stamp: int


@dataclass(frozen=True, slots=True)
class OrdersBehind:
    """A new order group must first rebuild itself from the ledger."""

    length: int


@dataclass(frozen=True, slots=True)
class QueryItem:
    """Answers: ItemFound, ItemMissing. `read` is local, primary or linearizable."""

    item: str
    read: str


@dataclass(frozen=True, slots=True)
class ItemFound:
    """The item, read at its commit_index."""

    view: ItemView


@dataclass(frozen=True, slots=True)
class ItemMissing:
    """No such item, at `commit_index`."""

    item: str
    commit_index: int


@dataclass(frozen=True, slots=True)
class QueryTopic:
    """The items of one topic (exact match), or all when `topic` is empty. Answer: ItemList."""

    topic: str
    read: str


@dataclass(frozen=True, slots=True)
class ItemList:
    """The items in the data set's order, read at `commit_index`."""

    topic: str
    items: tuple[ItemView, ...]
    commit_index: int


@dataclass(frozen=True, slots=True)
class ChangeItem:
    """The operator's change: a new price in cents and/or pieces added (negative: taken away), once
    per request id. Answers: ItemChanged, ItemMissing, TakeRefused (below zero), TakeConflict."""

    item: str
    price: int | None
    restock: int | None
    request_id: str


@dataclass(frozen=True, slots=True)
class ForwardChange:
    """`ChangeItem` on its way from a backup to the primary: not passed on a second time."""

    change: ChangeItem


@dataclass(frozen=True, slots=True)
class ItemChanged:
    """The item after the change."""

    view: ItemView


@dataclass(frozen=True, slots=True)
class FindOutcome:
    """What became of a request id? Linearizable. Answers: StockTaken, TakeRefused, NoOutcome."""

    request_id: str


@dataclass(frozen=True, slots=True)
class NoOutcome:
    """Nothing is known of the request id."""

    request_id: str


@dataclass(frozen=True, slots=True)
class AskDigest:
    """Operator: count and digest of the state at this replica (verify). Answer: StateDigest."""


@dataclass(frozen=True, slots=True)
class StateDigest:
    """`digest` is equal at equal `applied`; `books` is the JSON of the books by item: initial,
    restocked, sold_back, bought, stock, price in cents; `length`, `chain`: the ledger's."""

    applied: int
    digest: str
    length: int
    chain: str
    books: str


# --- commands in the log, stamped by the reign (PROTOCOL 3.3) ---


@dataclass(frozen=True, slots=True)
class Take:
    """`TakeStock` as an entry."""

    request: TakeStock
    stamp: int


@dataclass(frozen=True, slots=True)
class Change:
    """`ChangeItem` as an entry."""

    request: ChangeItem
    stamp: int


@dataclass(frozen=True, slots=True)
class Admit:
    """`AdmitOrders` as an entry."""

    request: AdmitOrders
    stamp: int


wire.register_module(__name__)
