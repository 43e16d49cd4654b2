"""One run at a time, and the page's last word is on all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emporium_e2e import checker, session
from emporium_e2e.checker import Verdict
from emporium_e2e.errors import E2eError
from emporium_e2e.session import Found
from emporium_e2e.steps import Steps
from emporium_e2e.workload import Outcome


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page is kept."""
    monkeypatch.setattr(session, "ROOT", tmp_path)
    monkeypatch.setattr(session, "OUTPUT", tmp_path)
    return tmp_path


def found(word: str = checker.PASSED, trouble: str = "") -> Found:
    """What a job with one scenario came to."""
    verdicts = {"search": Verdict(1, "search", word)}
    return Found(Outcome(0, trouble), verdicts, [], {}, Steps())


def test_a_second_run_is_refused(folder: Path) -> None:
    """It would remove the first one's namespace; the page of an earlier run is gone."""
    (folder / session.PAGE).write_text("passed", "utf-8")
    with session.alone():
        assert not (folder / session.PAGE).exists()
        with pytest.raises(E2eError, match=r"another run .* process \d+\n"), session.alone():
            pass
    with session.alone():
        pass


def test_the_page_of_a_run_that_went_well(folder: Path) -> None:
    """Only once it is over."""
    session.keep(found(), [session.NOT_OVER])
    assert "**Verdict: NOT passed**" in (folder / session.PAGE).read_text("utf-8")
    session.finish(found(), [], 0)
    assert "**Verdict: passed** (1 passed)" in (folder / session.PAGE).read_text("utf-8")


@pytest.mark.parametrize(
    ("trouble", "failed", "code", "why"),
    [
        ("the job's pod is out of reach", [], 1, "- the job: the job's pod is out of reach"),
        ("", ["test_a_new_installation"], 1, "- failed: test_a_new_installation"),
        ("", [], 2, "- the tests ended with exit code 2"),
    ],
)
def test_what_went_wrong_beside_the_scenarios(
    folder: Path, trouble: str, failed: list[str], code: int, why: str
) -> None:
    """Trouble of the job, a test before or after it, an interruption."""
    session.finish(found(trouble=trouble), failed, code)
    page = (folder / session.PAGE).read_text("utf-8")
    assert "**Verdict: NOT passed** (1 passed)" in page
    assert why in page


def test_a_failed_scenario_explains_the_exit_code(folder: Path) -> None:
    """And is told once, in the table."""
    session.finish(found(checker.FAILED), [], 1)
    page = (folder / session.PAGE).read_text("utf-8")
    assert "NOT passed" in page
    assert "Beside the scenarios" not in page
