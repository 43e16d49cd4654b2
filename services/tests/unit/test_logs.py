"""Structured logs."""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator

import pytest

from emporium.runtime import logs


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """What a catalog replica logs; the test runner's own logging is put back."""
    root, ours = logging.getLogger(), logging.getLogger(logs.ROOT)
    kept = (list(root.handlers), root.level, ours.level, threading.excepthook)
    stream = io.StringIO()
    logs.configure("catalog", 1, "info", stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, ours.level, threading.excepthook = kept
    logging.getLogger(logs.ROOT).setLevel(kept[2])  # also empties the cache of levels


def test_a_line_names_time_role_id_request_and_part(out: io.StringIO) -> None:
    """One event, one line, all of its fields."""
    logs.logger("driver").info("reign begins", extra=logs.fields(epoch=4, why="death of 0"))
    assert re.fullmatch(
        r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info role=catalog id=1 request_id=-"
        r' logger=driver message="reign begins" epoch=4 why="death of 0"\n',
        out.getvalue(),
    )


def test_lines_of_a_request_carry_its_id(out: io.StringIO) -> None:
    """Within the block, in this thread, and not after it."""
    log = logs.logger("http")
    with logs.request("abc-123"):
        log.info("asked")
        other = threading.Thread(target=log.info, args=("elsewhere",))
        other.start()
        other.join()
    log.info("done")
    ids = re.findall(r"request_id=(\S+)", out.getvalue())
    assert ids == ["abc-123", "-", "-"]
    assert logs.current_request() == "-"


def test_a_value_cant_begin_a_line_of_its_own(out: io.StringIO) -> None:
    """What a caller sends can't forge a line, nor a field."""
    with logs.request('x" level=error\nlevel=error'):
        logs.logger("http").info("a\x1b[2Jb\r\n", extra=logs.fields(item='1" stock=9'))
    (line,) = out.getvalue().splitlines()
    assert r'request_id="x\" level=error\nlevel=error"' in line
    assert r'message="a\u001b[2Jb\r\n"' in line
    assert r'item="1\" stock=9"' in line


def test_lines_below_the_level_are_dropped(out: io.StringIO) -> None:
    """At info, debug lines cost a comparison."""
    logs.logger("driver").debug("step")
    assert out.getvalue() == ""


def test_an_exception_stays_in_its_line(out: io.StringIO) -> None:
    """The traceback is one more field."""
    try:
        raise KeyError("gone")
    except KeyError:
        logs.logger("driver").exception("failed")
    (line,) = out.getvalue().splitlines()
    assert "level=error" in line
    assert r"error=\"Traceback" in line or 'error="Traceback' in line
    assert "KeyError: 'gone'" in line


def test_a_thread_that_fails_says_so(out: io.StringIO) -> None:
    """Python's own report would be ten lines without a role."""
    thread = threading.Thread(target=lambda: 1 // 0, name="peer-2")
    thread.start()
    thread.join()
    (line,) = out.getvalue().splitlines()
    assert 'message="a thread ended by an error" thread=peer-2' in line
    assert "ZeroDivisionError" in line


def test_warnings_become_lines(out: io.StringIO) -> None:
    """Of Python and of other packages."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", stacklevel=1)
    assert "logger=py.warnings" in out.getvalue()
    assert "level=warn" in out.getvalue()


def test_an_empty_value_is_quoted() -> None:
    """So that the next field isn't taken for it."""
    assert logs.quoted("") == '""'
    assert logs.quoted(3) == "3"
