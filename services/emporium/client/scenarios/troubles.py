"""Scenarios 12-15: a pause, a retry storm, a lost disk, one-way cuts; all under load."""

from __future__ import annotations

import threading

from emporium.client.cluster import CUT, GROUPS, KILL, PAUSE, WIPE, Replica
from emporium.client.history import BUY
from emporium.client.items import LOAD_ITEMS
from emporium.client.scenarios.stage import Stage
from emporium.client.store import Bought, Refused, Result, Store, new_request_id

STORM_CLIENTS = 10
STORM_CALLS = 8
REFUSED_NOTE, STEPPED_DOWN_NOTE = "old_epoch_refused", "stepped_down"


def _notes(stage: Stage, role: str, name: str) -> int:
    return sum(stage.cluster.notes(replica.name).get(name, 0) for replica in stage.replicas(role))


def pause_primary(stage: Stage) -> None:
    """Pause the catalog's primary until another reigns, then let it run on as a zombie."""
    stage.needs(PAUSE)
    before = stage.primary("catalog")
    noted = {n: _notes(stage, "catalog", n) for n in (REFUSED_NOTE, STEPPED_DOWN_NOTE)}
    stage.cluster.pause(before.name)
    try:
        after = stage.wait_reign("catalog", before.epoch)
        stage.new_epoch("catalog", before, after)
        stage.go_on_buying()
    finally:
        stage.cluster.resume(before.name)
    stage.wait_healthy()
    zombie = stage.replica(before.name)
    stage.evidence(
        "the paused process itself came back",
        (zombie.pid, zombie.process) == (before.pid, before.process),
        f"pid {zombie.pid}",
    )
    counts = {n: _notes(stage, "catalog", n) - count for n, count in noted.items()}
    shown = ", ".join(f"{name} +{count}" for name, count in counts.items())
    stage.evidence("the zombie was refused or stepped down", any(counts.values()), shown)
    stage.check(
        "the zombie follows the newer epoch",
        zombie.epoch > before.epoch,
        f"epoch {before.epoch} → {zombie.epoch}",
    )


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
    stage.needs(KILL, WIPE)
    victims = [stage.backups(role)[-1] for role in GROUPS]
    for victim in victims:
        stage.cluster.kill(victim.name)
        stage.cluster.wipe(victim.name)
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
        before = stage.primary("catalog")
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
