"""`/v1` of a frontend: good and bad input for every route and field."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from emporium.frontend import openapi
from emporium.frontend.app import create_app
from tests.http.conftest import OPERATOR, Frontend, make_frontend

KEY = "k" * 16
JSON = {"Content-Type": "application/json"}


def order(client: FlaskClient, body: object, key: str | None = KEY, **headers: str) -> Any:
    """POST an order."""
    given = {**JSON, **headers} if key is None else {**JSON, "Idempotency-Key": key, **headers}
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post("/v1/orders", data=data, headers=given)


def is_problem(answer: Any, status: int, slug: str, field: str = "") -> bool:
    """Whether this is the problem document for it; says what it is if it isn't."""
    told = answer.get_json()
    seen = (answer.status_code, told.get("type"), told.get("field", ""), answer.content_type)
    kind = "application/problem+json"
    assert seen == (status, f"urn:emporium:problem:{slug}", field, kind), told
    assert told["status"] == status
    assert isinstance(told["definite"], bool)
    assert told["scope"] == "this request"
    assert answer.headers["X-Request-Id"]
    return True


# --- items ---


def test_an_item_has_its_fields_and_says_where_it_came_from(shop: Frontend) -> None:
    """DESIGN 4."""
    answer = shop.client.get("/v1/items/2")
    assert answer.get_json() == {
        "item": "2",
        "title": "RPCs",
        "topic": "distributed systems",
        "price": 2050,
        "stock": 2,
        "commit_index": 7,
    }
    tiers = [part.partition(";")[0] for part in answer.headers["Server-Timing"].split(", ")]
    assert tiers == ["frontend", "catalog"]
    assert answer.headers["Cache-Status"] == "emporium; fwd=bypass"


def test_lists_are_exact_by_topic(shop: Frontend) -> None:
    """All items without one, none of an unknown one."""
    numbers = {
        path: [item["item"] for item in shop.client.get(path).get_json()["items"]]
        for path in (
            *("/v1/items", "/v1/items?topic=travel", "/v1/items?topic=trave"),
            "/v1/items?topic=distributed+systems&read=local",
        )
    }
    assert list(numbers.values()) == [["1", "2", "7"], ["7"], [], ["1", "2"]]


