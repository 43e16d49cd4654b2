"""The kill loop: random kills, pauses and returns of replicas of both groups, under load.

Two forms. Waiting: one fault at a time, and before the next one every replica is a voter and
caught up again and purchases have gone on; it checks safety and that the store heals. Without
waiting: faults follow each other at random moments, majorities die too; it checks safety alone,
after everything has been started again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emporium.client import history
from emporium.client.cluster import GROUPS, KILL, PAUSE, Cluster, DeadlinePassedError, DrillError
from emporium.client.report import Report, ScenarioResult
from emporium.client.scenarios.aftermath import Books, check_store
from emporium.client.scenarios.runner import finish, keep_logs, prepare
from emporium.client.scenarios.stage import NotPossibleError, Options, Stage
from emporium.client.store import StoreError

ROUND_PURCHASES = 10
"""Purchases between two faults of the waiting form."""
SHORTEST_S, LONGEST_S = 0.1, 1.5
"""How long a fault lasts, and in the second form the time between two of them."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """One fault, already drawn."""

    name: str
    action: str  # KILL or PAUSE
    seconds: float

    def __str__(self) -> str:
        """As the progress shows it."""
        return f"{self.action} {self.name} for {self.seconds:.1f} s"


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _end(stage: Stage, fault: _Fault) -> None:
    (stage.cluster.start if fault.action == KILL else stage.cluster.resume)(fault.name)


def _begin(stage: Stage, fault: _Fault) -> None:
    (stage.cluster.kill if fault.action == KILL else stage.cluster.pause)(fault.name)


def _draw(stage: Stage, chance: random.Random, names: list[str]) -> _Fault:
    actions = sorted({KILL, PAUSE} & stage.cluster.drills())
    return _Fault(
        chance.choice(names), chance.choice(actions), chance.uniform(SHORTEST_S, LONGEST_S)
    )


def _one_at_a_time(stage: Stage, chance: random.Random, names: list[str], count: int) -> None:
    gaps = []
    for number in range(1, count + 1):
        fault = _draw(stage, chance, names)
        stage.say(f"{number:3}/{count} {fault}")
        began = time.monotonic()
        _begin(stage, fault)
        try:
            _wait(fault.seconds)
        finally:
            _end(stage, fault)
        stage.wait_healthy()
        stage.go_on_buying(ROUND_PURCHASES)
        gaps.append(time.monotonic() - began)
    stage.check("every replica votes again after each fault", passed=True, detail=f"{count} faults")
    stage.result.figures["longest_round_s"] = max(gaps, default=0.0)


def _without_waiting(stage: Stage, chance: random.Random, names: list[str], count: int) -> None:
    broken: dict[str, _Fault] = {}
    try:
        for number in range(1, count + 1):
            name = chance.choice(names)
            if name in broken:
                stage.say(f"{number:3}/{count} return of {name}")
                _end(stage, broken.pop(name))
            else:
                fault = _draw(stage, chance, [name])
                stage.say(f"{number:3}/{count} {fault.action} {name}")
                _begin(stage, fault)
                broken[name] = fault
            _wait(chance.uniform(SHORTEST_S, LONGEST_S))
    finally:
        for fault in broken.values():
            _end(stage, fault)
    stage.wait_healthy()


def run(
    cluster: Cluster,
    n: int,
    seed: int,
    waiting: bool,  # noqa: FBT001 (one of the two forms; callers may name it)
    output_dir: Path = Path("output"),
    progress: Callable[[str], None] = print,
    options: Options | None = None,
) -> Report:
    """`n` faults drawn from `seed`; the report lies in `output_dir` as `kill-loop.json`/`.md`."""
    output_dir.mkdir(parents=True, exist_ok=True)
    form = "waiting" if waiting else "without waiting"
    summary = f"{n} faults of random replicas of both groups, {form}, seed {seed}."
    report = Report("Emporium kill loop")
    result = ScenarioResult(1, f"kill-loop, {form}", summary)
    report.results.append(result)
    stage = Stage(cluster, options or Options(), result, output_dir, progress)
    began = time.monotonic()
    try:
        _play(stage, n, random.Random(seed), waiting=waiting)
    except NotPossibleError as error:
        stage.evidence("the faults can be made", shown=False, detail=str(error))
    except (DeadlinePassedError, DrillError, StoreError, OSError, KeyError) as error:
        result.error = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - began
    result.history = "history-kill-loop.jsonl"
    history.write(output_dir / result.history, stage.recorder.operations())
    report.write(output_dir, "kill-loop")
    keep_logs(cluster, output_dir / "operation_logs")
    return report


def _play(stage: Stage, n: int, chance: random.Random, *, waiting: bool) -> None:
    stage.needs(KILL)
    books = Books()
    initial, ordered = prepare(stage, books, someone_may_be_dead=False)
    before = _groups(stage)
    load = stage.start_load()
    try:
        (_one_at_a_time if waiting else _without_waiting)(stage, chance, sorted(before), n)
        load.wait_acknowledged(stage.options.purchases, stage.options.load_s, since=0)
    finally:
        finish(stage)
    after = _groups(stage)
    changed = [name for name, told in after.items() if told != before.get(name)]
    stage.evidence("replicas have new epochs or processes", changed, ", ".join(changed))
    check_store(stage, books, initial, ordered)


def _groups(stage: Stage) -> dict[str, tuple[int, str]]:
    """Epoch and process of each replica of both groups, once all are healthy."""
    return {r.name: (r.epoch, r.process) for r in stage.wait_healthy() if r.role in GROUPS}
