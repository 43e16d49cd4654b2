"""The arithmetic of measuring, and the texts and plots made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emporium.local import evaluation_plots, evaluation_report
from emporium.local.evaluation_report import document, shares, tier_rows
from emporium.local.failover import DRILLS, Blow, Outcome
from emporium.local.measuring import (
    Aim,
    longest_gap,
    markdown_table,
    mean_by_tier,
    percentile,
    ratios,
    server_timing,
    spread,
)
from emporium.local.rates import Figure, figure
from emporium.local.sides import Sample
from emporium.local.tiers import (
    BUY,
    LOOK_UP,
    MODES,
    OFF,
    OPERATIONS,
    SERVER,
    Cell,
    Evaluation,
    Life,
)

CLIENTS = (1, 9)


def test_a_spread_is_the_median_with_its_range() -> None:
    """Of an even number of values the median is between the middle ones."""
    found = spread([3.0, 1.0, 2.0, 10.0])
    assert (found.median, found.low, found.high) == (2.5, 1.0, 10.0)
    assert found.text() == "2.50 (1.00-10.00)"
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_compare_the_same_round_of_both_sides() -> None:
    """A machine that is slow in one round is slow for both, and the ratio stays."""
    assert ratios([10.0, 1.0, 20.0], [20.0, 2.0, 40.0]).text() == "0.50 (0.50-0.50)"


@pytest.mark.parametrize(("above", "below"), [([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_ratios_need_both_sides(above: list[float], below: list[float]) -> None:
    """A round without its other side says nothing."""
    with pytest.raises(ValueError, match="both sides"):
        ratios(above, below)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.9, 9), (0.91, 10), (1.0, 10)])
def test_percentiles_are_values_that_were_measured(share: float, value: int) -> None:
    """The nearest rank above."""
    assert percentile([float(number) for number in range(10, 0, -1)], share) == value


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        ([], 10.0),  # nothing at all: the whole window
        ([2.0, 12.0, 15.0, 18.0, 25.0], 10.0),  # one that began before the window
        ([9.0, 11.0, 12.0, 13.0], 7.0),  # one that lasts to its end
        ([9.0, 10.5, 14.0, 19.0, 21.0], 5.0),
        ([1.0, 2.0, 30.0], 28.0),  # bounded by the neighbours, not by the window
    ],
)
def test_the_longest_gap_is_bounded_by_successes(times: list[float], gap: float) -> None:
    """A blow in the middle of a gap counts the gap whole."""
    assert longest_gap(times, 10.0, 20.0) == gap


def test_server_timing_is_read_as_the_standard_writes_it() -> None:
    """Names, durations, quoted or not; what has no duration is left out."""
    header = 'frontend;dur=1.25, cache;desc="copy";dur="0.5" , miss, order; dur=2, bad;dur=x'
    assert server_timing(header) == {"frontend": 1.25, "cache": 0.5, "order": 2.0}
    assert server_timing("") == {}


def test_tiers_are_averaged_over_the_answers_that_name_them() -> None:
    """An answer from a copy names no catalog and doesn't make it faster."""
    headers = ["frontend;dur=1, catalog;dur=4", "frontend;dur=3"]
    assert mean_by_tier(headers) == {"frontend": 2.0, "catalog": 4.0}


def test_an_aim_says_whether_it_is_met() -> None:
    """At least, or at most; the bound itself is met."""
    assert Aim(0.8, ">= 0.8x").verdict(0.8) == ">= 0.8x: met"
    assert Aim(0.8, ">= 0.8x").verdict(0.79) == ">= 0.8x: not met"
    assert Aim(1.0, "<= 1 s", most=True).verdict(1.1) == "<= 1 s: not met"


def test_a_markdown_table_has_a_rule_under_its_head() -> None:
    """Numbers to the right."""
    assert markdown_table(("a", "b"), [("x", "1")]) == ["| a | b |", "| --- | ---: |", "| x | 1 |"]


def test_a_figure_compares_rates_and_counts_failures() -> None:
    """Rate over rate of the same round; the latency is that of all rounds."""
    samples = {
        "store": [Sample(1.0, [1.0, 2.0], 1), Sample(2.0, [3.0, 4.0], 0)],
        "bare": [Sample(1.0, [1.0] * 4, 0), Sample(2.0, [1.0] * 8, 0)],
    }
    found: Figure = figure("lookup", samples, ("store", "bare"), 9, Aim(0.8, ">= 0.8x"))
    assert (found.ratio.low, found.ratio.high) == (0.25, 0.5)
    assert (found.latency_ms, found.failed) == (2.0, 1)
    assert found.to_json()["aim"] == ">= 0.8x: not met"