@pytest.mark.parametrize(
    ("path", "status", "slug", "field"),
    [
        ("/v1/items?topic=", 400, "bad-request", "topic"),
        (f"/v1/items?topic={'x' * 201}", 400, "bad-request", "topic"),
        ("/v1/items?topic=%07", 400, "bad-request", "topic"),
        ("/v1/items?topic=a&topic=b", 400, "bad-request", "topic"),
        ("/v1/items?topic=%ff", 400, "bad-request", "query"),
        ("/v1/items?topic", 400, "bad-request", "query"),
        ("/v1/items?read=soon", 400, "bad-request", "read"),
        ("/v1/items?read=", 400, "bad-request", "read"),
        ("/v1/items?colour=red", 400, "bad-request", "colour"),
        ("/v1/items?" + "&".join(f"a{n}=1" for n in range(17)), 400, "bad-request", "query"),
        (f"/v1/items?topic={'x' * 2100}", 413, "too-large", ""),
        ("/v1/items/99", 404, "not-found", ""),
        ("/v1/items/a%20b", 400, "bad-request", "item"),
        ("/v1/items/-1", 400, "bad-request", "item"),
        (f"/v1/items/{'9' * 65}", 400, "bad-request", "item"),
        ("/v1/items/1?read=fast", 400, "bad-request", "read"),
        ("/v1/items/1?x=1", 400, "bad-request", "x"),
        ("/v1/nothing", 404, "not-found", ""),
        ("/v1/orders/0", 400, "bad-request", "number"),
        ("/v1/orders/one", 400, "bad-request", "number"),
        ("/v1/orders/-1", 400, "bad-request", "number"),
        (f"/v1/orders/{'9' * 17}", 400, "bad-request", "number"),
        ("/v1/orders/1?request_id=short", 400, "bad-request", "request_id"),
        ("/v1/orders/1?read=x", 400, "bad-request", "read"),
        ("/v1/orders/1?x=x", 400, "bad-request", "x"),
        ("/v1/orders/99", 404, "not-found", ""),
        ("/v1/orders?after=0", 401, "unauthorized", ""),
        ("/v1/purchases/short", 400, "bad-request", "request_id"),
        (f"/v1/purchases/{'a' * 129}", 400, "bad-request", "request_id"),
        (f"/v1/purchases/{KEY}?x=1", 400, "bad-request", "x"),
        ("/v1/cluster?x=1", 400, "bad-request", "x"),
        ("/v1/cluster/events?x=1", 400, "bad-request", "x"),
        ("/v1/openapi.json?x=1", 400, "bad-request", "x"),
        ("/?x=1", 400, "bad-request", "x"),
    ],
)
def test_a_bad_get_names_what_is_wrong(
    shop: Frontend, path: str, status: int, slug: str, field: str
) -> None:
    """Every route, every field."""
    assert is_problem(shop.client.get(path), status, slug, field)
    assert shop.store.sales == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("POST", path) for path in ("/v1/items", "/v1/items/1", "/v1/cluster", "/")],
        *[("DELETE", path) for path in ("/v1/orders", "/v1/orders/1", "/v1/items/1", "/buy")],
        *[("PUT", path) for path in ("/v1/purchases/" + KEY, "/search", "/lookup", "/lookup/1")],
        *[("HEAD", path) for path in ("/buy?item_number=1", "/buy/1", "/v1/cluster/events")],
        *[("POST", path) for path in ("/buy?item_number=1", "/buy/1")],
    ],
)
def test_another_method_is_refused_and_does_nothing(shop: Frontend, method: str, path: str) -> None:
    """405 with Allow, as a problem."""
    answer = shop.client.open(path, method=method)
    assert answer.status_code == 405
    assert method not in answer.headers["Allow"].split(", ")
    assert shop.store.sales == []
    assert method == "HEAD" or is_problem(answer, 405, "method-not-allowed")


# --- orders ---


