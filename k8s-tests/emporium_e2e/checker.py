"""What the job's report comes to: a verdict per scenario, the bars, and the page that is kept.

The job checks the store; this judges the job. A scenario passes when the job says so **and** its
report holds every check that a purchase needs, none failed, no evidence is missing and no gap is
too long. What wasn't run must stand in `not_run.toml` with its reason.
"""

from __future__ import annotations

import json
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from emporium.client import report as job_report
from emporium.client.scenarios import blows, deletions, operations
from emporium.client.scenarios.stage import Options
from emporium_e2e.errors import E2eError

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
LONGEST_GAP_S: Final = 10.0
"""Without a successful purchase: above it the run fails. A scenario's figures may have a bound of
its own, where all pods of the store are gone on purpose."""
NEEDED: Final[Mapping[str, str]] = {
    "no acknowledged purchase lost": "lost",
    "no duplicate order": "duplicate",
    "nothing oversold": "oversold",
    "reads linearizable": "stale",
}
"""Checks that every scenario's report must have, and what it is when one fails."""
IMPOSSIBLE: Final = "the fault can be made"
"""The evidence by which the job says that this cluster can't do what the scenario needs."""
GAPS: Final = ("longest_gap_s", "gap_longest_s")
BOUND: Final = "gap_bound_s"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One scenario's. `why` is empty when it passed."""

    number: int
    name: str
    word: str
    why: str = ""
    seconds: float = 0.0
    gap_s: float | None = None
    bound_s: float = LONGEST_GAP_S  # of the gap
    wrong: frozenset[str] = frozenset()  # lost, duplicate, oversold, stale


@dataclass(frozen=True, slots=True)
class Bar:
    """What a scenario's gaps are compared with: the job's own bar."""

    scenario: str
    what: str
    aim: blows.Bar


BARS: Final = (
    Bar("graceful-deletion", "the reigning pod is deleted", deletions.GRACEFUL_BAR),
    Bar("process-killed", "its process gets SIGKILL", deletions.SIGKILL_BAR),
    Bar("node-cut", "its node is cut off", operations.CUT_BAR),
)
ROLLING: Final = "rolling-deletion"
ROLLING_BAR: Final = (
    f"{deletions.ROLLING_SHARE:.1%} of {Options().rolling_purchases:,} purchases within"
    f" {blows.PROMPT_S:g} s while every pod is deleted"
)


@dataclass(frozen=True, slots=True)
class BarRow:
    """One line of the table of bars."""

    what: str
    bar: str
    measured: str
    met: bool | None  # None: not measured


@dataclass(frozen=True, slots=True)
class NotRun:
    """`not_run.toml`: scenario -> reason, by what it is that leaves it out: a set of scenarios, or
    a kind of cluster."""

    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, *kinds: str) -> dict[str, str]:
        """All that these kinds leave out."""
        return {name: why for kind in kinds for name, why in self.reasons.get(kind, {}).items()}


def read_not_run(path: Path, known: Iterable[str], kinds: Iterable[str]) -> NotRun:
    """The file, checked. Raises E2eError for a scenario or kind that there isn't, and for an
    empty reason."""
    names, sections = set(known), {*kinds, "ci"}
    told = tomllib.loads(path.read_text("utf-8"))
    for section, reasons in told.items():
        if section not in sections or not isinstance(reasons, dict):
            raise E2eError(f"{path.name}: [{section}]", f"allowed: {', '.join(sorted(sections))}")
        for name, why in reasons.items():
            if name not in names:
                raise E2eError(f"{path.name}: there is no scenario {name!r} in [{section}]")
            if not (isinstance(why, str) and why.strip()):
                raise E2eError(f"{path.name}: {name} in [{section}] has no reason")
    return NotRun(told)


def judge(
    catalogue: Sequence[tuple[int, str]],
    reports: Sequence[Mapping[str, Any]],
    excused: Mapping[str, str],
    trouble: str = "",
) -> list[Verdict]:
    """A verdict for each scenario of the catalogue, over all rounds: the worst one counts.

    `excused` may be not run, for the reason that it gives; `trouble` is why the job ended early.
    """
    return [_judge_one(number, name, reports, excused, trouble) for number, name in catalogue]


