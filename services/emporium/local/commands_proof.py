"""`scenarios`, `kill-loop`, `demo`: break a store of one's own and compute a verdict.

Each makes a fresh store in a temporary folder on free ports, so that it disturbs no store that
runs, and leaves no process behind. The exit code says the verdict.
"""

from __future__ import annotations

import argparse
import random
from contextlib import AbstractContextManager
from pathlib import Path

from emporium.client import kill_loop, scenarios
from emporium.client.items import scenario_items
from emporium.client.report import PASSED, Report
from emporium.local import demo
from emporium.local.cluster import LocalCluster
from emporium.local.errors import LocalError
from emporium.local.interrupts import stop_signals_interrupt
from emporium.local.layout import CACHE_MODES
from emporium.local.options import Commands, whole
from emporium.local.screen import Screen, plural

COUNTS = {"frontend": 2, "catalog": 3, "order": 3}
LARGEST_SEED = 2**31 - 1


def register(commands: Commands) -> None:
    """Add the parsers."""
    show = commands.add_parser("demo", help="lose the primary, go on selling, prove it")
    _add_output(show)
    show.set_defaults(run=run_demo)
    play = commands.add_parser("scenarios", help="the seeds' tests and ours, each with a verdict")
    play.add_argument("names", metavar="NAME", nargs="*", help="names, numbers, 9-16; none: all")
    play.add_argument("--list", action="store_true", help="only say which there are")
    _add_cache(play)
    _add_output(play)
    play.set_defaults(run=run_scenarios)
    loop = commands.add_parser("kill-loop", help="random kills, pauses and returns under load")
    loop.add_argument("--n", type=whole(1, 100_000), default=50, metavar="N", help="faults (50)")
    loop.add_argument("--seed", type=whole(0, LARGEST_SEED), metavar="N", help="draw the same")
    loop.add_argument(
        "--without-waiting",
        action="store_true",
        help="faults at random moments, majorities too: checks safety alone",
    )
    _add_cache(loop)
    _add_output(loop)
    loop.set_defaults(run=run_kill_loop)


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", choices=CACHE_MODES, default="server", help="(server)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", metavar="DIR", default="output", help="for report, histories, logs (output)"
    )


def _fresh(arguments: argparse.Namespace, output: Path) -> AbstractContextManager[LocalCluster]:
    return LocalCluster.fresh(
        COUNTS, items=scenario_items(), cache_mode=arguments.cache, keep_logs=output
    )


def run_scenarios(arguments: argparse.Namespace, screen: Screen) -> int:
    """All or the named ones, on one fresh store."""
    if arguments.list:
        rows = [[str(number), name, summary] for number, name, summary in scenarios.catalogue()]
        screen.table(("", "name", "what happens"), rows)
        return 0
    try:
        chosen = scenarios.choose(arguments.names)
    except ValueError as error:
        raise LocalError(str(error)) from None
    output = Path(arguments.output) / "scenarios"
    screen.line(f"{plural(len(chosen), 'scenario')} on a fresh store; starting it …")
    with stop_signals_interrupt(), _fresh(arguments, output) as cluster:
        report = scenarios.run(cluster, arguments.names, output, progress=screen.line)
    return conclude(report, output / "scenarios.md", screen)


def run_kill_loop(arguments: argparse.Namespace, screen: Screen) -> int:
    """Faults drawn from the seed, which is printed."""
    seed = arguments.seed
    if seed is None:
        seed = random.randrange(LARGEST_SEED)
    output = Path(arguments.output) / "kill-loop"
    screen.line(f"{plural(arguments.n, 'fault')} drawn from seed {seed}; starting a fresh store …")
    with stop_signals_interrupt(), _fresh(arguments, output) as cluster:
        report = kill_loop.run(
            cluster,
            arguments.n,
            seed,
            not arguments.without_waiting,
            output,
            progress=screen.line,
        )
    return conclude(report, output / "kill-loop.md", screen)


def run_demo(arguments: argparse.Namespace, screen: Screen) -> int:
    """The whole story, in about a minute."""
    with stop_signals_interrupt():
        return demo.run(screen, Path(arguments.output) / "demo")


def conclude(report: Report, path: Path, screen: Screen) -> int:
    """A table of the results, and the verdict as exit code."""
    screen.line()
    rows = []
    for result in report.results:
        gap = result.figures.get("longest_gap_s")
        without = f"{gap:.2f} s" if isinstance(gap, float) else ""
        rows.append([str(result.number), result.name, result.verdict, without])
    screen.table(("", "scenario", "verdict", "without a buy"), rows)
    screen.line()
    good = sum(result.verdict == PASSED for result in report.results)
    word, style = ("PASSED", "green") if report.passed else ("NOT PASSED", "red")
    screen.line(f"{word}: {good} of {len(report.results)}; the report is {path}", style)
    return 0 if report.passed else 1
