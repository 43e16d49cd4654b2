"""The cluster as a frontend sees it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from emporium.frontend.view import REMEMBERED_CHANGES, ClusterView, ReignSeen
from emporium.replication.messages import Heartbeat

TIMEOUT = 1_000.0
ADDRESSES = {"catalog": ("h:1", "h:2", "h:3"), "order": ("h:11", "h:12", "h:13")}


def beat(role: str = "catalog", replica: int = 0, **changed: Any) -> Heartbeat:
    """A heartbeat of a healthy backup, but for what is said."""
    plain = Heartbeat(
        role=role,
        replica=replica,
        incarnation=f"i{replica}",
        epoch=1,
        commit=5,
        last_index=5,
        voter=True,
        caught_up=True,
        reigning=False,
        leaving=False,
        hears_majority=True,
        clock=0,
        stamp=0,
        group="g",
    )
    return replace(plain, **changed)


def full_view(first: int = 0) -> ClusterView:
    """Everybody was heard at time 0; replica 0 of each role reigns."""
    view = ClusterView(ADDRESSES, TIMEOUT, first)
    for role in ADDRESSES:
        for replica in range(3):
            view.heard(beat(role, replica, reigning=replica == 0), 0)
    return view


def test_nobody_is_there_before_the_first_heartbeat() -> None:
    """And every configured replica is shown all the same."""
    view = ClusterView(ADDRESSES, TIMEOUT)
    assert view.reign("catalog") is None
    assert view.choose("catalog") == -1
    rows = view.rows(0)
    assert len(rows) == 6
    assert all(row["healthy"] is False for row in rows)


def test_a_stranger_is_ignored() -> None:
    """Neither an unknown role nor an unknown id."""
    view = ClusterView(ADDRESSES, TIMEOUT)
    assert view.heard(beat("catalog", 3), 0) == []
    assert view.heard(beat("cache", 0), 0) == []


def test_the_newest_epoch_reigns() -> None:
    """An older reign that goes on saying so counts no more."""
    view = full_view()
    assert view.reign("catalog") == ReignSeen(0, 1)
    changes = view.heard(beat(replica=1, epoch=2, reigning=True), 10)
    assert [(change.what, change.replica, change.epoch) for change in changes] == [("reign", 1, 2)]
    view.heard(beat(replica=0, reigning=True), 20)
    assert view.reign("catalog") == ReignSeen(1, 2)


def test_who_hears_no_majority_or_is_silent_doesnt_reign() -> None:
    """Its purchases would only wait."""
    view = full_view()
    view.heard(beat(reigning=True, hears_majority=False), 10)
    assert view.reign("catalog") is None
    view.heard(beat(reigning=True), 20)
    assert view.reign("catalog") == ReignSeen(0, 1)
    changes = view.tick(20 + TIMEOUT + 1)
    assert ("silent", "catalog", 0) in [(c.what, c.role, c.replica) for c in changes]
    assert view.reign("catalog") is None


def test_choices_over_any_stretch_differ_by_at_most_one() -> None:
    """Exact evenness, wherever the round begins."""
    for first in range(4):
        view = full_view(first)
        counts = Counter[int]()
        for _ in range(100):
            counts[view.choose("catalog")] += 1
            assert max(counts.values()) - min(counts[each] for each in range(3)) <= 1
        assert view.choose("order") == first % 3


def test_a_silent_or_late_replica_is_never_chosen() -> None:
    """Only who is healthy, caught up and hears a majority serves."""
    view = full_view()
    view.heard(beat(replica=1, caught_up=False), 500)
    assert view.serving("catalog") == (0, 2)
    view.heard(beat(replica=2, hears_majority=False), 500)
    assert view.serving("catalog") == (0,)
    assert view.healthy("catalog") == (0, 1, 2)
    view.tick(TIMEOUT + 1)
    assert view.healthy("catalog") == (1, 2)
    assert view.choose("catalog") == -1


def test_those_that_failed_already_are_left_out() -> None:
    """A read goes to each replica once before it begins again."""
    view = full_view()
    assert view.choose("catalog", without=frozenset({0, 2})) == 1
    assert view.choose("catalog", without=frozenset({0, 1, 2})) == -1


def test_a_returning_replica_serves_again() -> None:
    """A heartbeat is enough."""
    view = full_view()
    view.tick(TIMEOUT + 1)
    assert view.serving("catalog") == ()
    changes = view.heard(beat(replica=1), TIMEOUT + 2)
    assert [change.what for change in changes] == ["healthy"]
    assert view.serving("catalog") == (1,)


def test_changes_are_numbered_and_bounded() -> None:
    """A watcher that comes back gets those after the last it saw."""
    view = full_view()
    seen = view.last_change
    for turn in range(200):
        view.heard(beat(replica=2, caught_up=turn % 2 == 1), float(turn))
        view.heard(beat(replica=2, voter=turn % 2 == 1), float(turn))
    assert view.changes(view.last_change) == []
    assert len(view.changes(seen)) == REMEMBERED_CHANGES
    numbers = [change.number for change in view.changes(0)]
    assert numbers == list(range(numbers[0], view.last_change + 1))


def test_leaving_a_new_incarnation_and_voting_are_told() -> None:
    """What people want to watch."""
    view = full_view()
    told = [
        *view.heard(beat(leaving=True, reigning=True), 1),
        *view.heard(beat(replica=1, incarnation="new", voter=False, caught_up=False), 2),
        *view.heard(beat(replica=1, incarnation="new"), 3),
    ]
    assert [change.what for change in told] == [
        *("leaving", "healthy", "learner", "behind", "voter", "caught_up"),
    ]


def test_rows_say_lag_and_age() -> None:
    """As `/v1/cluster` shows them."""
    view = full_view()
    view.heard(beat(replica=2, commit=9), 100)
    row = view.rows(150)[1]
    assert (row["id"], row["lag"], row["last_heartbeat_ms"], row["address"]) == (1, 4, 150, "h:2")
    assert view.rows(150)[0]["reigning"] is True
    assert view.reigns() == {"catalog": ReignSeen(0, 1), "order": ReignSeen(0, 1)}
