"""The OpenAPI document of the frontend: what `app.py` and its blueprints do, for programs.

A test walks the app's routes and this document and wants them to be the same.
"""

from __future__ import annotations

from typing import Any, Final

from emporium.editions.files import LONGEST_TOPIC
from emporium.frontend import fields
from emporium.frontend.reading import LEVELS, LINEARIZABLE
from emporium.runtime.web import SCOPE

VERSION: Final = "1.0.0"
Document = dict[str, Any]
_OPEN_TEXT: Final = (
    "A key that was ever answered with definite: false, or got no answer, stays open until this"
    " route answers it with 200, 201, 404, 409 or 422, or /v1/purchases says recorded or refused."
    " A later 503 with definite: true doesn't close it: repeat under the same key, never a new one."
)
_SCOPE_TEXT: Final = "`definite` speaks of this request, not of earlier ones under its request id"
_OPERATOR: Final[list[dict[str, list[str]]]] = [{"operator": []}]


def document(edition: str) -> Document:
    """The whole document for one edition."""
    paths = {**_items(), **_orders(), **_cluster(), **_own(), **EDITION_PATHS[edition]()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Emporium",
            "version": VERSION,
            "summary": f"An online store whose own services are replicated; edition {edition}",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "parameters": _parameters(),
            "responses": {"Problem": _body("What was wrong", "Problem", "problem+json")},
            "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}},
        },
    }


# --- building blocks ---


def _ref(kind: str, name: str) -> Document:
    return {"$ref": f"#/components/{kind}/{name}"}


def _body(text: str, schema: str, subtype: str = "json") -> Document:
    return {
        "description": text,
        "content": {f"application/{subtype}": {"schema": _ref("schemas", schema)}},
    }


def _answers(good: dict[int, Document], *bad: int) -> Document:
    answers = {str(status): answer for status, answer in good.items()}
    return {**answers, **{str(status): _ref("responses", "Problem") for status in bad}}


def _operation(name: str, text: str, answers: Document, *parameters: str, **more: Any) -> Document:
    found: Document = {"operationId": name, "summary": text, "responses": answers, **more}
    if parameters:
        found["parameters"] = [_ref("parameters", each) for each in parameters]
    return found


def _json_request(schema: str) -> Document:
    content = {"application/json": {"schema": _ref("schemas", schema)}}
    return {"required": True, "content": content}


def _record(properties: Document, *optional: str) -> Document:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _parameter(name: str, where: str, schema: Document, text: str) -> Document:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "schema": schema,
        "description": text,
    }


# --- paths ---


def _items() -> Document:
    lists = _answers({200: _body("The items", "ItemList")}, 400, 413, 503)
    found = _answers({200: _body("The item", "Item")}, 400, 404, 413, 503)
    changed = _answers(
        {200: _body("The item after the change", "Item")},
        *(400, 401, 404, 409, 413, 415, 422, 503),
    )
    change = _operation(
        "changeItem",
        "A new price, and pieces added or taken away (operator)",
        changed,
        "Item",
        "MaybeIdempotencyKey",
        requestBody=_json_request("ItemChange"),
        security=_OPERATOR,
    )
    return {
        "/v1/items": {
            "get": _operation("listItems", "The items of a topic, or all", lists, "Topic", "Read")
        },
        "/v1/items/{item}": {
            "get": _operation("getItem", "One item", found, "Item", "Read"),
            "patch": change,
        },
    }


def _orders() -> Document:
    placed = _answers(
        {201: _placed("The new order"), 200: _placed("The order that this key has already")},
        *(400, 404, 409, 413, 415, 422, 503),
    )
    place = _operation(
        "placeOrder",
        "Buy or sell, exactly once per Idempotency-Key",
        placed,
        "IdempotencyKey",
        requestBody=_json_request("Purchase"),
        description=_OPEN_TEXT,
    )
    page = _answers({200: _body("At most 256 orders", "OrderPage")}, 400, 401, 413, 503)
    found = _answers({200: _body("The order", "Order")}, 400, 404, 413, 503)
    told = _answers({200: _body("What is known", "PurchaseState")}, 400, 413, 503)
    return {
        "/v1/orders": {
            "post": place,
            "get": _operation(
                "listOrders", "Orders (operator)", page, "After", "Read", security=_OPERATOR
            ),
        },
        "/v1/orders/{number}": {
            "get": _operation(
                *("getOrder", "One order", found),
                *("Number", "Read", "OwnRequestId", "MaybeIdempotencyKey"),
            )
        },
        "/v1/purchases/{request_id}": {
            "get": _operation("findPurchase", "What became of a request id", told, "RequestId")
        },
    }


