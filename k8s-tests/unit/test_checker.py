"""The checker calls a planted fault by its name, and lets nothing pass that wasn't shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emporium_e2e import checker
from emporium_e2e.checker import FAILED, NOT_RUN, PASSED, Verdict
from emporium_e2e.errors import E2eError

CATALOGUE = [(21, "graceful-deletion")]
KINDS = ("own", "kind", "context")


def result(name: str = "graceful-deletion", **changed: Any) -> dict[str, Any]:
    """A scenario as the job reports it: passed, unless something is changed."""
    checks = [{"name": check, "passed": True, "detail": "fine"} for check in checker.NEEDED]
    return {
        "number": 21,
        "name": name,
        "verdict": "passed",
        "checks": checks,
        "evidence": [{"name": "a new epoch", "passed": True, "detail": "1 → 2"}],
        "figures": {"longest_gap_s": 0.4},
        "error": "",
        "seconds": 12.0,
        **changed,
    }


def report(*results: dict[str, Any]) -> dict[str, Any]:
    """The job's scenarios.json."""
    return {"title": "t", "results": list(results)}


def with_failed(check: str) -> dict[str, Any]:
    """A result in which one check has failed."""
    checks = result()["checks"]
    checks = [c if c["name"] != check else {**c, "passed": False, "detail": "b4"} for c in checks]
    return result(checks=checks, verdict="failed")


def judge(*results: dict[str, Any], excused: dict[str, str] | None = None) -> Verdict:
    """The verdict on the one scenario of one round."""
    return checker.judge(CATALOGUE, [report(*results)], excused or {})[0]


def test_a_clean_scenario_passes() -> None:
    """With its time and its gap."""
    verdict = judge(result())
    assert (verdict.word, verdict.why) == (PASSED, "")
    assert (verdict.seconds, verdict.gap_s) == (12.0, 0.4)


@pytest.mark.parametrize(("check", "word"), checker.NEEDED.items())
def test_a_planted_fault_fails_by_its_name(check: str, word: str) -> None:
    """Lost, duplicate, oversold, stale."""
    verdict = judge(with_failed(check))
    assert verdict.word == FAILED
    assert verdict.why == f"{word.upper()}: b4"
    assert verdict.wrong == {word}


@pytest.mark.parametrize(("check", "word"), checker.NEEDED.items())
def test_a_fault_fails_even_when_the_job_says_passed(check: str, word: str) -> None:
    """The verdict isn't taken on trust."""
    verdict = judge(with_failed(check) | {"verdict": "passed"})
    assert (verdict.word, verdict.wrong) == (FAILED, {word})


@pytest.mark.parametrize("check", checker.NEEDED)
def test_what_wasnt_checked_hasnt_passed(check: str) -> None:
    """A report that lacks one of the checks."""
    checks = [c for c in result()["checks"] if c["name"] != check]
    verdict = judge(result(checks=checks))
    assert (verdict.word, verdict.why) == (FAILED, f"not checked: {check}")


def test_any_other_failed_check_fails() -> None:
    """Such as a scenario's own."""
    own = {"name": "replicas equal", "passed": False, "detail": "2 differ\nand more"}
    verdict = judge(result(checks=[*result()["checks"], own], verdict="failed"))
    assert (verdict.word, verdict.why) == (FAILED, "replicas equal: 2 differ")


@pytest.mark.parametrize("order", [1, -1])
def test_a_check_that_was_made_twice_failed_once(order: int) -> None:
    """A scenario may look at the same thing before and after."""
    name = "nothing oversold"
    twice = [{"name": name, "passed": passed, "detail": "b4"} for passed in (True, False)]
    checks = [c for c in result()["checks"] if c["name"] != name]
    verdict = judge(result(checks=[*checks, *twice[::order]]))
    assert (verdict.word, verdict.why) == (FAILED, "OVERSOLD: b4")


def test_what_isnt_shown_fails() -> None:
    """A fault that may not have happened proves nothing."""
    evidence = [{"name": "a new epoch", "passed": False, "detail": "1 → 1"}]
    verdict = judge(result(evidence=evidence, verdict="not shown"))
    assert (verdict.word, verdict.why) == (FAILED, "not shown: a new epoch")


