"""A replica's data folder: one process at a time, and what its journal is worth at a start.

    journal.sqlite (-wal, -shm)   the journal
    mark                          how far it has been
    poisoned                      a note: a write or an fsync failed, don't trust the journal
    restore                       a backup from which a new group is to begin (see `backup`);
                                  it is called restore.used when the group has formed
    lock                          held by the process that runs; its id is in it
    set-aside-1, -2 …             journals that were not trusted, with mark and note; never deleted

| what is found                                             | outcome   |
|-----------------------------------------------------------|-----------|
| a whole journal, not behind its mark                      | intact    |
| neither journal nor mark                                  | fresh     |
| a journal that is broken, behind its mark or poisoned     | amnesiac  |
| a mark without a journal                                  | amnesiac  |

An amnesiac has forgotten what it promised, so that it may not vote: the old files are set aside,
and a new journal with a new incarnation makes it a learner (PROTOCOL 1.6).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emporium.replication.effects import Durable
from emporium.runtime.clock import SYSTEM, Clock
from emporium.runtime.errors import Corrupt, DataFolderInUse, DiskFull, JournalError
from emporium.runtime.files import sync_folder
from emporium.runtime.journal import JOURNAL, MARK, Journal, Storage
from emporium.runtime.journal_failures import POISONED, is_full

INTACT, FRESH, AMNESIAC = "intact", "fresh", "amnesiac"

RESTORE, RESTORED = "restore", "restore.used"
"""The backup, in a data folder, from which a new group begins, and its name afterwards."""

_LOCK, _SET_ASIDE = "lock", "set-aside-"
_MOST_SET_ASIDE = 10_000
_RETRY_LOCK_MS = 50.0

# The mark goes last: a move that was cut short is then found as a mark without a journal.
_TRUSTED_FILES = (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", POISONED, MARK)


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal that is open, and how it was found."""

    journal: Storage
    durable: Durable
    outcome: str  # INTACT, FRESH or AMNESIAC
    sentence: str  # for the log


class FolderLock:
    """At most one process uses a folder. The system gives the lock back when the process dies."""

    def __init__(self, folder: Path, clock: Clock = SYSTEM) -> None:
        """Nothing is locked yet."""
        self._path = folder / _LOCK
        self._clock = clock
        self._file = -1

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file >= 0

    def acquire(self, wait_ms: float) -> None:
        """Take the lock, waiting for another process to go (PROTOCOL 5.4).

        Raises DataFolderInUse after `wait_ms`, and OSError.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = self._clock.now_ms() + wait_ms
        while not _try_lock(file):
            if self._clock.now_ms() >= deadline:
                owner = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(file)
                raise DataFolderInUse(
                    f"the data folder {self._path.parent} is in use by another process"
                    f" (process id {owner}); waited {wait_ms:g} ms for it"
                )
            self._clock.sleep_ms(_RETRY_LOCK_MS)
        self._file = file
        with contextlib.suppress(OSError):  # only for people; a full disk is found later
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; again is nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


class DataFolder:
    """A replica's folder. `open` again after `close` is allowed."""

    def __init__(
        self,
        folder: Path,
        lock_wait_ms: float = 0.0,
        *,
        journal: Callable[[Path], Storage] = Journal,
    ) -> None:
        """Touch nothing yet. `journal` makes the storage; tests give one whose disk fails."""
        self.folder = folder
        self._lock_wait_ms = lock_wait_ms
        self._lock = FolderLock(folder)
        self._make_journal = journal
        self._journal: Storage | None = None

    def open(self) -> Opened:
        """Lock the folder, then open the journal that is in it or a new one.

        Raises DataFolderInUse, DiskFull, and JournalError for a newer format or a folder that
        can't be used. A broken journal is no error: it is set aside.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._lock.held:
                self._lock.acquire(self._lock_wait_ms)
            return self._open()
        except OSError as error:
            self.close()
            kind = DiskFull if is_full(error, self.folder / JOURNAL) else JournalError
            raise kind(f"the data folder {self.folder} can't be used: {error}") from error
        except (JournalError, DataFolderInUse):
            self.close()
            raise

    def _open(self) -> Opened:
        reason = self._poisoned()
        if not reason:
            fresh = not (self.folder / JOURNAL).exists()
            try:
                return self._found(FRESH if fresh else INTACT)
            except Corrupt as error:
                reason = error.detail
        place = set_aside(self.folder)
        opened = self._found(AMNESIAC)
        sentence = f"{reason}: set aside as {place.name}; {opened.sentence}"
        return Opened(opened.journal, opened.durable, AMNESIAC, sentence)

    def _poisoned(self) -> str:
        note = self.folder / POISONED
        if not note.exists():
            return ""
        text = note.read_text(encoding="utf-8", errors="replace").strip("\0 \n")  # or lost
        return f"the journal is poisoned ({text or 'no reason is noted'})"

    def _found(self, outcome: str) -> Opened:
        journal = self._make_journal(self.folder)
        durable = journal.open()
        self._journal = journal
        if durable.genesis is not None and (self.folder / RESTORE).exists():
            (self.folder / RESTORE).replace(self.folder / RESTORED)  # the group has formed
        return Opened(journal, durable, outcome, _describe(outcome, durable))

    def close(self) -> None:
        """Close the journal and unlock the folder; again is nothing."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._lock.release()


def _describe(outcome: str, durable: Durable) -> str:
    if outcome == FRESH:
        return f"the data folder is empty: a new journal, incarnation {durable.incarnation}"
    if outcome == AMNESIAC:
        return f"begins anew as a learner, incarnation {durable.incarnation}"
    snapshot = durable.snapshot.index if durable.snapshot else 0
    last = durable.entries[-1].index if durable.entries else snapshot
    return (
        f"the journal is intact: log up to {last}, snapshot at {snapshot}, promise of epoch"
        f" {durable.promised.epoch}, incarnation {durable.incarnation}"
    )


def set_aside(folder: Path) -> Path:
    """Move the journal, its mark and its note into a new folder beside them, and name that.

    Raises OSError. Cut short at any point, the next start still finds an amnesiac.
    """
    place = _new_place(folder)
    for name in _TRUSTED_FILES:
        if name == MARK:
            sync_folder(folder)  # so that a power cut can't bring the journal back without it
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(place / name)
    sync_folder(place)
    sync_folder(folder)
    return place


def _new_place(folder: Path) -> Path:
    for number in range(1, _MOST_SET_ASIDE):
        with contextlib.suppress(FileExistsError):
            place = folder / f"{_SET_ASIDE}{number}"
            place.mkdir(mode=0o700)
            return place
    raise OSError(errno.EMLINK, f"there are {_MOST_SET_ASIDE} set aside journals in {folder}")
