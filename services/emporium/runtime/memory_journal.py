"""The journal's twin in memory: the same rules without a disk, and disks that misbehave.

The simulation and the tests keep a `MemoryJournal` per replica, as they would keep its data
folder, and open it again after a crash. What can go wrong with it:

    crash()            what isn't synced is lost; with `skip_sync` on nothing is synced but by hand
    set_back(n)        the newest n transactions vanish, the mark stays: found at the next open
    erase()            the whole folder is gone, the mark too: a new disk
    break_entry(i)     entry i is changed: found at the next open
    fail(error)        the next write raises; after anything but DiskFull the journal is poisoned
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from emporium.replication.effects import Durable, Persist, Promised
from emporium.replication.log import chain_hash
from emporium.replication.messages import Entry, Snapshot
from emporium.runtime.data_folder import AMNESIAC, FRESH, INTACT, Opened
from emporium.runtime.errors import Corrupt, DiskFull, JournalError
from emporium.runtime.journal_rows import check_follows

_NONE = Promised()
_HISTORY = 64  # transactions that can be taken back


@dataclass(slots=True)
class _Contents:
    """What a journal holds; the log is everything after (base_index, base_chain)."""

    counter: int = 0
    promised: Promised = _NONE
    genesis: Entry | None = None
    snapshot: Snapshot | None = None
    base_index: int = 0
    base_chain: str = ""
    entries: list[Entry] = field(default_factory=list)

    def copy(self) -> _Contents:
        """An independent copy."""
        return replace(self, entries=list(self.entries))

    @property
    def last_index(self) -> int:
        """Index of the last entry, or of the base."""
        return self.base_index + len(self.entries)

    def chain_at(self, index: int) -> str:
        """Chain hash at the base or at a kept entry."""
        if index == self.base_index:
            return self.base_chain
        if not self.base_index < index <= self.last_index:
            raise JournalError(f"entry {index} isn't in the journal")
        return self.entries[index - self.base_index - 1].chain

    def apply(self, persist: Persist) -> None:
        """One transaction in the documented order; JournalError for what can't follow."""
        if persist.promised is not None:
            self._promise(persist.promised)
        if persist.genesis is not None:
            if self.genesis not in (None, persist.genesis):
                raise JournalError("the journal belongs to another group")
            self.genesis = persist.genesis
        if persist.truncate_from is not None:
            self._truncate(persist.truncate_from, replaced=persist.snapshot is not None)
        if persist.snapshot is not None:
            self._put_snapshot(persist.snapshot)
        if persist.compact_to is not None:
            self._compact(persist.compact_to)
        if persist.entries:
            self._append(persist.entries)
        self.counter += 1

    @property
    def _snapshot_index(self) -> int:
        return self.snapshot.index if self.snapshot else 0

    def _promise(self, promised: Promised) -> None:
        if promised.epoch < self.promised.epoch:
            raise JournalError(f"epoch {self.promised.epoch} is promised already")
        self.promised = promised

    def _truncate(self, index: int, *, replaced: bool) -> None:
        if index <= max(self.base_index, self._snapshot_index) and not replaced:
            raise JournalError(f"entry {index} is covered by the snapshot and can't be truncated")
        del self.entries[max(0, index - self.base_index - 1) :]

    def _put_snapshot(self, snapshot: Snapshot) -> None:
        index = snapshot.index
        if index < max(self.base_index, self._snapshot_index):
            raise JournalError(f"the snapshot at {index} is older than what the journal has")
        if index > self.last_index or self.chain_at(index) != snapshot.chain:
            self.base_index, self.base_chain = index, snapshot.chain
            self.entries.clear()
        self.snapshot = snapshot

    def _compact(self, index: int) -> None:
        if index <= self.base_index:
            return
        if index > self._snapshot_index:
            raise JournalError(f"entry {index} isn't covered by the snapshot")
        chain = self.chain_at(index)
        del self.entries[: index - self.base_index]
        self.base_index, self.base_chain = index, chain

    def _append(self, entries: list[Entry]) -> None:
        entries = [entry for entry in entries if entry.index > self.base_index]
        check_follows(entries, self.last_index, self.chain_at(self.last_index))
        self.entries.extend(entries)

    def check(self) -> None:
        """Verify the chain from the base to the end. Raises Corrupt."""
        index, chain = self.base_index, self.base_chain
        for entry in self.entries:
            fits = chain_hash(chain, entry.epoch, entry.index, entry.kind, entry.command)
            if entry.index != index + 1 or entry.chain != fits:
                raise Corrupt(f"the chain is broken at entry {entry.index}")
            index, chain = entry.index, entry.chain


