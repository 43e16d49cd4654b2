"""What a lookup and a buy cost, as ratios to a bare endpoint and to each other.

All sides of a comparison are up at the same time and are asked in turn, round by round. Each round
gives one ratio per side; the figure is their median, with the range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from emporium.local import sides
from emporium.local.measuring import Aim, Spread, percentile, ratios, spread
from emporium.local.sides import LOOKUP, Sample, Side

Tell = Callable[[str], None]

CLIENTS = (1, 9)
WARM = 30  # requests of each client before its first round counts
BARE = "bare endpoint"
LOOKUPS, BUYS = {"get": [LOOKUP]}, {"buy": sides.BOOKS}
ONE_EVENT = "1"  # events in a step: no group commit
CACHED_AIM = Aim(0.8, ">= 0.8x")
REPLICATED_AIM = Aim(0.5, ">= 0.5x of 1 replica")
REPLICATED_CLIENTS = 9
MEDIAN = 0.5


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: rounds of so many seconds for each side."""

    rounds: int
    seconds: float


FULL, QUICK = Effort(7, 2.0), Effort(3, 0.6)


@dataclass(frozen=True, slots=True)
class Figure:
    """One side of one comparison at one number of clients. `ratio` is its rate over that of
    `base`; rates and latencies are of this machine and this hour."""

    comparison: str
    side: str
    base: str
    clients: int
    ratio: Spread
    rate: Spread
    latency_ms: float
    failed: int
    aim: Aim | None = None

    @property
    def verdict(self) -> str:
        """Whether the aim is met; empty without one."""
        return "" if self.aim is None else self.aim.verdict(self.ratio.median)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "comparison": self.comparison,
            "side": self.side,
            "base": self.base,
            "clients": self.clients,
            "ratio": self.ratio.to_json(),
            "requests_per_second": self.rate.to_json(),
            "median_latency_ms": self.latency_ms,
            "failed": self.failed,
            "aim": self.verdict,
        }


def in_turn(these: list[Side], clients: int, effort: Effort, tell: Tell) -> dict[str, list[Sample]]:
    """The samples of each side by its name, A B A B."""
    found: dict[str, list[Sample]] = {side.name: [] for side in these}
    for number in range(effort.rounds):
        for side in these:
            warm = WARM if number == 0 else 1
            sample = sides.measure(side, clients, seconds=effort.seconds, warm=warm)
            found[side.name].append(sample)
        tell(f"  round {number + 1} of {effort.rounds}, {clients} at a time")
    return found


def figure(
    comparison: str,
    samples: dict[str, list[Sample]],
    names: tuple[str, str],
    clients: int,
    aim: Aim | None = None,
) -> Figure:
    """The first of `names` over the second."""
    name, base = names
    rates = [sample.rate for sample in samples[name]]
    latencies = [each for sample in samples[name] for each in sample.latencies_ms]
    return Figure(
        comparison,
        name,
        base,
        clients,
        ratios(rates, [sample.rate for sample in samples[base]]),
        spread(rates),
        round(percentile(latencies, MEDIAN), 3),
        sum(sample.failed for sample in samples[name]),
        aim,
    )


def cached_lookups(effort: Effort, tell: Tell) -> Iterator[Figure]:
    """A book that is in memory: of the frontend, and of a cache process."""
    tell("Cached lookup: starting a bare endpoint and two stores")
    with sides.all_of(
        sides.bare_endpoint(), sides.store(3, "frontend"), sides.store(3, "server")
    ) as (bare, own, server):
        own_name, server_name = "store, cache mode frontend", "store, cache mode server"
        these = [
            Side(BARE, bare, LOOKUPS),
            Side(own_name, sides.frontends_of(own)[0], LOOKUPS),
            Side(server_name, sides.frontends_of(server)[0], LOOKUPS),
        ]
        for clients in CLIENTS:
            samples = in_turn(these, clients, effort, tell)
            yield figure("cached lookup", samples, (own_name, BARE), clients, CACHED_AIM)
            yield figure("cached lookup", samples, (server_name, BARE), clients)


def uncached_lookups(effort: Effort, tell: Tell) -> Iterator[Figure]:
    """Every lookup a linearizable read at a catalog replica."""
    tell("Uncached lookup: starting a bare endpoint and a store")
    with sides.all_of(sides.bare_endpoint(), sides.store(3, "off")) as (bare, plain):
        name = "store, cache mode off"
        these = [Side(BARE, bare, LOOKUPS), Side(name, sides.frontends_of(plain)[0], LOOKUPS)]
        for clients in CLIENTS:
            samples = in_turn(these, clients, effort, tell)
            yield figure("uncached lookup", samples, (name, BARE), clients)


def buys(effort: Effort, tell: Tell) -> Iterator[Figure]:
    """A durable buy, by number of replicas, with and without group commit."""
    tell("Buy: starting a bare endpoint and four stores")
    one, three = "1 replica", "3 replicas"
    one_alone, three_alone = "1 replica, no group commit", "3 replicas, no group commit"
    with sides.all_of(
        sides.bare_endpoint(),
        sides.store(1, "server"),
        sides.store(3, "server"),
        sides.store(1, "server", STEP_EVENTS=ONE_EVENT),
        sides.store(3, "server", STEP_EVENTS=ONE_EVENT),
    ) as (bare, *stores):
        names = (one, three, one_alone, three_alone)
        these = [Side(BARE, bare, LOOKUPS)]
        for name, cluster in zip(names, stores, strict=True):
            these.append(Side(name, sides.frontends_of(cluster)[0], BUYS))
        for clients in CLIENTS:
            samples = in_turn(these, clients, effort, tell)
            for name in names:
                yield figure("buy", samples, (name, BARE), clients)
            aim = REPLICATED_AIM if clients == REPLICATED_CLIENTS else None
            yield figure("buy", samples, (three, one), clients, aim)
            yield figure("buy", samples, (one, one_alone), clients)
            yield figure("buy", samples, (three, three_alone), clients)


COMPARISONS = (cached_lookups, uncached_lookups, buys)
