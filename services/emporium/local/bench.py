"""`emporium bench`: ratios side by side in one run, and fail-over as clients see it.

The figures inform. No time makes it fail; exit code 1 means that something couldn't be measured.
What carries over to another machine are the ratios; rates and seconds are of this one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from emporium.local import failover, rates, sides
from emporium.local.failover import Outcome
from emporium.local.interrupts import stop_signals_interrupt
from emporium.local.layout import GROUPS
from emporium.local.measuring import Spread
from emporium.local.options import whole
from emporium.local.rates import Figure
from emporium.local.screen import Screen

PARTS = ("cached", "uncached", "buy", "failover")
RATES = dict(zip(PARTS, rates.COMPARISONS, strict=False))


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="emporium bench",
        description="Ratios against a bare Flask and gunicorn endpoint, and fail-over times."
        f" About 20 minutes; --quick: 4. Parts: {', '.join(PARTS)}.",
    )
    parser.add_argument("parts", metavar="PART", nargs="*", help="only these (default: all)")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, 3 blows each")
    parser.add_argument("--json", metavar="FILE", default="", help="write all figures there too")
    parser.add_argument(
        "--times", type=whole(1, 1000), metavar="N", help="blows of each kind (20; --quick: 3)"
    )
    return parser


def main(argv: Sequence[str], screen: Screen) -> int:
    """Measure and print. Raises LocalError."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    parts = arguments.parts or PARTS
    effort = rates.QUICK if arguments.quick else rates.FULL
    times = arguments.times or (failover.QUICK_TIMES if arguments.quick else failover.TIMES)
    figures: list[Figure] = []
    outcomes: list[Outcome] = []

    def tell(text: str) -> None:
        screen.line(text, "dim" if text.startswith(" ") else "")

    screen.line(f"This machine: {sides.machine_line()}")
    with stop_signals_interrupt():
        for part, comparison in RATES.items():
            if part in parts:
                found = list(comparison(effort, tell))
                show_rates(screen, found)
                figures += found
        if "failover" in parts:
            outcomes += failover.run(failover.DRILLS, times, tell)
            show_failover(screen, outcomes)
    if arguments.json:
        _write(Path(arguments.json), figures, outcomes, quick=arguments.quick)
    return 0


def show_rates(screen: Screen, figures: Sequence[Figure]) -> None:
    """A table of one comparison."""
    screen.line()
    head = ("", "at a time", "ratio (range)", "to", "per second", "ms (median)", "failed", "aim")
    rows = [
        [
            f"{figure.comparison}: {figure.side}",
            str(figure.clients),
            figure.ratio.text("{:.2f}"),
            figure.base,
            figure.rate.text("{:.0f}"),
            f"{figure.latency_ms:.2f}",
            str(figure.failed),
            figure.verdict,
        ]
        for figure in figures
    ]
    screen.table(head, rows)
    screen.line()


def show_failover(screen: Screen, outcomes: Sequence[Outcome]) -> None:
    """A table of the gaps, in seconds."""
    screen.line()
    head = ("seconds without a buy", "times", "median", "max", "heartbeats", *GROUPS, "aims")
    rows = [
        [
            outcome.drill.name,
            str(len(outcome.blows)),
            f"{outcome.gap.median:.2f}",
            f"{outcome.gap.high:.2f}",
            f"{outcome.gap.median * 1000 / outcome.drill.heartbeat_ms:.1f}",
            *(_seconds(outcome.by_role(role)) for role in GROUPS),
            "; ".join(outcome.verdicts),
        ]
        for outcome in outcomes
    ]
    screen.table(head, rows)
    screen.line()


def _seconds(gap: Spread | None) -> str:
    return "-" if gap is None else gap.text()


def _write(
    path: Path, figures: Sequence[Figure], outcomes: Sequence[Outcome], *, quick: bool
) -> None:
    document = {
        "machine": sides.machine(),
        "quick": quick,
        "rates": [figure.to_json() for figure in figures],
        "failover": [outcome.to_json() for outcome in outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
