"""The server of the internal port: accepts streams, one thread for each connection.

It is a server of its own inside the worker process, because readers that wait for the primary
would otherwise hold all the threads that the primary's messages need (PROTOCOL 5.1). Handlers only
enqueue. Closing it closes the listener and every connection for real, so that a fresh connect is
refused; it can be started again.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
from collections.abc import Callable

from emporium.runtime import logs
from emporium.runtime.clock import SYSTEM
from emporium.runtime.errors import FatalError
from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import FrameError, Peer
from emporium.runtime.streams import Credentials, Stream, StreamChanged, accept_handshake, tune

MAXIMUM_CONNECTIONS = 256
HANDSHAKE_S = 2.0
BACKLOG = 128
BIND_PATIENCE_MS = 2_000.0
"""How long an address may still belong to the process before this one."""

_log = logs.logger("internal_server")


class InternalServer:
    """Accepts streams on (host, port); port 0 takes a free one, which `port` then says."""

    def __init__(
        self,
        own: Peer,
        address: tuple[str, int],
        credentials: Credentials,
        faults: FaultTable,
        on_record: Callable[[Stream, object], None],
        on_change: StreamChanged,
    ) -> None:
        """`on_change(stream, up=...)` is called when a stream is there and when it is lost."""
        self.port = address[1]
        self.refused = 0
        self._own = own
        self._host = address[0]
        self._credentials = credentials
        self._faults = faults
        self._on_record = on_record
        self._on_change = on_change
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._wake: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._pending: set[socket.socket] = set()
        self._streams: tuple[Stream, ...] = ()

    def start(self) -> None:
        """Listen. Raises FatalError when the address can't be had."""
        self._listener = self._listen()
        self.port = self._listener.getsockname()[1]
        wake, self._wake = socket.socketpair()
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        arguments = (self._listener, wake, selector)
        self._thread = threading.Thread(
            target=self._accept, args=arguments, name="internal-accept", daemon=True
        )
        self._thread.start()

    def streams(self) -> tuple[Stream, ...]:
        """The streams that are up."""
        return self._streams

    def close(self) -> None:
        """Refuse connects from now on and end all connections. Idempotent."""
        with self._lock:
            listener, self._listener = self._listener, None
            wake, self._wake = self._wake, None
            pending = tuple(self._pending)
        if listener is None or wake is None:
            return
        listener.close()
        wake.close()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        for connection in pending:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for stream in self._streams:
            stream.close("closed here")

    def _listen(self) -> socket.socket:
        family = socket.getaddrinfo(self._host, self.port, type=socket.SOCK_STREAM)[0][0]
        give_up_ms = SYSTEM.now_ms() + BIND_PATIENCE_MS
        while True:
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((self._host, self.port))
                listener.listen(BACKLOG)
                listener.settimeout(0)
            except OSError as error:
                listener.close()
                if error.errno != errno.EADDRINUSE or SYSTEM.now_ms() > give_up_ms:
                    raise FatalError(
                        f"the internal port {self._host}:{self.port} can't be opened: {error}"
                    ) from error
                SYSTEM.sleep_ms(50)
            else:
                return listener

    def _accept(
        self, listener: socket.socket, wake: socket.socket, selector: selectors.BaseSelector
    ) -> None:
        with selector, wake:
            while self._listener is listener:
                selector.select()
                try:
                    connection, _ = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    continue
                except OSError as error:
                    if self._listener is listener:  # out of descriptors: it may pass
                        _log.warning("accept: %s", error)
                        SYSTEM.sleep_ms(50)
                    continue
                self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        with self._lock:
            full = len(self._pending) + len(self._streams) >= MAXIMUM_CONNECTIONS
            if full or self._listener is None:
                self.refused += 1
                connection.close()
                return
            self._pending.add(connection)
        name = "internal-connection"
        threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """One connection from its handshake to its end."""
        stream = None
        raw = connection
        try:
            connection.settimeout(HANDSHAKE_S)
            tune(connection)
            if self._credentials.server_tls is not None:
                connection = self._credentials.server_tls.wrap_socket(connection, server_side=True)
            stream = accept_handshake(connection, self._own, self._credentials, self._faults)
        except FrameError as error:
            self.refused += 1
            _log.warning("a connection was refused: %s", error)
        except OSError as error:  # time-outs and resets: a probe, or a peer that died
            _log.debug("a connection ended during the handshake: %s", error)
        finally:
            self._settle(raw, stream)
        if stream is None:
            connection.close()
            return
        try:
            self._on_change(stream, up=True)
            stream.read(self._on_record)
        finally:
            stream.release()
            with self._lock:
                self._streams = tuple(one for one in self._streams if one is not stream)
            self._on_change(stream, up=False)

    def _settle(self, raw: socket.socket, stream: Stream | None) -> None:
        """The handshake is over, well or not."""
        with self._lock:
            self._pending.discard(raw)
            if stream is not None:
                self._streams = (*self._streams, stream)
                if self._listener is None:
                    stream.close("closed here")
