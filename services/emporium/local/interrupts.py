"""Ctrl-C, SIGTERM and a closed terminal, all as one exception that runs through every `finally`.

So no process is left behind, wherever the program is. A few places must not be cut in two (a
process that was started and isn't noted yet, a kill of everything): they are shielded, and the
exception comes right after them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Shield:
    """How deep the main thread is in shielded places, and whether a signal waits."""

    def __init__(self) -> None:
        self.depth = 0
        self.waiting = False


_shield = _Shield()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    if _shield.depth:
        _shield.waiting = True
        return
    raise KeyboardInterrupt


@contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """Within, each of the stop signals raises KeyboardInterrupt in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, _interrupt) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """Within, a stop signal waits until the end. For what takes milliseconds, not for waiting."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _shield.depth += 1
    try:
        yield
    finally:
        _shield.depth -= 1
    if _shield.waiting and not _shield.depth:
        _shield.waiting = False
        raise KeyboardInterrupt
