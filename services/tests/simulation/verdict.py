"""What is checked at the end: the store works again, and the books and the history are right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from emporium.client import conservation, linearizability
from emporium.client.conservation import Digest
from emporium.client.linearizability import Order
from emporium.order.requests import OrderRecorded, Purchase, PurchaseRefused
from tests.simulation.plan import ITEMS
from tests.simulation.replica import Replica
from tests.simulation.world import SimulationFailure

if TYPE_CHECKING:
    from tests.simulation.run import Store

STEP_MS = 50.0
BUDGET = 300_000


def wait_until_well(store: Store) -> None:
    """Promise 7: purchases succeed on every frontend, and all replicas that can hear the reign are
    equal voters, within bounded time."""
    world = store.world
    deadline = world.now + store.plan.heal_ms
    probes = Probes(store)
    while True:
        world.run_until(world.now + STEP_MS)
        probes.send()
        if probes.all_bought and store.open_restocks == 0 and not _unwell(store):
            return
        if world.now >= deadline:
            waiting = sorted(probes.waiting) or ("restocks" if store.open_restocks else "")
            raise SimulationFailure(
                f"not well {store.plan.heal_ms:g} ms after the faults:"
                f" waits for {waiting}; {_unwell(store)}"
            )


class Probes:
    """A purchase through each frontend."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.waiting = {frontend.name for frontend in store.frontends}
        self._sent: set[str] = set()

    @property
    def all_bought(self) -> bool:
        """Whether every frontend has sold something."""
        return not self.waiting

    def send(self) -> None:
        """Try where none is under way."""
        for frontend in self.store.frontends:
            if frontend.name in self._sent or not frontend.alive:
                continue
            self._sent.add(frontend.name)
            name = frontend.name

            def done(answer: object, name: str = name, **_: bool) -> None:
                if isinstance(answer, OrderRecorded | PurchaseRefused):
                    self.waiting.discard(name)
                else:
                    self._sent.discard(name)

            self.store.probes += 1
            request_id = f"probe-{self.store.probes}"
            purchase = Purchase("1", 1, "buy", request_id, forwarded=False)
            frontend.purchase(purchase, 5 * self.store.plan.timeout_ms, done)


def _reached(store: Store, role: str) -> list[Replica]:
    """The replicas of a group that nothing is kept from for ever."""
    return [r for r in store.replicas[role] if r.name not in store.cut_for_ever]


def _unwell(store: Store) -> str:
    """Why the store isn't at rest and whole; empty when it is."""
    lengths = set()
    for role in ("catalog", "order"):
        states = set()
        for replica in _reached(store, role):
            if replica.node is None:
                return f"{replica.name} is down"
            core = replica.node.core
            if not core.voter:
                return f"{replica.name} is no voter"
            if not core.vitals.caught_up or not core.vitals.serving:
                return f"{replica.name} isn't caught up"
            states.add((core.applied, core.log.last_index))
            ledger: Any = core.machine
            lengths.add(ledger.ledger.length if role == "catalog" else ledger.watermark)
        if len(states) > 1 or len({*next(iter(states))}) > 1:
            return f"{role}: applied and last index differ: {sorted(states)}"
    if len(lengths) > 1:
        return f"sales and orders differ: {sorted(lengths)}"
    return ""


def check_books(store: Store) -> None:
    """Promises 1, 3, 4, 5 and 6 over the final orders and the history."""
    orders, digests = _orders(store), _digests(store)
    history = store.history
    for finding in conservation.check_all(digests, orders, history):
        if not finding.passed:
            raise SimulationFailure(f"{finding.name}: {finding.detail}")
    for order in orders:
        if not order.request_id.startswith("probe-") and order.request_id not in store.asked:
            raise SimulationFailure(f"nobody asked for order {order}")
    initial = {item: stock for item, _, stock in ITEMS}
    violations = linearizability.check(history, initial, orders, BUDGET)
    if violations:
        raise SimulationFailure("not linearizable: " + "\n".join(map(str, violations)))


def _orders(store: Store) -> list[Order]:
    machine: Any = _node(_reached(store, "order")[0]).core.machine
    sales = machine.orders.after(0, machine.watermark, machine.watermark)
    return [Order(s.number, s.request_id, s.item, s.quantity, s.side) for s in sales]


def _digests(store: Store) -> list[Digest]:
    found = []
    for role in ("catalog", "order"):
        for replica in _reached(store, role):
            core = _node(replica).core
            machine: Any = core.machine
            ledger = machine.ledger if role == "catalog" else machine.orders
            books = json.loads(machine.books.text()) if role == "catalog" else {}
            found.append(
                Digest(
                    replica.name,
                    role,
                    core.applied,
                    machine.digest(),
                    ledger.length,
                    ledger.chain,
                    books,
                )
            )
    return found


def _node(replica: Replica) -> Any:
    assert replica.node is not None
    return replica.node