def test_gaps_are_told_by_role_and_against_both_aims() -> None:
    """Catalog and order are hit in turn."""
    blows = (Blow("catalog-0", 0.5, 3), Blow("order-0", 0.1, 0), Blow("catalog-1", 3.5, 9))
    outcome = Outcome(DRILLS[0], blows)
    assert outcome.verdicts == ["median <= 1 s: met", "max <= 3 s: not met"]
    catalog, nobody = outcome.by_role("catalog"), outcome.by_role("cache")
    assert catalog is not None and catalog.text() == "2.00 (0.50-3.50)"
    assert nobody is None


# --- the document ---


def cell(operation: str, mode: str, clients: int) -> Cell:
    """A cell whose times grow with the clients."""
    behind = {"order": 5.0, "catalog": 3.0} if operation == BUY else {"catalog": 3.0}
    if operation != BUY and mode != OFF:
        behind = {"cache": 2.0} if mode == SERVER else {}
    tiers = {"frontend": 6.0, **behind}
    return Cell(operation, mode, clients, 8.0 * clients, tiers, 0)


@pytest.fixture
def evaluation() -> Evaluation:
    """Made-up times."""
    cells = tuple(cell(op, mode, count) for op in OPERATIONS for mode in MODES for count in CLIENTS)
    lives = tuple(Life(mode, 1.0, 8.0, 4.0, 1.0, 0.0) for mode in MODES)
    machine = {"cores": "2", "system": "Linux", "python": "CPython 3"}
    return Evaluation(machine, 100, CLIENTS, {1: 2.0, 9: 4.0}, cells, lives)


def test_the_document_has_multiples_and_no_milliseconds(evaluation: Evaluation) -> None:
    """8 ms are 4 bare answers of 2 ms."""
    text = document(evaluation, "images", None)
    assert "| no cache | 4.00 | 36.00 |" in text
    assert "| bare endpoint | 1.00 | 2.00 |" in text
    assert " ms" not in text
    assert "2 stock checks" in text and "5 stock checks" in text


def test_the_document_is_narrow_outside_of_tables(evaluation: Evaluation) -> None:
    """Lines of prose have at most 100 characters."""
    lines = document(evaluation, "images", None).splitlines()
    assert [line for line in lines if len(line) > 100 and not line.startswith(("|", "!"))] == []


def test_the_bench_gets_a_section_of_its_own(evaluation: Evaluation) -> None:
    """Ratios, and gaps in heartbeats."""
    rate = {
        "comparison": "buy",
        "side": "3 replicas",
        "base": "1 replica",
        "clients": 9,
        "ratio": {"median": 0.75, "low": 0.5, "high": 1.0},
        "aim": "",
    }
    outcome = Outcome(DRILLS[0], (Blow("catalog-0", 0.5, 0), Blow("order-0", 1.0, 0)))
    bench = {"rates": [rate], "failover": [outcome.to_json()]}
    text = document(evaluation, "images", bench)
    assert "| buy: 3 replicas | 9 | 1 replica | 0.75 (0.50-1.00) | - |" in text
    assert "| SIGKILL, heartbeat 250 ms | 2 | 3.0 | 4.0 |" in text


def test_tiers_are_shown_from_the_outside_in() -> None:
    """A tier that no answer names has no row."""
    rows = tier_rows(LOOK_UP, [cell(LOOK_UP, SERVER, 1)])
    assert rows == [("client", [8.0]), ("frontend", [6.0]), ("cache", [2.0])]


def test_shares_add_up_to_what_the_client_sees() -> None:
    """Each tier without those behind it."""
    assert shares(cell(BUY, OFF, 1)) == {
        "HTTP": 2.0,
        "frontend": 1.0,
        "order": 2.0,
        "catalog": 3.0,
    }
    for operation in OPERATIONS:
        for mode in MODES:
            assert sum(shares(cell(operation, mode, 1)).values()) == 8.0


def test_plots_are_the_same_for_the_same_figures(evaluation: Evaluation, tmp_path: Path) -> None:
    """No date and no random name in them."""
    pytest.importorskip("matplotlib")
    first = [path.read_bytes() for path in evaluation_plots.draw(evaluation, tmp_path / "a")]
    second = [path.read_bytes() for path in evaluation_plots.draw(evaluation, tmp_path / "b")]
    assert first == second
    text = document(evaluation, "images", None)
    for name in (
        evaluation_report.RESPONSE_PLOT,
        evaluation_report.TIERS_PLOT,
        evaluation_report.LIFE_PLOT,
    ):
        assert f"(images/{name})" in text and (tmp_path / "a" / name).is_file()
