"""The driver: obeys in order, never waits, answers everybody, and dies loudly."""

from __future__ import annotations

import math
import threading

import pytest

from emporium.replication import failures
from emporium.replication.effects import (
    Call,
    CallReply,
    Effects,
    Leave,
    Note,
    Persist,
    Persisted,
    Promised,
    Received,
    Reply,
    Request,
)
from emporium.replication.messages import Envelope, Refused
from emporium.runtime import errors, stepper
from emporium.runtime.clock import SYSTEM
from emporium.runtime.driver import Waiter
from emporium.runtime.lifecycle import Lifecycle
from tests.unit.driven_world import (
    BEAT,
    QUERY,
    World,
    answering,
    driven,
    handled,
    request,
)
from tests.waiting import eventually, never

# --- stepping ---


def test_effects_are_obeyed_in_the_order_of_their_fields() -> None:
    """Persist before send, apply before answer: the order is the protocol."""
    world = World()
    persist = Persist(promised=Promised(1, 0))
    waiter = Waiter()

    def react(events: list[object], effects: Effects) -> None:
        if not any(isinstance(event, Request) for event in events):
            return
        effects.notes.append(Note("reign_begins"))
        effects.replies.append(Reply(waiter, QUERY))
        effects.calls.append(Call("catalog", 1, "token", QUERY, SYSTEM.now_ms() + 60_000))
        effects.operations.append("a line")
        effects.heartbeat = BEAT
        effects.to_holders.append(("holder", Refused(1)))
        effects.probe.append(2)
        effects.send.append((2, Refused(2)))
        effects.persist = persist
        effects.send_early.append((1, Refused(3)))

    world.react = react
    with driven(world) as driver:
        driver.submit(request())
        assert waiter.wait(30_000)
        eventually(lambda: len(world.steps) == 2, "the step after the journal")
    assert world.happened == [
        ("send", 1, Refused(3)),
        persist,
        ("send", 2, Refused(2)),
        ("probe", 2),
        ("tell", "holder", Refused(1)),
        BEAT,
        "a line",
        ("call", "catalog", 1, QUERY, True),
    ]
    assert world.steps[1] == [Persisted()]


def test_what_comes_while_the_disk_syncs_is_one_step() -> None:
    """Group commit: one sync for all that wait."""
    world = World()
    world.disk.clear()

    def react(events: list[object], effects: Effects) -> None:
        if any(isinstance(event, Request) for event in events):
            effects.persist = Persist()

    world.react = react
    with driven(world) as driver:
        driver.submit(request())
        assert world.writing.wait(30)
        later = [request() for _ in range(20)]
        for one in later:
            driver.submit(one)
        world.disk.set()
        eventually(lambda: len(world.steps) == 4, "all steps")
    assert world.steps[1:] == [[Persisted()], later, [Persisted()]]


def test_a_node_that_persists_for_ever_does_not_starve_the_queue() -> None:
    """Every second step takes what waits."""
    world = World()
    world.react = lambda _events, effects: setattr(effects, "persist", Persist())
    with driven(world) as driver:
        one = request()
        driver.submit(one)
        eventually(lambda: any(one in step for step in world.steps), "the request's step")


def test_the_node_is_stepped_when_it_wants_to_wake() -> None:
    """Timers are the node's own."""
    world = World()
    woken = threading.Event()
    due = SYSTEM.now_ms() + 20

    def react(_events: list[object], _effects: Effects) -> None:
        if SYSTEM.now_ms() >= due:
            woken.set()
            world.wake = math.inf

    world.react = react
    world.wake = due
    with driven(world):
        assert woken.wait(30)


def test_calls_are_answered_once_by_reply_or_deadline() -> None:
    """The desk learns of each call's end: an answer, no answer any more, or the time."""
    world = World()
    deadlines = {"quick": 60_000.0, "slow": 20.0}
    asked = {"first": True}

    def ends() -> list[CallReply]:
        return [event for step in world.steps for event in step if isinstance(event, CallReply)]

    def react(_events: list[object], effects: Effects) -> None:
        if asked.pop("first", False):
            for token, left in deadlines.items():
                call = Call("catalog", 0, token, QUERY, SYSTEM.now_ms() + left)
                effects.calls.append(call)

    world.react = react
    with driven(world) as driver:
        driver.submit(Leave())
        eventually(lambda: len(world.dones) == 2, "both calls")
        world.dones[0](QUERY, {})
        world.dones[0](QUERY, {})
        eventually(lambda: len(ends()) == 2, "both ends")
        world.dones[1](QUERY, {})
        never(lambda: len(ends()) > 2, "a third end", for_s=0.1)
    assert {each.token: each.payload for each in ends()} == {"quick": QUERY, "slow": None}