def _judge_one(
    number: int,
    name: str,
    reports: Sequence[Mapping[str, Any]],
    excused: Mapping[str, str],
    trouble: str,
) -> Verdict:
    results = [one for each in reports for one in each["results"] if one["name"] == name]
    if not results:
        if name in excused:
            return Verdict(number, name, NOT_RUN, excused[name])
        return Verdict(number, name, FAILED, f"not run, without a reason; {trouble}".rstrip("; "))
    rounds = [_judge_result(number, name, result, excused) for result in results]
    worst = next((v for v in rounds if v.word == FAILED), rounds[-1])
    gaps = [v.gap_s for v in rounds if v.gap_s is not None]
    count = sum(v.word == FAILED for v in rounds)
    why = worst.why
    if count and len(rounds) > 1:
        why = f"{count} of {len(rounds)} rounds: {why}"
    missing = sum(name not in each.get("left_out", {}) for each in reports) - len(results)
    if worst.word != FAILED and missing:
        worst, why = Verdict(number, name, FAILED), f"not run in {missing} of {len(reports)} rounds"
    return Verdict(
        number,
        name,
        worst.word,
        why,
        sum(v.seconds for v in rounds),
        max(gaps, default=None),
        worst.bound_s,
        frozenset().union(*(v.wrong for v in rounds)),
    )


def _judge_result(
    number: int, name: str, result: Mapping[str, Any], excused: Mapping[str, str]
) -> Verdict:
    gap, bound = _gap(result), float(result["figures"].get(BOUND, LONGEST_GAP_S))
    # The failed ones last: of two checks with one name they count.
    checks = {c["name"]: c for c in sorted(result["checks"], key=lambda c: not c["passed"])}
    cannot = [
        e["detail"] for e in result["evidence"] if e["name"] == IMPOSSIBLE and not e["passed"]
    ]
    wrong = frozenset(
        word for check, word in NEEDED.items() if check in checks and not checks[check]["passed"]
    )
    if result["verdict"] == job_report.NOT_SHOWN and cannot:
        word, why = NOT_RUN, excused.get(name, "")
        if not why:
            word, why = FAILED, f"not run, and not in not_run.toml: {cannot[0]}"
    else:
        reasons = _faults(result, checks, wrong, gap, bound)
        word, why = (FAILED, "; ".join(reasons)) if reasons else (PASSED, "")
    return Verdict(number, name, word, why, float(result["seconds"]), gap, bound, wrong)


def _faults(
    result: Mapping[str, Any],
    checks: Mapping[str, Mapping[str, Any]],
    wrong: Iterable[str],
    gap: float | None,
    bound: float,
) -> list[str]:
    """Everything that keeps a scenario from having passed."""
    found = [str(result["error"]).splitlines()[0]] if result["error"] else []
    found += [f"{word.upper()}: {_detail(checks, word)}" for word in sorted(wrong)]
    found += [
        f"{name}: {check['detail']}".splitlines()[0]
        for name, check in checks.items()
        if not check["passed"] and name not in NEEDED
    ]
    if not result["error"]:
        found += [f"not checked: {name}" for name in NEEDED if name not in checks]
    shown = [e["name"] for e in result["evidence"] if not e["passed"]]
    found += [f"not shown: {name}" for name in shown]
    if gap is not None and gap > bound:
        found.append(f"nobody could buy for {gap:.1f} s, above {bound:g} s")
    if not found and result["verdict"] != job_report.PASSED:
        found.append(f"the job says: {result['verdict']}")
    return found


def _detail(checks: Mapping[str, Mapping[str, Any]], word: str) -> str:
    name = next(name for name, meaning in NEEDED.items() if meaning == word)
    return str(checks[name]["detail"]).splitlines()[0] if checks[name]["detail"] else name


def _gap(result: Mapping[str, Any]) -> float | None:
    """The longest time without a successful purchase that the report has."""
    found = [result["figures"][name] for name in GAPS if name in result["figures"]]
    return max(map(float, found), default=None)


# --- bars ---


