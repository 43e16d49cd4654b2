"""The operation log: what a replica did, in the seeds' own words, one line per operation.

`catalog0_log` and `order1_log` carry the id; `cache_log` and `client_log` do so only from the
second one on. The lines are for people and for the comparison with the seeds' logs; no promise
rests on them, so nothing waits for them: `write` puts a line into a bounded queue and one thread
appends what is queued, all that comes within 10 ms at once: waking that thread for each line would
cost the asker more than the line. When the queue is full, or the disk refuses, lines are dropped
and counted. A kill -9 can take the lines of the last milliseconds with it; `close` loses none.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from pathlib import Path
from typing import Final, TextIO

from emporium.runtime import logs
from emporium.runtime.errors import SettingsError

QUEUE_LINES: Final = 10_000
CLOSE_TIMEOUT_S: Final = 2.0
GATHER_S: Final = 0.01
_WITH_ID: Final = ("catalog", "order", "frontend")
_log = logs.logger("operation_log")


def file_name(role: str, replica: int) -> str:
    """The seeds' name of a role's operation log."""
    numbered = role in _WITH_ID or replica > 0
    return f"{role}{replica}_log" if numbered else f"{role}_log"


def open_log(output_dir: str, role: str, replica: int) -> OperationLog:
    """The log of one process: a file in `output_dir`, standard output when that is empty.

    Raises SettingsError when the file can't be opened."""
    if not output_dir:
        return OperationLog(sys.stdout, owned=False)
    path = Path(output_dir) / file_name(role, replica)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a", encoding="utf-8")
    except OSError as problem:
        raise SettingsError(f"EMPORIUM_OUTPUT_DIR is {output_dir!r}: {problem}") from problem
    return OperationLog(stream, owned=True)


class OperationLog:
    """Appends lines in the order of `write`. Safe for several threads."""

    def __init__(self, stream: TextIO, *, owned: bool) -> None:
        """`owned` streams are closed with the log."""
        self._stream = stream
        self._owned = owned
        self._lines: deque[str] = deque()
        self._changed = threading.Condition()
        self._writing = False
        self._closed = False
        self._hurry = False
        self.dropped = 0  # lines that were not written
        self._thread = threading.Thread(target=self._run, name="operation-log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line; returns at once. A line end within becomes a space."""
        text = " ".join(line.splitlines())
        with self._changed:
            if self._closed or len(self._lines) >= QUEUE_LINES:
                self.dropped += 1
                return
            self._lines.append(text)
            if len(self._lines) == 1:  # otherwise the writer knows already
                self._changed.notify_all()

    def flush(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Wait until all that was queued is written; False when the time was too short."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: not self._lines and not self._writing, timeout=timeout_s
            )

    def close(self) -> None:
        """Write what is queued, then stop. Does nothing the second time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._owned and not self._thread.is_alive():
            self._stream.close()

    def _run(self) -> None:
        """The writer: everything that waits, in one write."""
        while lines := self._next():
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError) as problem:  # ValueError: closed standard output
                self._refused(len(lines), problem)
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _next(self) -> list[str]:
        """The lines that wait; none when the log is closed."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._lines) or self._closed)
            self._changed.wait_for(lambda: self._hurry or self._closed, timeout=GATHER_S)
            self._hurry = False
            lines = list(self._lines)
            self._lines.clear()
            self._writing = bool(lines)
            return lines

    def _refused(self, count: int, problem: Exception) -> None:
        """Count lost lines; say it once."""
        if not self.dropped:
            _log.warning("the operation log can't be written", extra=logs.fields(error=problem))
        self.dropped += count
