"""`emporium demo`: a bookstore loses its primary to a kill -9 and goes on selling.

Everything that is shown really happens: eight processes and a cache on free ports, real clients,
a real kill, and in the end a verdict that is computed from what the clients saw and from what
every replica holds. Without the evidence (a new process, newer epochs, enough purchases) there is
no good verdict. Every wait has a deadline; together they stay below three minutes.
"""

from __future__ import annotations

import time
from pathlib import Path

from emporium.client.cluster import DeadlinePassedError, DrillError, Replica
from emporium.client.items import scenario_items
from emporium.client.report import PASSED, Report, ScenarioResult
from emporium.client.scenarios.aftermath import Books, check_store, stock_before
from emporium.client.scenarios.stage import NotPossibleError, Options, Stage
from emporium.client.store import StoreError
from emporium.local import status
from emporium.local.cluster import LocalCluster
from emporium.local.errors import LocalError
from emporium.local.layout import GROUPS
from emporium.local.screen import Screen

COUNTS = {"frontend": 2, "catalog": 3, "order": 3}
OPTIONS = Options(
    purchases=300,
    before=100,
    during=100,
    healthy_s=30.0,
    takeover_s=15.0,
    load_s=20.0,
    settle_s=15.0,
)
HAND_BACK_S = 20.0
BOOK = "1"
TOPIC = "distributed systems"


def run(screen: Screen, output: Path) -> int:
    """Tell the story on `screen`, leave logs and the report in `output`. 0: a good verdict."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "client_log").unlink(missing_ok=True)
    result = ScenarioResult(0, "demo", "The primary is killed; the store goes on selling.")
    screen.line("Emporium: a bookstore whose own services are replicated", "bold")
    began = time.monotonic()
    try:
        _play(screen, output, result)
    except (
        DeadlinePassedError,
        DrillError,
        NotPossibleError,
        StoreError,
        LocalError,
        OSError,
        KeyError,
    ) as error:
        result.error = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - began
    report = Report("Emporium demo", [result])
    path = report.write(output, "demo")[1]
    return _verdict(screen, result, path)


def _play(screen: Screen, output: Path, result: ScenarioResult) -> None:
    screen.title("1  Start: 2 frontends, a cache, 3 catalog and 3 order replicas")
    began = time.monotonic()
    items = scenario_items()
    with LocalCluster.fresh(COUNTS, items=items, keep_logs=output) as cluster:
        screen.line(f"   The store answers after {time.monotonic() - began:.1f} s.")
        stage = Stage(cluster, OPTIONS, result, output, lambda line: screen.line(f"   {line}"))
        books = Books()
        stage.wait_healthy()
        for role in GROUPS:  # another may have been the first to start
            stage.settled_primary(role)
        screen.line()
        status.show_short(screen, status.reports(cluster.launcher))
        initial, ordered = stock_before(stage, books)
        try:
            _shop(screen, stage)
            _break(screen, stage, cluster)
        finally:
            if stage.load is not None:
                stage.load.stop()
        _count(stage)
        screen.line(
            "   The load has stopped. Reading every order and every replica's books …", "dim"
        )
        check_store(stage, books, initial, ordered)


def _shop(screen: Screen, stage: Stage) -> None:
    """A search, a lookup, a buy and the lookup after it, through the bookstore's own routes."""
    screen.title("2  Shop, as the seeds' client log shows it")
    store = stage.store()
    try:
        store.get_at(f"{stage.cluster.frontends()[0]}/search?topic={TOPIC.replace(' ', '%20')}")
        before = store.lookup_book(BOOK).stock
        store.buy_book(BOOK)
        after = store.lookup_book(BOOK).stock
    finally:
        store.close()
    for line in stage.log.lines():
        screen.line(f"   {line}")
    stage.check("the lookup shows the sale", after == before - 1, f"stock {before}, then {after}")