def bars(reports: Sequence[Mapping[str, Any]]) -> list[BarRow]:
    """Each bar with what was measured, over all rounds."""
    rows = []
    for bar in BARS:
        gaps = [
            float(gap)
            for result in _results(reports, bar.scenario)
            for gap in str(result["figures"].get("gaps_s", "")).split()
        ]
        wanted = f"median ≤ {bar.aim.median_s:g} s, longest ≤ {bar.aim.most_s:g} s"
        if not gaps:
            rows.append(BarRow(bar.what, wanted, "not measured", None))
            continue
        median, longest = statistics.median(gaps), max(gaps)
        measured = f"median {median:.2f} s, longest {longest:.2f} s (of {len(gaps)})"
        met = median <= bar.aim.median_s and longest <= bar.aim.most_s
        rows.append(BarRow(bar.what, wanted, measured, met))
    told = [str(r["figures"].get("bar", "")) for r in _results(reports, ROLLING)]
    shares = [line for line in told if line]
    kept = all(line.startswith("met") for line in shares) if shares else None
    measured = "; ".join(line.partition(": ")[2] for line in shares) or "not measured"
    rows.append(BarRow("rolling deletion", ROLLING_BAR, measured, kept))
    return rows


def _results(reports: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [result for each in reports for result in each["results"] if result["name"] == name]


def read_reports(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The job's reports. Raises E2eError for one that can't be read."""
    found = []
    for folder in folders:
        try:
            found.append(json.loads((folder / "scenarios.json").read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise E2eError(f"the report in {folder} can't be read: {error}") from error
    return found


# --- the page ---

WORD_OF: Final = {True: "met", False: "MISSED", None: "not measured"}


def page(
    verdicts: Sequence[Verdict],
    rows: Sequence[BarRow],
    about: Mapping[str, str],
    steps: Sequence[tuple[str, float]],
    amiss: Sequence[str] = (),
) -> str:
    """The whole run as Markdown. What else is `amiss`, beside the scenarios, fails it too."""
    failed = [v for v in verdicts if v.word == FAILED]
    count = {word: sum(v.word == word for v in verdicts) for word in (PASSED, FAILED, NOT_RUN)}
    passed = "passed" if count[PASSED] and not failed and not amiss else "NOT passed"
    told = ", ".join(f"{number} {word}" for word, number in count.items() if number)
    lines = ["# Emporium on Kubernetes", "", f"**Verdict: {passed}** ({told})", ""]
    if amiss:
        lines += ["Beside the scenarios:", "", *(f"- {_line(one)}" for one in amiss), ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "## Scenarios", "", "| scenario | verdict | time | longest without a buy | why |"]
    lines += ["|---|---|---|---|---|", *(_verdict_row(v) for v in verdicts), ""]
    wrong = [f"{word} {sum(word in v.wrong for v in verdicts)}" for word in NEEDED.values()]
    lines += [f"Scenarios in which something was {' · '.join(wrong)}.", ""]
    lines += ["## Bars", "", "How long nobody could buy, beside what was aimed at. A missed bar is"]
    lines += ["told, and fails nothing: it speaks of this machine's speed.", ""]
    lines += ["| what happens | bar | measured | |", "|---|---|---|---|"]
    lines += [f"| {r.what} | {r.bar} | {_cell(r.measured)} | {WORD_OF[r.met]} |" for r in rows]
    lines += ["", "## Compared", "", comparison(rows), "", "## Time", ""]
    lines += ["| step | seconds |", "|---|---|"]
    lines += [f"| {name} | {seconds:.1f} |" for name, seconds in steps]
    return "\n".join([*lines, ""])


def comparison(rows: Sequence[BarRow]) -> str:
    """What others measured of another shop, beside what was measured here."""
    gaps = {bar.what for bar in BARS}
    ours = [f"{row.what}: {row.measured}" for row in rows if row.what in gaps]
    return (
        "The best-known demo shop, which runs one pod per service, answers 500 for 1.5 to 2 minutes"
        " after one pod is killed. That figure is others', taken as reported; it wasn't measured"
        f" here. Measured here, without a successful purchase: {'; '.join(ours)}."
    )


def _verdict_row(v: Verdict) -> str:
    gap = "" if v.gap_s is None else f"{v.gap_s:.2f} s"
    if gap and v.bound_s != LONGEST_GAP_S:
        gap = f"{gap} (bound {v.bound_s:g} s)"
    seconds = f"{v.seconds:.0f} s" if v.seconds else ""
    return f"| {v.number} {v.name} | {v.word} | {seconds} | {gap} | {_cell(v.why)} |"


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())
