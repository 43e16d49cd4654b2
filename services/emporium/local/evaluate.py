"""`emporium evaluate`: the seeds' questions, answered with tables, plots and docs/EVALUATION.md.

The tables on the screen are in milliseconds of this machine; those in the document are multiples of
a bare endpoint's answer, which carry over better.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emporium.local import evaluation_plots, evaluation_report, sides, tiers
from emporium.local.errors import LocalError
from emporium.local.interrupts import stop_signals_interrupt
from emporium.local.options import whole
from emporium.local.screen import Screen
from emporium.local.tiers import LOOK_UP, MODES, OPERATIONS, Evaluation

MOST_CLIENTS = 64
DOCUMENT = "docs/EVALUATION.md"
IMAGES = "images"


def _clients(text: str) -> tuple[int, ...]:
    one = whole(1, MOST_CLIENTS)
    counts = tuple(sorted({int(one(part)) for part in text.split(",")}))
    if not counts:
        raise argparse.ArgumentTypeError("give at least one number")
    return counts


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="emporium evaluate",
        description="Search, lookup and buy per tier, with and without a cache.",
    )
    parser.add_argument(
        "--clients",
        type=_clients,
        default=(1, 3, 5, 9),
        metavar="N,N",
        help="numbers of clients at a time (1,3,5,9)",
    )
    parser.add_argument(
        "--requests", type=whole(4, 1_000_000), default=1000, metavar="N", help="each (1000)"
    )
    parser.add_argument(
        "--output",
        default=DOCUMENT,
        metavar="FILE",
        help=f"the document ({DOCUMENT}); the plots go into {IMAGES}/ beside it",
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write all figures there too")
    parser.add_argument(
        "--bench", default="", metavar="FILE", help="add the figures of `bench --json FILE`"
    )
    parser.add_argument("--no-plots", action="store_true", help="needs no matplotlib")
    return parser


def main(argv: Sequence[str], screen: Screen) -> int:
    """Measure, print, write. Raises LocalError."""
    arguments = build_parser().parse_args(argv)
    bench = _read(arguments.bench) if arguments.bench else None
    screen.line(f"This machine: {sides.machine_line()}")
    with stop_signals_interrupt():
        found = tiers.evaluate(arguments.clients, arguments.requests, screen.line)
    show(screen, found)
    if arguments.json:
        _write(Path(arguments.json), json.dumps(asdict(found), indent=1) + "\n")
    path = Path(arguments.output)
    if not arguments.no_plots:
        evaluation_plots.draw(found, path.parent / IMAGES)
    _write(path, evaluation_report.document(found, IMAGES, bench))
    screen.line(f"Written: {path}")
    return 0


def _read(path: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LocalError(f"{path}: not readable: {error}") from None
    return content


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def show(screen: Screen, found: Evaluation) -> None:
    """All tables, in milliseconds."""
    head = ("ms, mean", *(f"{count} at a time" for count in found.clients))
    for operation in OPERATIONS:
        for mode in MODES:
            screen.title(f"{operation}, cache mode {mode}")
            cells = [found.cell(operation, mode, count) for count in found.clients]
            rows = [
                [tier, *("-" if value is None else f"{value:.3f}" for value in values)]
                for tier, values in evaluation_report.tier_rows(operation, cells)
            ]
            if any(cell.failed for cell in cells):
                rows.append(["failed requests", *(str(cell.failed) for cell in cells)])
            screen.table(head, rows)
        if operation == LOOK_UP:
            screen.title("bare endpoint")
            values = [f"{found.bare_ms[count]:.3f}" for count in found.clients]
            screen.table(head, [["client", *values]])
    screen.title("the life of a copy, one client")
    rows = [
        [
            life.mode,
            *(f"{each:.3f}" for each in (life.before_ms, life.buy_ms, life.after_ms)),
            f"{life.before_copies:.0%}",
            f"{life.after_copies:.0%}",
        ]
        for life in found.lives
    ]
    columns = ("ms, median", "lookup before", "buy", "lookup after", "copies before", "after")
    screen.table(columns, rows)
    screen.line()