def test_an_order_is_made_once_and_repeated_with_the_same_body(shop: Frontend) -> None:
    """201 with Location, then 200."""
    body = {"item": "1", "quantity": 2, "side": "buy"}
    first, second = order(shop.client, body), order(shop.client, body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["Location"] == "/v1/orders/1"
    assert first.get_json() == second.get_json()
    assert first.get_json() == {
        "number": 1,
        "item": "1",
        "quantity": 2,
        "side": "buy",
        "price": 1000,
        "request_id": KEY,
        "committed_at": "2023-11-14T22:13:20.001Z",
    }
    assert shop.client.get("/v1/orders/1").get_json() == first.get_json()
    assert shop.client.get(f"/v1/purchases/{KEY}").get_json() == {
        "request_id": KEY,
        "state": "recorded",
        "number": 1,
    }


def test_v1_goes_straight_to_the_reign(shop: Frontend) -> None:
    """No hop more than needed."""
    for number in range(3):
        order(shop.client, {"item": "1", "quantity": 1}, f"{KEY}{number}")
    assert [replica for role, replica, _ in shop.hub.calls if role == "order"] == [0, 0, 0]


@pytest.mark.parametrize(
    ("body", "status", "slug", "state"),
    [
        ({"item": "7", "quantity": 1}, 409, "out-of-stock", "refused"),
        ({"item": "99", "quantity": 1}, 404, "not-found", "refused"),
    ],
)
def test_a_refusal_is_definite_and_remembered(
    shop: Frontend, body: object, status: int, slug: str, state: str
) -> None:
    """The request id keeps its outcome."""
    answer = order(shop.client, body)
    assert is_problem(answer, status, slug)
    assert answer.get_json()["definite"] is True
    assert shop.client.get(f"/v1/purchases/{KEY}").get_json()["state"] == state


def test_another_body_under_the_same_key_is_a_conflict(shop: Frontend) -> None:
    """422."""
    order(shop.client, {"item": "1", "quantity": 1})
    assert is_problem(order(shop.client, {"item": "1", "quantity": 2}), 422, "conflict")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ('"item"', "body"),
        ("[" * 2_000, "body"),
        (b"\xff\xfe", "body"),
        ('{"item": "1", "quantity": NaN}', "body"),
        ('{"item": "1", "item": "2", "quantity": 1}', "item"),
        ({}, "item"),
        ({"quantity": 1}, "item"),
        ({"item": "1"}, "quantity"),
        ({"item": 1, "quantity": 1}, "item"),
        ({"item": None, "quantity": 1}, "item"),
        ({"item": "", "quantity": 1}, "item"),
        ({"item": "a b", "quantity": 1}, "item"),
        ({"item": "1\n", "quantity": 1}, "item"),
        ({"item": "1", "quantity": 0}, "quantity"),
        ({"item": "1", "quantity": -1}, "quantity"),
        ({"item": "1", "quantity": 1001}, "quantity"),
        ({"item": "1", "quantity": 1.0}, "quantity"),
        ({"item": "1", "quantity": "1"}, "quantity"),
        ({"item": "1", "quantity": True}, "quantity"),
        ({"item": "1", "quantity": 10**30}, "quantity"),
        ({"item": "1", "quantity": 1, "side": "steal"}, "side"),
        ({"item": "1", "quantity": 1, "side": None}, "side"),
        ({"item": "1", "quantity": 1, "side": ["buy"]}, "side"),
        ({"item": "1", "quantity": 1, "price": 1}, "price"),
    ],
)
def test_a_bad_order_names_the_field_and_asks_nobody(
    shop: Frontend, body: object, field: str
) -> None:
    """Every field of the body."""
    assert is_problem(order(shop.client, body), 400, "bad-request", field)
    assert shop.hub.calls == []


@pytest.mark.parametrize(
    "key", [None, "", "k" * 15, "k" * 129, "k" * 15 + " ", "k" * 15 + "é", "k" * 15 + "/"]
)
def test_a_key_is_needed_and_has_a_form(shop: Frontend, key: str | None) -> None:
    """16 to 128 characters of a stated alphabet; none: 400."""
    answer = order(shop.client, {"item": "1", "quantity": 1}, key)
    assert is_problem(answer, 400, "bad-request", "Idempotency-Key")
    assert shop.hub.calls == []


def test_the_longest_key_is_allowed(shop: Frontend) -> None:
    """With every kind of character."""
    key = "aZ09._:-" * 16
    assert order(shop.client, {"item": "1", "quantity": 1}, key).status_code == 201


def test_other_media_types_and_long_bodies_are_refused(shop: Frontend) -> None:
    """415 and 413."""
    answer = shop.client.post("/v1/orders", data={"item": "1"}, headers={"Idempotency-Key": KEY})
    assert is_problem(answer, 415, "unsupported-media-type")
    long = {"item": "1", "quantity": 1, "side": "x" * 3_000}
    assert is_problem(order(shop.client, long), 413, "too-large")


def test_a_body_without_a_length_is_not_cut(shop: Frontend) -> None:
    """Chunked: too long is 413, whatever its beginning looks like; short enough is read whole."""
    begun = json.dumps({"item": "1", "quantity": 1}).encode()

    def send(body: bytes) -> Any:
        return shop.client.post(
            "/v1/orders",
            headers={"Idempotency-Key": KEY, "Content-Type": "application/json"},
            environ_overrides={
                "wsgi.input": io.BytesIO(body),
                "wsgi.input_terminated": True,
                "HTTP_TRANSFER_ENCODING": "chunked",
            },
        )

    assert is_problem(send(begun + b" " * 70_000 + b"GARBAGE"), 413, "too-large")
    assert send(begun).status_code == 201


