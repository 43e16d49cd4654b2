"""Runs scenarios one after the other on one store and writes the report."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emporium.client import history
from emporium.client.cluster import Cluster, DrillError, Replica
from emporium.client.report import Report, ScenarioResult
from emporium.client.scenarios import crashes, deletions, kills, operations, shopping, troubles
from emporium.client.scenarios.aftermath import CHECKED, Books, check_store, stock_before
from emporium.client.scenarios.blows import promptness
from emporium.client.scenarios.stage import NotPossibleError, Options, Stage

Progress = Callable[[str], None]
TRACE_FRAMES = 3
"""So many of the innermost frames of an error go into the report."""


NOBODY_THERE_S = 60.0
"""Without frontends nobody can be told anything until Kubernetes has started some again."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `under_load`: with the background load, and its conditions."""

    number: int
    name: str
    run: Callable[[Stage], None]
    under_load: bool = False
    follows_a_crash: bool = False  # and goes on from the replica that is dead
    fresh_store: bool = False  # compares with golden logs, or counts on the first stock
    gap_s: float = 0.0  # a bound of its own for the time without a buy; 0: the run's

    def options(self, run: Options) -> Options:
        """A run's options, with the scenario's own bound where the run has one at all."""
        if not (self.gap_s and run.longest_gap_s):
            return run
        return dataclasses.replace(run, longest_gap_s=self.gap_s)

    @property
    def summary(self) -> str:
        """One line: what is done and what must come of it."""
        return " ".join((self.run.__doc__ or "").split("\n\n")[0].split())


SCENARIOS = (
    Scenario(1, "search", shopping.search_twice, fresh_store=True),
    Scenario(2, "lookup", shopping.lookup_twice, fresh_store=True),
    Scenario(3, "buy", shopping.buy_until_gone, fresh_store=True),
    Scenario(4, "race", shopping.race_for_the_last, fresh_store=True),
    Scenario(5, "primary-crash", crashes.primary_crashes, fresh_store=True),
    Scenario(
        6, "primary-recovery", crashes.primary_recovers, follows_a_crash=True, fresh_store=True
    ),
    Scenario(7, "backup-crash", crashes.backup_crashes, fresh_store=True),
    Scenario(8, "backup-recovery", crashes.backup_recovers, follows_a_crash=True, fresh_store=True),
    Scenario(9, "order-primary", kills.order_primary, under_load=True),
    Scenario(10, "cache-and-frontend", kills.cache_and_frontend, under_load=True),
    Scenario(11, "all-at-once", kills.everything_at_once, under_load=True),
    Scenario(12, "pause", troubles.pause_primary, under_load=True),
    Scenario(13, "retry-storm", troubles.retry_storm, under_load=True),
    Scenario(14, "lost-disk", troubles.lost_disk, under_load=True),
    Scenario(15, "one-way-cut", troubles.one_way_cuts, under_load=True),
    Scenario(16, "both-primaries", kills.both_primaries, under_load=True),
)

KUBERNETES = (
    Scenario(21, "graceful-deletion", deletions.graceful_deletion, under_load=True),
    Scenario(22, "forced-deletion", deletions.forced_deletion, under_load=True),
    Scenario(23, "process-killed", deletions.process_killed, under_load=True),
    Scenario(24, "role-deleted", deletions.role_deleted, under_load=True),
    Scenario(25, "node-drained", operations.node_drained, under_load=True),
    Scenario(26, "node-cut", operations.node_cut, under_load=True),
    Scenario(27, "upgrade", operations.upgrade, under_load=True),
    Scenario(28, "rollback", operations.rollback, under_load=True),
    Scenario(
        31, "release-restarted", deletions.release_restarted, under_load=True, gap_s=NOBODY_THERE_S
    ),
    Scenario(32, "node-crashed", operations.node_crashed, under_load=True),
    Scenario(33, "next-version", operations.next_version, under_load=True),
    Scenario(34, "api-outage", operations.api_outage, under_load=True),
    Scenario(35, "scaled", operations.scaled, under_load=True),
    Scenario(36, "secrets-rotated", operations.secrets_rotated, under_load=True),
    Scenario(37, "rolling-deletion", deletions.rolling_deletion, under_load=True),
)
"""What only makes sense where something brings processes back by itself."""