def test_a_full_queue_refuses_requests_first_and_messages_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Requests can be refused honestly; messages are repeated by the core; the rest gets in."""
    monkeypatch.setattr(stepper, "QUEUE_REQUESTS", 2)
    monkeypatch.setattr(stepper, "QUEUE_MESSAGES", 4)
    world = World()
    world.disk.clear()
    world.react = lambda events, effects: setattr(effects, "persist", Persist() if events else None)
    message = Received(Envelope("g", 1, "a", Refused(1)))
    with driven(world) as driver:
        driver.submit(Leave())
        assert world.writing.wait(30)
        assert [driver.submit(request()) for _ in range(4)] == [True, True, True, False]
        assert [driver.submit(message) for _ in range(3)] == [True, True, False]
        assert driver.submit(Leave())
        assert driver.refused == 2


def test_a_full_disk_ends_the_process_with_one_sentence() -> None:
    """Nothing is sent after a failed write (PROTOCOL 1.7, 5.3)."""
    world = World()
    world.failure = errors.DiskFull("no space is left for the journal")

    def react(events: list[object], effects: Effects) -> None:
        if events:
            effects.persist = Persist()
            effects.send.append((1, Refused(1)))

    world.react = react
    with driven(world) as driver:
        driver.submit(Leave())
        eventually(lambda: world.fatal, "the end")
        assert world.fatal == [("The disk is full: no space is left for the journal", 3)]
        assert not driver.submit(Leave())
        assert driver.status() == {}
    assert world.happened == []


def test_a_core_that_raises_ends_the_process() -> None:
    """An impossible state is never stepped over."""
    world = World()

    def react(events: list[object], _effects: Effects) -> None:
        if events:
            raise RuntimeError("no transition from reigning to empty")

    world.react = react
    with driven(world) as driver:
        driver.submit(Leave())
        eventually(lambda: world.fatal, "the end")
    assert world.fatal == [("RuntimeError: no transition from reigning to empty", 3)]


def test_the_age_of_the_last_step_grows_while_the_disk_is_stuck() -> None:
    """Liveness sees a driver that doesn't come back."""
    world = World()
    world.disk.clear()
    world.react = lambda events, effects: setattr(effects, "persist", Persist() if events else None)
    with driven(world) as driver:
        driver.submit(Leave())
        assert world.writing.wait(30)
        eventually(lambda: driver.step_age_ms > 100, "age")
        assert driver.status(timeout_s=0.01) == {}
        world.disk.set()
        eventually(lambda: driver.step_age_ms < 100, "a step")


# --- asking ---


def test_asking_gives_the_answer_and_the_timings() -> None:
    """The replica's own time is added under its role."""
    world = World()
    world.react = answering
    with handled(world) as handle:
        answer, timings = handle.ask(QUERY, 30_000)
        assert answer == QUERY
        assert timings.keys() == {"order", "catalog"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failures.NotReigning(1, 2), errors.Misdirected),
        (failures.Overloaded(50), errors.Overloaded),
        (failures.OutcomeUnknown("id"), errors.OutcomeUnknown),
        (failures.Unavailable("no majority"), errors.NotServing),
        (failures.Malformed("item", "too long"), errors.BadRequest),
    ],
)
def test_failures_are_raised_as_their_errors(
    answer: object, error: type[errors.EmporiumError]
) -> None:
    """Adapters see one tree of errors."""
    world = World()

    def react(events: list[object], effects: Effects) -> None:
        for event in events:
            if isinstance(event, Request):
                effects.replies.append(Reply(event.token, answer))

    world.react = react
    with handled(world) as handle, pytest.raises(error):
        handle.ask(QUERY, 30_000)


def test_a_deadline_is_unknown_for_a_write_and_timed_out_for_a_read() -> None:
    """A request id means that the outcome matters."""
    with handled(World()) as handle:
        with pytest.raises(errors.TimedOut):
            handle.ask(QUERY, 1)
        with pytest.raises(errors.OutcomeUnknown) as caught:
            handle.ask(QUERY, 1, "request-1")
        assert caught.value.request_id == "request-1"