def test_a_query_on_an_order_is_refused(shop: Frontend) -> None:
    """The body says it all."""
    answer = shop.client.post("/v1/orders?item=1", headers={"Idempotency-Key": KEY})
    assert is_problem(answer, 400, "bad-request", "item")


def test_private_orders_need_their_request_id_or_an_operator() -> None:
    """By number alone they aren't there."""
    shop = make_frontend(private=True)
    order(shop.client, {"item": "1", "quantity": 1})
    other = "o" * 16
    assert is_problem(shop.client.get("/v1/orders/1"), 404, "not-found")
    assert is_problem(shop.client.get(f"/v1/orders/1?request_id={other}"), 404, "not-found")
    assert shop.client.get(f"/v1/orders/1?request_id={KEY}").status_code == 200
    own = {"Idempotency-Key": KEY}
    assert shop.client.get("/v1/orders/1", headers=own).status_code == 200
    assert shop.client.get("/v1/orders/1", headers=OPERATOR).status_code == 200


def test_an_operator_reads_all_orders(shop: Frontend) -> None:
    """In the order of their numbers."""
    for number in range(2):
        order(shop.client, {"item": "1", "quantity": 1}, f"{KEY}{number}")
    page = shop.client.get("/v1/orders?after=1", headers=OPERATOR).get_json()
    assert [each["number"] for each in page["orders"]] == [2]
    assert page["watermark"] == 2
    for query, field in (("after=x", "after"), ("after=-1", "after"), ("read=x", "read")):
        answer = shop.client.get(f"/v1/orders?{query}", headers=OPERATOR)
        assert is_problem(answer, 400, "bad-request", field)


# --- the operator's change ---


def change(client: FlaskClient, body: object, headers: dict[str, str], item: str = "1") -> Any:
    """PATCH an item."""
    return client.patch(f"/v1/items/{item}", json=body, headers=headers)


def test_an_operator_changes_price_and_stock(shop: Frontend) -> None:
    """Through the reign of the catalog, under a request id that is told."""
    answer = change(shop.client, {"price": 999, "restock": 5}, OPERATOR)
    assert (answer.get_json()["price"], answer.get_json()["stock"]) == (999, 8)
    assert len(answer.headers["Idempotency-Key"]) == 32


@pytest.mark.parametrize(
    ("body", "item", "status", "slug", "field"),
    [
        ({}, "1", 400, "bad-request", "price"),
        ({"price": -1}, "1", 400, "bad-request", "price"),
        ({"price": 1.5}, "1", 400, "bad-request", "price"),
        ({"price": None}, "1", 400, "bad-request", "price"),
        ({"price": 100_000_001}, "1", 400, "bad-request", "price"),
        ({"restock": "5"}, "1", 400, "bad-request", "restock"),
        ({"restock": 1_000_001}, "1", 400, "bad-request", "restock"),
        ({"stock": 5}, "1", 400, "bad-request", "stock"),
        ([], "1", 400, "bad-request", "body"),
        ({"restock": -9}, "1", 409, "out-of-stock", ""),
        ({"restock": 1}, "99", 404, "not-found", ""),
        ({"restock": 1}, "a b", 400, "bad-request", "item"),
    ],
)
def test_a_bad_change_names_the_field(
    shop: Frontend, body: object, item: str, status: int, slug: str, field: str
) -> None:
    """Every field."""
    assert is_problem(change(shop.client, body, OPERATOR, item), status, slug, field)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic an-operators-token"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer é"},
    ],
)
def test_only_an_operator_may(shop: Frontend, headers: dict[str, str]) -> None:
    """401, and it says how."""
    answer = change(shop.client, {"restock": 1}, headers)
    assert is_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert shop.hub.calls == []


def test_faults_open_the_operators_routes() -> None:
    """For the seeds' own programs."""
    shop = make_frontend(faults=True)
    assert change(shop.client, {"restock": 1}, {}).status_code == 200


# --- cluster ---


