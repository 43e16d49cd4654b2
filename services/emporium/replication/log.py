"""The part of a group's log that a replica keeps in memory: a base, then the entries after it.

The base is (index, epoch, chain) of the last entry that a snapshot stands for; (0, 0, "") at the
start. Every entry's chain hash covers all entries before it, so that two logs with the same chain
at an index are the same up to there.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable

from emporium.replication.messages import Entry


def chain_hash(previous: str, epoch: int, index: int, kind: str, command: str) -> str:
    """The chain hash of an entry that follows one whose chain is `previous`; 32 hex digits."""
    text = f"{previous}|{epoch}|{index}|{kind}|{command}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class LogBroken(Exception):
    """Two logs that must agree don't: memory, disk or network gave back something else."""


class Log:
    """Entries after a base, in order, without a gap."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Begin with `entries`, the first of which is entry 1."""
        self.base_index, self.base_epoch, self.base_chain = 0, 0, ""
        self._entries: list[Entry] = []
        for entry in entries:
            self.add(entry)

    @property
    def last_index(self) -> int:
        """Index of the last entry; that of the base when there is none."""
        return self.base_index + len(self._entries)

    @property
    def last_epoch(self) -> int:
        """Epoch of the last entry."""
        return self._entries[-1].epoch if self._entries else self.base_epoch

    @property
    def last_chain(self) -> str:
        """Chain hash at the last entry."""
        return self._entries[-1].chain if self._entries else self.base_chain

    @property
    def extent(self) -> tuple[int, int]:
        """How up to date the log is: (last entry's epoch, last index), compared in that order."""
        return self.last_epoch, self.last_index

    def epoch_at(self, index: int) -> int:
        """Epoch of the entry at `index`, which is the base's or a later one's."""
        return self.base_epoch if index == self.base_index else self.entry(index).epoch

    def chain_at(self, index: int) -> str:
        """Chain hash at `index`, which is the base's or a later one's."""
        return self.base_chain if index == self.base_index else self.entry(index).chain

    def entry(self, index: int) -> Entry:
        """The entry at `index`; IndexError when it isn't kept."""
        if not self.base_index < index <= self.last_index:
            raise IndexError(f"entry {index} is not in {self.base_index + 1}…{self.last_index}")
        return self._entries[index - self.base_index - 1]

    def make(self, epoch: int, kind: str, command: str = "") -> Entry:
        """Append a new entry and give it."""
        index = self.last_index + 1
        chain = chain_hash(self.last_chain, epoch, index, kind, command)
        entry = Entry(epoch, index, kind, command, chain)
        self._entries.append(entry)
        return entry

    def add(self, entry: Entry) -> None:
        """Append an entry made elsewhere. Raises LogBroken when its chain doesn't fit."""
        fits = chain_hash(self.last_chain, entry.epoch, entry.index, entry.kind, entry.command)
        if entry.index != self.last_index + 1 or entry.chain != fits:
            raise LogBroken(f"entry {entry.index} of epoch {entry.epoch} doesn't fit the log")
        self._entries.append(entry)

    def truncate_from(self, index: int) -> None:
        """Forget every entry from `index` on."""
        del self._entries[index - self.base_index - 1 :]

    def compact_to(self, index: int) -> None:
        """Forget every entry up to `index`, which becomes the base."""
        entry = self.entry(index)
        del self._entries[: index - self.base_index]
        self.base_index, self.base_epoch, self.base_chain = index, entry.epoch, entry.chain

    def reset(self, index: int, epoch: int, chain: str) -> None:
        """Forget everything: the log goes on after this base."""
        self._entries.clear()
        self.base_index, self.base_epoch, self.base_chain = index, epoch, chain

    def after(self, index: int, entries: int, size: int) -> tuple[Entry, ...]:
        """The entries after `index`, at most `entries` and about `size` characters, at least one
        where there is one."""
        start = index - self.base_index
        chosen = self._entries[start : start + entries]
        for count, entry in enumerate(chosen):
            size -= len(entry.command) + 64
            if size < 0 and count > 0:
                return tuple(chosen[:count])
        return tuple(chosen)

    def first_of_epoch(self, index: int) -> int:
        """The first kept index whose entry has the same epoch as the one at `index`."""
        epoch = self.epoch_at(index)
        return self.base_index + 1 + bisect_left(self._entries, epoch, key=lambda e: e.epoch)