def _placed(text: str) -> Document:
    location = {"schema": {"type": "string"}, "description": "Where the order is"}
    return {**_body(text, "Order"), "headers": {"Location": location}}


def _cluster() -> Document:
    stream = {
        "description": "Events `cluster` (a Cluster document) and `change`",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    shown = _answers({200: _body("The cluster as this frontend sees it", "Cluster")}, 400, 413)
    watched = _answers({200: stream}, 400, 413, 429)
    return {
        "/v1/cluster": {"get": _operation("showCluster", "Every replica, every reign", shown)},
        "/v1/cluster/events": {
            "get": _operation("watchCluster", "Its changes, as they happen", watched)
        },
    }


def _own() -> Document:
    this = {
        "description": "This document",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    html = {"description": "HTML", "content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        "/v1/openapi.json": {
            "get": _operation("showDocument", "This document", _answers({200: this}, 400, 413))
        },
        "/": {"get": _operation("showPage", "A page for people", _answers({200: html}, 400, 413))},
    }


def _bookstore() -> Document:
    listed = _answers({200: _body("Books of the topic", "BookList")}, 400, 413, 503)
    found = _answers({200: _body("The book", "BookFound")}, 400, 404, 413, 503)
    bought = _answers({200: _body("Success or Failed", "BookBought")}, 400, 413, 422)
    bought["503"] = _body("Unknown, with the request id to ask with", "BookBought")
    buy = "Buy one book"
    return {
        "/search": {"get": _operation("search", "Search", listed, "SearchTopic")},
        "/search/{topic}": {"get": _operation("searchPath", "Search", listed, "TopicInPath")},
        "/lookup": {"get": _operation("lookUp", "One book", found, "ItemNumber")},
        "/lookup/{number}": {"get": _operation("lookUpPath", "One book", found, "BookNumber")},
        "/buy": {
            "get": _operation(
                "buy", buy, bought, "ItemNumber", "MaybeRequestId", "MaybeIdempotencyKey"
            )
        },
        "/buy/{number}": {
            "get": _operation(
                "buyPath", buy, bought, "BookNumber", "MaybeRequestId", "MaybeIdempotencyKey"
            )
        },
    }


EDITION_PATHS: Final = {"bookstore": _bookstore}


# --- components ---


def _parameters() -> Document:
    item = {"type": "string", "pattern": fields.ITEM_PATTERN}
    topic = {"type": "string", "minLength": 1, "maxLength": LONGEST_TOPIC}
    request_id = {"type": "string", "pattern": fields.REQUEST_ID_PATTERN}
    level = {"type": "string", "enum": list(LEVELS), "default": LINEARIZABLE}
    number = {"type": "integer", "minimum": 1, "maximum": fields.LAST_NUMBER}
    after = {"type": "integer", "minimum": 0, "maximum": fields.LAST_NUMBER, "default": 0}
    key, own = "Idempotency-Key", "The request id of the purchase"
    found = {
        "Item": _parameter("item", "path", item, "An item's id"),
        "Topic": _parameter("topic", "query", topic, "Exactly this topic; all items without it"),
        "Read": _parameter("read", "query", level, "How old the answer may be"),
        "IdempotencyKey": _parameter(key, "header", request_id, own),
        "MaybeIdempotencyKey": _parameter(key, "header", request_id, own),
        "Number": _parameter("number", "path", number, "An order's number"),
        "After": _parameter("after", "query", after, "Orders after this number"),
        "OwnRequestId": _parameter("request_id", "query", request_id, own),
        "RequestId": _parameter("request_id", "path", request_id, own),
        "MaybeRequestId": _parameter("request_id", "query", request_id, own),
        "SearchTopic": _parameter("topic", "query", topic, "Exactly this topic"),
        "TopicInPath": _parameter("topic", "path", topic, "Exactly this topic; + is a space"),
        "ItemNumber": _parameter("item_number", "query", item, "A book's number"),
        "BookNumber": _parameter("number", "path", item, "A book's number"),
    }
    for name in ("IdempotencyKey", "SearchTopic", "ItemNumber"):
        found[name]["required"] = True
    return found


def _schemas() -> Document:
    text, whole, flag = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
    cents = {"type": "integer", "minimum": 0, "description": "Cents"}
    item = _record(
        {
            "item": text,
            "title": text,
            "topic": text,
            "price": cents,
            "stock": {"type": "integer", "minimum": 0},
            "commit_index": whole,
        }
    )
    topic = {"type": ["string", "null"]}
    items = {"type": "array", "items": _ref("schemas", "Item")}
    return {
        "Item": item,
        "ItemList": _record({"items": items, "topic": topic, "commit_index": whole}),
        "ItemChange": {**_change(), "additionalProperties": False, "minProperties": 1},
        "Purchase": {**_purchase(), "additionalProperties": False},
        "Order": _order(text, whole, cents),
        "OrderPage": _record(
            {"orders": {"type": "array", "items": _ref("schemas", "Order")}, "watermark": whole}
        ),
        "PurchaseState": _record(
            {
                "request_id": text,
                "state": {"type": "string", "enum": ["recorded", "refused", "unknown"]},
                "number": whole,
                "reason": text,
            },
            *("number", "reason"),
        ),
        "Replica": _replica(text, whole, flag),
        "Cluster": _record(
            {
                "replicas": {"type": "array", "items": _ref("schemas", "Replica")},
                "reigns": {"type": "object", "description": "By role: id and epoch, or null"},
                "edition": text,
                "seen_by": {"type": "object"},
                "at": text,
            }
        ),
        "Problem": _problem(text, whole, flag),
        **_book_schemas(text, whole),
    }


def _change() -> Document:
    most = fields.MOST_RESTOCK
    price = {"type": "integer", "minimum": 0, "maximum": fields.HIGHEST_PRICE}
    restock = {"type": "integer", "minimum": -most, "maximum": most}
    return _record({"price": price, "restock": restock}, "price", "restock")


def _purchase() -> Document:
    quantity = {"type": "integer", "minimum": 1, "maximum": fields.MOST_PIECES}
    side = {"type": "string", "enum": list(fields.SIDES), "default": fields.SIDES[0]}
    item = {"type": "string", "pattern": fields.ITEM_PATTERN}
    return _record({"item": item, "quantity": quantity, "side": side}, "side")


def _order(text: Document, whole: Document, cents: Document) -> Document:
    committed = {"type": "string", "format": "date-time"}
    return _record(
        {
            "number": whole,
            "item": text,
            "quantity": whole,
            "side": text,
            "price": cents,
            "request_id": text,
            "committed_at": committed,
        }
    )


def _replica(text: Document, whole: Document, flag: Document) -> Document:
    since = {"type": ["number", "null"], "description": "ms since the last heartbeat"}
    always = {"role": text, "id": whole, "address": text, "healthy": flag, "reigning": flag}
    heard = {
        "serving": flag,
        "reign": {"type": ["integer", "null"]},
        "epoch": whole,
        "voter": flag,
        "caught_up": flag,
        "leaving": flag,
        "hears_majority": flag,
        "commit_index": whole,
        "lag": whole,
        "incarnation": text,
        "group": text,
    }
    return _record({**always, "last_heartbeat_ms": since, **heard}, *heard)


def _problem(text: Document, whole: Document, flag: Document) -> Document:
    definite = {**flag, "description": "Whether this request has surely done nothing"}
    scope = {"const": SCOPE, "description": _SCOPE_TEXT}
    always = {"type": text, "title": text, "status": whole, "detail": text}
    always |= {"definite": definite, "scope": scope}
    some = {"field": text, "request_id": text, "hint": whole, "epoch": whole}
    return _record({**always, **some}, *some)


def _book_schemas(text: Document, whole: Document) -> Document:
    result = {"type": "string", "enum": ["Success", "Failed", "Unknown"]}
    short = _record({"item_number": text, "title": text})
    full = {"cost": text, "item_number": text, "stock": whole, "title": text, "type": text}
    return {
        "BookList": _record({"result": {"type": "array", "items": short}}),
        "BookFound": _record({"result": _record(full)}),
        "BookBought": _record({"result": result, "request_id": text}, "request_id"),
    }