def test_the_cluster_is_shown_with_every_replica(shop: Frontend) -> None:
    """Role, id, reign, epoch, voter, commit index, lag, last heartbeat, address."""
    told = shop.client.get("/v1/cluster").get_json()
    assert len(told["replicas"]) == 7
    first = told["replicas"][0]
    for name in ("role", "id", "reign", "epoch", "voter", "commit_index", "lag", "address"):
        assert name in first
    assert told["reigns"] == {
        "catalog": {"id": 0, "epoch": 1},
        "order": {"id": 0, "epoch": 1},
    }
    assert told["replicas"][-1]["role"] == "cache"


def test_events_begin_with_the_cluster_and_replay_what_was_missed(shop: Frontend) -> None:
    """Server-sent; `Last-Event-ID` is the number of the last change."""
    shop.hub.beat("catalog", 1, epoch=2, reigning=True)
    with shop.client.get("/v1/cluster/events", headers={"Last-Event-ID": "1"}) as answer:
        assert answer.content_type.startswith("text/event-stream")
        parts = [next(answer.response).decode() for _ in range(3)]  # type: ignore[call-overload]
    assert parts[0] == "retry: 1000\n\n"
    assert parts[1].startswith("id: 2\nevent: change\ndata: {")


def test_a_new_watcher_gets_the_whole_at_once_and_then_changes(shop: Frontend) -> None:
    """As they happen."""
    with shop.client.get("/v1/cluster/events") as answer:
        stream: Any = answer.response
        next(stream)
        assert next(stream).decode().startswith("event: cluster\ndata: {")
        shop.hub.beat("catalog", 1, epoch=2, reigning=True)
        assert '"what":"reign","role":"catalog","id":1,"epoch":2' in next(stream).decode()


def test_watchers_are_few(shop: Frontend) -> None:
    """429 for one too many, and a place is free again afterwards."""
    with shop.client.get("/v1/cluster/events"):
        answer = shop.client.get("/v1/cluster/events")
        assert is_problem(answer, 429, "too-many")
        assert int(answer.headers["Retry-After"]) >= 1
    with shop.client.get("/v1/cluster/events") as again:
        assert again.status_code == 200


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 20])
def test_a_bad_last_event_id_is_refused(shop: Frontend, number: str) -> None:
    """It is a number of ours or none."""
    answer = shop.client.get("/v1/cluster/events", headers={"Last-Event-ID": number})
    assert is_problem(answer, 400, "bad-request", "Last-Event-ID")


# --- traces, page, document ---


def test_a_trace_comes_back_and_a_bad_one_is_replaced(shop: Frontend) -> None:
    """X-Request-Id in and out."""

    def traced(value: str) -> str:
        return shop.client.get("/v1/items", headers={"X-Request-Id": value}).headers["X-Request-Id"]

    assert traced("abc-1") == "abc-1"
    assert traced("a b") not in ("a b", "")
    assert traced("x" * 129) != "x" * 129


def test_the_page_needs_nothing_from_elsewhere(shop: Frontend) -> None:
    """No external asset, and a policy that allows none."""
    answer = shop.client.get("/")
    text = answer.get_data(as_text=True)
    assert answer.content_type == "text/html; charset=utf-8"
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_document_is_valid_and_is_served(shop: Frontend) -> None:
    """OpenAPI 3.1."""
    told = shop.client.get("/v1/openapi.json").get_json()
    assert told["openapi"] == "3.1.0"
    validate(told)


def test_the_document_and_the_routes_are_the_same() -> None:
    """No route is undocumented, no documented one is missing."""
    routes = {
        (_as_path(rule.rule), method.lower())
        for rule in make_frontend().client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {
        (path, method)
        for path, methods in openapi.document("bookstore")["paths"].items()
        for method in methods
    }
    assert routes == documented
    assert create_app.__module__ == "emporium.frontend.app"


def _as_path(rule: str) -> str:
    return rule.replace("<", "{").replace(">", "}")
