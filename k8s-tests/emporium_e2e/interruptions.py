"""What ends a run from outside: the first signal unwinds it, and what is broken is mended in peace.

CI systems send SIGTERM more than once, and people press Ctrl-C again. Only SIGKILL ends the
mending.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def unwind() -> None:
    """From now on each of the signals ends the run as Ctrl-C does; those after the first do
    nothing."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The signals do nothing while the block runs."""
    # No SIG_IGN: programs that are started here would inherit it, and go on ignoring.
    before = {number: signal.signal(number, _ignore) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in SIGNALS:
        signal.signal(number, _ignore)
    raise KeyboardInterrupt


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """The run is ending already."""
