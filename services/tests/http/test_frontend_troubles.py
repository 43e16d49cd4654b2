"""What a frontend does when replicas can't: other replicas, later, or an honest answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from emporium.cache.holder import Holder
from emporium.cache.keeper import Keeper
from emporium.cache.requests import CacheHit, CacheMiss, LookupCache, PutCache, Stored
from emporium.catalog.requests import ItemFound, QueryItem
from emporium.frontend.copies import CacheServer, OwnCopies
from emporium.frontend.hits import REMEMBERED, Hits
from emporium.order.requests import Purchase
from emporium.replication.failures import (
    Malformed,
    NotReigning,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from emporium.replication.messages import Invalidate
from emporium.runtime import errors
from emporium.runtime.clock import SYSTEM
from tests.http.conftest import Frontend, in_vain, make_frontend
from tests.http.fakes import give_lease
from tests.http.test_frontend_v1 import KEY, is_problem, order

BODY = {"item": "1", "quantity": 1}


def first_then_store(shop: Frontend, *answers: object) -> None:
    """Answer the first purchases or reads with these (errors are raised), then as the store."""
    rest = list(answers)

    def rule(role: str, replica: int, payload: object) -> object:
        if rest and isinstance(payload, Purchase | QueryItem):
            answer = rest.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return shop.store(role, replica, payload)

    shop.hub.rule = rule


# --- reads ---


@pytest.mark.parametrize(
    "trouble",
    [
        Unavailable("no majority"),
        NotReigning(1, 1),
        errors.Unreachable("gone"),
        errors.TimedOut("late"),
        errors.Abandoned(),
    ],
)
def test_a_read_goes_to_another_replica(shop: Frontend, trouble: object) -> None:
    """One that can't answer costs the client nothing but time."""
    first_then_store(shop, trouble)
    assert shop.client.get("/v1/items/1").status_code == 200
    replicas = [replica for _, replica, _ in shop.hub.calls]
    assert len(set(replicas)) == 2


def test_reads_are_spread_evenly(shop: Frontend) -> None:
    """Differing by at most one."""
    for _ in range(7):
        shop.client.get("/v1/items/1")
    counts = [[r for _, r, _ in shop.hub.calls].count(replica) for replica in range(3)]
    assert sorted(counts) == [2, 2, 3]


@in_vain
def test_a_read_that_nobody_can_answer_is_a_definite_503(shop: Frontend) -> None:
    """With Retry-After, within the deadline."""
    shop.hub.rule = lambda _role, _replica, _payload: Unavailable("no majority")
    answer = shop.client.get("/v1/items/1")
    assert is_problem(answer, 503, "not-serving")
    assert answer.get_json()["definite"] is True
    assert "Retry-After" in answer.headers


@in_vain
def test_a_read_of_the_primary_asks_the_reign_only(shop: Frontend) -> None:
    """Or waits for one."""
    for _ in range(3):
        assert shop.client.get("/v1/items/1?read=primary").status_code == 200
    assert [replica for _, replica, _ in shop.hub.calls] == [0, 0, 0]
    shop.hub.beat("catalog", 0, reigning=False)
    assert is_problem(shop.client.get("/v1/items/1?read=primary"), 503, "not-serving")


@in_vain
def test_a_local_read_needs_no_majority(shop: Frontend) -> None:
    """A replica that hears nobody answers it as it is; the other levels it can't."""
    for replica in range(3):
        shop.hub.beat("catalog", replica, reigning=False, hears_majority=False)
    assert shop.client.get("/v1/items/1?read=local").status_code == 200
    assert is_problem(shop.client.get("/v1/items/1"), 503, "not-serving")


# --- purchases ---


@pytest.mark.parametrize(
    "trouble",
    [
        OutcomeUnknown(KEY),
        NotReigning(-1, 1),
        Unavailable("behind"),
        errors.Unreachable("gone"),
        errors.Abandoned(),
    ],
)
def test_a_purchase_is_tried_again_under_the_same_id(shop: Frontend, trouble: object) -> None:
    """And happens once."""
    first_then_store(shop, trouble, trouble)
    assert order(shop.client, BODY).status_code == 201
    purchases = [payload for _, _, payload in shop.hub.calls if isinstance(payload, Purchase)]
    assert {purchase.request_id for purchase in purchases} == {KEY}
    assert len(purchases) == 3


@in_vain
def test_an_outcome_that_stays_open_is_told_as_unknown(shop: Frontend) -> None:
    """503, not definite, with the id to ask with."""
    shop.hub.rule = lambda _role, _replica, _payload: OutcomeUnknown(KEY)
    answer = order(shop.client, BODY)
    assert is_problem(answer, 503, "outcome-unknown")
    assert answer.get_json()["definite"] is False
    assert answer.get_json()["request_id"] == KEY


@in_vain
def test_what_surely_didnt_happen_is_definite(shop: Frontend) -> None:
    """Nobody reigns, nothing was sent."""
    shop.hub.beat("order", 0, reigning=False)
    answer = order(shop.client, BODY)
    assert is_problem(answer, 503, "not-serving")
    assert answer.get_json()["definite"] is True
    assert shop.hub.calls == []