@pytest.mark.parametrize("figure", ["longest_gap_s", "gap_longest_s"])
def test_a_long_gap_fails(figure: str) -> None:
    """Above ten seconds; ten are allowed."""
    assert judge(result(figures={figure: 10.0})).word == PASSED
    verdict = judge(result(figures={figure: 10.1}))
    assert (verdict.word, verdict.gap_s) == (FAILED, 10.1)
    assert "nobody could buy for 10.1 s" in verdict.why


def test_a_scenario_may_have_a_bound_of_its_own() -> None:
    """Where nobody is there on purpose; the page says so."""
    own = {"longest_gap_s": 25.0, "gap_bound_s": 30.0}
    verdict = judge(result(figures=own))
    assert (verdict.word, verdict.bound_s) == (PASSED, 30.0)
    assert "| 25.00 s (bound 30 s) |" in checker.page([verdict], [], {}, [])
    verdict = judge(result(figures={**own, "longest_gap_s": 30.5}))
    assert verdict.why == "nobody could buy for 30.5 s, above 30 s"
    usual = judge(result(figures={"longest_gap_s": 5.0, "gap_bound_s": checker.LONGEST_GAP_S}))
    assert "| 5.00 s |" in checker.page([usual], [], {}, [])


def test_a_scenario_that_ended_early_fails() -> None:
    """With its first line."""
    verdict = judge(result(error="DrillError: no\ntrace", checks=[], verdict="failed"))
    assert (verdict.word, verdict.why) == (FAILED, "DrillError: no")


def test_a_verdict_that_nothing_explains_fails() -> None:
    """The job knows something that we don't."""
    assert judge(result(verdict="failed")).why == "the job says: failed"


def test_what_isnt_run_fails_without_a_reason() -> None:
    """A job that came to its end without the scenario, or never came to it."""
    assert judge(result("another")).word == FAILED
    (verdict,) = checker.judge(CATALOGUE, [], {}, "the pod is out of reach")
    assert (verdict.word, verdict.why) == (
        FAILED,
        "not run, without a reason; the pod is out of reach",
    )


def test_what_isnt_run_may_have_a_reason() -> None:
    """The one that is written down."""
    verdict = judge(excused={"graceful-deletion": "no pods here"})
    assert (verdict.word, verdict.why) == (NOT_RUN, "no pods here")


def test_what_the_cluster_cant_do_needs_a_reason_too() -> None:
    """`not shown: this cluster has no drill` passes only when it is listed."""
    cannot = {"name": checker.IMPOSSIBLE, "passed": False, "detail": "no drill for: cut-node"}
    told = result(evidence=[cannot], verdict="not shown", checks=[])
    assert judge(told, excused={"graceful-deletion": "listed"}).word == NOT_RUN
    verdict = judge(told)
    assert verdict.word == FAILED
    assert verdict.why == "not run, and not in not_run.toml: no drill for: cut-node"


def test_an_excuse_hides_no_failure() -> None:
    """What was run counts, listed or not."""
    verdict = judge(with_failed("no duplicate order"), excused={"graceful-deletion": "listed"})
    assert verdict.word == FAILED


def test_the_worst_of_all_rounds_counts() -> None:
    """And a round without the scenario is a failure."""
    good, bad = report(result()), report(with_failed("no duplicate order"))
    (verdict,) = checker.judge(CATALOGUE, [good, bad, good], {})
    assert (verdict.word, verdict.why) == (FAILED, "1 of 3 rounds: DUPLICATE: b4")
    (verdict,) = checker.judge(CATALOGUE, [good, report()], {})
    assert (verdict.word, verdict.why) == (FAILED, "not run in 1 of 2 rounds")
    assert checker.judge(CATALOGUE, [good, good], {})[0].word == PASSED


# --- bars and page ---


def test_bars_are_met_or_missed() -> None:
    """By median and longest, over all rounds; what wasn't measured is said."""
    gaps = [report(result(figures={"gaps_s": told})) for told in ("0.30 0.40", "0.50 1.90")]
    row, sigkill, *_ = checker.bars(gaps)
    assert (row.met, row.measured) == (True, "median 0.45 s, longest 1.90 s (of 4)")
    assert (sigkill.met, sigkill.measured) == (None, "not measured")
    longest = report(result(figures={"gaps_s": "0.30 0.40 2.10"}))
    median = report(result(figures={"gaps_s": "0.60 0.70 0.40"}))
    assert not checker.bars([longest])[0].met
    assert not checker.bars([median])[0].met


