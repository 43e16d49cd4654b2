"""The plots of docs/EVALUATION.md, as SVG with the same bytes for the same figures."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emporium.local.errors import LocalError
from emporium.local.evaluation_report import LIFE_PLOT, RESPONSE_PLOT, TIERS_PLOT, shares
from emporium.local.tiers import BUY, FRONTEND, LOOK_UP, MODES, OFF, OPERATIONS, SERVER, Evaluation

COLOURS = {OFF: "#9a6324", SERVER: "#4363d8", FRONTEND: "#3cb44b"}
TIER_COLOURS = {
    "HTTP": "#bdbdbd",
    "frontend": "#3cb44b",
    "cache": "#4363d8",
    "order": "#f58231",
    "catalog": "#9a6324",
}
STYLE = {
    "svg.hashsalt": "emporium",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
UNIT = "times a bare answer"


def draw(found: Evaluation, folder: Path) -> list[Path]:
    """Write all plots into `folder`. Raises LocalError without matplotlib."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        raise LocalError(
            "the plots need matplotlib", "pip install 'emporium[evaluate]', or give --no-plots"
        ) from None
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    plots = {RESPONSE_PLOT: _response, TIERS_PLOT: _tiers, LIFE_PLOT: _life}
    with matplotlib.rc_context(STYLE):
        for name, plot in plots.items():
            figure = plot(pyplot, found)
            figure.savefig(folder / name, format="svg", metadata={"Date": None, "Creator": None})
            pyplot.close(figure)
            _strip(folder / name)
    return [folder / name for name in plots]


def _strip(path: Path) -> None:
    """No blanks at line ends, which matplotlib leaves."""
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", "utf-8")


def _response(pyplot: Any, found: Evaluation) -> Any:
    figure, axes = pyplot.subplots(1, len(OPERATIONS), figsize=(9, 3), layout="constrained")
    for axis, operation in zip(axes, OPERATIONS, strict=True):
        for mode in MODES:
            values = [
                found.cell(operation, mode, count).client_ms / found.unit_ms
                for count in found.clients
            ]
            axis.plot(
                found.clients, values, marker="o", color=COLOURS[mode], label=f"cache mode {mode}"
            )
        if operation == LOOK_UP:
            bare = [found.bare_ms[count] / found.unit_ms for count in found.clients]
            axis.plot(found.clients, bare, color="#808080", linestyle="--", label="bare endpoint")
        axis.set_title(operation)
        axis.set_xlabel("clients")
        axis.set_xticks(list(found.clients))
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel(UNIT)
    _above(figure, axes[1])
    return figure


def _tiers(pyplot: Any, found: Evaluation) -> Any:
    count = min(found.clients)
    bars = [(LOOK_UP, mode) for mode in MODES] + [(BUY, OFF), (BUY, SERVER)]
    parts = [shares(found.cell(operation, mode, count)) for operation, mode in bars]
    names = [f"{operation}, {mode}" for operation, mode in bars]
    figure, axis = pyplot.subplots(figsize=(9, 2.8), layout="constrained")
    _stack(axis, names, parts, found.unit_ms)
    axis.invert_yaxis()
    axis.set_xlabel(f"{UNIT}; {count} client{'' if count == 1 else 's'}")
    _above(figure, axis)
    return figure


def _stack(
    axis: Any, names: Sequence[str], parts: Sequence[dict[str, float]], unit_ms: float
) -> None:
    left = [0.0] * len(names)
    for tier, colour in TIER_COLOURS.items():
        widths = [part.get(tier, 0.0) / unit_ms for part in parts]
        axis.barh(names, widths, left=left, color=colour, label=tier)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]


def _life(pyplot: Any, found: Evaluation) -> Any:
    figure, axis = pyplot.subplots(figsize=(9, 2.8), layout="constrained")
    width = 0.25
    for number, mode in enumerate(MODES):
        life = found.life(mode)
        values = [each / found.unit_ms for each in (life.before_ms, life.buy_ms, life.after_ms)]
        places = [index + (number - 1) * width for index in range(len(values))]
        axis.bar(places, values, width, color=COLOURS[mode], label=f"cache mode {mode}")
    axis.set_xticks(range(3), ["lookup before", "buy", "lookup after"])
    axis.set_ylabel(UNIT)
    _above(figure, axis)
    return figure


def _above(figure: Any, axis: Any) -> None:
    """The axis' legend in one line above everything, where it hides nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