ONCE = "it compares with a fresh store, and was run in the first round"


def catalogue(known: Sequence[Scenario] = SCENARIOS) -> list[tuple[int, str, str]]:
    """(number, name, one line) of every scenario."""
    return [(scenario.number, scenario.name, scenario.summary) for scenario in known]


def choose(names: Sequence[str], known: Sequence[Scenario] = SCENARIOS) -> list[Scenario]:
    """The scenarios of these names, numbers or ranges (`9-16`); all when empty. Raises
    ValueError, which lists the names."""
    chosen: set[int] = set()
    by_name = {scenario.name: scenario.number for scenario in known}
    numbers = {scenario.number for scenario in known}
    for name in names:
        low, dash, high = name.partition("-")
        if name in by_name:
            chosen.add(by_name[name])
        elif name.isdecimal() and int(name) in numbers:
            chosen.add(int(name))
        elif dash and low.isdecimal() and high.isdecimal() and {int(low), int(high)} <= numbers:
            chosen |= numbers & set(range(int(low), int(high) + 1))
        else:
            listed = ", ".join(f"{s.number} {s.name}" for s in known)
            raise ValueError(f"there is no scenario {name!r}; there are: {listed}")
    return [s for s in known if not names or s.number in chosen]


def run(
    cluster: Cluster,
    names: Sequence[str],
    output_dir: Path,
    progress: Progress = print,
    options: Options | None = None,
    known: Sequence[Scenario] = SCENARIOS,
    *,
    again: bool = False,
) -> Report:
    """Run scenarios against a store that was started with `items.scenario_items()`.

    Scenarios 1-8 compare with golden logs, so they want a fresh store. The report
    (`scenarios.json`, `scenarios.md`), each scenario's history and the operation logs are written
    to `output_dir`. With `again`, on a store that has played them before, they are left out, and
    the report says so. Raises ValueError for an unknown name.
    """
    chosen = choose(names, known)
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "client_log").unlink(missing_ok=True)  # of an earlier run
    report = Report("Emporium scenarios")
    report.left_out = {s.name: ONCE for s in chosen if again and s.fresh_store}
    books, memory = Books(), dict[str, Replica]()
    for name, why in report.left_out.items():
        progress(f"{name} is left out: {why}")
    for scenario in [s for s in chosen if s.name not in report.left_out]:
        progress(f"{scenario.number:2} {scenario.name}: {scenario.summary}")
        result = ScenarioResult(scenario.number, scenario.name, scenario.summary)
        own = scenario.options(options or Options())
        stage = Stage(cluster, own, result, output_dir, progress, memory)
        _play(stage, scenario, books)
        report.results.append(result)
        progress(_line(result))
        report.write(output_dir, "scenarios")
    keep_logs(cluster, output_dir / "operation_logs")
    return report


def _line(result: ScenarioResult) -> str:
    parts = [f"{result.number:2} {result.name}: {result.verdict}", f"{result.seconds:.1f} s"]
    gap = result.figures.get("longest_gap_s")
    if isinstance(gap, float):
        parts.append(f"longest time without a buy {gap:.2f} s")
    bad = [found.name for found in result.checks + result.evidence if not found.passed]
    if bad or result.error:
        parts.append("; ".join([*bad, *result.error.splitlines()[:1]]))
    return ", ".join(parts)


