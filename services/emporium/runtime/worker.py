"""The gunicorn worker of every role: one process, many threads, a good-bye.

gunicorn closes its listener first when it is asked to stop; a replica has to hand its reign over
while it still answers, and a frontend stays open for a while, unready and answering, until the
others know (PROTOCOL 5.3). So SIGTERM here first says good-bye in a thread, then does gunicorn's
own stop.

It also bounds how long one request may take to arrive: gunicorn reads headers without a limit of
time, and a few slow clients would hold all threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
import sys
import threading
from typing import Any, ClassVar

from gunicorn.workers.gthread import ThreadWorker

from emporium.runtime import logs
from emporium.runtime.clock import SYSTEM
from emporium.runtime.lifecycle import PROCESS

HEADER_MS = 10_000.0
"""How long a request line and its headers may take."""
REQUEST_MS = 30_000.0
"""How long a request with a body may take, from its headers to its answer."""
LINGER_MS = 3_000.0
"""How long a frontend stays open after SIGTERM (PROTOCOL 5.3)."""
WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
_PR_SET_PDEATHSIG = 1  # prctl(2)

_log = logs.logger("worker")


class EmporiumWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker with a good-bye and a time limit."""

    linger_ms: ClassVar[float] = 0.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Made by the master, before the fork."""
        super().__init__(*arguments, **named)
        self._goodbye: threading.Thread | None = None
        self._reading: dict[Any, float] = {}  # connections and until when their request is awaited

    def init_process(self) -> None:
        """In the new process: die with the master, then load the role and serve."""
        _die_with_parent()
        super().init_process()

    def run(self) -> None:
        """Serve until stopped, then close everything."""
        try:
            super().run()
        finally:
            PROCESS.stop()

    # --- the good-bye ---

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: leave while still answering; gunicorn's stop follows."""
        if self._goodbye is None:
            self._goodbye = threading.Thread(
                target=self._leave, args=(sig, frame), name="leave", daemon=True
            )
            self._goodbye.start()

    def _leave(self, sig: int, frame: Any) -> None:
        started = SYSTEM.now_ms()
        _log.info("leaving")
        PROCESS.leave()
        SYSTEM.sleep_ms(self.linger_ms - (SYSTEM.now_ms() - started))
        super().handle_exit(sig, frame)

    # --- the time limit ---

    def handle(self, conn: Any) -> Any:
        """One request, in a thread of the pool."""
        self._reading[conn] = SYSTEM.now_ms() + HEADER_MS
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """The headers are there. An answer without a body to wait for may take any time, as
        events sent by the server do."""
        if req.method in WITHOUT_BODY:
            self._reading.pop(conn, None)
        else:
            self._reading[conn] = SYSTEM.now_ms() + REQUEST_MS
        return super().handle_request(req, conn)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 (the base's)
        """Once in a second: gunicorn's own clean-up, and an end for who takes too long."""
        super().murder_keepalived(force)
        now = SYSTEM.now_ms()
        for conn, until in tuple(self._reading.items()):
            if now > until:
                _log.info("a request took too long to arrive", extra=logs.fields(of=conn.client))
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)


class FrontendWorker(EmporiumWorker):
    """A frontend stays open for a while after SIGTERM."""

    linger_ms = LINGER_MS


def _die_with_parent() -> None:
    """On Linux: a kill -9 of the master takes the worker with it, so that the port is free and
    no second life goes on. Elsewhere the worker notices within a second."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
