"""What a run of scenarios or of the kill loop found: verdicts, as JSON and as readable text."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emporium.client.conservation import Finding

LONGEST_CELL = 160
PASSED, FAILED, NOT_SHOWN = "passed", "failed", "not shown"


@dataclass(slots=True)
class ScenarioResult:
    """One scenario: its checks, the evidence that its fault happened, and measured figures."""

    number: int
    name: str
    summary: str
    checks: list[Finding] = field(default_factory=list)
    evidence: list[Finding] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)
    error: str = ""  # what ended it before its time
    seconds: float = 0.0
    history: str = ""  # file name beside the report

    @property
    def verdict(self) -> str:
        """Failed when a check failed; not shown when it held but its fault isn't proved."""
        if self.error or not all(check.passed for check in self.checks) or not self.checks:
            return FAILED
        return PASSED if all(found.passed for found in self.evidence) else NOT_SHOWN

    def to_plain(self) -> dict[str, Any]:
        """As JSON objects."""
        return {**dataclasses.asdict(self), "verdict": self.verdict}


@dataclass(slots=True)
class Report:
    """All results of a run. `passed` is the exit code's word."""

    title: str
    results: list[ScenarioResult] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    left_out: dict[str, str] = field(default_factory=dict)  # scenario -> why it can't be run again

    @property
    def passed(self) -> bool:
        """Whether there was at least one scenario and each is passed."""
        return bool(self.results) and all(result.verdict == PASSED for result in self.results)

    def to_json(self) -> str:
        """The whole report, indented."""
        plain = {
            "title": self.title,
            "started": self.started,
            "passed": self.passed,
            "results": [result.to_plain() for result in self.results],
            "left_out": self.left_out,
        }
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"

    def to_text(self) -> str:
        """The report as Markdown: one table, then what needs reading."""
        lines = [f"# {self.title}", ""]
        lines += [
            "| scenario | verdict | time | without a buy | evidence |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(result) for result in self.results]
        for result in self.results:
            lines += ["", *_section(result)]
        left_out = [f"- {name}: left out, {why}" for name, why in self.left_out.items()]
        lines += ["", *left_out] if left_out else []
        said = "passed" if self.passed else "NOT passed"
        done = sum(result.verdict == PASSED for result in self.results)
        lines += ["", f"**Verdict: {said}** ({done} of {len(self.results)} scenarios)", ""]
        return "\n".join(lines)

    def write(self, output: Path, stem: str) -> tuple[Path, Path]:
        """Write `stem`.json and `stem`.md into the folder; gives the two paths."""
        output.mkdir(parents=True, exist_ok=True)
        paths = output / f"{stem}.json", output / f"{stem}.md"
        paths[0].write_text(self.to_json(), encoding="utf-8")
        paths[1].write_text(self.to_text(), encoding="utf-8")
        return paths


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _row(result: ScenarioResult) -> str:
    gap = result.figures.get("longest_gap_s")
    shown = "; ".join(f"{e.name}: {e.detail}" for e in result.evidence if e.passed)
    if len(shown) > LONGEST_CELL:  # all of it is in the scenario's section
        shown = shown[:LONGEST_CELL].rsplit(" ", 1)[0] + " …"
    return _cell_row(
        [
            f"{result.number} {result.name}",
            result.verdict,
            f"{result.seconds:.1f} s",
            f"{gap:.2f} s" if isinstance(gap, float) else "",
            shown or ("none needed" if not result.evidence else ""),
        ]
    )


def _cell_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _section(result: ScenarioResult) -> list[str]:
    lines = [f"## {result.number} {result.name}: {result.verdict}", "", result.summary, ""]
    if result.error:
        lines += ["Ended early:", "", "```", result.error, "```", ""]
    for mark, found in [("check", c) for c in result.checks] + [
        ("evidence", e) for e in result.evidence
    ]:
        lines.append(f"- {mark} {'ok' if found.passed else 'FAILED'}: {found.name}")
        lines += _detail(found.detail)
    if result.figures:
        figures = ", ".join(f"{name} {_plain(value)}" for name, value in result.figures.items())
        lines.append(f"- figures: {figures}")
    if result.history:
        lines.append(f"- history: {result.history}")
    return lines


def _detail(detail: str) -> list[str]:
    if "\n" in detail:
        return ["", "  ```", *[f"  {line}" for line in detail.splitlines()], "  ```", ""]
    return [f"  ({detail})"] if detail else []


def _plain(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
