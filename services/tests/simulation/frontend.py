"""Model frontends: they route purchases and changes to the reign and retry under the same id; reads
go through a holder, or to the catalog's replicas in turn, with fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from emporium.cache.requests import item_key, topic_key
from emporium.catalog.requests import (
    ChangeItem,
    ItemChanged,
    ItemFound,
    ItemList,
    QueryItem,
    QueryTopic,
    TakeConflict,
    TakeRefused,
)
from emporium.order.requests import (
    FindPurchase,
    OrderFound,
    OrderMissing,
    OrderRecorded,
    Purchase,
    PurchaseConflict,
    PurchaseFound,
    PurchaseRefused,
    ReadOrder,
)
from tests.simulation.holders import Cache, Keeper, Process

if TYPE_CHECKING:
    from tests.simulation.run import Store

DEFINITE = (
    OrderRecorded,
    PurchaseRefused,
    PurchaseConflict,
    ItemChanged,
    TakeRefused,
    TakeConflict,
    OrderFound,
    OrderMissing,
    PurchaseFound,
)
AGAIN_MS = 40.0


class Done(Protocol):
    """Whoever waits for an answer."""

    def __call__(self, answer: object, *, cached: bool) -> None:
        """The answer (None: unknown, or not read) and whether it came from a copy."""


@dataclass(slots=True)
class Job:
    """One request of a client on its way."""

    number: int
    role: str
    payload: object
    deadline: float  # true time
    done: Done
    key: str = ""  # of a read
    session: str = ""
    tries: int = 0
    asked: int = -1  # the replica that has it now
    failed: set[int] = field(default_factory=set)


class Frontend(Process):
    """One frontend over all its lives."""

    def __init__(self, store: Store, number: int) -> None:
        super().__init__(store, f"f{number}")
        self.keeper = Keeper(self) if store.plan.cache_mode == "frontend" else None
        self._jobs: dict[int, Job] = {}
        self._number = 0

    # --- life ---

    def start(self) -> None:
        """A new life."""
        if not self.alive:
            super().start()
            if self.keeper is not None:
                self.keeper.start()

    def crash(self) -> None:
        """Its clients see their connections end."""
        if not self.alive:
            return
        super().crash()
        if self.keeper is not None:
            self.keeper.crash()
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            job.done(None, cached=False)

    def lost(self, role: str, replica: int) -> None:
        """Requests on a lost connection are repeated."""
        if not self.runs(self.lost, role, replica):
            return
        if self.keeper is not None and role == "catalog":
            self.keeper.holder.disconnected(replica)
        for job in [j for j in self._jobs.values() if (j.role, j.asked) == (role, replica)]:
            self._again(job)

    def reign_changed(self, role: str) -> None:
        """What the old reign has is given up and repeated under the same id (PROTOCOL 3.5)."""
        for job in [j for j in self._jobs.values() if j.role == role and not j.key]:
            self._again(job)

    # --- what clients ask ---

    def purchase(self, purchase: Purchase, patience_ms: float, done: Done) -> None:
        """Buy or sell."""
        self._begin("order", purchase, patience_ms, done)

    def change(self, change: ChangeItem, patience_ms: float, done: Done) -> None:
        """The operator's change."""
        self._begin("catalog", change, patience_ms, done)

    def read_order(self, number: int, patience_ms: float, done: Done) -> None:
        """An order, at any replica."""
        self._begin("order", ReadOrder(number, "linearizable"), patience_ms, done, "order")

    def find(self, request_id: str, patience_ms: float, done: Done) -> None:
        """What became of a request id, at any replica."""
        self._begin("order", FindPurchase(request_id), patience_ms, done, "order")

    def read(self, item: str, topic: str, patience_ms: float, done: Done) -> None:
        """An item, or, where `item` is empty, a list."""
        query = QueryItem(item, "linearizable") if item else QueryTopic(topic, "linearizable")
        key = item_key(item) if item else topic_key(topic)
        self._begin("catalog", query, patience_ms, done, key)

    def _begin(
        self, role: str, payload: object, patience_ms: float, done: Done, key: str = ""
    ) -> None:
        if not self.alive:
            done(None, cached=False)
            return
        self._number += 1
        deadline = self.world.now + patience_ms
        job = Job(self._number, role, payload, deadline, done, key)
        self._jobs[job.number] = job
        self.world.at(deadline, self._give_up, self.life, job.number)
        self._set_out(self.life, job)

    def _set_out(self, life: int, job: Job) -> None:
        if not self.runs(self._set_out, life, job) or job.number not in self._jobs:
            return
        if life != self.life or not job.key or job.role == "order":
            self._ask(job)
        elif self.keeper is not None:
            value = self.keeper.get(job.key)
            if value is not None:
                self._finish(job, value, cached=True)
                return
            job.session = self.keeper.session()
            self._ask(job)
        elif self.store.caches:
            cache = self.store.caches[0]
            network = self.store.network
            network.send(self.name, cache.name, cache.lookup, self, job.number, job.key)
            wait = self.store.plan.heartbeat_ms
            self.world.after(wait, self._cache_silent, self.life, job.number)
        else:
            self._ask(job)

    def cache_said(self, number: int, value: object, session: str) -> None:
        """A copy, or the session for a fill."""
        job = self._jobs.get(number)
        if job is None or not self.runs(self.cache_said, number, value, session) or job.tries:
            return
        if value is not None:
            self._finish(job, value, cached=True)
        else:
            job.session = session
            self._ask(job)

    def _cache_silent(self, life: int, number: int) -> None:
        job = self._jobs.get(number)
        if life != self.life or job is None or job.tries:
            return
        if self.runs(self._cache_silent, life, number):
            self._ask(job)

    # --- asking replicas ---

    def _target(self, job: Job) -> int:
        if job.key:
            chosen = self.view.choose(job.role, without=frozenset(job.failed))
            if chosen < 0:
                job.failed.clear()
            return chosen
        if job.role == "order" and self.world.chance(0.15):
            return self.world.random.randrange(self.store.members("order"))  # as a seed's client
        return self.primary(job.role)

    def _ask(self, job: Job) -> None:
        replica = self._target(job)
        job.tries += 1
        job.asked = replica
        if job.tries == 2:
            self.world.count("retries")
        wait = self.store.plan.timeout_ms * 1.5
        if replica < 0:
            self.world.after(AGAIN_MS, self._too_late, self.life, job.number, job.tries)
            return
        target = self.store.replicas[job.role][replica]
        token = (self, self.life, job.number * 1_000 + job.tries)
        self.store.network.send(self.name, target.name, target.request, token, job.payload, wait)
        self.world.after(wait, self._too_late, self.life, job.number, job.tries)

    def _too_late(self, life: int, number: int, tries: int) -> None:
        job = self._jobs.get(number)
        if life != self.life or job is None or job.tries != tries:
            return
        if self.runs(self._too_late, life, number, tries):
            job.failed.add(job.asked)
            self._ask(job)

    def _again(self, job: Job) -> None:
        if job.tries and job.number in self._jobs:
            self.world.after(1.0, self._too_late, self.life, job.number, job.tries)

    def returned(self, life: int, number: int, payload: object) -> None:
        """A replica's answer to one of our tries."""
        if life != self.life or not self.runs(self.returned, life, number, payload):
            return
        job_number, tries = divmod(number, 1_000)
        job = self._jobs.get(job_number)
        if job is None:
            return
        if isinstance(payload, DEFINITE):
            self._finish(job, payload, cached=False)
        elif isinstance(payload, ItemFound | ItemList):
            self._fill(job, payload)
            self._finish(job, payload, cached=False)
        elif tries == job.tries:  # not reigning, unknown, unavailable, overloaded, lost
            job.failed.add(job.asked)
            self.world.after(AGAIN_MS, self._too_late, self.life, job_number, tries)

    def _fill(self, job: Job, value: object) -> None:
        if not job.session:
            return
        if self.keeper is not None:
            self.keeper.put(job.key, value, job.session)
            return
        cache: Cache = self.store.caches[0]
        network = self.store.network
        network.send(self.name, cache.name, cache.put, job.key, value, job.session)

    def _finish(self, job: Job, value: Any, *, cached: bool) -> None:
        del self._jobs[job.number]
        if cached:
            self.world.count("cached_reads")
        job.done(value, cached=cached)

    def _give_up(self, life: int, number: int) -> None:
        if life != self.life or number not in self._jobs:
            return
        if self.runs(self._give_up, life, number):
            job = self._jobs.pop(number)
            self.world.count("unknown_outcomes" if not job.key else "reads_given_up")
            job.done(None, cached=False)
