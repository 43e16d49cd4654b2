"""What the journals of a group hold, worked out without any of its processes.

A journal is read as of one moment, also beside the process that uses it. Replaying its snapshot
and entries gives the state that the replica would have after them all.

**The group's log** is chosen as one who stands for a reign chooses it (PROTOCOL 1.4): the log of
a majority that is most up to date, by (epoch of the last entry, last index). Every acknowledged
entry is at a majority, so it is in that log. Its end may hold entries that nobody was told of
yet; a new reign would commit them, too.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from emporium.catalog.state_machine import CatalogState
from emporium.local.errors import LocalError
from emporium.order.state_machine import OrderState
from emporium.replication.messages import COMMAND, Entry, Snapshot
from emporium.runtime.backup import JournalReport, read_journal, verify_journal
from emporium.runtime.errors import JournalError
from emporium.runtime.journal import JOURNAL
from emporium.runtime.journal_rows import Contents


@dataclass(frozen=True)
class Log:
    """One replica's journal: its check, and what it holds when that could be read."""

    name: str  # catalog-0
    report: JournalReport
    contents: Contents | None

    @property
    def extent(self) -> tuple[int, int]:
        """How up to date it is."""
        return self.report.last_epoch, self.report.last_index

    @cached_property
    def chains(self) -> dict[int, str]:
        """The chain hash after each entry that the journal knows, by index."""
        if self.contents is None:
            return {}
        chains = {entry.index: entry.chain for entry in self.contents.entries}
        if self.contents.snapshot is not None:
            chains[self.contents.snapshot.index] = self.contents.snapshot.chain
        return chains


@dataclass(frozen=True, slots=True)
class State:
    """A replica's state after entry `index`. `length` and `ledger` (a chain hash) say which sales
    it has."""

    index: int
    epoch: int
    chain: str
    digest: str
    length: int
    ledger: str
    machine: CatalogState | OrderState

    def snapshot(self) -> str:
        """The whole state as text."""
        return self.machine.snapshot()

    def has_sales(self, length: int, ledger: str) -> bool:
        """Whether the first `length` sales are those whose chain hash is `ledger`."""
        machine = self.machine
        own = machine.ledger if isinstance(machine, CatalogState) else machine.orders
        return not length or own.holds(length, ledger)

    def books(self) -> dict[str, dict[str, int]]:
        """The catalog's books by item; empty for the orders."""
        if not isinstance(self.machine, CatalogState):
            return {}
        books: dict[str, dict[str, int]] = json.loads(self.machine.books.text())
        return books


def read_log(name: str, folder: Path) -> Log:
    """Check and read the journal of one replica."""
    report = verify_journal(folder)
    if not report.whole:
        return Log(name, report, None)
    try:
        return Log(name, report, read_journal(folder / JOURNAL))
    except (JournalError, sqlite3.Error) as error:  # it was whole a moment ago
        raise LocalError(f"{name}: the journal can't be read: {error}") from None


def replay(role: str, log: Log, upto: int = 0) -> State:
    """The state after entry `upto` (0: after the last). Raises LocalError when the journal
    doesn't reach from its beginning, or from a snapshot, to there."""
    upto = upto or log.report.last_index
    machine = CatalogState() if role == "catalog" else OrderState()
    contents = log.contents
    if contents is None or contents.genesis is None:
        raise LocalError(f"{log.name}: the journal holds no group yet")
    at, epoch, chain = _start(machine, contents.genesis, contents.snapshot, upto)
    for entry in contents.entries:
        if at < entry.index <= upto:
            if entry.index != at + 1:
                break
            if entry.kind == COMMAND:
                machine.apply(entry.index, entry.command)
            at, epoch, chain = entry.index, entry.epoch, entry.chain
    if at != upto:
        raise LocalError(f"{log.name}: the journal doesn't reach entry {upto} without a gap")
    ledger = machine.ledger if isinstance(machine, CatalogState) else machine.orders
    return State(at, epoch, chain, machine.digest(), ledger.length, ledger.chain, machine)


def _start(
    machine: CatalogState | OrderState, genesis: Entry, snapshot: Snapshot | None, upto: int
) -> tuple[int, int, str]:
    """Load the snapshot, or what the genesis carries; give its index, epoch and chain hash."""
    if snapshot is not None and snapshot.index <= upto:
        machine.restore(snapshot.state)
        return snapshot.index, snapshot.epoch, snapshot.chain
    machine.start(json.dumps(json.loads(genesis.command)["data"]))
    return genesis.index, genesis.epoch, genesis.chain


def load(role: str, text: str) -> State:
    """The state that a snapshot holds, for looking into a backup. Raises LocalError."""
    machine = CatalogState() if role == "catalog" else OrderState()
    try:
        machine.restore(text)
    except ValueError as error:
        raise LocalError(f"no state of the {role}: {error}") from None
    ledger = machine.ledger if isinstance(machine, CatalogState) else machine.orders
    return State(0, 0, "", machine.digest(), ledger.length, ledger.chain, machine)


def choose_log(role: str, logs: list[Log]) -> Log:
    """The group's log. Raises LocalError when less than a majority of the journals is whole and
    belongs to one group."""
    groups = [log.report.group for log in logs if log.report.group]
    majority = len(logs) // 2 + 1
    for group in sorted(set(groups)):
        members = [log for log in logs if log.contents is not None and log.report.group == group]
        if len(members) >= majority:
            return max(members, key=lambda log: log.extent)
    raise LocalError(
        f"less than a majority of the {len(logs)} {role} journals is whole and of one group",
        "`emporium verify` says what each of them holds",
    )
