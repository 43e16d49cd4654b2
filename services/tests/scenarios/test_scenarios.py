"""The scenarios on a pretended store: all pass on a true one, and each broken promise is seen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from emporium.client import hands, history, kill_loop, scenarios
from emporium.client.cluster import DrillError
from emporium.client.report import FAILED, NOT_SHOWN, PASSED, Report
from emporium.client.scenarios import Options, runner, shopping
from emporium.client.scenarios.stage import Stage
from emporium.client.workload import LoadSettings
from tests.scenarios import fake_store, healing_cluster
from tests.scenarios.fake_store import FakeCluster
from tests.scenarios.healing_cluster import HealingCluster

QUICK = Options(
    purchases=500,
    before=20,
    during=10,
    healthy_s=10,
    takeover_s=3,
    load_s=60,
    settle_s=0.5,
    load=LoadSettings(buyers=3, readers=2, buy_pause_s=0.001, read_pause_s=0.002, deadline_s=5),
)


def run(bug: str, names: list[str], output: Path) -> Report:
    """The named scenarios on a fresh store with a planted bug."""
    with FakeCluster.open(bug) as cluster:
        return scenarios.run(cluster, names, output, lambda _line: None, QUICK)


def explain(report: Report) -> str:
    """The report, for a failed assertion."""
    return report.to_text()


def test_all_scenarios_pass_on_a_true_store(tmp_path: Path) -> None:
    """Every scenario passes, and the report and the histories lie in the output folder."""
    report = run("", [], tmp_path)
    assert [result.verdict for result in report.results] == [PASSED] * 16, explain(report)
    assert report.passed
    told = json.loads((tmp_path / "scenarios.json").read_text("utf-8"))
    assert told["passed"] and len(told["results"]) == 16
    assert "**Verdict: passed** (16 of 16 scenarios)" in (tmp_path / "scenarios.md").read_text()
    operations = history.read(tmp_path / "history-09.jsonl")
    assert sum(operation.acknowledged for operation in operations) >= 500
    assert (tmp_path / "operation_logs" / "catalog0_log").exists()
    assert "Client0: Send request http" in (tmp_path / "client_log").read_text()


@pytest.mark.parametrize(
    ("bug", "name", "checks"),
    [
        (fake_store.OVERSELL, "4", {"three clients win, one loses", "nothing oversold"}),
        (fake_store.LOSE, "9", {"no acknowledged purchase lost", "order numbers without gap"}),
        (
            fake_store.DOUBLE,
            "13",
            {"every call is answered with the one order", "no duplicate order"},
        ),
        (fake_store.GAP, "9", {"order numbers without gap"}),
        (fake_store.STALE, "9", {"reads linearizable"}),
        (fake_store.UNEQUAL, "2", {"replicas equal"}),
        (fake_store.NOT_CONSERVED, "1", {"conservation"}),
        (fake_store.UNEVEN, "3", {"reads are spread evenly, a dead replica gets none"}),
    ],
)
def test_a_broken_promise_is_seen(bug: str, name: str, checks: set[str], tmp_path: Path) -> None:
    """Each planted bug fails the check that is there for it."""
    report = run(bug, [name], tmp_path)
    (result,) = report.results
    assert result.verdict == FAILED
    failed = {found.name for found in result.checks if not found.passed}
    assert checks <= failed, explain(report)
    assert not report.passed


@pytest.mark.parametrize("name", ["5", "9", "10", "11", "16"])
def test_a_fault_that_did_not_happen_is_not_a_pass(name: str, tmp_path: Path) -> None:
    """Where kills do nothing, no scenario that needs one passes."""
    report = run(fake_store.NO_FAULT, [name], tmp_path)
    assert report.results[0].verdict in (NOT_SHOWN, FAILED)
    assert not report.passed


def test_what_wants_a_fresh_store_is_played_once(tmp_path: Path) -> None:
    """Played again, the set is without it, says so, and passes."""
    with FakeCluster.open() as cluster:
        for again in (False, True):
            report = scenarios.run(
                cluster, ["3", "13"], tmp_path, lambda _line: None, QUICK, again=again
            )
            assert report.passed, explain(report)
    assert [result.name for result in report.results] == ["retry-storm"]
    assert json.loads(report.to_json())["left_out"] == {"buy": runner.ONCE}
    assert f"- buy: left out, {runner.ONCE}" in report.to_text()


def test_too_few_purchases_are_not_shown(tmp_path: Path) -> None:
    """A scenario under load without a cached read is "not shown", which fails the run."""
    with FakeCluster.open(fake_store.UNCACHED) as cluster:
        report = scenarios.run(cluster, ["9"], tmp_path, lambda _line: None, QUICK)
    assert report.results[0].verdict == NOT_SHOWN, explain(report)
    assert not report.passed


def test_a_missing_drill_is_not_shown(tmp_path: Path) -> None:
    """A cluster that can't cut connections doesn't pass the scenario of the cuts."""
    with FakeCluster.open() as cluster:
        report = scenarios.run(
            cluster.without("cut"), ["one-way-cut"], tmp_path, lambda _line: None, QUICK
        )
    assert report.results[0].verdict == NOT_SHOWN, explain(report)


def test_an_unexpected_error_ends_one_scenario_alone(tmp_path: Path) -> None:
    """The report says where; the books are checked all the same, and the next scenario runs."""

    def act(stage: Stage) -> None:
        """Err."""
        stage.go_on_buying(1)
        [][stage.options.before]

    known = [
        runner.Scenario(1, "errs", act, under_load=True),
        runner.Scenario(2, "lookup", shopping.lookup_twice),
    ]
    with FakeCluster.open() as cluster:
        report = scenarios.run(cluster, [], tmp_path, lambda _line: None, QUICK, known)
    errs, lookup = report.results
    assert errs.verdict == FAILED and lookup.verdict == PASSED, explain(report)
    assert errs.error.startswith("IndexError: list index out of range\n")
    assert "[][stage.options.before]" in errs.error
    checked = {check.name for check in errs.checks if check.passed}
    assert {"no acknowledged purchase lost", "reads linearizable"} <= checked
    assert "books" not in errs.figures


def test_what_cannot_be_made_is_checked_too(tmp_path: Path) -> None:
    """A store that lost something before the scenario gave up isn't "not shown"."""
    options = dataclasses.replace(QUICK, before=60)  # of which one is lost
    with FakeCluster.open(fake_store.LOSE) as cluster:
        cluster.without("cut")
        report = scenarios.run(cluster, ["15"], tmp_path, lambda _line: None, options)
    assert report.results[0].verdict == FAILED, explain(report)


