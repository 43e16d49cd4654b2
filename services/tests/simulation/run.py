"""One seed, from its start to its verdict."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emporium.client.history import Operation
from emporium.replication import effects as fx
from emporium.replication import messages as m
from emporium.replication import reign as reign_module
from tests.simulation import verdict
from tests.simulation.clients import Attempt, Client
from tests.simulation.frontend import Frontend
from tests.simulation.holders import Cache, Keeper, Process
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Network
from tests.simulation.plan import ITEMS, Plan, plan_of
from tests.simulation.replica import Replica
from tests.simulation.watch import Watch
from tests.simulation.world import SimulationFailure, World

if TYPE_CHECKING:
    from collections.abc import Callable

FORMING_MS = 60.0


class Store:
    """All processes of one simulated store."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world, self.plan = world, plan
        self.network = Network(world, ordered=plan.ordered, delay_ms=plan.delay_ms)
        self.watch = Watch(world)
        self.history: list[Operation] = []
        self.open_attempts: dict[Attempt, None] = {}
        self.asked: set[str] = set()  # request ids of all purchases
        self.open_restocks = 0
        self.probes = 0
        self.keepers: dict[str, Keeper] = {}  # by holder
        self.cut_for_ever: set[str] = set()
        self.script_done = True
        self._incarnations = itertools.count(1)
        self.replicas = {
            role: [Replica(self, role, number) for number in range(self.members(role))]
            for role in ("catalog", "order")
        }
        self.everyone = [*self.replicas["catalog"], *self.replicas["order"]]
        self.frontends = [Frontend(self, number) for number in range(plan.frontends)]
        self.caches = [Cache(self, 0)] if plan.cache_mode == "server" else []
        self.listeners: list[Process] = [*self.frontends, *self.caches]
        self.names = [r.name for r in self.everyone] + [each.name for each in self.listeners]
        self.clients = [Client(self, number) for number in range(plan.clients)]
        self.nemesis = Nemesis(self)

    def members(self, role: str) -> int:
        """How many replicas a group has."""
        return self.plan.catalogs if role == "catalog" else self.plan.orders

    def new_incarnation(self) -> str:
        """Different for every journal that is made."""
        return f"i{next(self._incarnations)}"

    def reign(self, role: str) -> Replica | None:
        """Who reigns, as somebody sees who sees everything: the newest epoch."""
        reigns = [r for r in self.replicas[role] if r.node is not None and r.node.core.reigning]
        return max(reigns, key=lambda r: r.node.core.epoch if r.node else 0, default=None)

    def formed(self, role: str) -> bool:
        """Whether every replica of the group has the genesis."""
        return all(r.journal.made and r.checked > 0 for r in self.replicas[role] if r.alive)

    def start(self) -> None:
        """Start every process."""
        for replica in self.everyone:
            self.world.after(self.world.between(0.0, 30.0), replica.start)
        for listener in self.listeners:
            listener.start()
        for client in self.clients:
            client.start()

    def connections_lost(self, replica: Replica) -> None:
        """Every stream of a replica ended: whoever the news reaches hears of it."""
        for peer in self.replicas[replica.role]:
            if peer is not replica:
                event = fx.Lost(replica.replica)
                self.network.send(replica.name, peer.name, peer.deliver, event)
        for listener in self.listeners:
            self.network.send(
                replica.name, listener.name, listener.lost, replica.role, replica.replica
            )

    def to_holder(self, replica: Replica, holder: str, message: object) -> None:
        """From the catalog's reign to a holder, if it still lives."""
        keeper = self.keepers.get(holder)
        if isinstance(message, m.Granted):
            self.watch.granted(message)
        if self.world.tracing:
            self.world.log(replica.name, ">", f"{holder} {message}")
        if keeper is not None:
            self.network.send(
                replica.name, keeper.process.name, keeper.receive, replica.replica, message
            )


@dataclass(slots=True)
class Result:
    """What became of a seed."""

    seed: int
    failure: str  # empty: all promises held
    counts: Counter[str]
    trace: list[str]


@contextmanager
def snapshot_parts(size: int) -> Iterator[None]:
    """Let snapshots travel in parts of `size` characters."""
    before = reign_module.SNAPSHOT_PART
    reign_module.SNAPSHOT_PART = size
    try:
        yield
    finally:
        reign_module.SNAPSHOT_PART = before


def run_seed(
    seed: int,
    plan: Plan | None = None,
    script: Callable[[Store], None] | None = None,
    *,
    tracing: bool = False,
) -> Result:
    """Run one seed; `script` is a directed schedule in place of the nemesis."""
    plan = plan or plan_of(seed)
    world = World(seed, tracing=tracing)
    store = Store(world, plan)
    failure = ""
    with snapshot_parts(plan.snapshot_part):
        try:
            _run(store, script)
        except SimulationFailure as error:
            failure = str(error)
            world.log("-", "FAILED", failure)
    world.counts["virtual_seconds"] += int(world.now / 1000)
    return Result(seed, failure, world.counts, world.trace)


def _run(store: Store, script: Callable[[Store], None] | None) -> None:
    world, plan = store.world, store.plan
    store.start()
    world.run_until(FORMING_MS)
    if script is not None:
        script(store)
    else:
        store.nemesis.start()
        for number in range(plan.restocks):
            when = plan.fault_ms * (number + 0.5) / plan.restocks
            item = world.random.choice(ITEMS)[0]
            world.after(when, store.clients[0].restock, item, 3)
    world.run_until(plan.fault_ms)
    _heal(store)
    if not store.script_done:
        raise SimulationFailure("the script has not come to its end")
    verdict.wait_until_well(store)
    if store.plan.permanent:
        _cut_for_ever(store)
        world.run_until(world.now + 2.5 * plan.timeout_ms)
        verdict.wait_until_well(store)
    for attempt in list(store.open_attempts):
        attempt.give_up()
    for keeper in list(store.keepers.values()):
        keeper.crash()  # only to count
    verdict.check_books(store)


def _heal(store: Store) -> None:
    """End all faults; let the clients finish."""
    store.nemesis.stop()
    for listener in store.listeners:
        listener.resume()
        listener.start()
    for client in store.clients:
        client.stopped = True
    store.network.swallow = None


def _cut_for_ever(store: Store) -> None:
    """One direction between two replicas never heals; the whole group is there, so that the rest
    of it is a majority."""
    groups = [group for group in store.replicas.values() if len(group) > 1]
    if not groups:
        return
    source, target = store.world.random.sample(store.world.random.choice(groups), 2)
    store.network.cut(source.name, target.name)
    store.cut_for_ever |= {source.name, target.name}
    store.nemesis.happened("permanent_one_way", source.name, target.name)