class MemoryJournal:
    """The journal of one replica over all its lives. It is both the storage and the disk."""

    def __init__(self, incarnation: Callable[[], str]) -> None:
        """`incarnation` gives a new, different one whenever a journal is made."""
        self._new_incarnation = incarnation
        self.skip_sync = False  # a planted bug: writes return before they are on the disk
        self.set_aside = 0  # journals that were not trusted
        self.incarnation = ""
        self._erase()

    def _erase(self) -> None:
        self.made = False
        self._marked: tuple[int, Promised] | None = None
        self._poisoned = ""
        self._failure: JournalError | None = None
        self._oldest = _Contents()  # before the transactions in _recent
        self._recent: deque[Persist] = deque()
        self._unsynced = 0  # how many of _recent, at its end, aren't on the disk
        self._now: _Contents | None = None  # what the process sees; None while it is closed

    # --- as the driver uses it ---

    def open(self) -> Durable:
        """What is on the disk, verified. Raises Corrupt as the real one does."""
        if self._poisoned:
            raise Corrupt(f"the journal is poisoned ({self._poisoned})")
        if not self.made and self._marked is not None:
            raise Corrupt("the journal is gone, but its mark is there")
        contents = self._contents()
        contents.check()
        if self._marked is not None:
            counter, promised = self._marked
            if contents.counter < counter or contents.promised.epoch < promised.epoch:
                raise Corrupt(
                    f"the journal is at transaction {contents.counter}, its mark at {counter}"
                )
        if not self.made:
            self.made, self.incarnation = True, self._new_incarnation()
        self._failure = None
        self._now = contents
        self._mark(contents)
        return self.durable()

    def write(self, persist: Persist) -> None:
        """One transaction. Raises JournalError; the journal is then closed."""
        contents = self._now
        if contents is None:
            raise JournalError("the journal isn't open")
        try:
            if self._failure is not None:
                raise self._failure
            contents.apply(persist)
        except JournalError:
            self._now = None
            raise
        self._recent.append(replace(persist, entries=list(persist.entries)))
        self._mark(contents)
        if self.skip_sync:
            self._unsynced += 1
        elif len(self._recent) - self._unsynced > _HISTORY:
            self._oldest.apply(self._recent.popleft())

    def close(self) -> None:
        """The process ends in order: everything reaches the disk."""
        self.sync()
        self._now = None

    # --- as the simulation uses it ---

    def durable(self) -> Durable:
        """A copy of what would be found on the disk now."""
        contents = self._contents()
        return Durable(
            incarnation=self.incarnation,
            promised=contents.promised,
            genesis=contents.genesis,
            snapshot=contents.snapshot,
            entries=tuple(contents.entries),
        )

    @property
    def counter(self) -> int:
        """Transactions on the disk."""
        return self._oldest.counter + len(self._recent) - self._unsynced

    def sync(self) -> None:
        """Bring everything to the disk."""
        self._unsynced = 0
        while len(self._recent) > _HISTORY:
            self._oldest.apply(self._recent.popleft())

    def crash(self) -> int:
        """The process and its machine die: what isn't synced is lost. Give how many transactions
        that were. A mark that told of them is lost with them, as it isn't synced either."""
        lost = self._unsynced
        self._forget(lost)
        if lost and self._marked is not None:
            contents = self._contents()
            self._marked = (contents.counter, contents.promised)
        self._unsynced = 0
        self._now = None
        return lost

    def set_back(self, transactions: int) -> int:
        """Lose the newest transactions from the disk, but not the mark. Give how many were."""
        lost = min(transactions, len(self._recent))
        self._forget(lost)
        self._unsynced = 0
        self._now = None
        return lost

    def _forget(self, transactions: int) -> None:
        for _ in range(transactions):
            self._recent.pop()

    def erase(self) -> None:
        """The disk is replaced by an empty one."""
        self._erase()

    def put_aside(self) -> None:
        """What a start does with a journal that it doesn't trust: begin with none."""
        self.set_aside += 1
        self._erase()

    def break_entry(self, index: int) -> bool:
        """Change the command of a kept entry on the disk. Give whether there was one."""
        contents = self._contents()
        place = index - contents.base_index - 1
        if not 0 <= place < len(contents.entries):
            return False
        entry = contents.entries[place]
        contents.entries[place] = replace(entry, command=entry.command + " ")
        self._oldest, self._now = contents, None
        self._recent.clear()
        self._unsynced = 0
        return True

    def fail(self, error: JournalError) -> None:
        """Let every write from now to the next open raise `error`."""
        self._failure = error
        if not isinstance(error, DiskFull):
            self._poisoned = error.detail

    def _contents(self) -> _Contents:
        contents = self._oldest.copy()
        for number in range(len(self._recent) - self._unsynced):
            contents.apply(self._recent[number])
        return contents

    def _mark(self, contents: _Contents) -> None:
        self._marked = (contents.counter, contents.promised)


def open_memory(journal: MemoryJournal) -> Opened:
    """Open as `DataFolder.open` does: intact, fresh, or set aside and begun anew."""
    fresh = not journal.made
    try:
        durable = journal.open()
    except Corrupt as error:
        journal.put_aside()
        durable = journal.open()
        return Opened(journal, durable, AMNESIAC, f"{error.detail}: set aside")
    return Opened(journal, durable, FRESH if fresh else INTACT, "")
