"""The cache: its routes, and its answers to frontends."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from emporium.cache.app import Parts, create_app
from emporium.cache.desk import CacheDesk
from emporium.cache.holder import Holder
from emporium.cache.keeper import Keeper
from emporium.cache.requests import (
    CacheHit,
    CacheMiss,
    LookupCache,
    PutCache,
    SearchCache,
    Stored,
)
from emporium.catalog.requests import ItemFound, ItemList, ItemView
from emporium.replication.failures import Malformed
from emporium.replication.messages import Invalidate, Invalidated, Renew, ReturnLease
from emporium.runtime import web
from emporium.runtime.clock import ManualClock
from tests.http.conftest import OPERATOR, TOKEN
from tests.http.fakes import FakeHub, FakeStore, give_lease
from tests.http.test_frontend_v1 import is_problem
from tests.waiting import eventually

SESSION = "1-0-1"
BOOK = {"item_number": "1", "cost": "10", "stock": 3, "title": "A", "type": "t"}
VIEW = ItemView("1", "A", "t", 1000, 3, 7)
FILL = {"item_number": "1", "res": BOOK, "session": SESSION, "commit_index": 7}
LIST = {"topic": "t", "res": [BOOK], "session": SESSION, "commit_index": 7}


class Cache:
    """A cache with a lease, on a clock that stands still."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.hub = FakeHub(FakeStore())
        self.clock = ManualClock()
        holder = Holder("cache-0-x", copies=10, lease_ms=400)
        give_lease(holder, 0.0)
        self.keeper = Keeper(holder, self.hub, 1_000.0, self._invalidated, self.clock)
        self.desk = CacheDesk(self.keeper, self.lines.append)
        limits = web.Limits(4_096, TOKEN)
        app = create_app(Parts(self.desk, self.keeper, self.lines.append, limits))
        self.client: FlaskClient = app.test_client()

    def _invalidated(self, message: Invalidate) -> None:
        self.desk.invalidated(message)

    def put(self, route: str, body: Any) -> Any:
        """POST as operator."""
        return self.client.post(route, json=body, headers=OPERATOR)


@pytest.fixture
def cache() -> Cache:
    """A fresh one."""
    return Cache()


# --- for frontends ---


def test_a_frontend_misses_fills_and_hits(cache: Cache) -> None:
    """With a line for each in the operation log."""
    assert cache.desk.answer(LookupCache("1")) == CacheMiss(SESSION, lease=True)
    fill = PutCache("item:1", ItemFound(VIEW), SESSION)
    assert cache.desk.answer(fill) == Stored(stored=True)
    assert cache.desk.answer(LookupCache("1")) == CacheHit(ItemFound(VIEW))
    listed = ItemList("t", (VIEW,), 7)
    assert cache.desk.answer(SearchCache("t")) == CacheMiss(SESSION, lease=True)
    assert cache.desk.answer(PutCache("topic:t", listed, SESSION)) == Stored(stored=True)
    assert cache.desk.answer(SearchCache("t")) == CacheHit(listed)
    assert cache.lines == [
        *("lookup,1", "put_lookup_cache,1", "lookup,1"),
        *("search,t", "put_search_cache,t", "search,t"),
    ]


def test_an_invalidation_is_obeyed_acknowledged_and_logged(cache: Cache) -> None:
    """One line for each item that it names."""
    cache.desk.answer(PutCache("item:1", ItemFound(VIEW), SESSION))
    cache.hub.tell(0, Invalidate(SESSION, 8, ("item:1", "topic:t", "lists", "item:1")))
    assert cache.desk.answer(LookupCache("1")) == CacheMiss(SESSION, lease=True)
    assert cache.lines.count("invalidate_cache,1") == 2
    assert cache.hub.sent == [("catalog", 0, Invalidated("cache-0-x", SESSION, 8))]
    refused = cache.desk.answer(PutCache("item:1", ItemFound(VIEW), SESSION))
    assert refused == Stored(stored=False)


def test_without_a_lease_nothing_is_answered_or_kept(cache: Cache) -> None:
    """A miss says so."""
    cache.desk.answer(PutCache("item:1", ItemFound(VIEW), SESSION))
    cache.keeper.close()
    assert cache.desk.answer(LookupCache("1")) == CacheMiss("", lease=False)
    assert cache.hub.sent[-1] == ("catalog", 0, ReturnLease("cache-0-x", SESSION))


@pytest.mark.parametrize(
    "payload",
    [
        "lookup",
        PutCache("item:2", ItemFound(VIEW), SESSION),
        PutCache("topic:t", ItemFound(VIEW), SESSION),
        PutCache("topic:u", ItemList("t", (), 7), SESSION),
        PutCache("item:1", "text", SESSION),
    ],
)
def test_what_doesnt_fit_is_malformed(cache: Cache, payload: object) -> None:
    """A key and a value of different things are never stored."""
    assert isinstance(cache.desk.answer(payload), Malformed)
    assert cache.keeper.copies() == {}


def test_the_keeper_asks_the_reign_that_it_hears(cache: Cache) -> None:
    """From its own thread, at once after the reign has changed."""
    cache.keeper.start()
    cache.hub.beat("catalog", 1, epoch=2, reigning=True)
    eventually(lambda: cache.hub.sent, "the holder asks the new reign")
    role, replica, message = cache.hub.sent[0]
    assert (role, replica) == ("catalog", 1)
    assert isinstance(message, Renew)
    assert message.session == ""
    cache.keeper.close()
    assert cache.keeper.ticker.join(2)


