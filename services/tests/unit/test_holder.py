"""The rule of a holder: sessions, leases, floors, fills, invalidations."""

from __future__ import annotations

from typing import Any

import pytest

from emporium.cache.holder import FLOORS_PER_COPY, Holder
from emporium.replication.messages import (
    Granted,
    Invalidate,
    Invalidated,
    NotGranted,
    Renew,
    ReturnLease,
)

LEASE = 300.0
SESSION = "1-0-1"


def new_holder(copies: int = 8) -> Holder:
    """A holder without a session."""
    return Holder("cache-0-x", copies=copies, lease_ms=LEASE)


def offer(
    holder: Holder, now: float, session: str = SESSION, floor: int = 10, epoch: int = 1
) -> Any:
    """Ask for a session and hand over the offer: the renewal that takes it up."""
    [(replica, asked)] = holder.tick(now, 0)
    assert asked == Renew("cache-0-x", "", now)
    [(replica, renewal)] = holder.receive(replica, Granted(session, epoch, floor, 0.0, now), now)
    assert (replica, renewal) == (0, Renew("cache-0-x", session, now))
    return renewal


def with_lease(
    holder: Holder, now: float = 0.0, session: str = SESSION, floor: int = 10, epoch: int = 1
) -> Holder:
    """Bring the holder to a running lease that was asked for at `now`."""
    offer(holder, now, session, floor, epoch)
    holder.receive(0, Granted(session, epoch, floor, LEASE, now), now)
    return holder


def test_a_new_holder_answers_nothing_and_asks_the_primary() -> None:
    """Without a session there is neither copy nor fill."""
    holder = new_holder()
    assert holder.get("item:1", 0) is None
    assert not holder.put("item:1", "x", 11, "", 0)
    assert holder.tick(0, -1) == []
    assert holder.tick(1, 2) == [(2, Renew("cache-0-x", "", 1))]


def test_an_offer_alone_gives_no_right_to_answer() -> None:
    """A session without a lease keeps nothing."""
    holder = new_holder()
    offer(holder, 0)
    assert holder.session(1) == ""
    assert not holder.put("item:1", "x", 11, SESSION, 1)


def test_a_copy_is_answered_while_the_lease_runs_counted_from_the_own_sending() -> None:
    """The grant's way back doesn't lengthen the lease."""
    holder = new_holder()
    offer(holder, 0)
    holder.receive(0, Granted(SESSION, 1, 10, LEASE, 0.0), 200)
    assert holder.put("item:1", "x", 11, SESSION, 201)
    assert holder.get("item:1", LEASE - 1) == "x"
    assert holder.get("item:1", LEASE) is None
    assert holder.counters.lapses == 1


