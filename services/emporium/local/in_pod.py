"""What `emporium pods` has run inside a replica's pod. Its text goes there whole, as an argument of
`python3 -c`: any image of a replica will do, for it needs nothing of them but `emporium.runtime`.

    copy     the journal, as a tar on standard output, beside the process that uses it
    place    a backup on standard input becomes the replica's new beginning; no process may run
    wait     do nothing, holding the volume, until it is told to stop
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from emporium.runtime.backup import decode_backup, place_restore
from emporium.runtime.errors import DataFolderInUse, JournalError
from emporium.runtime.journal import JOURNAL, MARK
from emporium.runtime.journal_failures import POISONED

ENDS = frozenset({signal.SIGTERM, signal.SIGINT})
COPIED = (MARK, JOURNAL, f"{JOURNAL}-wal", POISONED)


def copy(folder: Path, out: BinaryIO) -> None:
    """Write the journal of a data folder as a tar.

    The mark goes first: the journal only moves away from it. Then a reader keeps SQLite from
    beginning the write-ahead log anew over what the journal doesn't hold yet; so the journal, and
    after it the log, make one whole state. Raises OSError and sqlite3.Error.
    """
    with tarfile.open(fileobj=out, mode="w|") as tar, contextlib.ExitStack() as stack:
        for name in COPIED:
            if name == JOURNAL and (folder / name).exists():
                stack.enter_context(_reader(folder / name))
            with contextlib.suppress(FileNotFoundError), (folder / name).open("rb") as file:
                tar.addfile(tar.gettarinfo(arcname=name, fileobj=file), file)


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[None]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield


def main(arguments: list[str]) -> int:
    """Do one of the three; 1 and a sentence on standard error when it didn't work."""
    folder = Path(os.environ["EMPORIUM_DATA_DIR"])
    try:
        match arguments:
            case ["copy"]:
                copy(folder, sys.stdout.buffer)
            case ["place"]:
                print(place_restore(folder, decode_backup(sys.stdin.read())))
            case ["wait"]:
                # Blocked: to the first process of a container, other signals don't come at all.
                signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
                signal.sigwait(ENDS)
            case _:
                print("usage: copy | place | wait", file=sys.stderr)
                return 2
    except (OSError, sqlite3.Error, DataFolderInUse, JournalError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