# --- routes ---


def test_people_see_copies_and_misses(cache: Cache) -> None:
    """The seed's routes; a miss has no result and the session."""
    miss = {"result": None, "session": SESSION}
    assert cache.client.get("/lookup?item_number=1").get_json() == miss
    assert cache.client.get("/search?topic=t").get_json() == miss
    assert cache.put("/put_lookup_cache", FILL).get_json() == {"result": "Success"}
    assert cache.put("/put_search_cache", LIST).get_json() == {"result": "Success"}
    assert cache.client.get("/lookup?item_number=1").get_json() == {"result": BOOK}
    assert cache.client.get("/search?topic=t").get_json() == {
        "result": [{"item_number": "1", "title": "A"}]
    }


@pytest.mark.parametrize("changed", [{"session": "1-0-0"}, {"session": "x"}, {"commit_index": 1}])
def test_nothing_is_stored_without_a_valid_fill(cache: Cache, changed: dict[str, Any]) -> None:
    """Another session, or an index below the floor."""
    cache.hub.tell(0, Invalidate(SESSION, 7, ("item:1", "topic:t")))
    assert cache.put("/put_lookup_cache", {**FILL, **changed}).get_json() == {"result": "Failed"}
    assert cache.put("/put_search_cache", {**LIST, **changed}).get_json() == {"result": "Failed"}
    assert cache.keeper.copies() == {}


def test_an_operator_invalidates_an_item_everywhere(cache: Cache) -> None:
    """Its own copy and the lists that show it."""
    cache.put("/put_lookup_cache", FILL)
    cache.put("/put_search_cache", LIST)
    answer = cache.client.get("/invalidate_cache?item_number=1", headers=OPERATOR)
    assert answer.get_json() == {"result": "Success", "dropped": ["item:1", "topic:t"]}
    assert cache.keeper.copies() == {}
    assert cache.lines[-1] == "invalidate_cache,1"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/lookup", "item_number"),
        ("/lookup?item_number=", "item_number"),
        ("/lookup?item_number=1&x=1", "x"),
        ("/search", "topic"),
        ("/search?topic=", "topic"),
        (f"/search?topic={'x' * 201}", "topic"),
        ("/search?topic=a&x=1", "x"),
        ("/invalidate_cache", "item_number"),
        ("/invalidate_cache?item_number=a b", "item_number"),
        ("/invalidate_cache?item_number=1&x=1", "x"),
        ("/v1/status?x=1", "x"),
    ],
)
def test_a_bad_get_names_the_field(cache: Cache, path: str, field: str) -> None:
    """Every route, every field."""
    answer = cache.client.get(path, headers=OPERATOR)
    assert is_problem(answer, 400, "bad-request", field)


@pytest.mark.parametrize(
    ("route", "changed", "field"),
    [
        ("/put_lookup_cache", {"item_number": None}, "item_number"),
        ("/put_lookup_cache", {"item_number": "2"}, "res"),
        ("/put_lookup_cache", {"session": ""}, "session"),
        ("/put_lookup_cache", {"session": 1}, "session"),
        ("/put_lookup_cache", {"commit_index": 0}, "commit_index"),
        ("/put_lookup_cache", {"commit_index": "7"}, "commit_index"),
        ("/put_lookup_cache", {"res": None}, "res"),
        ("/put_lookup_cache", {"res": {**BOOK, "x": 1}}, "res"),
        ("/put_lookup_cache", {"res": {**BOOK, "cost": "x"}}, "cost"),
        ("/put_lookup_cache", {"res": {**BOOK, "stock": -1}}, "stock"),
        ("/put_lookup_cache", {"res": {**BOOK, "title": ""}}, "title"),
        ("/put_lookup_cache", {"res": {**BOOK, "type": 1}}, "type"),
        ("/put_lookup_cache", {"x": 1}, "x"),
        ("/put_search_cache", {"topic": ""}, "topic"),
        ("/put_search_cache", {"topic": "u"}, "res"),
        ("/put_search_cache", {"res": BOOK}, "res"),
        ("/put_search_cache", {"res": ["x"]}, "item_number"),
        ("/put_search_cache", {"x": 1}, "x"),
    ],
)
def test_a_bad_fill_names_the_field(
    cache: Cache, route: str, changed: dict[str, Any], field: str
) -> None:
    """Every field."""
    good = FILL if route == "/put_lookup_cache" else LIST
    assert is_problem(cache.put(route, {**good, **changed}), 400, "bad-request", field)
    assert cache.keeper.copies() == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/put_lookup_cache"),
        ("POST", "/put_search_cache"),
        ("GET", "/invalidate_cache?item_number=1"),
    ],
)
def test_writing_is_for_operators(cache: Cache, method: str, path: str) -> None:
    """401 without the token; 405 for another method."""
    assert is_problem(cache.client.open(path, method=method), 401, "unauthorized")
    assert cache.client.open(path, method="PUT", headers=OPERATOR).status_code == 405
    assert cache.client.head("/invalidate_cache?item_number=1").status_code == 405


def test_the_status_shows_lease_and_counters(cache: Cache) -> None:
    """For people and metrics."""
    told = cache.client.get("/v1/status").get_json()
    assert told["role"] == "cache"
    assert told["lease"] is True
    assert told["hits"] == 0
