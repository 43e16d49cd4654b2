"""One run from its settings to the page that is kept; the fixtures of `tests/` call these."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
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
from emporium_e2e.settings import CI_REPEATS, FULL_REPEATS, Settings
from emporium_e2e.settings import read as read_settings
from emporium_e2e.steps import Steps, say
from emporium_e2e.workload import Job, Outcome, Shop

NOT_RUN: Final = ROOT / "k8s-tests" / "not_run.toml"
SCENARIOS: Final = {scenario.name: scenario for scenario in job_program.KNOWN}
NEXT: Final = "next-version"
UPGRADE, ROLLBACK = "upgrade", "rollback"
PAGE: Final = "report.md"
JOB_S: Final = {False: 1200.0, True: 4 * 3600.0}
"""For one round; of the set of CI, and of all scenarios."""
USUAL_REPEATS: Final = {False: CI_REPEATS, True: FULL_REPEATS}
REPEAT_S: Final = 120.0
"""More, for each further blow of every kind: 60 s were measured on two processors."""
NOT_OVER: Final = "the run hasn't come to its end"
GIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """What the job came to."""

    outcome: Outcome
    verdicts: dict[str, Verdict]
    rows: list[BarRow]
    about: dict[str, str]
    steps: Steps

    def page(self, amiss: Sequence[str]) -> str:
        """All of it as Markdown; what is `amiss` beside the job."""
        trouble = [f"the job: {self.outcome.trouble}"] if self.outcome.trouble else []
        verdicts = list(self.verdicts.values())
        return checker.page(verdicts, self.rows, self.about, self.steps.done, [*trouble, *amiss])


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """No other run of this checkout, which would have the same files, namespace and cluster. Takes
    the page of an earlier run away. Raises E2eError."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / "lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = path.read_text("utf-8").strip() or "unknown"
            raise E2eError(
                f"another run of these tests is going on, process {other}",
                "wait for its end, or use another checkout with another E2E_NAMESPACE",
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        (OUTPUT / PAGE).unlink(missing_ok=True)
        yield


def read(environ: Mapping[str, str]) -> Settings:
    """The settings, names of scenarios checked too. Raises E2eError."""
    found = read_settings(environ)
    try:
        chosen = {one.name for one in runner.choose(found.names, job_program.KNOWN)}
    except ValueError as error:
        raise E2eError(f"E2E_NAMES: {error}") from error
    if ROLLBACK in chosen and UPGRADE not in chosen:
        raise E2eError(
            f"E2E_NAMES: {ROLLBACK} undoes what {UPGRADE} did, and that isn't chosen",
            f"choose both: {SCENARIOS[UPGRADE].number} {SCENARIOS[ROLLBACK].number}",
        )
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
    """The scenarios that this run asks of the job. Raises E2eError when there is none: without
    names the job would run all."""
    excused = excuses(settings, kind)
    names = [name for name in SCENARIOS if name not in excused]
    if not names:
        told = "; ".join(f"{name}: {why}" for name, why in cant(settings, kind).items())
        raise E2eError(f"nothing is left to run on a cluster of kind {kind}: {told}")
    return names


def cant(settings: Settings, kind: str) -> dict[str, str]:
    """Chosen by name, and not possible on this kind of cluster: scenario -> why."""
    if not settings.names:
        return {}
    picked = {scenario.name for scenario in runner.choose(settings.names, job_program.KNOWN)}
    return {name: why for name, why in not_run().of(kind).items() if name in picked}


def job_deadline_s(settings: Settings) -> float:
    """For all rounds and blows together, in seconds."""
    further = max(0, settings.repeats - USUAL_REPEATS[settings.full])
    return (JOB_S[settings.full] + further * REPEAT_S) * settings.rounds


def choose_cluster(settings: Settings) -> Cluster:
    """Say which cluster it is, and why. Raises E2eError."""
    kind, why = cluster.choose(settings, cluster.Machine.here())
    say(f"the cluster: {kind} ({why})")
    return cluster.KINDS[kind](settings, why)


def run_scenarios(shop: Shop, settings: Settings, steps: Steps) -> Found:
    """Run the job, judge it and keep the page. Raises E2eError."""
    kind = shop.cluster.kind
    names = names_of(settings, kind)
    for name, why in cant(settings, kind).items():
        say(f"chosen, and not run: {name}: {why}")
    job = Job(
        names=tuple(names),
        repeats=settings.repeats,
        rounds=settings.rounds,
        purchases=settings.purchases,
        longest_gap_s=checker.LONGEST_GAP_S,
        deadline_s=job_deadline_s(settings),
        next_tag=cluster.NEXT_TAG if NEXT in names else "",
    )
    with steps.step(f"the scenario job: {len(names)} scenarios"):
        outcome = shop.run_job(job)
    reports = checker.read_reports(outcome.folders)
    known = [(scenario.number, name) for name, scenario in SCENARIOS.items()]
    verdicts = checker.judge(known, reports, excuses(settings, kind), outcome.trouble)
    by_name = {verdict.name: verdict for verdict in verdicts}
    found = Found(outcome, by_name, checker.bars(reports), about(shop, settings), steps)
    tell(found)
    keep(found, [NOT_OVER])
    if any(verdict.word == checker.FAILED for verdict in verdicts):
        shop.keep_evidence()
    return found


def tell(found: Found) -> None:
    """Print what matters."""
    for verdict in found.verdicts.values():
        told = f": {verdict.why}" if verdict.why else ""
        say(f"{verdict.number:2} {verdict.name}: {verdict.word}{told}")
    for row in found.rows:
        say(f"bar: {row.what}: {row.measured} ({row.bar}): {checker.WORD_OF[row.met]}")
    say(checker.comparison(found.rows))


def keep(found: Found, amiss: Sequence[str]) -> None:
    """Keep all of it."""
    path = OUTPUT / PAGE
    path.write_text(found.page(amiss), encoding="utf-8")
    say(f"all of it is in {path.relative_to(ROOT)}")


def finish(found: Found, failed: Sequence[str], exit_code: int) -> None:
    """The session is over: the page once more, with its tests that `failed` (but for those that
    only tell a scenario's verdict) and its exit code, where nothing else explains that."""
    amiss = [f"failed: {name}" for name in failed]
    explained = amiss or any(v.word == checker.FAILED for v in found.verdicts.values())
    if exit_code and not explained:
        amiss.append(f"the tests ended with exit code {exit_code}")
    keep(found, amiss)


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
