"""A helper of the storage tests: transactions that a replica could ask for, and what they leave."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from emporium.replication.effects import Persist, Promised
from emporium.replication.log import chain_hash
from emporium.replication.messages import COMMAND, GENESIS, NOOP, Entry, Snapshot
from emporium.runtime.data_folder import DataFolder, Opened
from emporium.runtime.journal import JOURNAL, MARK

FILES = (JOURNAL, f"{JOURNAL}-wal", MARK)
VOTERS = ((0, "aa"), (1, "bb"), (2, "cc"))


class History:
    """The log of one replica, kept the dumb way, and the next transactions for it."""

    def __init__(self, seed: int = 0) -> None:
        """Begin with an empty log."""
        self.random = random.Random(seed)
        self.epoch = 1
        self.entries: list[Entry] = []  # all from the first on, compacted or not
        self.snapshot: Snapshot | None = None
        self.base = 0

    @property
    def last(self) -> int:
        """Index of the last entry."""
        return len(self.entries)

    def kept(self) -> tuple[Entry, ...]:
        """The entries that the journal must hold."""
        return tuple(self.entries[self.base :])

    def make(self, kind: str = COMMAND, command: str = "", epoch: int | None = None) -> Entry:
        """The next entry of the log."""
        epoch = self.epoch if epoch is None else epoch
        previous = self.entries[-1].chain if self.entries else ""
        command = command or (f'["Buy","{"é" * self.random.randrange(40)}",{self.last}]')
        command = "" if kind == NOOP else command
        index = self.last + 1
        chain = chain_hash(previous, epoch, index, kind, command)
        entry = Entry(epoch, index, kind, command, chain)
        self.entries.append(entry)
        return entry

    def form(self) -> Persist:
        """The first transaction: genesis and a promise."""
        genesis = self.make(GENESIS, '{"role":"catalog"}', epoch=0)
        return Persist(promised=Promised(1, 0), genesis=genesis, entries=[genesis])

    def append(self, count: int = 1) -> Persist:
        """`count` new entries."""
        return Persist(entries=[self.make() for _ in range(count)])

    def change_reign(self) -> Persist:
        """A newer promise; the end of the log gives way to a no-op of the new epoch."""
        self.epoch += 1
        covered = self.snapshot.index if self.snapshot else 1
        index = self.random.randint(max(covered, self.base), self.last) + 1
        del self.entries[index - 1 :]
        truncate = index if index <= self.last + 1 else None
        noop = self.make(NOOP)
        promised = Promised(self.epoch, self.epoch % 3)
        return Persist(promised=promised, truncate_from=truncate, entries=[noop])

    def take_snapshot(self) -> Persist:
        """A snapshot of what is there, and half of the entries before it compacted."""
        at = self.entries[-1]
        self.snapshot = Snapshot(at.index, at.epoch, at.chain, VOTERS, f"state {at.index}")
        compact = (self.base + at.index) // 2
        self.base = max(self.base, compact)
        return Persist(snapshot=self.snapshot, compact_to=compact, entries=self.append(2).entries)

    def install(self) -> Persist:
        """A snapshot from the reign, far ahead of the log, with the entries after it."""
        truncate = self.base + 1
        for _ in range(self.random.randint(1, 20)):
            self.make()
        at = self.entries[-1]
        self.snapshot = Snapshot(at.index, at.epoch, at.chain, VOTERS, f"state {at.index}")
        self.base = at.index
        after = [self.make() for _ in range(self.random.randrange(3))]
        return Persist(
            truncate_from=truncate, snapshot=self.snapshot, compact_to=at.index, entries=after
        )

    def any(self) -> Persist:
        """Any of the transactions."""
        if not self.entries:
            return self.form()
        makers = (self.append, self.append, self.change_reign, self.take_snapshot, self.install)
        if self.random.random() < 0.2:
            return self.append(self.random.randint(2, 40))
        return self.random.choice(makers)()


def copy_files(source: Path, target: Path) -> Path:
    """What a crash at this moment leaves of a journal, in a folder of its own."""
    target.mkdir(parents=True)
    for name in FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    return target


def open_folder(folder: Path) -> Opened:
    """Open a data folder and close it again; for what was found."""
    data_folder = DataFolder(folder)
    try:
        return data_folder.open()
    finally:
        data_folder.close()
