"""One run from its settings to the page that is kept; the fixtures of `tests/` call these."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from emporium.client import job as job_program
from emporium.client.scenarios import runner
from emporium_e2e import checker, cluster
from emporium_e2e.checker import BarRow, NotRun, Verdict
from emporium_e2e.client import run
from emporium_e2e.cluster import OUTPUT, ROOT, Cluster
from emporium_e2e.errors import E2eError
from emporium_e2e.settings import Settings
from emporium_e2e.settings import read as read_settings
from emporium_e2e.steps import Steps, say
from emporium_e2e.workload import Job, Outcome, Shop

NOT_RUN: Final = ROOT / "k8s-tests" / "not_run.toml"
SCENARIOS: Final = {scenario.name: scenario for scenario in job_program.KNOWN}
NEXT: Final = "next-version"
JOB_S: Final = {False: 1500.0, True: 4 * 3600.0}
"""For one round; of the set of CI, and of all scenarios."""
GIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """What the job came to."""

    outcome: Outcome
    verdicts: dict[str, Verdict]


def read(environ: Mapping[str, str]) -> Settings:
    """The settings, names of scenarios checked too. Raises E2eError."""
    found = read_settings(environ)
    try:
        runner.choose(found.names, job_program.KNOWN)
    except ValueError as error:
        raise E2eError(f"E2E_NAMES: {error}") from error
    return found


def not_run() -> NotRun:
    """The one file of what may be left out. Raises E2eError."""
    return checker.read_not_run(NOT_RUN, SCENARIOS, cluster.KINDS)


def excuses(settings: Settings, kind: str) -> dict[str, str]:
    """Scenario -> why it needn't run, in this run on this kind of cluster."""
    left_out = not_run()
    if not settings.names:
        return left_out.of(kind, *([] if settings.full else ["ci"]))
    picked = {scenario.name for scenario in runner.choose(settings.names, job_program.KNOWN)}
    return {**left_out.of(kind), **{name: "not chosen" for name in SCENARIOS if name not in picked}}


def names_of(settings: Settings, kind: str) -> list[str]:
    """The scenarios that this run asks of the job."""
    excused = excuses(settings, kind)
    return [name for name in SCENARIOS if name not in excused]


def choose_cluster(settings: Settings) -> Cluster:
    """Say which cluster it is, and why. Raises E2eError."""
    kind, why = cluster.choose(settings, cluster.Machine.here())
    say(f"the cluster: {kind} ({why})")
    return cluster.KINDS[kind](settings, why)


def run_scenarios(shop: Shop, settings: Settings, steps: Steps) -> Found:
    """Run the job, judge it and keep the page. Raises E2eError."""
    kind = shop.cluster.kind
    names = names_of(settings, kind)
    job = Job(
        names=tuple(names),
        repeats=settings.repeats,
        rounds=settings.rounds,
        purchases=settings.purchases,
        longest_gap_s=checker.LONGEST_GAP_S,
        deadline_s=JOB_S[settings.full] * settings.rounds,
        next_tag=cluster.NEXT_TAG if NEXT in names else "",
    )
    with steps.step(f"the scenario job: {len(names)} scenarios"):
        outcome = shop.run_job(job)
    reports = checker.read_reports(outcome.folders)
    known = [(scenario.number, name) for name, scenario in SCENARIOS.items()]
    verdicts = checker.judge(known, reports, excuses(settings, kind), outcome.trouble)
    rows = checker.bars(reports)
    keep(verdicts, rows, checker.page(verdicts, rows, about(shop, settings), steps.done))
    if any(verdict.word == checker.FAILED for verdict in verdicts):
        shop.keep_evidence()
    return Found(outcome, {verdict.name: verdict for verdict in verdicts})


def keep(verdicts: list[Verdict], rows: list[BarRow], page: str) -> None:
    """Print what matters, and keep all of it."""
    for verdict in verdicts:
        told = f": {verdict.why}" if verdict.why else ""
        say(f"{verdict.number:2} {verdict.name}: {verdict.word}{told}")
    for row in rows:
        say(f"bar: {row.what}: {row.measured} ({row.bar}): {checker.WORD_OF[row.met]}")
    say(checker.comparison(rows))
    path = OUTPUT / "report.md"
    path.write_text(page, encoding="utf-8")
    say(f"all of it is in {path.relative_to(ROOT)}")


def about(shop: Shop, settings: Settings) -> dict[str, str]:
    """The circumstances; what can't be found out is left out."""
    told = {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cluster": f"{shop.cluster.kind} ({shop.cluster.why})",
        "machine": f"{os.cpu_count()} processors",
        "timed blows": f"{settings.repeats} of each kind",
        "rounds": str(settings.rounds),
    }
    with contextlib.suppress(E2eError):
        nodes = shop.kubectl.items("nodes")
        versions = {str(node["status"]["nodeInfo"]["kubeletVersion"]) for node in nodes}
        told["Kubernetes"] = f"{', '.join(sorted(versions))}, {len(nodes)} nodes"
    with contextlib.suppress(E2eError):
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        told["commit"] = run(command, GIT_S).decode().strip()
    return told
