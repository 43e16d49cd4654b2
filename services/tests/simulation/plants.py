"""Known bugs, each planted by replacing one small function of the real code.

Every one is caught by the general checks under its named seed, which is clean without it. A plant
that random faults seldom meet has a profile: other weights of the faults, another load, or a
directed schedule (`scripts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from emporium.cache.holder import Holder
from emporium.catalog.desk import CatalogDesk
from emporium.catalog.ledger import Ledger
from emporium.catalog.requests import BUY, TakeRefused
from emporium.catalog.state_machine import OUT_OF_STOCK, UNKNOWN_ITEM, CatalogState
from emporium.order.desk import OrderDesk
from emporium.order.tail import LedgerTail
from emporium.replication.elections import Elections
from emporium.replication.following import Following
from emporium.replication.node import Node
from emporium.replication.reign import Reign
from emporium.replication.release import ReleaseGate
from emporium.replication.voters import Voters
from emporium.runtime.memory_journal import MemoryJournal
from tests.simulation.plan import Plan, plan_of
from tests.simulation.run import Result, run_seed
from tests.simulation.scripts import SCRIPTS

QUIET: dict[str, object] = {
    "cache_mode": "off",
    "loss": 0.0,
    "duplicate": 0.0,
    "late": 0.0,
    "ordered": True,
    "delay_ms": 0.5,
    "heartbeat_ms": 100.0,
    "timeout_ms": 400.0,
    "lease_ms": 0.0,
    "permanent": False,
}
PROFILES: dict[str, dict[str, object]] = {
    "random": {},
    "one by one": {"catalogs": 3, "orders": 1, "batch_entries": 1, **QUIET, "think_ms": 5.0},
    "two holders": {
        **QUIET,
        "catalogs": 3,
        "orders": 3,
        "cache_mode": "frontend",
        "frontends": 2,
        "clients": 6,
        "think_ms": 5.0,
        "reads": 0.8,
        "lease_ms": 200.0,
    },
    "three": {"catalogs": 3, "orders": 1, **QUIET},
    "five": {"catalogs": 5, "orders": 1, **QUIET},
    "crashes": {
        "faults": {"crash": 4, "crash_primary": 8, "restart_all": 6, "isolate_primary": 6},
        "fault_every_ms": 120.0,
        "think_ms": 20.0,
    },
    "disks": {
        "faults": {"lose_disk": 8, "set_back": 4, "crash_primary": 6, "isolate": 6, "deaf": 2},
        "fault_every_ms": 120.0,
        "think_ms": 30.0,
    },
    "copies": {
        "cache_mode": "frontend",
        "frontends": 2,
        "clients": 4,
        "think_ms": 8.0,
        "faults": {
            "pause_primary": 4,
            "isolate_primary": 6,
            "crash_primary": 4,
            "leave_primary": 6,
            "cut_holder": 8,
            "pause_holder": 4,
            "deaf": 3,
            "mute": 3,
            "one_way": 4,
            "bad_weather": 3,
        },
        "fault_every_ms": 120.0,
    },
    "snapshots": {
        "snapshot_entries": 6,
        "keep_entries": 2,
        "clients": 4,
        "think_ms": 10.0,
        "faults": {"restart_all": 10, "crash": 5, "crash_primary": 5},
    },
    "rush": {"clients": 4, "think_ms": 3.0, "fault_ms": 1_500.0},
}


@dataclass(frozen=True, slots=True)
class Plant:
    """One bug: `bug(original)` gives what stands in for `owner.function`."""

    name: str
    rule: str  # of PROTOCOL.md, that it breaks
    owner: type
    function: str
    bug: Callable[[Any], Any]
    seed: int
    profile: str = "random"
    script: str = ""

    def plan(self) -> Plan:
        """What its seed means."""
        return plan_of(self.seed).changed(**PROFILES[self.profile])

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While this lasts, the bug is in the code."""
        bug = self.bug(getattr(self.owner, self.function))
        with mock.patch.object(self.owner, self.function, bug):
            yield

    def run(self, *, planted: bool) -> Result:
        """Its seed, with or without the bug."""
        script = SCRIPTS.get(self.script)
        if not planted:
            return run_seed(self.seed, self.plan(), script)
        with self.planted():
            return run_seed(self.seed, self.plan(), script)

    def catch(self) -> Plant | None:
        """The first seed, from the named one on, that sees the bug. Any change of the code makes
        other schedules of the same seeds, so that the named one may have to be named anew."""
        for seed in range(self.seed, self.seed + SEEDS_TRIED):
            plant = replace(self, seed=seed)
            if plant.run(planted=True).failure:
                return plant
        return None