def test_it_renews_three_times_a_lease_and_stays_in_its_session() -> None:
    """A renewal keeps the copies."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    assert holder.tick(LEASE / 3 - 1, 0) == []
    [(_, renewal)] = holder.tick(LEASE / 3, 0)
    assert renewal == Renew("cache-0-x", SESSION, LEASE / 3)
    holder.receive(0, Granted(SESSION, 1, 10, LEASE, LEASE / 3), LEASE / 3 + 1)
    assert holder.get("item:1", LEASE + 1) == "x"
    assert holder.counters.sessions == 1


@pytest.mark.parametrize(
    ("index", "session", "kept"),
    [
        (10, SESSION, True),
        (9, SESSION, False),  # below the session's floor
        (12, "1-0-0", False),  # of another session
        (12, "", False),
    ],
)
def test_a_fill_needs_its_session_and_an_index_at_the_floor(
    index: int, session: str, *, kept: bool
) -> None:
    """PROTOCOL 4.4."""
    holder = with_lease(new_holder())
    assert holder.put("item:1", "x", index, session, 1) is kept
    assert (holder.get("item:1", 1) is not None) is kept


def test_an_invalidation_drops_older_copies_and_refuses_older_fills() -> None:
    """The key's floor is the invalidation's index."""
    holder = with_lease(new_holder())
    holder.put("item:1", "old", 11, SESSION, 1)
    holder.put("item:2", "other", 11, SESSION, 1)
    answer = holder.receive(0, Invalidate(SESSION, 12, ("item:1", "lists")), 2)
    assert answer == [(0, Invalidated("cache-0-x", SESSION, 12))]
    assert holder.get("item:1", 3) is None
    assert holder.get("item:2", 3) == "other"
    assert not holder.put("item:1", "old", 11, SESSION, 3)
    assert holder.put("item:1", "new", 12, SESSION, 3)
    assert holder.get("item:1", 3) == "new"


def test_a_copy_that_is_new_enough_survives_a_late_invalidation() -> None:
    """It was read after the change."""
    holder = with_lease(new_holder())
    holder.put("item:1", "new", 12, SESSION, 1)
    holder.receive(0, Invalidate(SESSION, 12, ("item:1",)), 2)
    assert holder.get("item:1", 3) == "new"


def test_an_invalidation_before_the_grant_is_obeyed_and_acknowledged() -> None:
    """The grant may still be on its way."""
    holder = new_holder()
    offer(holder, 0)
    assert holder.receive(0, Invalidate(SESSION, 20, ("item:1",)), 1) == [
        (0, Invalidated("cache-0-x", SESSION, 20))
    ]
    holder.receive(0, Granted(SESSION, 1, 10, LEASE, 0.0), 2)
    assert not holder.put("item:1", "old", 19, SESSION, 3)
    assert holder.put("item:2", "fine", 19, SESSION, 3)


def test_dropping_a_keys_floor_raises_the_general_one() -> None:
    """What isn't remembered by key any more holds for all keys."""
    holder = with_lease(new_holder(copies=1))
    floors = FLOORS_PER_COPY
    for number in range(floors + 1):
        holder.receive(0, Invalidate(SESSION, 20 + number, (f"item:{number}",)), 1)
    assert holder.status(1)["key_floors"] == floors
    assert holder.status(1)["floor"] == 20
    assert not holder.put("item:77", "x", 19, SESSION, 2)
    assert holder.put("item:77", "x", 20, SESSION, 2)


def test_the_longest_unused_copy_goes_first() -> None:
    """A bounded LRU."""
    holder = with_lease(new_holder(copies=2))
    holder.put("a", 1, 11, SESSION, 1)
    holder.put("b", 2, 11, SESSION, 1)
    holder.get("a", 1)
    holder.put("c", 3, 11, SESSION, 1)
    assert (holder.get("a", 1), holder.get("b", 1), holder.get("c", 1)) == (1, None, 3)


def test_an_older_fill_never_replaces_a_newer_copy() -> None:
    """Two readers may bring their fills in any order."""
    holder = with_lease(new_holder())
    holder.put("item:1", "new", 15, SESSION, 1)
    assert holder.put("item:1", "old", 12, SESSION, 1)
    assert holder.get("item:1", 1) == "new"


def test_after_a_lapse_everything_is_gone_and_a_late_grant_revives_nothing() -> None:
    """Invalidations may have been missed."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    [(_, late)] = holder.tick(LEASE / 3, 0)
    assert isinstance(late, Renew)
    assert holder.tick(LEASE, 0) == [(0, Renew("cache-0-x", "", LEASE))]
    holder.receive(0, Granted(SESSION, 1, 10, LEASE, late.sent), LEASE + 1)
    assert holder.session(LEASE + 1) == ""
    assert holder.get("item:1", LEASE + 1) is None


def test_asking_a_new_primary_gives_up_the_old_session_at_once() -> None:
    """From then on the new reign may count on the new session."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    assert holder.tick(2, 1) == [(1, Renew("cache-0-x", "", 2))]
    assert holder.get("item:1", 3) is None


