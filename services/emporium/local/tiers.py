"""The seeds' questions as measurements: response times per tier, with and without a cache, and
what becomes of a copy when its book is bought.

Three stores that differ in the cache mode alone are up at the same time, beside a bare endpoint.
Each is asked in turn, in several portions, so that what slows the machine for a while slows all of
them. The requests are those of the bookstore; the tiers come from the answers' `Server-Timing`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emporium.local import sides
from emporium.local.cluster import LocalCluster
from emporium.local.measuring import mean_by_tier
from emporium.local.sides import LOOKUP, Sample, Side

Tell = Callable[[str], None]

OFF, SERVER, FRONTEND = "off", "server", "frontend"
MODES = (OFF, SERVER, FRONTEND)
SEARCH, LOOK_UP, BUY = "search", "lookup", "buy"
OPERATIONS = {
    SEARCH: {"get": [f"/search?topic={topic}" for topic in sides.TOPICS]},
    LOOK_UP: {"get": [f"/lookup?item_number={book}" for book in sides.BOOKS]},
    BUY: {"get": [f"/buy?item_number={book}" for book in sides.BOOKS]},
}
BARE = "bare"
PORTIONS = 4
WARM = 10
LEAST_ROUNDS = 10
ROUNDS_SHARE = 5  # one life of a copy for so many requests


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean response times of one operation, in ms: as the client sees them, and by tier."""

    operation: str
    mode: str
    clients: int
    client_ms: float
    tiers_ms: dict[str, float]
    failed: int


@dataclass(frozen=True, slots=True)
class Life:
    """Medians in ms: a lookup that a copy can answer, the buy that makes it old, the lookup after
    that. The shares say how many of the lookups were answered from a copy."""

    mode: str
    before_ms: float
    buy_ms: float
    after_ms: float
    before_copies: float
    after_copies: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of it. `bare_ms` is the mean of the bare endpoint by number of clients."""

    machine: dict[str, str]
    requests: int
    clients: tuple[int, ...]
    bare_ms: dict[int, float]
    cells: tuple[Cell, ...]
    lives: tuple[Life, ...]

    @property
    def unit_ms(self) -> float:
        """What everything is compared with: the bare endpoint with the fewest clients."""
        return self.bare_ms[min(self.clients)]

    def cell(self, operation: str, mode: str, clients: int) -> Cell:
        """One cell. Raises KeyError."""
        for cell in self.cells:
            if (cell.operation, cell.mode, cell.clients) == (operation, mode, clients):
                return cell
        raise KeyError((operation, mode, clients))

    def life(self, mode: str) -> Life:
        """The life of a copy in one mode. Raises KeyError."""
        return {life.mode: life for life in self.lives}[mode]


def evaluate(clients: Sequence[int], requests: int, tell: Tell) -> Evaluation:
    """Measure everything. Raises LocalError."""
    tell("Starting a bare endpoint and three stores")
    with sides.all_of(sides.bare_endpoint(), *(sides.store(3, mode) for mode in MODES)) as (
        bare,
        *stores,
    ):
        clusters = dict(zip(MODES, stores, strict=True))
        bare_ms: dict[int, float] = {}
        cells: list[Cell] = []
        for count in clients:
            for operation in OPERATIONS:
                tell(f"  {operation}, {count} at a time")
                found = _operation(bare, clusters, operation, count, requests)
                if operation == LOOK_UP:
                    bare_ms[count] = _mean_ms(found[BARE])
                cells += [_cell(operation, mode, count, found[mode]) for mode in MODES]
        tell("  the life of a copy")
        lives = _lives(clusters, max(LEAST_ROUNDS, requests // ROUNDS_SHARE))
    return Evaluation(
        sides.machine(), requests, tuple(clients), bare_ms, tuple(cells), tuple(lives)
    )


def _address(cluster: LocalCluster) -> str:
    return sides.frontends_of(cluster)[0]


def _operation(
    bare: str, clusters: dict[str, LocalCluster], operation: str, clients: int, requests: int
) -> dict[str, list[Sample]]:
    what = OPERATIONS[operation]
    these = [Side(mode, _address(clusters[mode]), what) for mode in MODES]
    if operation == LOOK_UP:
        these.append(Side(BARE, bare, {"get": [LOOKUP]}))
    portion = math.ceil(requests / PORTIONS)
    found: dict[str, list[Sample]] = {side.name: [] for side in these}
    for _ in range(PORTIONS):
        for side in these:
            more: dict[str, Any] = {"requests": portion, "warm": WARM, "timings": True}
            found[side.name].append(sides.measure(side, clients, **more))
    return found


def _mean_ms(samples: Sequence[Sample]) -> float:
    return statistics.fmean(each for sample in samples for each in sample.latencies_ms)


def _cell(operation: str, mode: str, clients: int, samples: Sequence[Sample]) -> Cell:
    headers = [header for sample in samples for header in sample.timings]
    failed = sum(sample.failed for sample in samples)
    return Cell(operation, mode, clients, _mean_ms(samples), mean_by_tier(headers), failed)


def _lives(clusters: dict[str, LocalCluster], rounds: int) -> list[Life]:
    portion = math.ceil(rounds / PORTIONS)
    told: dict[str, list[dict[str, Any]]] = {mode: [] for mode in clusters}
    for _ in range(PORTIONS):
        for mode, cluster in clusters.items():
            order = {"mode": "cycle", "address": _address(cluster), "rounds": portion}
            told[mode].append(sides.generate(order))
    return [_life(mode, portion * PORTIONS, parts) for mode, parts in told.items()]


def _life(mode: str, rounds: int, parts: Sequence[dict[str, Any]]) -> Life:
    def median_ms(name: str) -> float:
        return float(statistics.median(ms for part in parts for ms in part["latencies_ms"][name]))

    def share(name: str) -> float:
        return sum(int(part["copies"][name]) for part in parts) / rounds

    return Life(
        mode, median_ms("hit"), median_ms("buy"), median_ms("after"), share("hit"), share("after")
    )
