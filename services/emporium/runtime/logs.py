"""Structured logs: one `key=value` line per event on standard error.

    time=2026-01-31T12:00:00.123Z level=info role=catalog id=0 request_id=- logger=driver
    message="reign begins" epoch=4

(in one line). Every line names the role, the id and, while a request is served, its request id,
which `request` binds to the thread or the task. Further fields come with `fields`:

    log = logs.logger("driver")
    log.info("reign begins", extra=logs.fields(epoch=4))

`configure` also takes over what Python would print by itself: warnings and errors that end a
thread. A traceback stays in its line, its line ends escaped.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

ROOT: Final = "emporium"
_PLAIN: Final = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")
_LEVELS: Final = {"warning": "warn", "critical": "error"}
_request_id: ContextVar[str] = ContextVar("request_id", default="-")


def logger(name: str) -> logging.Logger:
    """The logger of one part; `name` is the part's one word."""
    return logging.getLogger(f"{ROOT}.{name}")


def fields(**values: object) -> dict[str, object]:
    """Further fields of a line, for `extra`."""
    return {"fields": values}


@contextmanager
def request(request_id: str) -> Iterator[None]:
    """All lines of this thread within the block carry the request id."""
    token = _request_id.set(request_id or "-")
    try:
        yield
    finally:
        _request_id.reset(token)


def current_request() -> str:
    """The request id that is bound here; `-` when none is."""
    return _request_id.get()


def quoted(value: object) -> str:
    """A value as it stands in a line: quoted when it could be taken for something else."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f\u2028\u2029]", _escape, escaped) + '"'


def _escape(match: re.Match[str]) -> str:
    """A control character, visible: a value can't begin a line of its own."""
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(match[0], f"\\u{ord(match[0]):04x}")


class LineFormatter(logging.Formatter):
    """One record, one line."""

    def __init__(self, role: str, replica: int) -> None:
        """The process's own part of every line."""
        super().__init__()
        self._process = f"role={quoted(role)} id={replica}"

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC)
        level = record.levelname.lower()
        parts = [
            f"time={moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            f"level={_LEVELS.get(level, level)}",
            self._process,
            f"request_id={quoted(current_request())}",
            f"logger={quoted(record.name.removeprefix(ROOT + '.'))}",
            f"message={quoted(record.getMessage())}",
        ]
        more = getattr(record, "fields", {})
        parts.extend(f"{name}={quoted(value)}" for name, value in more.items())
        if record.exc_info:
            parts.append(f"error={quoted(self.formatException(record.exc_info))}")
        return " ".join(parts)


def handler(role: str, replica: int, stream: TextIO | None = None) -> logging.Handler:
    """A handler that writes our lines; gunicorn's loggers are given it too."""
    made = logging.StreamHandler(stream or sys.stderr)
    made.setFormatter(LineFormatter(role, replica))
    return made


def configure(role: str, replica: int, level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error). May be called again."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler(role, replica, stream))
    root.setLevel(logging.WARNING)  # other packages: only what needs attention
    logging.getLogger(ROOT).setLevel(level.upper())
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_ended


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    """A thread that ends by an error says so in a line."""
    if ended.exc_value is None or isinstance(ended.exc_value, SystemExit):
        return
    name = ended.thread.name if ended.thread else "unknown"
    cause = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    logger("threads").error("a thread ended by an error", exc_info=cause, extra=fields(thread=name))