def test_books_that_cannot_be_read_are_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures say so, and the error is that of the scenario."""

    def silent(_cluster: FakeCluster, name: str) -> None:
        raise DrillError(f"{name} gives no digest")

    def act(_stage: Stage) -> None:
        """Nobody gives a digest any more."""
        monkeypatch.setattr(FakeCluster, "digest", silent)
        raise DrillError("nobody is left")

    with FakeCluster.open() as cluster:
        known = [runner.Scenario(1, "silent", act)]
        report = scenarios.run(cluster, [], tmp_path, lambda _line: None, QUICK, known)
    (result,) = report.results
    assert result.figures == {"books": "not checked"}, explain(report)
    assert result.error.startswith("DrillError: nobody is left\n")


def test_names_numbers_and_ranges_choose_scenarios() -> None:
    """Scenarios are chosen by number, range or name, and an unknown one is an error."""
    assert [s.number for s in scenarios.choose(["05", "9-11", "race"])] == [4, 5, 9, 10, 11]
    assert len(scenarios.choose([])) == len(scenarios.catalogue()) == 16
    with pytest.raises(ValueError, match="no scenario 'zebra'"):
        scenarios.choose(["zebra"])


@pytest.mark.parametrize("waiting", [True, False])
def test_the_kill_loop_passes_on_a_true_store(waiting: bool, tmp_path: Path) -> None:
    """Both forms of the kill loop run and write their report."""
    with FakeCluster.open() as cluster:
        report = kill_loop.run(
            cluster,
            4,
            seed=1,
            waiting=waiting,
            output_dir=tmp_path,
            progress=lambda _line: None,
            options=QUICK,
        )
    assert report.passed, explain(report)
    assert (tmp_path / "kill-loop.json").exists()


def test_the_kill_loop_sees_a_lost_order(tmp_path: Path) -> None:
    """A store that loses orders doesn't pass the kill loop."""
    with FakeCluster.open(fake_store.LOSE) as cluster:
        report = kill_loop.run(
            cluster, 3, 1, waiting=False, output_dir=tmp_path, progress=print, options=QUICK
        )
    assert not report.passed