@pytest.mark.parametrize(("told", "met"), [("met: 99.95 %", True), ("MISSED: 99 %", False)])
def test_the_rolling_deletions_bar_is_the_jobs(told: str, met: object) -> None:
    """It has every purchase; we don't."""
    row = checker.bars([report(result(checker.ROLLING, figures={"bar": told}))])[-1]
    assert (row.met, row.measured) == (met, told.partition(": ")[2])


def test_a_missed_bar_fails_nothing() -> None:
    """It speaks of one machine's speed."""
    figures = {"gaps_s": "5.0", "gap_longest_s": 5.0}
    assert judge(result(figures=figures)).word == PASSED


def test_the_page_says_it_all() -> None:
    """Verdict, scenarios, bars, what others measured, and that we didn't."""
    reports = [report(result(figures={"gaps_s": "0.3", "gap_longest_s": 0.3}))]
    verdicts = checker.judge([*CATALOGUE, (22, "forced")], reports, {"forced": "no | reason"})
    page = checker.page(verdicts, checker.bars(reports), {"cluster": "own"}, [("install", 9.0)])
    assert "**Verdict: passed** (1 passed, 1 not run)" in page
    assert "| 21 graceful-deletion | passed | 12 s | 0.30 s |  |" in page
    assert "| 22 forced | not run |  |  | no \\| reason |" in page
    assert "lost 0 · duplicate 0 · oversold 0 · stale 0" in page
    assert "| median 0.30 s, longest 0.30 s (of 1) | met |" in page
    assert "1.5 to 2 minutes" in page
    assert "others', taken as reported; it wasn't measured here" in page
    assert "| install | 9.0 |" in page


@pytest.mark.parametrize("results", [[], [with_failed("nothing oversold")]])
def test_the_page_of_a_failed_run_says_so(results: list[dict[str, Any]]) -> None:
    """Also when there is nothing at all."""
    verdicts = checker.judge(CATALOGUE, [report(*results)], {})
    assert "**Verdict: NOT passed** (1 failed)" in checker.page(verdicts, [], {}, [])


def test_what_else_is_amiss_fails_the_page() -> None:
    """All scenarios have passed, and the run hasn't."""
    verdicts = checker.judge(CATALOGUE, [report(result())], {})
    assert "**Verdict: passed**" in checker.page(verdicts, [], {}, [])
    page = checker.page(verdicts, [], {}, [], ["the job: out of\n reach"])
    assert "**Verdict: NOT passed** (1 passed)" in page
    assert "- the job: out of reach" in page


def test_the_bars_are_told_in_words() -> None:
    """Their figures are the job's own."""
    rows = checker.bars([])
    assert [row.bar for row in rows] == [
        "median ≤ 0.5 s, longest ≤ 2 s",
        "median ≤ 1.5 s, longest ≤ 5 s",
        "median ≤ 3 s, longest ≤ 8 s",
        "99.9% of 5,000 purchases within 5 s while every pod is deleted",
    ]


def test_a_run_of_nothing_hasnt_passed() -> None:
    """Everything excused proves nothing."""
    verdicts = checker.judge(CATALOGUE, [], {"graceful-deletion": "listed"})
    assert "**Verdict: NOT passed**" in checker.page(verdicts, [], {}, [])


# --- not_run.toml ---


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[lab]\ngraceful-deletion = 'x'", r"\[lab\]\n  allowed: ci, context, kind, own"),
        ("[ci]\nunknown = 'x'", "there is no scenario 'unknown' in"),
        ("[ci]\ngraceful-deletion = ' '", "graceful-deletion in .ci. has no reason"),
        ("ci = 1", "allowed"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """Else a typing error would excuse nothing, or everything."""
    path = tmp_path / "not_run.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(E2eError, match=why):
        checker.read_not_run(path, ["graceful-deletion"], KINDS)


def test_a_report_that_cant_be_read_is_named(tmp_path: Path) -> None:
    """Instead of being taken for an empty one."""
    (tmp_path / "scenarios.json").write_text("{", "utf-8")
    with pytest.raises(E2eError, match="can't be read"):
        checker.read_reports([tmp_path])
