"""Scenarios 12-15: a pause, a retry storm, a lost disk, one-way cuts; all under load."""

from __future__ import annotations

import contextlib
import threading

from emporium.client.cluster import CUT, GROUPS, LOSE_DISK, PAUSE, DeadlinePassedError, Replica
from emporium.client.history import BUY
from emporium.client.items import LOAD_ITEMS
from emporium.client.scenarios.stage import Stage
from emporium.client.store import Bought, Refused, Result, Store, new_request_id

STORM_CLIENTS = 10
STORM_CALLS = 8
BETWEEN = 5
REFUSED_NOTE = "old_epoch_refused"
HELD_BACK_MS = 300.0
"""Below the failure timeout and above the heartbeat interval of the default settings."""


def _refused(stage: Stage, names: list[str]) -> dict[str, int]:
    """How many messages of an older epoch each of these replicas has refused, if it tells."""
    told = {name: stage.cluster.notes(name) for name in names}
    return {name: notes.get(REFUSED_NOTE, 0) for name, notes in told.items() if notes}


def pause_primary(stage: Stage) -> None:
    """Pause the catalog's primary until another reigns; its late messages are refused then.

    What it sends is held back a little before the pause, so that messages of its old epoch leave
    it when it runs on as a zombie.
    """
    stage.needs(PAUSE, CUT)
    before = stage.settled_primary("catalog")
    others = [r.name for r in stage.replicas("catalog") if r.name != before.name]
    try:
        for other in others:
            stage.cluster.delay(before.name, other, HELD_BACK_MS)
        stage.go_on_buying(BETWEEN)
        _pause(stage, before, others)
    finally:
        stage.cluster.heal()
    zombie = next(r for r in stage.wait_healthy() if r.name == before.name)
    stage.evidence(
        "the paused process itself came back",
        (zombie.pid, zombie.process) == (before.pid, before.process),
        f"process {zombie.process or zombie.pid}",
    )
    stage.check(
        "the zombie follows the newer epoch",
        zombie.epoch > before.epoch,
        f"epoch {before.epoch} → {zombie.epoch}",
    )


def _pause(stage: Stage, before: Replica, others: list[str]) -> None:
    """Pause the primary until another reigns, and wait for a message of its old epoch."""
    noted: dict[str, int] = {}
    found: dict[str, int] = {}

    def told() -> bool:
        noted.update(_refused(stage, others))
        return len(noted) == len(others)

    def more() -> bool:
        found.update(_refused(stage, others))
        return any(count > noted.setdefault(name, count) for name, count in found.items())

    with contextlib.suppress(DeadlinePassedError):  # one that has noted nothing yet
        stage.cluster.wait_until(told, stage.options.settle_s, "all others tell their notes")
    stage.cluster.pause(before.name)
    try:
        after = stage.wait_reign("catalog", before.epoch)
        stage.new_epoch("catalog", before, after)
        stage.go_on_buying()
    finally:
        stage.cluster.resume(before.name)
    with contextlib.suppress(DeadlinePassedError):  # the evidence will say so
        what = "a message of the zombie is refused"
        stage.cluster.wait_until(more, stage.options.settle_s, what)
    refused = sum(count - noted.get(name, 0) for name, count in found.items())
    stage.evidence("messages of the zombie are refused", refused, f"{refused} refused")


def retry_storm(stage: Stage) -> None:
    """Many clients send one purchase under one request id: it happens once."""
    request_id, item = new_request_id(), LOAD_ITEMS[0]
    gate = threading.Barrier(STORM_CLIENTS)
    results: list[Result] = []

    def client(number: int) -> None:
        store = Store(
            stage.cluster.frontends(), name=f"storm{number}", first=number, recorder=stage.recorder
        )
        gate.wait(10)
        results.extend(store.buy(item, 1, BUY, request_id) for _ in range(STORM_CALLS))
        store.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(STORM_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(stage.options.load_s)
    bought = [result for result in results if isinstance(result, Bought)]
    numbers = {result.number for result in bought}
    stage.check("every call is answered with the one order", len(numbers) == 1, f"{numbers}")
    calls = STORM_CLIENTS * STORM_CALLS
    stage.check("every call succeeds", len(bought) == calls, f"{len(bought)} of {calls}")
    repeats = sum(result.repeated for result in bought)
    stage.evidence("repeats received", repeats >= calls // 2, f"{repeats} of {calls} calls")
    store = stage.store(recorded=False)
    told = store.purchase(request_id)
    stage.check("the request id tells its order", told.get("number") in numbers, f"{told}")
    other = store.buy(item, 2, BUY, request_id)
    conflict = isinstance(other, Refused) and other.reason == "conflict"
    stage.check("another purchase under the same id is refused", conflict, f"{other}")
    store.close()


def lost_disk(stage: Stage) -> None:
    """A backup of each group loses its data folder: it returns as a learner, then votes again."""
    stage.needs(LOSE_DISK)
    victims = [stage.backups(role)[-1] for role in GROUPS]
    for victim in victims:
        stage.cluster.lose_disk(victim.name)
    stage.go_on_buying()
    after = stage.start_again(*[victim.name for victim in victims])
    for victim, replica in zip(victims, after, strict=True):
        stage.evidence(
            f"{victim.name} has a new incarnation",
            replica.incarnation and replica.incarnation != victim.incarnation,
            f"{victim.incarnation} → {replica.incarnation}",
        )
        stage.check(f"{victim.name} votes again", replica.voter and replica.caught_up)


def one_way_cuts(stage: Stage) -> None:
    """Cut the catalog's primary off, first what it sends, then what it hears: a new reign."""
    stage.needs(CUT)
    for outward in (True, False):
        before = stage.settled_primary("catalog")
        others = [r for r in stage.replicas("catalog") if r.name != before.name]
        try:
            for other in others:
                _cut(stage, before, other, outward=outward)
            after = stage.wait_reign("catalog", before.epoch)
            way = "nobody hears it" if outward else "it hears nobody"
            stage.evidence(
                f"a new epoch while {way}",
                after.epoch > before.epoch and after.name != before.name,
                f"{before.name} in epoch {before.epoch} → {after.name} in epoch {after.epoch}",
            )
            stage.go_on_buying()
        finally:
            stage.cluster.heal()
        stage.wait_healthy()


def _cut(stage: Stage, primary: Replica, other: Replica, *, outward: bool) -> None:
    source, target = (primary, other) if outward else (other, primary)
    stage.cluster.cut(source.name, target.name)
