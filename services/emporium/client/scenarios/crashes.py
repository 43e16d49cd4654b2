"""Scenarios 5-8: the seeds' crashes of a catalog replica, by kill -9, and its recovery."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from emporium.client.cluster import KILL, DeadlinePassedError, Replica
from emporium.client.history import now_ns
from emporium.client.scenarios import log_marks
from emporium.client.scenarios.blows import longest_gap_s
from emporium.client.scenarios.shopping import check_even_load, check_stock_everywhere
from emporium.client.scenarios.stage import Stage
from emporium.client.store import Bought

BOOK = "4"
COPIES = 3
HAND_BACK_S = 60.0
"""It waits longer each time that a reign was lost."""


def _buy_copies(stage: Stage) -> None:
    """Buy three copies of book 4, as far as there are so many, and see them gone."""
    store = stage.store()
    before = store.lookup_book(BOOK).stock
    results = [store.buy_book(BOOK) for _ in range(COPIES)]
    wanted = min(before, COPIES)
    bought = sum(isinstance(result, Bought) for result in results)
    stage.check(f"{wanted} of {COPIES} buys succeed", bought == wanted, f"stock was {before}")
    after = store.lookup_book(BOOK).stock
    stage.check("a lookup shows the sales", after == before - bought, f"{before} → {after}")
    check_stock_everywhere(stage, store, BOOK, after)
    store.close()


def _updates(stage: Stage, ends: Mapping[str, int]) -> dict[str, int]:
    """Name -> updates of the book in each log, from where it ended on."""
    line = f"update,{BOOK},na,-1"
    return {name: stage.cluster.logs(name)[end:].count(line) for name, end in ends.items()}


def _whole(stage: Stage) -> Replica:
    """Wait until nobody is missing, or the next crash would take the majority away; who reigns,
    and goes on reigning, then."""
    stage.wait_healthy()
    return stage.settled_primary("catalog")


def _crash(stage: Stage, victim: Replica) -> None:
    """Kill one catalog replica and go on: buys and lookups work, the others log the updates."""
    stage.wait_equal("catalog")
    others = [r for r in stage.replicas("catalog") if r.name != victim.name]
    ends = log_marks.mark(stage, others)
    stock = stage.store(logged=False, recorded=False).lookup_book(BOOK).stock
    killed = now_ns()
    stage.cluster.kill(victim.name)
    stage.memory[victim.name] = victim
    stage.all_gone([victim])
    _buy_copies(stage)
    stage.result.figures["longest_gap_s"] = longest_gap_s(stage.recorder.operations(), killed)
    wanted = min(stock, COPIES)
    log_marks.mark(stage, others)  # all of them are there now, and one too many would be
    counts: dict[str, int] = {}

    def logged() -> bool:
        counts.update(_updates(stage, ends))
        return all(count >= wanted for count in counts.values())

    with contextlib.suppress(DeadlinePassedError):  # what is missing then, the check below says
        what = "every living replica has logged the updates"
        stage.cluster.wait_until(logged, stage.options.settle_s, what)
    found = ", ".join(f"{name} {count}" for name, count in counts.items())
    stage.check(
        "every living replica logs each update once", set(counts.values()) == {wanted}, found
    )


def _dead(stage: Stage) -> Replica | None:
    """The dead replica as it was when it was killed, if one is dead."""
    for replica in stage.replicas("catalog"):
        if not replica.pid and not replica.process:
            return stage.memory.get(replica.name, replica)
    return None


def _come_back(stage: Stage, before: Replica) -> None:
    """Start the dead replica: it catches up and shows what was sold without it."""
    (after,) = stage.start_again(before.name)
    stage.new_process(before, after)
    store = stage.store()
    stock = store.lookup_book(BOOK).stock
    check_stock_everywhere(stage, store, BOOK, stock)
    stage.check("it is a voter and caught up", after.voter and after.caught_up)
    stage.check(
        "it kept its journal",
        before.incarnation in ("", after.incarnation),
        f"incarnation {after.incarnation}",
    )
    store.close()


def _smallest_reigns(stage: Stage) -> None:
    """The smallest id gets the reign back."""
    try:
        smallest = stage.wait_handed_back("catalog", HAND_BACK_S)
    except AssertionError as error:
        stage.check("the smallest id reigns again", passed=False, detail=str(error))
    else:
        stage.check("the smallest id reigns again", passed=True, detail=smallest)


def primary_crashes(stage: Stage) -> None:
    """Kill -9 of the primary catalog: another takes over, buys and lookups go on."""
    stage.needs(KILL)
    before = _whole(stage)
    _crash(stage, before)
    after = stage.wait_reign("catalog", before.epoch)
    stage.new_epoch("catalog", before, after)
    check_even_load(stage)


def primary_recovers(stage: Stage) -> None:
    """The killed primary comes back, catches up and reigns again."""
    stage.needs(KILL)
    victim = _dead(stage)
    if victim is None:
        victim = _whole(stage)
        _crash(stage, victim)
        stage.wait_reign("catalog", victim.epoch)
    _come_back(stage, victim)
    _smallest_reigns(stage)


def backup_crashes(stage: Stage) -> None:
    """Kill -9 of a backup catalog: nobody notices."""
    stage.needs(KILL)
    before = _whole(stage)
    victim = stage.backups("catalog")[0]
    _crash(stage, victim)
    after = stage.primary("catalog")
    stage.check("the primary goes on", after.name == before.name, f"{after.name} reigns")
    check_even_load(stage)


def backup_recovers(stage: Stage) -> None:
    """The killed backup comes back and catches up."""
    stage.needs(KILL)
    victim = _dead(stage)
    if victim is None:
        _whole(stage)
        victim = stage.backups("catalog")[0]
        _crash(stage, victim)
    _come_back(stage, victim)