def test_an_offer_under_a_running_lease_drops_the_copies() -> None:
    """The same replica reigns again, in a new epoch, and doesn't know the session."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    [(_, asked)] = holder.tick(LEASE / 3, 0)
    assert isinstance(asked, Renew)
    [(_, taken)] = holder.receive(0, Granted("3-0-1", 3, 30, 0.0, asked.sent), 120)
    assert taken == Renew("cache-0-x", "3-0-1", 120)
    assert holder.get("item:1", 121) is None
    holder.receive(0, Granted("3-0-1", 3, 31, LEASE, 120), 122)
    assert holder.status(123)["floor"] == 31
    assert not holder.put("item:1", "x", 30, "3-0-1", 123)


def test_only_the_newest_requests_offer_is_taken_up() -> None:
    """Else two offers could chase each other for ever."""
    holder = new_holder()
    holder.tick(0, 0)
    holder.tick(LEASE / 3, 0)
    assert holder.receive(0, Granted("1-0-1", 1, 10, 0.0, 0.0), 110) == []
    assert holder.receive(0, Granted("1-0-2", 1, 10, 0.0, LEASE / 3), 111) != []


def test_a_grant_of_another_replica_epoch_or_session_is_ignored() -> None:
    """A lease only comes for the session that was taken up."""
    holder = new_holder()
    offer(holder, 0)
    for replica, grant in [
        (1, Granted(SESSION, 1, 10, LEASE, 0.0)),
        (0, Granted(SESSION, 2, 10, LEASE, 0.0)),
        (0, Granted("1-0-9", 1, 10, LEASE, 0.0)),
        (0, Granted("", 1, 10, LEASE, 0.0)),
    ]:
        holder.receive(replica, grant, 1)
        assert holder.session(1) == ""


def test_a_lost_stream_to_the_reign_ends_the_session() -> None:
    """An invalidation may have been lost with it; other streams don't matter."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    holder.disconnected(2)
    assert holder.get("item:1", 2) == "x"
    holder.disconnected(0)
    assert holder.get("item:1", 2) is None
    assert holder.session(2) == ""


def test_a_refusal_of_a_newer_epoch_ends_the_session() -> None:
    """The reign that granted it is over."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    holder.receive(0, NotGranted(-1, 1), 2)
    assert holder.get("item:1", 2) == "x"
    holder.receive(0, NotGranted(1, 2), 3)
    assert holder.get("item:1", 3) is None
    assert holder.wake_at() <= 3


def test_closing_returns_the_lease_and_answers_nothing_more() -> None:
    """SIGTERM of a holder doesn't make writes wait."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    assert holder.close() == [(0, ReturnLease("cache-0-x", SESSION))]
    assert holder.get("item:1", 2) is None
    assert holder.tick(1_000, 0) == []
    assert holder.close() == []


def test_floors_never_go_down() -> None:
    """A newer session with an older floor changes nothing."""
    holder = with_lease(new_holder(), floor=50)
    holder.disconnected(0)
    with_lease(holder, now=1_000, session="2-0-1", floor=20, epoch=2)
    assert holder.status(1_001)["floor"] == 50


def test_what_an_operator_drops_is_gone_and_may_come_back() -> None:
    """Dropping by hand has no floor: the copy was good."""
    holder = with_lease(new_holder())
    holder.put("item:1", "x", 11, SESSION, 1)
    assert holder.drop(["item:1", "item:2"]) == ["item:1"]
    assert holder.copies() == {}
    assert holder.put("item:1", "x", 11, SESSION, 2)


def test_counters_say_what_happened() -> None:
    """Hits, misses, fills, refusals, invalidated keys."""
    holder = with_lease(new_holder())
    holder.put("a", 1, 11, SESSION, 1)
    holder.put("b", 1, 1, SESSION, 1)
    holder.get("a", 1)
    holder.get("b", 1)
    holder.receive(0, Invalidate(SESSION, 12, ("a", "lists")), 1)
    counters = holder.counters
    assert (counters.hits, counters.misses) == (1, 1)
    assert (counters.fills, counters.fills_refused, counters.invalidated) == (1, 1, 2)


def test_an_unknown_message_is_ignored() -> None:
    """A later version may say more."""
    assert new_holder().receive(0, object(), 0) == []
