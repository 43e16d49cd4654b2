"""After each scenario: the load stops, the replicas become equal, and the books are checked."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from emporium.client import conservation, linearizability
from emporium.client.cluster import GROUPS, DeadlinePassedError, DrillError
from emporium.client.conservation import Digest, Finding
from emporium.client.history import READ, Operation
from emporium.client.linearizability import Order
from emporium.client.scenarios.stage import Stage
from emporium.client.store import Store

SAMPLES = 20
"""Orders that are also read one by one."""
FEWEST_DIGESTS = 2
"""One of each group, where a group is a single replica."""
SHOWN_VIOLATIONS = 3
CHECKED = "orders"
"""The figure that a result has once its books are checked."""


class Books:
    """Reads the store's books over HTTP, and sees whether an order that was there ever changes."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[int, Order] = {}

    def digests(self, stage: Stage) -> list[Digest]:
        """Every replica's digest, once all are equal; as they are when they don't become so."""
        found: list[Digest] = []

        def equal() -> bool:
            found[:] = _digests(stage)
            return bool(found) and conservation.replicas_equal(found).passed

        with contextlib.suppress(DeadlinePassedError):  # the check will say what differs
            stage.cluster.wait_until(equal, stage.options.settle_s, "replicas are equal")
        return found

    def orders(self, stage: Stage) -> list[Order]:
        """The list of all orders as a frontend tells it; adds the findings on the list itself."""
        store = Store(stage.cluster.frontends(), token=stage.cluster.operator_token())
        try:
            found = store.orders()
            sample = {order.number: order for order in found[:: max(1, len(found) // SAMPLES)]}
            alone = {number: store.order(number) for number in sample}
        finally:
            store.close()
        now = {order.number: order for order in found}
        lost = [f"{was} is {now.get(n)}" for n, was in self._known.items() if now.get(n) != was]
        stage.check("orders never change", not lost, "; ".join(lost[:5]))
        differs = [
            f"{number}: {alone[number]}" for number in sample if alone[number] != now[number]
        ]
        stage.check("each order can be read by its number", not differs, "; ".join(differs[:5]))
        self._known = now
        return found


def _digests(stage: Stage) -> list[Digest]:
    found = []
    for role in GROUPS:
        for replica in stage.replicas(role):
            if not replica.answers and not replica.pid and not replica.process:
                continue  # dead; a scenario that mustn't leave it so has checked that
            try:
                found.append(Digest.of(replica.name, role, stage.cluster.digest(replica.name)))
            except DrillError:
                return []
    return found


def stock_before(stage: Stage, books: Books) -> tuple[dict[str, int], int]:
    """At rest: the stock of every item, and how many orders there are. Raises DrillError."""
    digests = [digest for digest in books.digests(stage) if digest.role == "catalog"]
    if not digests:
        raise DrillError("no catalog replica gives a digest")
    best = max(digests, key=lambda digest: digest.applied)
    return {item: book["stock"] for item, book in best.books.items()}, best.length


def check_store(stage: Stage, books: Books, initial: dict[str, int], ordered: int) -> None:
    """Add the findings on the books, the history and its linearizability to the stage."""
    history = stage.recorder.operations()
    digests = books.digests(stage)
    if len(digests) < FEWEST_DIGESTS:
        stage.check("digests", passed=False, detail="not every replica gives a digest")
        return
    orders = books.orders(stage)
    stage.result.checks += conservation.check_all(digests, orders, history)
    new = [order for order in orders if order.number > ordered]
    stage.result.checks.append(reads_linearizable(history, initial, new))
    stage.result.figures[CHECKED] = len(new)


def reads_linearizable(
    history: Sequence[Operation], initial: dict[str, int], orders: Sequence[Order]
) -> Finding:
    """The history checker's verdict on what all clients saw."""
    violations = linearizability.check(history, initial, orders)
    reads = sum(operation.kind == READ for operation in history)
    detail = f"{len(history)} operations, {reads} of them reads"
    if violations:
        detail = "\n".join(str(violation) for violation in violations[:SHOWN_VIOLATIONS])
    return Finding("reads linearizable", not violations, detail)
