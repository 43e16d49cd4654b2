"""How the replicas of the order group are compared (the operator's `verify`)."""

from __future__ import annotations

from dataclasses import dataclass

from emporium.replication import wire


@dataclass(frozen=True, slots=True)
class AskOrderDigest:
    """Count and digest of the orders at this replica. Answer: OrderDigest."""


@dataclass(frozen=True, slots=True)
class OrderDigest:
    """`digest` is equal at equal `applied`; `watermark` and `chain` are the newest order's;
    `books` is JSON: pieces bought and sold_back by item, according to the orders."""

    applied: int
    digest: str
    watermark: int
    chain: str
    books: str


wire.register_module(__name__)