def keep_logs(cluster: Cluster, folder: Path) -> None:
    """Copy every operation log that can be read into the folder, named as the seeds name them."""
    folder.mkdir(parents=True, exist_ok=True)
    for replica in cluster.replicas():
        lines: list[str] = []
        with contextlib.suppress(DrillError):
            lines = cluster.logs(replica.name)
        if lines:
            number = "" if replica.role in ("cache", "frontend") else str(replica.replica)
            path = folder / f"{replica.role}{number}_log"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _play(stage: Stage, scenario: Scenario, books: Books) -> None:
    """Whatever ends the scenario, its books are checked as far as they can be read."""
    began, result = time.monotonic(), stage.result
    before: list[tuple[dict[str, int], int]] = []
    crash = scenario.follows_a_crash
    _attempt(stage, lambda: before.append(prepare(stage, books, someone_may_be_dead=crash)))
    if before:
        _attempt(stage, lambda: act(stage, scenario))
        _attempt(stage, lambda: finish(stage))
        if result.error:
            _attempt(stage, stage.wait_healthy)
        _attempt(stage, lambda: check_store(stage, books, *before[0]))
    if CHECKED not in result.figures:
        result.figures["books"] = "not checked"
    result.seconds = time.monotonic() - began
    path = stage.output / f"history-{scenario.number:02}.jsonl"
    history.write(path, stage.recorder.operations())
    result.history = path.name


def _attempt(stage: Stage, part: Callable[[], object]) -> None:
    """Do one part of a scenario; what ends it early goes into the result."""
    try:
        part()
    except NotPossibleError as error:
        stage.evidence("the fault can be made", shown=False, detail=str(error))
    except Exception as error:  # noqa: BLE001 (whatever it is, the scenarios after it still run)
        frames = traceback.extract_tb(error.__traceback__)[-TRACE_FRAMES:]
        trace = [f"  {Path(frame.filename).name}:{frame.lineno} {frame.line}" for frame in frames]
        told = [f"{type(error).__name__}: {error}", *trace]
        stage.result.error = "\n".join([*stage.result.error.splitlines(), *told])


def prepare(stage: Stage, books: Books, *, someone_may_be_dead: bool) -> tuple[dict[str, int], int]:
    """Everything is up and at rest; the stock and the number of orders before the scenario."""
    if not someone_may_be_dead:
        down = [r.name for r in stage.cluster.replicas() if not r.pid and not r.process]
        for name in down:
            stage.cluster.start(name)
        stage.wait_healthy()
    return stock_before(stage, books)


def act(stage: Stage, scenario: Scenario) -> None:
    """The scenario itself, with the load around it where it wants one."""
    if not scenario.under_load:
        scenario.run(stage)
        return
    load = stage.start_load()
    scenario.run(stage)
    stage.wait_healthy()
    stage.go_on_buying()
    load.wait_acknowledged(stage.options.purchases, stage.options.load_s, since=0)


def finish(stage: Stage) -> None:
    """Stop the load and say what it saw."""
    load, result = stage.load, stage.result
    if load is None:
        return
    load.stop()
    counts = load.counts()
    result.figures.update(
        longest_gap_s=counts.longest_gap_s,
        acknowledged=counts.acknowledged,
        refused=counts.refused,
        unknown=counts.unknown,
        reads=counts.reads,
        cached_reads=counts.cached_reads,
        failed_reads=counts.failed_reads,
    )
    wanted = stage.options.purchases
    stage.evidence(
        f"at least {wanted} background purchases",
        counts.acknowledged >= wanted,
        f"{counts.acknowledged} acknowledged",
    )
    if stage.all_answered:
        told = f"{counts.unknown} purchases unknown, {counts.failed_reads} reads failed"
        answered = not counts.unknown and not counts.failed_reads
        stage.check("every purchase and read was answered", answered, told)
        result.figures["promptness"] = str(promptness(stage.recorder.operations()))
    if stage.cluster.cache_mode() != "off":
        stage.evidence("a cached read", counts.cached_reads, f"{counts.cached_reads} cached reads")
    if bound := stage.options.longest_gap_s:
        result.figures["gap_bound_s"] = bound
        stage.check(
            f"a buy every {bound:g} s at least",
            counts.longest_gap_s <= bound,
            f"the longest time without one is {counts.longest_gap_s:.2f} s",
        )
    stage.check("the load ran to its end", not load.errors, "; ".join(load.errors[:3]))
