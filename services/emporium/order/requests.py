"""What the order role is asked, what it answers, and the command in its log."""

from __future__ import annotations

from dataclasses import dataclass

from emporium.catalog.requests import Sale
from emporium.replication import wire


@dataclass(frozen=True, slots=True)
class Purchase:
    """A buy or sell under the client's request id. `forwarded` counts the hops so far: a replica
    that doesn't reign passes it on once. Answers: OrderRecorded, PurchaseRefused,
    PurchaseConflict, and those of `failures`."""

    item: str
    quantity: int
    side: str
    request_id: str
    forwarded: bool


@dataclass(frozen=True, slots=True)
class OrderRecorded:
    """The order of this request id: its number is the sale's. `repeated` when it was there."""

    sale: Sale
    repeated: bool


@dataclass(frozen=True, slots=True)
class PurchaseRefused:
    """No order, ever, for this request id: unknown_item or out_of_stock."""

    reason: str


@dataclass(frozen=True, slots=True)
class PurchaseConflict:
    """The request id was used for another purchase (422)."""


@dataclass(frozen=True, slots=True)
class ReadOrder:
    """Answers: OrderFound, OrderMissing. `read` is local, primary or linearizable."""

    number: int
    read: str


@dataclass(frozen=True, slots=True)
class OrderFound:
    """The order, as its sale."""

    sale: Sale


@dataclass(frozen=True, slots=True)
class OrderMissing:
    """No order of this number."""

    number: int


@dataclass(frozen=True, slots=True)
class OrdersSince:
    """At most 256 orders after number `after`, linearizable. Answer: OrderPage."""

    after: int
    read: str


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Orders in the order of their numbers; `watermark` is the newest number of all."""

    orders: tuple[Sale, ...]
    watermark: int


@dataclass(frozen=True, slots=True)
class FindPurchase:
    """What became of a request id? Answers: PurchaseFound."""

    request_id: str


@dataclass(frozen=True, slots=True)
class PurchaseFound:
    """`state` is recorded (with `number`), refused (with `reason`) or unknown."""

    state: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordSale:
    """The command: accepted only as number watermark + 1 with the chain that fits."""

    sale: Sale


wire.register_module(__name__)