def test_waiting_threads_are_bounded() -> None:
    """Two threads always stay free to say that the others wait (PROTOCOL 5.1)."""
    world = World()
    held: list[Request] = []
    world.react = lambda events, _effects: held.extend(e for e in events if isinstance(e, Request))
    with handled(world, threads=4) as handle:
        results: list[object] = []
        threads = [
            threading.Thread(target=lambda: results.append(handle.ask(QUERY, 60_000)[0]))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: len(held) == 2, "two that wait")
        with pytest.raises(errors.Overloaded) as caught:
            handle.ask(QUERY, 60_000)
        assert caught.value.retry_after_ms > 0
        for one in held:
            one.token.answer(QUERY, ())  # type: ignore[attr-defined]
        for thread in threads:
            thread.join(30)
        assert results == [QUERY, QUERY]


# --- fault hooks and the good-bye ---


def test_shutdown_ends_waiting_requests_and_refuses_new_ones_until_recover() -> None:
    """Who waited is told that the outcome isn't known; the port goes first."""
    world = World()
    with handled(world) as handle:
        ends: list[object] = []

        def wait(request_id: str) -> None:
            try:
                handle.ask(QUERY, 60_000, request_id)
            except errors.ServiceError as error:
                ends.append(type(error))

        threads = [threading.Thread(target=wait, args=(name,)) for name in ("", "request-1")]
        for thread in threads:
            thread.start()
        eventually(lambda: sum(map(len, world.steps)) == 2, "two that wait")
        handle.shutdown()
        for thread in threads:
            thread.join(30)
        assert set(ends) == {errors.Abandoned, errors.OutcomeUnknown}
        assert world.happened == ["port closed", "port closed", "folder closed"]
        assert (handle.up, handle.serving, handle.unready()) == (False, False, "shut down")
        assert handle.step_age_ms() == 0
        with pytest.raises(errors.NotServing):
            handle.ask(QUERY, 1000)
        handle.shutdown()
        world.react = answering
        handle.recover(30_000)
        assert handle.ask(QUERY, 30_000)[0] == QUERY


def test_recover_that_takes_too_long_is_an_error() -> None:
    """The route answers only when the replica serves, or that it doesn't."""
    world = World()
    world.seen["serving"] = False
    with handled(world) as handle:
        with pytest.raises(errors.NotServing, match="not serving again after"):
            handle.recover(30)
        assert handle.unready() == "not caught up, or no majority is heard"
        world.seen.update(serving=True, voter=False)
        assert "learner" in handle.unready()
        world.seen["voter"] = True
        assert handle.unready() == ""


def test_leaving_waits_until_the_reign_is_given_away() -> None:
    """At SIGTERM, and no longer than allowed."""
    world = World()

    def react(events: list[object], _effects: Effects) -> None:
        if Leave() in events:
            world.seen["reigning"] = False

    with handled(world) as handle:
        handle.leave(timeout_ms=30)  # nobody takes it
        assert world.seen["reigning"]
        world.react = react
        handle.leave(10_000)
        assert not world.seen["reigning"]
    handle.leave()  # nothing to do any more


def test_parts_say_good_bye_once_and_one_that_fails_keeps_no_other_from_it() -> None:
    """The order: leave as registered, stop in reverse."""
    said: list[str] = []
    process = Lifecycle()
    process.on_leave(lambda: said.append("leave 1"))
    process.on_leave(lambda: 1 / 0)
    process.on_leave(lambda: said.append("leave 2"))
    process.on_stop(lambda: said.append("stop 1"))
    process.on_stop(lambda: said.append("stop 2"))
    leaving = [process.leaving]
    for _ in range(2):
        process.leave()
        leaving.append(process.leaving)
        process.stop()
    assert leaving == [False, True, True]
    assert said == ["leave 1", "leave 2", "stop 2", "stop 1"]


def test_a_flood_of_notes_is_counted_and_not_all_written(caplog: pytest.LogCaptureFixture) -> None:
    """A peer of another group must not fill the log."""
    world = World()

    def react(events: list[object], effects: Effects) -> None:
        if events:
            effects.notes.extend(Note("stranger_refused", f"id {n}") for n in range(100))

    world.react = react
    with caplog.at_level("INFO", "emporium"), driven(world) as driver:
        driver.submit(Leave())
        eventually(lambda: world.steps, "the step")
        eventually(lambda: caplog.text.count("stranger refused") == 11, "ten lines and one")
        never(lambda: caplog.text.count("stranger refused") > 11, "more lines", for_s=0.05)