class TestKubernetesScenarios:
    """Scenarios of a substrate that brings processes back by itself."""

    def test_all_pass_where_everything_is_done(self, tmp_path: Path) -> None:
        """Each has its evidence; gaps and bars become figures."""
        report = self.play("", [], tmp_path)
        assert [result.verdict for result in report.results] == [PASSED] * 15, explain(report)
        graceful = report.results[0].figures
        assert len(str(graceful["gaps_s"]).split()) == 2
        assert str(graceful["bar"]).startswith(("met: 2 blows", "MISSED: 2 blows"))

    @pytest.mark.parametrize(
        ("lazy", "name"),
        [
            ("kill", "21"),
            ("kill", "24"),
            (hands.KILL_PROCESS, "23"),
            (hands.CUT_NODE, "26"),
            (hands.EVICT_POD, "25"),
            (hands.UPGRADE, "27"),
            (hands.ROLLBACK, "28"),
            (hands.API_OUTAGE, "34"),
            (hands.SCALE, "35"),
            (hands.CRASH_NODE, "32"),
            (healing_cluster.OTHER_IMAGE, "33"),
            (healing_cluster.ROTATION, "36"),
            (healing_cluster.TOKEN, "36"),
        ],
    )
    def test_a_drill_that_does_nothing_is_seen(self, lazy: str, name: str, tmp_path: Path) -> None:
        """A scenario whose fault never happened isn't passed."""
        (result,) = self.play(lazy, [name], tmp_path).results
        assert result.verdict != PASSED, result

    def test_a_node_that_is_only_crashed_in_name_is_seen(self, tmp_path: Path) -> None:
        """A cut isn't a crash: the same process comes back."""
        with HealingCluster.open() as cluster:
            assert isinstance(cluster, HealingCluster)
            cluster.only_cuts = True
            (result,) = self.play_on(cluster, ["32"], tmp_path).results
        bad = [found.name for found in result.evidence if not found.passed]
        assert bad == ["other processes come back"], result

    @pytest.mark.parametrize("lazy", ["", hands.EVICT_POD])
    def test_a_budget_is_shown_where_the_drained_pod_moves(self, lazy: str, tmp_path: Path) -> None:
        """Two of the group are evicted then, and the second may not be."""
        with HealingCluster.open() as cluster:
            assert isinstance(cluster, HealingCluster)
            cluster.moves, cluster.lazy = True, lazy
            (result,) = self.play_on(cluster, ["25"], tmp_path).results
        evicted = [about["pod"] for verb, about in cluster.done if verb == hands.EVICT_POD]
        assert len(set(evicted)) == 2, evicted
        assert (result.verdict == PASSED) == (not lazy), result

    def test_a_pod_that_never_starts_is_seen(self, tmp_path: Path) -> None:
        """And the role is scaled back all the same."""
        with HealingCluster.open() as cluster:
            assert isinstance(cluster, HealingCluster)
            cluster.stuck = True
            (result,) = self.play_on(cluster, ["35"], tmp_path, healthy_s=1).results
            assert "catalog has 5 pods, and each has been started" in result.error
            assert len(cluster.pods("catalog")) == 3

    def test_a_node_is_healed_when_nobody_takes_over(self, tmp_path: Path) -> None:
        """Whatever the scenario misses, what it broke is mended."""
        with HealingCluster.open() as cluster:
            assert isinstance(cluster, HealingCluster)
            cluster.lazy = hands.CUT_NODE
            (result,) = self.play_on(cluster, ["26"], tmp_path, takeover_s=0.5).results
        assert result.verdict == FAILED
        verbs = [verb for verb, _ in cluster.done]
        assert verbs.count(hands.CUT_NODE) == verbs.count(hands.HEAL_NODE) == 1, result

    def test_a_long_gap_fails(self, tmp_path: Path) -> None:
        """The longest time without a buy has a bound where one is given."""
        report = self.play("", ["24"], tmp_path, longest_gap_s=0.001)
        failed = [found.name for found in report.results[0].checks if not found.passed]
        assert failed == ["a buy every 0.001 s at least"], explain(report)

    def play(self, lazy: str, names: list[str], output: Path, longest_gap_s: float = 0) -> Report:
        """The named scenarios on a fresh store; the drill `lazy` does nothing."""
        with HealingCluster.open() as cluster:
            assert isinstance(cluster, HealingCluster)
            cluster.lazy = lazy
            return self.play_on(cluster, names, output, longest_gap_s=longest_gap_s)

    def play_on(
        self, cluster: HealingCluster, names: list[str], output: Path, **options: float
    ) -> Report:
        """The named scenarios on this store."""
        chosen = dataclasses.replace(
            QUICK,
            purchases=200,
            healthy_s=10,
            repeats=2,
            rolling_purchases=300,
            next_tag="1.0.0-next",
        )
        chosen = dataclasses.replace(chosen, **options)  # type: ignore[arg-type]
        return scenarios.run(cluster, names, output, lambda _line: None, chosen, runner.KUBERNETES)
