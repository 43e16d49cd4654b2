"""Calls over a hub: each ends in exactly one way, and says whether it may have been done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from emporium.catalog.requests import QueryItem
from emporium.replication.messages import Heartbeat
from emporium.runtime.errors import Abandoned, Overloaded, TimedOut, Unreachable
from emporium.runtime.frames import Answered, Ask
from emporium.runtime.hub import Hub, build_hub
from emporium.runtime.rpc import Calls
from emporium.runtime.settings import read
from emporium.runtime.streams import Stream
from tests.unit.loopback import Listener, dialling, listening
from tests.waiting import eventually, never

QUERY = QueryItem("1", "local")


def echo(stream: Stream, record: object) -> None:
    """Answer with the question."""
    assert isinstance(record, Ask)
    stream.send(Answered(record.id, record.payload, (("order", 2.5),), 1.5))


@contextmanager
def pair(handle: Callable[[Stream, object], object] | None) -> Iterator[tuple[Listener, Hub]]:
    """A listener and a hub with a stream to it."""
    with listening(handle=handle) as listener, dialling(listener.server.port) as hub:
        eventually(lambda: hub.connected("catalog", 0), "a stream")
        yield listener, hub


def test_a_call_brings_the_answer_and_the_timings_of_all_tiers() -> None:
    """The answering role's own time is added under its name."""
    with pair(echo) as (listener, hub):
        pending = hub.call("catalog", 0, QUERY, 1000, "trace-1")
        assert pending.wait(5000) == (QUERY, {"order": 2.5, "catalog": 1.5})
        assert pending.wait(0) == (QUERY, {"order": 2.5, "catalog": 1.5})
        assert listener.records == [Ask(1, 1000, "trace-1", QUERY)]
        assert hub.in_flight == 0


def test_many_threads_get_each_their_own_answer() -> None:
    """Answers find their callers by number."""
    wrong: list[str] = []

    def work(name: str) -> None:
        for number in range(50):
            query = QueryItem(f"{name}-{number}", "local")
            if hub.call("catalog", 0, query, 5000).wait(5000)[0] != query:
                wrong.append(query.item)

    with pair(echo) as (_, hub):
        threads = [threading.Thread(target=work, args=(str(n),)) for n in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_no_stream_is_unreachable_and_surely_not_sent() -> None:
    """The caller may go to another replica under the same id without a doubt."""
    with listening() as listener, dialling(listener.server.port) as hub:
        for role, replica in (("catalog", 7), ("order", 0)):
            pending = hub.call(role, replica, QUERY, 1000)
            assert pending.finished
            with pytest.raises(Unreachable) as caught:
                pending.wait(0)
            assert caught.value.definite
        assert not hub.send("order", 0, QUERY)
        assert not hub.connected("order", 0)


def test_a_lost_stream_ends_its_calls_at_once_and_they_may_have_been_done() -> None:
    """Nobody waits out a deadline for a process that has died."""
    with pair(None) as (listener, hub):
        pending = hub.call("catalog", 0, QUERY, 60_000)
        eventually(lambda: listener.records, "the request")
        listener.server.close()
        with pytest.raises(Unreachable) as caught:
            pending.wait(5000)
        assert not caught.value.definite
        assert hub.in_flight == 0


def test_a_deadline_ends_a_call_and_a_late_answer_is_forgotten() -> None:
    """The table holds no call that nobody waits for."""
    kept: list[tuple[Stream, object]] = []
    with pair(lambda stream, record: kept.append((stream, record))) as (_, hub):
        pending = hub.call("catalog", 0, QUERY, 20)
        with pytest.raises(TimedOut):
            pending.wait(20)
        assert hub.in_flight == 0
        eventually(lambda: kept, "the request")
        echo(*kept[0])
        query = hub.call("catalog", 0, QUERY, 5000)
        eventually(lambda: len(kept) == 2, "the next request")
        echo(*kept[1])
        assert query.wait(5000)[0] == QUERY
        with pytest.raises(TimedOut):
            pending.wait(0)


def test_an_abandoned_call_frees_its_thread() -> None:
    """A newer reign is known: give the old one up (PROTOCOL 3.5)."""
    with pair(None) as (_, hub):
        pending = hub.call("catalog", 0, QUERY, 60_000)
        seen: list[object] = []

        def wait() -> None:
            with pytest.raises(Abandoned):
                pending.wait(60_000)
            seen.append("abandoned")

        thread = threading.Thread(target=wait)
        thread.start()
        never(lambda: seen, "an end", for_s=0.05)
        pending.abandon()
        thread.join(5)
        assert seen == ["abandoned"]


def test_a_callback_is_called_once_with_the_answer_or_none() -> None:
    """The driver must not wait for a call."""
    ends: list[object] = []

    def done(payload: object, _timings: dict[str, float]) -> None:
        ends.append(payload)

    with pair(echo) as (listener, hub):
        hub.call("catalog", 0, QUERY, 1000, done=done)
        eventually(lambda: ends == [QUERY], "the answer")
        hub.call("order", 0, QUERY, 1000, done=done)
        assert ends == [QUERY, None]
        listener.server.close()
    assert ends == [QUERY, None]


def test_calls_in_flight_are_bounded() -> None:
    """Beyond the bound a call ends as overloaded, before anything is sent."""
    calls = Calls(bound=0)
    with pytest.raises(Overloaded):
        calls.ask(None, QUERY, 1000).wait(0)
    assert len(calls) == 0


def test_heartbeats_and_losses_are_told() -> None:
    """The view of the cluster is made from these."""
    beat = Heartbeat(
        role="catalog",
        replica=0,
        incarnation="a",
        epoch=1,
        commit=2,
        last_index=3,
        voter=True,
        caught_up=True,
        reigning=True,
        leaving=False,
        hears_majority=True,
        clock=4,
        stamp=5,
        group="g",
    )
    heard: list[Heartbeat] = []
    changes: list[str] = []
    with listening() as listener, dialling(listener.server.port) as hub:
        hub.on_heartbeat(heard.append)
        hub.on_connect(lambda role, replica: changes.append(f"{role}-{replica} up"))
        hub.on_disconnect(lambda role, replica: changes.append(f"{role}-{replica} down"))
        stream = eventually(listener.server.streams, "a stream")[0]
        stream.send(beat)
        eventually(lambda: heard == [beat], "the heartbeat")
        listener.server.close()
        eventually(lambda: changes[-1:] == ["catalog-0 down"], "the loss")


def test_each_role_dials_whom_it_must() -> None:
    """Frontends dial everybody, replicas their own group without themselves, order the catalog."""
    environ = {"EMPORIUM_ID": "1", "EMPORIUM_DATA_DIR": "x"}
    dialled = {
        role: set(build_hub(read(environ | {"EMPORIUM_ID": own}, role))._dialers)
        for role, own in (("catalog", "1"), ("order", "1"), ("frontend", "0"), ("cache", "0"))
    }
    catalog = {("catalog", replica) for replica in range(3)}
    order = {("order", replica) for replica in range(3)}
    assert dialled["catalog"] == catalog - {("catalog", 1)}
    assert dialled["order"] == catalog | order - {("order", 1)}
    assert dialled["cache"] == catalog | order
    assert dialled["frontend"] == catalog | order | {("cache", 0)}