YES, ZERO = True, 0
SEEDS_TRIED = 80


def _always(value: object) -> Callable[[Any], Any]:
    """A function that gives `value` whatever it is asked."""
    return lambda _original: lambda *_arguments, **_named: value


def _length_only(_original: Any) -> Any:
    def best_log(self: Any) -> int:
        own: int = self.core.replica
        length: dict[int, int] = {
            replica: extent[1] for replica, (_, extent) in self._promises.items()
        }
        best = max(length, key=lambda replica: length[replica])
        return own if length[own] >= length[best] else best

    return best_log


def _no_noop(_original: Any) -> Any:
    return lambda self, _epoch: self.core.applied


def _after_one(_original: Any) -> Any:
    return lambda self: self.core.durable  # of this replica alone


def _no_sync(original: Any) -> Any:
    def write(self: Any, persist: Any) -> None:
        self.skip_sync = True
        original(self, persist)

    return write


def _any_incarnation(_original: Any) -> Any:
    return lambda self, replica, _incarnation, _commit: replica in self.ids


def _no_recount(_original: Any) -> Any:
    def recount(self: Any) -> None:
        self.core.reign.begin(self._target, self._leaving_epoch)

    return recount


def _from_the_maximum(_original: Any) -> Any:
    def fetch_after(self: Any) -> tuple[int, str]:
        sequencer = self._recorder.sequencer
        newest = max(sequencer._buffer, default=0)
        if newest <= sequencer.reach:
            after: tuple[int, str] = sequencer.fetch_after()
            return after
        return newest, sequencer._buffer[newest].chain

    return fetch_after


def _forget_ids(original: Any) -> Any:
    def load(self: Any, rows: Any, *, keep_indexes: bool) -> None:
        original(self, rows, keep_indexes=keep_indexes)
        self._numbers.clear()

    return load


def _new_id(_original: Any) -> Any:
    def request_id(_self: Any, flight: Any) -> str:
        own: str = flight.purchase.request_id
        return f"{own}-{flight.attempts}" if flight.attempts else own

    return request_id


def _decided_when_proposed(_original: Any) -> Any:
    """Takes that were proposed in the same millisecond are decided on the same stock."""

    def refusal(self: Any, request: Any) -> TakeRefused | None:
        stamp, stocks = getattr(self, "seen", (0, {}))
        if stamp != self.stamp:
            stocks = {book.item: book.stock for book in self.books.all()}
            self.seen = self.stamp, stocks
        if request.item not in stocks:
            return TakeRefused(UNKNOWN_ITEM)
        short = request.side == BUY and stocks[request.item] < request.quantity
        return TakeRefused(OUT_OF_STOCK) if short else None

    return refusal


def _all_sales(_original: Any) -> Any:
    return lambda self, _port: self.state.ledger.length


def _unconfirmed(_original: Any) -> Any:
    def grant_confirmed(self: Any) -> None:
        while self._renewals:
            renewal = self._renewals.popleft()
            if self._may_grant():
                self._grant(renewal.message)

    return grant_confirmed


def _before_open(_original: Any) -> Any:
    def may_grant(self: Any) -> bool:
        core = self.core
        return core.lease_ms > 0 and core.reigning and not core.handing_over

    return may_grant


