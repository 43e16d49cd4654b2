"""The bookstore's `buy` as a request: read in one way by the frontend and by an order replica."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Response, request

from emporium.catalog.requests import BUY
from emporium.editions.files import ITEM_FORM
from emporium.order.requests import Purchase
from emporium.runtime import errors, web

KEY_HEADER: Final = "Idempotency-Key"
SUCCESS, FAILED, UNKNOWN = "Success", "Failed", "Unknown"
_ITEM_RULE: Final = "must be a book's number"


def purchase_of(number: object, query: Mapping[str, str]) -> Purchase:
    """The purchase of one book, under the caller's request id or a new one. Raises BadRequest."""
    item = web.formed("item_number", number, ITEM_FORM, _ITEM_RULE)
    key = request.headers.get(KEY_HEADER)
    given = query.get("request_id")
    if key is not None and given is not None and key != given:
        raise errors.BadRequest("request_id", f"request_id and {KEY_HEADER} differ")
    if key is not None:
        request_id = web.request_id(KEY_HEADER, key)
    elif given is not None:
        request_id = web.request_id("request_id", given)
    else:
        request_id = web.new_request_id()
    return Purchase(item, 1, BUY, request_id, forwarded=False)


def unknown(request_id: str) -> Response:
    """The answer when it isn't known whether the book was bought."""
    headers = {KEY_HEADER: request_id, "Retry-After": "1", "Cache-Control": "no-store"}
    return web.answer({"result": UNKNOWN, "request_id": request_id}, 503, headers)
