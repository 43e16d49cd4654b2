"""The cache's HTTP adapter: the bookstore's routes on it.

| route | who | what |
|---|---|---|
| `search?topic=`, `lookup?item_number=` | public | the copy, or null and the session |
| `put_search_cache`, `put_lookup_cache` | operator | a fill under that session |
| `invalidate_cache?item_number=` | operator | drop the copies that show the item |
| `/v1/status` | public | lease, floor, counters |

A fill without the present session, or from an old commit index, isn't stored. The frontends fill
over the internal port; these routes are for people and old programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Flask, Response

from emporium.cache.desk import CacheDesk
from emporium.cache.keeper import Keeper
from emporium.cache.requests import (
    LISTS,
    CacheHit,
    CacheMiss,
    LookupCache,
    PutCache,
    SearchCache,
    Stored,
    item_key,
    topic_key,
)
from emporium.catalog.requests import ItemFound, ItemList, ItemView
from emporium.editions import book_form
from emporium.editions.files import (
    ITEM_FORM,
    LARGEST_STOCK,
    LONGEST_TITLE,
    LONGEST_TOPIC,
)
from emporium.editions.money import text_as_cents
from emporium.runtime import errors, web

NO_STORE: Final = {"Cache-Control": "no-store"}
LONGEST_SESSION: Final = 200
LAST_INDEX: Final = 9_007_199_254_740_991
MOST_BOOKS: Final = 1_000
_ITEM_RULE: Final = "must be a book's number"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes are made of."""

    desk: CacheDesk
    keeper: Keeper
    operation: Callable[[str], None]
    limits: web.Limits
    metrics: web.Counted | None = None


def create_app(parts: Parts) -> Flask:
    """The app over built parts."""
    app = web.make_app(__name__, parts.limits, parts.metrics)
    app.register_blueprint(_reads(parts))
    app.register_blueprint(_writes(parts))
    return app


def _reads(parts: Parts) -> Blueprint:
    routes = Blueprint("reads", __name__)

    @routes.get("/search")
    def search() -> Response:
        topic = _topic(web.parameters("topic").get("topic"))
        return _looked_up(parts.desk.answer(SearchCache(topic)))

    @routes.get("/lookup")
    def look_up() -> Response:
        item = _item(web.parameters("item_number").get("item_number"))
        return _looked_up(parts.desk.answer(LookupCache(item)))

    @routes.get("/v1/status")
    def show_status() -> Response:
        web.parameters()
        return web.answer({"role": "cache", **parts.keeper.status()}, 200, NO_STORE)

    return routes


def _writes(parts: Parts) -> Blueprint:
    routes = Blueprint("writes", __name__)

    @routes.post("/put_lookup_cache")
    def put_lookup() -> Response:
        web.require_operator(parts.limits)
        web.parameters()
        given = web.json_body("item_number", "res", "session", "commit_index")
        item, (session, index) = _item(given.get("item_number")), _fill(given)
        value = ItemFound(_book(item, given.get("res"), index))
        return _stored(parts.desk.put(PutCache(item_key(item), value, session)))

    @routes.post("/put_search_cache")
    def put_search() -> Response:
        web.require_operator(parts.limits)
        web.parameters()
        given = web.json_body("topic", "res", "session", "commit_index")
        topic, (session, index) = _topic(given.get("topic")), _fill(given)
        value = ItemList(topic, _books(topic, given.get("res"), index), index)
        return _stored(parts.desk.put(PutCache(topic_key(topic), value, session)))

    @routes.route("/invalidate_cache", methods=["GET", "POST"])
    def invalidate() -> Response:
        web.refuse_head()
        web.require_operator(parts.limits)
        item = _item(web.parameters("item_number").get("item_number"))
        web.no_body()
        parts.operation(f"invalidate_cache,{item}")
        dropped = parts.keeper.drop(_keys_with(item, parts.keeper.copies()))
        return web.answer({"result": "Success", "dropped": dropped}, 200, NO_STORE)

    return routes


def _looked_up(answer: object) -> Response:
    match answer:
        case CacheHit(value=ItemFound(view=view)):
            return web.answer({"result": book_form.full(view)}, 200, NO_STORE)
        case CacheHit(value=ItemList(items=items)):
            return web.answer({"result": book_form.short(items)}, 200, NO_STORE)
        case CacheMiss(session=session):
            return web.answer({"result": None, "session": session}, 200, NO_STORE)
        case _:
            raise errors.NotServing("the cache gave no answer")


def _stored(answer: object) -> Response:
    stored = isinstance(answer, Stored) and answer.stored
    return web.answer({"result": "Success" if stored else "Failed"}, 200, NO_STORE)


def _keys_with(item: str, copies: Mapping[str, object]) -> list[str]:
    """The keys of the copies that show the item."""
    lists = [
        key
        for key, value in copies.items()
        if isinstance(value, ItemList) and any(view.item == item for view in value.items)
    ]
    return sorted({item_key(item), LISTS, *lists})


# --- fields ---


def _item(value: object) -> str:
    return web.formed("item_number", value, ITEM_FORM, _ITEM_RULE)


def _topic(value: object) -> str:
    return web.words("topic", value, LONGEST_TOPIC)


def _fill(given: Mapping[str, Any]) -> tuple[str, int]:
    """What makes a fill valid. Raises BadRequest."""
    session = web.words("session", given.get("session"), LONGEST_SESSION)
    return session, web.json_number("commit_index", given.get("commit_index"), 1, LAST_INDEX)


def _book(item: str, res: object, index: int) -> ItemView:
    """A book in the form of `lookup`. Raises BadRequest."""
    names = {"item_number", "cost", "stock", "title", "type"}
    if not isinstance(res, dict) or set(res) != names:
        raise errors.BadRequest("res", f"res must have exactly {', '.join(sorted(names))}")
    if res["item_number"] != item:
        raise errors.BadRequest("res", "res must be the book with this item_number")
    try:
        price = text_as_cents(str(res["cost"]))
    except ValueError as error:
        raise errors.BadRequest("cost", f"cost: {error}") from None
    return ItemView(
        item,
        web.words("title", res["title"], LONGEST_TITLE),
        web.words("type", res["type"], LONGEST_TOPIC),
        price,
        web.json_number("stock", res["stock"], 0, LARGEST_STOCK),
        index,
    )


def _books(topic: str, res: object, index: int) -> tuple[ItemView, ...]:
    """Whole books of one topic. Raises BadRequest."""
    if not isinstance(res, list) or len(res) > MOST_BOOKS:
        raise errors.BadRequest("res", f"res must be a list of at most {MOST_BOOKS} books")
    books = tuple(
        _book(_item(each.get("item_number") if isinstance(each, dict) else None), each, index)
        for each in res
    )
    if any(book.topic != topic for book in books):
        raise errors.BadRequest("res", "every book in res must have this topic as its type")
    return books
