"""The gunicorn worker of every role: one process, many threads, a good-bye.

gunicorn closes its listener first when it is asked to stop; a replica has to hand its reign over
while it still answers, and a frontend stays open for a while, unready and answering, until the
others know (PROTOCOL 5.3). So SIGTERM here first says good-bye in a thread, then does gunicorn's
own stop.

It also keeps slow clients from holding threads: gunicorn takes a thread for a connection and then
waits in it for the request. Here a request is gathered by the worker's one polling thread, without
waiting, and a thread is taken when it is whole; what doesn't arrive in time is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import secrets
import selectors
import signal
import socket
import sys
import threading
from functools import partial
from typing import Any, ClassVar

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from emporium.runtime import logs, web
from emporium.runtime.arrivals import Arrival, Arriving, arrival
from emporium.runtime.clock import SYSTEM
from emporium.runtime.lifecycle import PROCESS

ARRIVAL_MS = 10_000.0
"""How long a request may take to arrive, from the connection or its first byte."""
REQUEST_MS = 15_000.0
"""The second defence, should the parser wait for more than was gathered: how long a request with a
body may take, from its hand-over to its answer."""
READ_BYTES = 64 * 1024
WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LINGER_MS = 3_000.0
"""How long a frontend stays open after SIGTERM (PROTOCOL 5.3)."""
_PR_SET_PDEATHSIG = 1  # prctl(2)

_log = logs.logger("worker")


class EmporiumWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker with a good-bye and a time limit."""

    linger_ms: ClassVar[float] = 0.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Made by the master, before the fork."""
        super().__init__(*arguments, **named)
        self._goodbye: threading.Thread | None = None
        self._longest_body = 0
        self._arriving: dict[Any, Arriving] = {}  # by connection
        self._reading: dict[
            Any, float
        ] = {}  # connections in a thread, and until when they may read
        self._excessive: set[Any] = set()  # connections whose request was too long to wait for

    def init_process(self) -> None:
        """In the new process: die with the master, then load the role and serve."""
        _die_with_parent()
        util.write_error = write_problem  # gunicorn's own is a page of HTML
        self._longest_body = self.app.found.max_body_bytes
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

    # --- requests on their way ---

    def accept(self, listener: Any) -> None:
        """A new connection: wait for its request without a thread."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        self._gather(TConn(self.cfg, sock, address, listener.getsockname()))

    def enqueue_req(self, conn: Any) -> None:
        """A kept connection has something to read, or has read ahead."""
        conn.sock.setblocking(False)  # noqa: FBT003 - the socket's own interface
        self._gather(conn)

    def _gather(self, conn: Any, _sock: Any = None) -> None:
        """Take what has arrived; take a thread when the request is whole."""
        arriving = self._arriving.get(conn)
        if arriving is None:
            ahead = conn.parser.unreader.take_buffered() if conn.parser is not None else b""
            arriving = Arriving(SYSTEM.now_ms() + ARRIVAL_MS, bytearray(ahead))
            self._arriving[conn] = arriving
        try:
            data = conn.sock.recv(READ_BYTES)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        if data == b"":
            self._drop(conn)
            return
        arriving.data += data or b""
        state = arrival(arriving.data, self._longest_body)
        if state in (Arrival.WHOLE, Arrival.EXCESS):
            self._hand_over(conn, excess=state is Arrival.EXCESS)
            return
        if state is Arrival.ASKS and not arriving.told:
            arriving.told = True
            with contextlib.suppress(OSError):
                conn.sock.send(_CONTINUE)
        if not arriving.waiting:
            arriving.waiting = True
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._gather, conn))

    def _forget(self, conn: Any) -> Arriving:
        arriving = self._arriving.pop(conn)
        if arriving.waiting:
            with contextlib.suppress(OSError, KeyError, ValueError):
                self.poller.unregister(conn.sock)
        return arriving

    def _hand_over(self, conn: Any, *, excess: bool) -> None:
        """The request is here: a thread of the pool answers it."""
        arriving = self._forget(conn)
        if excess:
            self._excessive.add(conn)
        conn.init()  # makes the parser of a new connection
        conn.data_ready = True
        conn.parser.unreader.unread(bytes(arriving.data))
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """One request, in a thread of the pool."""
        self._reading[conn] = SYSTEM.now_ms() + ARRIVAL_MS
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)
            self._excessive.discard(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """The head is parsed. An answer without a body to wait for may take any time, as events
        sent by the server do."""
        if req.method in WITHOUT_BODY:
            self._reading.pop(conn, None)
        else:
            self._reading[conn] = SYSTEM.now_ms() + REQUEST_MS
        return super().handle_request(req, conn)

    def _drop(self, conn: Any) -> None:
        """The client is gone, or too slow."""
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """A connection whose request never came whole isn't read to its end: it is closed."""
        if conn in self._excessive:
            return False
        return bool(super()._keepalive_after(conn, keepalive))

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 (the base's)
        """Once in a second: gunicorn's own clean-up, and an end for who takes too long."""
        super().murder_keepalived(force)
        now = SYSTEM.now_ms()
        for conn, arriving in tuple(self._arriving.items()):
            silent = not arriving.data and not self.alive
            if force or silent or now > arriving.until:
                if arriving.data:
                    _log.info("a request took too long", extra=logs.fields(of=str(conn.client)))
                self._drop(conn)
        for conn, until in tuple(self._reading.items()):
            if now > until:
                _log.info("a request was read for too long", extra=logs.fields(of=str(conn.client)))
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)


class FrontendWorker(EmporiumWorker):
    """A frontend stays open for a while after SIGTERM."""

    linger_ms = LINGER_MS


def write_problem(sock: Any, status: int, reason: str, detail: str) -> None:
    """Refuse what isn't HTTP enough to reach the application, as a problem document."""
    document = {
        "type": f"{web.PROBLEM_TYPE}malformed-request",
        "title": reason,
        "status": status,
        "detail": detail[:200],
        "definite": True,
        "scope": web.SCOPE,
    }
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
        f"Content-Type: application/problem+json\r\nX-Request-Id: {secrets.token_hex(8)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + body)


def _die_with_parent() -> None:
    """On Linux: a kill -9 of the master takes the worker with it, so that the port is free and
    no second life goes on. Elsewhere the worker notices within a second."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