@in_vain
def test_one_open_try_makes_a_later_sure_refusal_unknown(shop: Frontend) -> None:
    """The first may have bought."""
    calls: list[int] = []

    def rule(_role: str, _replica: int, _payload: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise errors.Unreachable("gone")
        return Overloaded(1_000)

    shop.hub.rule = rule
    assert is_problem(order(shop.client, BODY), 503, "outcome-unknown")
    assert len(calls) > 1


@in_vain
def test_a_sure_refusal_does_not_close_an_id_that_is_open(shop: Frontend) -> None:
    """`definite` speaks of its own request: the first try of the id has bought after all."""

    def taken_but_not_told(role: str, replica: int, payload: object) -> object:
        shop.store(role, replica, payload)
        return OutcomeUnknown(KEY)

    shop.hub.rule = taken_but_not_told
    first = order(shop.client, BODY)
    assert is_problem(first, 503, "outcome-unknown")
    assert (first.get_json()["definite"], first.get_json()["scope"]) == (False, "this request")
    shop.hub.beat("order", 0, reigning=False)
    second = order(shop.client, BODY)
    assert is_problem(second, 503, "not-serving")
    assert (second.get_json()["definite"], second.get_json()["scope"]) == (True, "this request")
    shop.hub.rule = shop.store
    shop.hub.beat("order", 0, epoch=2)
    told = shop.client.get(f"/v1/purchases/{KEY}").get_json()
    assert (told["state"], told["number"]) == ("recorded", 1)
    assert order(shop.client, BODY).status_code == 200
    assert len(shop.store.sales) == 1


def test_the_document_says_when_an_id_is_closed(shop: Frontend) -> None:
    """For programs, too."""
    document = shop.client.get("/v1/openapi.json").get_json()
    assert "stays open until" in document["paths"]["/v1/orders"]["post"]["description"]
    problem = document["components"]["schemas"]["Problem"]
    assert problem["properties"]["scope"]["const"] == "this request"
    assert "scope" in problem["required"]


def test_an_overload_is_told_at_once(shop: Frontend) -> None:
    """Trying again would make it worse."""
    shop.hub.rule = lambda _role, _replica, _payload: Overloaded(2_500)
    answer = order(shop.client, BODY)
    assert is_problem(answer, 503, "overloaded")
    assert answer.get_json()["definite"] is True
    assert answer.headers["Retry-After"] == "3"
    assert len(shop.hub.calls) == 1


def test_a_hint_to_a_newer_reign_is_followed(shop: Frontend) -> None:
    """Before its heartbeat has come."""
    first_then_store(shop, NotReigning(2, 9))
    assert order(shop.client, BODY).status_code == 201
    assert [replica for _, replica, _ in shop.hub.calls] == [0, 2]


def test_what_the_desk_finds_malformed_is_a_bad_request(shop: Frontend) -> None:
    """With the field."""
    first_then_store(shop, Malformed("quantity", "must be small"))
    assert is_problem(order(shop.client, BODY), 400, "bad-request", "quantity")


def waiting_rule(shop: Frontend, then: Callable[[], None]) -> None:
    """The first call does `then` while it is in flight."""
    calls: list[int] = []

    def rule(role: str, replica: int, payload: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            then()
        return shop.store(role, replica, payload)

    shop.hub.rule = rule


def test_a_purchase_in_flight_is_given_up_for_a_newer_reign(shop: Frontend) -> None:
    """PROTOCOL 3.5: a stopped primary must not hold the thread."""
    waiting_rule(shop, lambda: shop.hub.beat("order", 1, epoch=2, reigning=True))
    assert order(shop.client, BODY).status_code in (200, 201)
    assert [replica for _, replica, _ in shop.hub.calls] == [0, 1]


def test_a_newer_reign_of_the_other_group_changes_nothing(shop: Frontend) -> None:
    """The order primary finds the catalog's by itself."""
    waiting_rule(shop, lambda: shop.hub.beat("catalog", 1, epoch=2, reigning=True))
    assert order(shop.client, BODY).status_code == 201
    assert len(shop.hub.calls) == 1


def test_waiting_places_are_bounded() -> None:
    """One too many is told so at once; copies and the cluster view still answer."""
    shop = make_frontend(waiters=1)
    inside, leave = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        leave.wait(30)

    waiting_rule(shop, wait)
    thread = threading.Thread(target=lambda: order(shop.client, BODY))
    thread.start()
    assert inside.wait(30)
    assert is_problem(shop.client.get("/v1/items/1"), 503, "overloaded")
    assert shop.client.get("/v1/cluster").status_code == 200
    leave.set()
    thread.join(30)


# --- copies ---


def own_copies() -> tuple[Frontend, Keeper]:
    """A frontend that is a holder with a lease."""
    shop = make_frontend()
    holder = Holder("frontend-0-x", copies=10, lease_ms=400)
    keeper = Keeper(holder, shop.hub, 1_000.0)
    give_lease(holder, SYSTEM.now_ms())
    again = make_frontend(OwnCopies(keeper), hits=Hits(keeper.get_quietly))
    return again, keeper


def test_an_own_copy_answers_until_it_is_invalidated() -> None:
    """Without asking the catalog; both forms of the answer come from one copy."""
    shop, keeper = own_copies()
    first = shop.client.get("/v1/items/1")
    second = shop.client.get("/v1/items/1")
    third = shop.client.get("/lookup/1")
    assert first.get_json() == second.get_json()
    assert third.get_json()["result"]["stock"] == 3
    assert [each.headers["Cache-Status"] for each in (first, second, third)] == [
        *("emporium; fwd=miss", "emporium; hit", "emporium; hit"),
    ]
    assert len(shop.hub.calls) == 1
    assert "catalog" not in second.headers["Server-Timing"]
    keeper._told("catalog", 0, Invalidate("1-0-1", 8, ("item:1",)))
    shop.client.get("/v1/items/1")
    assert len(shop.hub.calls) == 2
    keeper.close()


def test_a_ready_answer_is_the_same_as_the_first_but_for_its_times() -> None:
    """Known requests are answered before they are read; what isn't good is never known."""
    shop, keeper = own_copies()
    paths = ("/v1/items", "/v1/items/2", "/lookup?item_number=2", "/search/distributed+systems")
    for path in paths:
        told = [shop.client.get(path, headers={"X-Request-Id": "t-1"}) for _ in range(3)]
        assert len({answer.get_data() for answer in told}) == 1
        for answer in told:
            assert answer.content_type == "application/json"
            assert answer.headers["X-Request-Id"] == "t-1"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Server-Timing"].startswith("frontend;dur=")
        assert [answer.headers["Cache-Status"] for answer in told[1:]] == ["emporium; hit"] * 2
        assert shop.client.head(path).status_code == 200
        assert is_problem(shop.client.delete(path), 405, "method-not-allowed")
    for path in ("/lookup?item_number=2&x=1", "/v1/items/2?read=soon", "/v1/items/%2e%2e"):
        assert [shop.client.get(path).status_code for _ in range(2)] == [400, 400]
    keeper.close()


def test_escapes_in_a_path_are_told_apart() -> None:
    """A plus sign and an escaped one mean different topics in the same decoded path."""
    shop, keeper = own_copies()
    for path in ("/search/c%2B%2B", "/search/c++", "/search/c%2B%2B"):
        shop.client.get(path)
    assert sorted(keeper.copies()) == ["topic:c  ", "topic:c++"]
    keeper.close()


def test_known_requests_are_bounded() -> None:
    """Strangers can't fill the memory."""
    hits = Hits(lambda _key: None)
    for number in range(REMEMBERED + 10):
        environ = {"REQUEST_METHOD": "GET", "RAW_URI": f"/{number}"}
        hits.learn(environ, "item:1", "v1", lambda _value: b"")
    assert len(hits._known) == 10


def test_other_read_levels_pass_the_copies_by() -> None:
    """They ask what they say."""
    shop, keeper = own_copies()
    for level in ("local", "primary", "local"):
        shop.client.get(f"/v1/items/1?read={level}")
    assert len(shop.hub.calls) == 3
    keeper.close()


def cache_rule(shop: Frontend, lease: object = None) -> dict[str, object]:
    """Put a cache process beside the store; its copies."""
    copies: dict[str, object] = {}

    def rule(role: str, replica: int, payload: object) -> object:
        match payload:
            case LookupCache(item=item):
                if isinstance(lease, Exception):
                    raise lease
                key = f"item:{item}"
                return CacheHit(copies[key]) if key in copies else CacheMiss("s", lease=True)
            case PutCache(key=key, value=value):
                copies[key] = value
                return Stored(stored=True)
            case _:
                return shop.store(role, replica, payload)

    shop.hub.rule = rule
    return copies


def test_a_cache_process_is_asked_first_and_filled_after_a_miss() -> None:
    """Mode `server`."""
    shop = make_frontend()
    behind = make_frontend(CacheServer(shop.board, 1))
    copies = cache_rule(shop)
    assert behind.client.get("/v1/items/1").headers["Cache-Status"] == "emporium; fwd=miss"
    assert isinstance(copies["item:1"], ItemFound)
    answer = behind.client.get("/lookup/1")
    assert answer.headers["Cache-Status"] == "emporium; hit"
    assert "cache;dur=" in answer.headers["Server-Timing"]
    assert len(behind.hub.calls) == 1


def test_a_cache_that_is_gone_or_slow_costs_no_answer() -> None:
    """A slow one is left alone for a while."""
    for trouble, asked in ((errors.Unreachable("gone"), 2), (errors.TimedOut("late"), 1)):
        shop = make_frontend()
        behind = make_frontend(CacheServer(shop.board, 1))
        cache_rule(shop, trouble)
        for _ in range(2):
            assert behind.client.get("/v1/items/1").status_code == 200
        assert len(shop.hub.calls) == asked
