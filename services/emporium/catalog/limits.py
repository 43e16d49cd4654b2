"""What a take or a change of an item may look like, wherever it comes from.

The HTTP adapters check the same fields with messages of their own; here the check is repeated
where it decides, so that no internal caller can put nonsense into the log.
"""

from __future__ import annotations

from emporium.catalog.requests import BUY, SELL, ChangeItem
from emporium.replication.failures import Malformed

TEXT_LIMIT = 128  # characters of an item id or a request id
QUANTITY_LIMIT = 1_000_000  # pieces in one purchase or restock
PRICE_LIMIT = 100_000_000  # cents
EPOCH, GROUP, DEADLINE = "epoch", "group", "deadline"  # why a take is fenced


def text_problem(field: str, value: str) -> Malformed | None:
    """Why `value` is no item or request id; None when it is one."""
    if not 0 < len(value) <= TEXT_LIMIT:
        return Malformed(field, f"must have 1 to {TEXT_LIMIT} characters")
    if not value.isprintable():  # control characters would break the operation log's lines
        return Malformed(field, "must have printable characters only")
    return None


def purchase_problem(item: str, quantity: int, side: str, request_id: str) -> Malformed | None:
    """Why this is no purchase; None when it is one."""
    problem = text_problem("item", item) or text_problem("request_id", request_id)
    if problem is not None:
        return problem
    if not 0 < quantity <= QUANTITY_LIMIT:
        return Malformed("quantity", f"must be from 1 to {QUANTITY_LIMIT}")
    if side not in (BUY, SELL):
        return Malformed("side", f"must be {BUY} or {SELL}")
    return None


def change_problem(change: ChangeItem) -> Malformed | None:
    """Why this is no change of an item; None when it is one."""
    problem = text_problem("item", change.item) or text_problem("request_id", change.request_id)
    if problem is not None:
        return problem
    if change.price is None and change.restock is None:
        return Malformed("price", "a change needs a price, a restock or both")
    if change.price is not None and not 0 <= change.price <= PRICE_LIMIT:
        return Malformed("price", f"must be from 0 to {PRICE_LIMIT} cents")
    if change.restock is not None and abs(change.restock) > QUANTITY_LIMIT:
        return Malformed("restock", f"must be from -{QUANTITY_LIMIT} to {QUANTITY_LIMIT}")
    return None