def _session_only(_original: Any) -> Any:
    return lambda self, _key, _index, session: session == self._session


def _round_under_way(_original: Any) -> Any:
    def want_round(self: Any) -> int:
        self._round_wanted = True
        sent: int = self.round
        return sent

    return want_round


def _whole_log(_original: Any) -> Any:
    return lambda self: self.core.log.last_index


PLANTS = (
    Plant("length-only adoption", "1.4", Elections, "_best_log", _length_only, 22, "crashes"),
    Plant("no no-op", "1.2", Reign, "_first_entry", _no_noop, 2),
    Plant(
        "older-epoch entries counted",
        "1.1",
        Reign,
        "_countable",
        _always(YES),
        2,
        "one by one",
        "figure eight",
    ),
    Plant(
        "epoch check dropped",
        "promise 2",
        Following,
        "_current",
        _always(YES),
        1,
        "three",
        "straggler",
    ),
    Plant("acknowledge after 1", "1.1", Reign, "_majority_index", _after_one, 10),
    Plant("sync skipped", "1.3", MemoryJournal, "write", _no_sync, 1, "crashes"),
    Plant("an amnesiac votes at once", "1.6", Voters, "counts", _any_incarnation, 44, "disks"),
    Plant(
        "no recount after adoption",
        "1.6",
        Elections,
        "_recount",
        _no_recount,
        1,
        "five",
        "replaced while standing",
    ),
    Plant("no index check on catch-up", "1.4", Following, "_fits", _always(YES), 1),
    Plant(
        "ledger from the maximum",
        "3.2",
        LedgerTail,
        "_fetch_after",
        _from_the_maximum,
        1,
        "three",
        "answer lost",
    ),
    Plant("refusal not recorded", "3.1", CatalogState, "_record_refusal", _always(None), 48),
    Plant("request ids forgotten at fail-over", "3.3", Ledger, "load", _forget_ids, 6, "snapshots"),
    Plant("new id per retry", "3.1", OrderDesk, "_request_id_for_retry", _new_id, 1),
    Plant(
        "decide when proposing", "1.10", CatalogState, "refusal", _decided_when_proposed, 4, "rush"
    ),
    Plant(
        "read or fill before release",
        "4.3",
        CatalogDesk,
        "_read_index",
        _always(ZERO),
        1,
        "two holders",
        "unheard",
    ),
    Plant(
        "repeat before release",
        "4.3",
        CatalogDesk,
        "_repeat_index",
        _always(ZERO),
        1,
        "two holders",
        "doubled, unheard",
    ),
    Plant(
        "ledger before release",
        "4.3",
        CatalogDesk,
        "_visible_length",
        _all_sales,
        1,
        "two holders",
        "unheard",
    ),
    Plant(
        "a zombie grants leases",
        "4.2",
        ReleaseGate,
        "_grant_confirmed",
        _unconfirmed,
        1,
        "two holders",
        "slow zombie",
    ),
    Plant(
        "a session granted before the no-op",
        "1.2",
        ReleaseGate,
        "_may_grant",
        _before_open,
        1,
        "two holders",
        "no-op on its way",
    ),
    Plant(
        "a reply above the released index",
        "4.3",
        Node,
        "_may_leave",
        _always(YES),
        1,
        "two holders",
        "unheard",
    ),
    Plant(
        "hand-over without the lease table",
        "2.4",
        ReleaseGate,
        "table",
        _always(()),
        1,
        "two holders",
        "unheard hand-over",
    ),
    Plant("accept an old fill", "4.4", Holder, "_accepts_fill", _session_only, 10, "copies"),
    Plant(
        "a read joins a round already sent",
        "1.9",
        Reign,
        "want_round",
        _round_under_way,
        2,
        "three",
        "old echo",
    ),
    Plant(
        "commit beyond the verified index",
        "1.9",
        Following,
        "_limit",
        _whole_log,
        1,
        "one by one",
        "longer log",
    ),
)
"""Every bug of PROTOCOL 6."""
