"""Replicas in one process over the transport's twin: the core and the driver, without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from emporium.catalog.desk import CatalogDesk
from emporium.catalog.requests import ChangeItem, ItemChanged, QueryItem
from emporium.catalog.state_machine import CatalogState
from emporium.replication.core import Core
from emporium.replication.effects import Request
from emporium.replication.messages import Granted, Renew
from emporium.replication.node import Node
from emporium.replication.settings import CoreSettings
from emporium.runtime.clock import SYSTEM
from emporium.runtime.driver import Waiter
from emporium.runtime.faults import FaultRule
from emporium.runtime.frames import Peer
from emporium.runtime.memory_journal import MemoryJournal
from emporium.runtime.memory_transport import MemoryNetwork, MemoryTransport
from emporium.runtime.metrics import Metrics
from emporium.runtime.stepper import Stepper
from emporium.runtime.transport import Identity
from tests.unit.catalog_data import DATA
from tests.waiting import eventually, never

IDS = (0, 1, 2)


@dataclass
class Replica:
    """One of the group."""

    stepper: Stepper
    transport: MemoryTransport

    def ask(self, payload: object) -> object:
        """The desk's answer, within five seconds."""
        waiter = Waiter()
        self.stepper.submit(Request(waiter, payload, SYSTEM.now_ms() + 5000))
        assert waiter.wait(6000)
        return waiter.payload

    def reigns(self) -> bool:
        """Does it say so itself?"""
        return bool(self.stepper.status().get("reigning"))


def replica_of(network: MemoryNetwork, replica: int, fatal: list[str]) -> Replica:
    """One replica, running."""
    journal = MemoryJournal(lambda: f"incarnation-{replica}")
    durable = journal.open()
    settings = CoreSettings(
        "catalog", replica, IDS, heartbeat_interval_ms=50, failure_timeout_ms=200, lease_ms=80,
        data=DATA,
    )  # fmt: skip
    state = CatalogState()
    core = Core(settings, state, durable, SYSTEM.now_ms())
    stepper = Stepper(
        Node(core, CatalogDesk(state)),
        journal,
        SYSTEM,
        Metrics("catalog", replica),
        lambda _line: None,
        lambda sentence, _code: fatal.append(sentence),
    )
    identity = Identity(Peer("catalog", replica), durable.incarnation, lambda: core.group)
    transport = MemoryTransport(network, identity, IDS, stepper.submit)
    transport.start()
    stepper.start(transport)
    return Replica(stepper, transport)


@contextmanager
def group() -> Iterator[tuple[MemoryNetwork, list[Replica]]]:
    """Three replicas, of which 0 reigns."""
    network, fatal = MemoryNetwork(SYSTEM), list[str]()
    replicas = [replica_of(network, replica, fatal) for replica in IDS]
    try:
        eventually(replicas[0].reigns, "the first reign")
        yield network, replicas
    finally:
        for replica in replicas:
            replica.transport.close()
            replica.stepper.stop()
        assert fatal == []


def change(replica: Replica, number: int) -> Callable[[], bool]:
    """Does the replica accept a change under this number?"""
    request = ChangeItem("1", None, 1, f"request-{number:08}")
    return lambda: isinstance(replica.ask(request), ItemChanged)


def test_a_group_forms_and_commits() -> None:
    """Everything that the driver does over TCP works over the twin."""
    with group() as (_, replicas):
        assert eventually(change(replicas[0], 1), "a change")
        views = [replica.ask(QueryItem("1", "linearizable")) for replica in replicas]
        assert views[0] == views[1] == views[2]


def test_a_reign_that_cannot_be_heard_is_replaced_and_comes_back() -> None:
    """A one-way cut of the primary: the others stand; healed, it has seen the newer epoch."""
    with group() as (network, replicas):
        network.faults.set("*", FaultRule(cut=True), sender="catalog-0")
        eventually(lambda: replicas[1].reigns() or replicas[2].reigns(), "a new reign")
        eventually(lambda: not replicas[0].reigns(), "the old one steps down")
        network.faults.clear()
        epoch = max(replica.stepper.status()["epoch"] for replica in replicas)
        eventually(lambda: replicas[0].stepper.status()["epoch"] >= epoch, "the newer epoch")


def test_a_dead_primary_is_replaced_by_the_proof_of_its_death() -> None:
    """A refused connect counts more than silence."""
    with group() as (_, replicas):
        replicas[0].transport.close()
        replicas[0].stepper.stop()
        eventually(replicas[1].reigns, "the second replica's reign")
        eventually(change(replicas[1], 2), "a change")


def test_holders_are_told_over_the_network() -> None:
    """A lease is asked for and granted by the reign alone."""
    with group() as (network, replicas):
        assert eventually(change(replicas[0], 3), "the reign is open")
        renew = Renew("cache-0-a", "", 5.0)

        def granted() -> bool:
            network.hold("cache-0-a", Peer("catalog", 0), renew)
            return any(isinstance(message, Granted) for _, message in network.told)

        eventually(granted, "a lease")
        holder, _ = network.told[-1]
        assert holder == "cache-0-a"


def test_calls_between_roles_end_with_an_answer_or_none() -> None:
    """Nobody there is no answer, at once; a cut is none within the time."""
    with group() as (network, replicas):
        answers: list[object] = []
        transport = replicas[1].transport

        def call(replica: int) -> None:
            query = QueryItem("1", "local")
            transport.call(
                "catalog", replica, query, 1000, lambda answer, _: answers.append(answer)
            )

        call(0)
        eventually(lambda: len(answers) == 1, "an answer")
        assert answers[0] == replicas[0].ask(QueryItem("1", "local"))
        call(7)
        assert answers[1] is None
        network.faults.set("catalog-0", FaultRule(cut=True), sender="catalog-1")
        call(0)
        never(lambda: len(answers) > 2, "an answer", for_s=0.1)
