"""What a failure of the disk means: is it full, is it broken, or is only this program wrong?

A full disk fails a transaction before it is on the disk, so that the journal stays as it was and
comes back as a voter. After any other failed write or fsync nobody knows what the disk holds: the
page cache goes on showing pages that never reached it. Such a journal is poisoned: a note beside
it says so, and the next start sets it aside (PROTOCOL 1.7).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
from pathlib import Path

from emporium.runtime.errors import Corrupt, DiskFull, JournalError
from emporium.runtime.files import sync_file, sync_folder

POISONED = "poisoned"

_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEEDS_SPACE = (  # what SQLite reports when a file can't grow and the errno isn't ENOSPC
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
)
_OUTSIDE = (  # the caller's surroundings are wrong: nothing is known to be broken
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_INTERRUPT,
)
_PROBE_BYTES = 64 * 1024


def error_code(error: BaseException) -> int:
    """SQLite's extended error code; 0 when the error has none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0)


def is_full(error: BaseException, path: Path) -> bool:
    """Whether a failed write of the journal at `path` means that there is no space.

    SQLite tells a full disk apart, but neither a quota nor a file-size limit, which it reports as
    a failed write: those are asked for. A failed fsync never counts as a full disk.
    """
    if isinstance(error, OSError):
        return error.errno in _FULL_ERRNO
    code = error_code(error)
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return True
    return code in _NEEDS_SPACE and (_at_size_limit(path) or _no_space(path.parent))


def _at_size_limit(path: Path) -> bool:
    """Whether the process may not make one of the journal's files a page longer."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return False
    sizes = [_size(path.with_name(path.name + end)) for end in ("", "-wal", "-shm")]
    return max(sizes) + _PROBE_BYTES >= limit


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _no_space(folder: Path) -> bool:
    """Whether the file system refuses 64 KiB more, tried in a file that is removed at once."""
    probe = folder / "probe"
    try:
        file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        return error.errno in _FULL_ERRNO
    try:
        return os.write(file, b"\0" * _PROBE_BYTES) < _PROBE_BYTES
    except OSError as error:
        return error.errno in _FULL_ERRNO
    finally:
        os.close(file)
        with contextlib.suppress(OSError):
            probe.unlink()


def poison(path: Path, reason: str) -> None:
    """Leave the note that the journal at `path` can't be trusted; as well as the disk allows."""
    note = path.with_name(POISONED)
    with contextlib.suppress(OSError):
        note.write_text(f"{reason}\n", encoding="utf-8")
        sync_file(note)
        sync_folder(note.parent)


def writing_failed(error: Exception, path: Path) -> JournalError:
    """The error to leave with after a write; the journal is poisoned unless the disk is full."""
    if is_full(error, path):
        return DiskFull(f"no space left for the journal in {path.parent}: {error}")
    reason = f"writing the journal failed: {error} ({_name(error)})"
    poison(path, reason)
    return JournalError(f"{reason}; this replica will start again without it, as a learner")


def opening_failed(error: Exception, path: Path) -> JournalError:
    """The error to leave with, or Corrupt when the file is to be set aside."""
    if isinstance(error, OSError):
        if error.errno == errno.EIO or is_full(error, path):
            return writing_failed(error, path)
        return JournalError(f"the journal {path} can't be opened: {error}")
    code = error_code(error) & 0xFF
    if error_code(error) == sqlite3.SQLITE_IOERR_SHORT_READ:
        return Corrupt(f"the journal ends in the middle: {error}")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return writing_failed(error, path)
    if code in _OUTSIDE or not _may_write(path):
        return JournalError(f"the journal {path} can't be opened: {error} ({_name(error)})")
    return Corrupt(f"the journal is broken: {error} ({_name(error)})")


def _may_write(path: Path) -> bool:
    names = (path.parent, *(path.with_name(path.name + end) for end in ("", "-wal", "-shm")))
    return all(os.access(name, os.R_OK | os.W_OK) for name in names if name.exists())


def _name(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
