"""How a process goes: what is to be done when it is asked to leave, and when it stops.

Parts that must say good-bye register here when they are built: a replica hands its reign over, a
holder returns its lease. The worker calls `leave` at SIGTERM, while it still answers, and `stop`
at its end. From `leave` on the process is unready.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import NoReturn

from emporium.runtime import logs

_log = logs.logger("lifecycle")


class Lifecycle:
    """The good-byes of one process."""

    def __init__(self) -> None:
        """Nothing is registered."""
        self._leaving = threading.Event()
        self._on_leave: list[Callable[[], object]] = []
        self._on_stop: list[Callable[[], object]] = []

    @property
    def leaving(self) -> bool:
        """Whether the process was asked to leave: it is unready and still answers."""
        return self._leaving.is_set()

    def on_leave(self, action: Callable[[], object]) -> None:
        """Do `action` at SIGTERM; bounded in time by itself."""
        self._on_leave.append(action)

    def on_stop(self, action: Callable[[], object]) -> None:
        """Do `action` at the end, the last registered first."""
        self._on_stop.append(action)

    def leave(self) -> None:
        """Say good-bye, once. An action that fails doesn't keep the others from theirs."""
        if not self._leaving.is_set():
            self._leaving.set()
            self._do(self._on_leave)

    def stop(self) -> None:
        """Close everything, once."""
        self._leaving.set()
        actions, self._on_stop = self._on_stop, []
        self._do(reversed(actions))

    @staticmethod
    def _do(actions: Iterable[Callable[[], object]]) -> None:
        for action in actions:
            try:
                action()
            except Exception:  # noqa: BLE001 (logged)
                _log.exception("a part couldn't say good-bye")


PROCESS = Lifecycle()
"""That of this process."""


def leave_at_once(sentence: str, exit_code: int) -> NoReturn:
    """Say why in one line and end this process now, without good-byes (PROTOCOL 5.3). The exit
    code makes the gunicorn master leave too."""
    _log.critical(sentence)
    os._exit(exit_code)