def _break(screen: Screen, stage: Stage, cluster: LocalCluster) -> None:
    """Load, the kill, the new reign, the return."""
    settings = stage.options.load
    screen.title(f"3  Kill the primary: {settings.buyers} clients buy and {settings.readers} read")
    load = stage.start_load()
    screen.line(f"   {load.counts().acknowledged} purchases so far, without a fault.")
    quiet = load.counts().longest_gap_s
    victim = stage.settled_primary("catalog")
    began = time.monotonic()
    cluster.kill(victim.name)
    screen.line(f"   kill -9 {victim.name}, pid {victim.pid}: the primary of epoch {victim.epoch}.")
    gone = stage.replica(victim.name)
    stage.evidence(f"{victim.name} is killed", not gone.answers, f"pid {victim.pid} is gone")
    heir = stage.wait_reign("catalog", victim.epoch)
    took = time.monotonic() - began
    stage.new_epoch("catalog", victim, heir)
    screen.line(
        f"   {heir.name} reigns in epoch {heir.epoch}, {took * 1000:.0f} ms after the kill."
    )
    stage.go_on_buying()
    gap = load.counts().longest_gap_s
    stage.result.figures["gap_ms"] = round(gap * 1000)
    screen.line(
        f"   Clients were without a successful buy for {gap * 1000:.0f} ms at most"
        f" ({quiet * 1000:.0f} ms before the kill); {load.counts().acknowledged} purchases so far."
    )
    _take_back(screen, stage, victim)


def _take_back(screen: Screen, stage: Stage, victim: Replica) -> None:
    screen.title(f"4  Take {victim.name} back")
    began = time.monotonic()
    (after,) = stage.start_again(victim.name)
    stage.new_process(victim, after)
    screen.line(
        f"   {after.name} runs again (pid {after.pid}), is a voter and caught up"
        f" {time.monotonic() - began:.1f} s later, at entry {after.applied}."
    )
    name = stage.wait_handed_back("catalog", HAND_BACK_S)
    screen.line(
        f"   {name} was given its reign back, epoch {stage.primary('catalog').epoch},"
        f" {time.monotonic() - began:.1f} s after its start: the smallest id reigns."
    )
    stage.go_on_buying()
    if stage.load is not None:
        stage.load.wait_acknowledged(stage.options.purchases, stage.options.load_s, since=0)


def _count(stage: Stage) -> None:
    """What the load has seen, as figures and as evidence that there was any."""
    if stage.load is None:
        return
    counts = stage.load.counts()
    stage.check("the load ran to its end", not stage.load.errors, "; ".join(stage.load.errors[:3]))
    stage.result.figures |= {
        "purchases": counts.acknowledged,
        "reads": counts.reads,
        "cached reads": counts.cached_reads,
        "longest_gap_s": counts.longest_gap_s,
    }
    wanted = stage.options.purchases
    said = f"{counts.acknowledged}, and {counts.reads} reads, {counts.cached_reads} of them cached"
    stage.evidence(f"at least {wanted} purchases", counts.acknowledged >= wanted, said)
    stage.evidence("a read from the cache", counts.cached_reads, f"{counts.cached_reads} of them")


def _verdict(screen: Screen, result: ScenarioResult, path: Path) -> int:
    screen.title("5  The verdict, computed from what clients saw and what every replica holds")
    findings = result.evidence + result.checks
    width = max((len(found.name) for found in findings), default=0)
    for found in findings:
        mark = screen.paint("ok   ", "green") if found.passed else screen.paint("WRONG", "red")
        lines = found.detail.splitlines() or [""]
        screen.line(f"   {mark}  {found.name:<{width}}  {lines[0]}".rstrip())
    if result.error:
        screen.line(f"   {screen.paint('WRONG', 'red')}  {result.error}")
    good = result.verdict == PASSED
    screen.line()
    if good:
        screen.line(
            f"GOOD: no acknowledged purchase was lost, nothing was oversold, nobody was charged"
            f" twice ({result.seconds:.0f} s).",
            "green",
        )
    else:
        screen.line(f"NOT GOOD: {result.verdict} ({result.seconds:.0f} s).", "red")
    screen.line(f"Report and logs: {path.parent}")
    return 0 if good else 1
