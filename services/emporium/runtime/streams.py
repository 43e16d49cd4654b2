"""Streams: kept, authenticated connections that carry records in both directions.

A `Stream` has one reader, which hands every record to `on_record`; those handlers only enqueue.
`send` never waits: while nothing is queued it gives the bytes to the system at once, in the
caller's thread; what the system doesn't take goes into a bounded queue that a writer drains, and
when that is full the frame is dropped and counted, because whoever sends repeats (the core) or
gives up (a call).

A `Dialer` keeps one stream to one address: it resolves the name at each connect, waits for a
connect no longer than a heartbeat interval (a deleted pod's address may swallow packets), for the
words of a handshake four times as long (whoever is there may be busy: after a restart of all,
everybody is), tells about each loss, and tries again with a delay that grows up to that interval.
"""

from __future__ import annotations

import contextlib
import secrets as random_secrets
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emporium.runtime import frames, logs
from emporium.runtime.clock import SYSTEM
from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import FrameError, Peer

RECEIVE_BYTES = 64 * 1024  # larger ones make the allocator map fresh pages for each call
QUEUE_FRAMES = 4_096
QUEUE_BYTES = 2 * frames.MAXIMUM_BODY_BYTES
FIRST_DELAY_S = 0.01
HANDSHAKE_TIMES = 4  # as long as a connect may take
SILENT_DEATH_S = 5  # without a sign from the other machine: its connection counts as gone

_log = logs.logger("streams")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a process brings to a handshake. `secrets`: newest first, one or two of them."""

    secrets: tuple[bytes, ...]
    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None
    versions: frames.Versions = field(default_factory=frames.spoken)


class Line:
    """A connected socket for one reading and many sending threads: plain, or TLS, whose object
    mustn't be used by two threads at once."""

    def __init__(self, connection: socket.socket) -> None:
        """Take the socket over."""
        self._socket = connection
        self._tls_lock = threading.Lock() if isinstance(connection, ssl.SSLSocket) else None

    def start(self) -> None:
        """After the handshake: from blocking with a time-out to what `receive` and `send` need."""
        self._socket.setblocking(self._tls_lock is None)

    def receive(self) -> bytes:
        """What has come in, at least one byte; empty at the end. Raises OSError."""
        if self._tls_lock is None:
            return self._socket.recv(RECEIVE_BYTES)
        while True:
            try:
                with self._tls_lock:
                    return self._socket.recv(RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, 1.0)
            except ssl.SSLWantWriteError:
                self.wait_to_send(1.0)

    def send_now(self, data: bytes | memoryview) -> int:
        """Give the system what it takes without waiting: how many bytes. Raises OSError."""
        try:
            if self._tls_lock is None:
                return self._socket.send(data, socket.MSG_DONTWAIT)
            with self._tls_lock:
                return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def wait_to_send(self, timeout_s: float) -> None:
        """Wait until the system takes bytes again. Raises OSError, ValueError when closed."""
        self._wait(select.POLLOUT, timeout_s)

    def _wait(self, what: int, timeout_s: float) -> None:
        poll = select.poll()  # select() knows no descriptor above 1023
        poll.register(self._socket, what)
        poll.poll(timeout_s * 1000)

    def shut(self) -> None:
        """End both directions: whoever reads sees the end."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back. Only when nobody reads any more."""
        with contextlib.suppress(OSError):
            self._socket.close()


class Stream:
    """One authenticated connection. `peer` is who has proved to be there, `version` the message
    version that both sides agreed on."""

    def __init__(
        self,
        line: Line,
        peer: Peer,
        version: int,
        seals: tuple[frames.Seal, frames.Seal],
        faults: FaultTable,
    ) -> None:
        """`seals` are those of the incoming and of the outgoing direction."""
        self.peer = peer
        self.version = version
        self.closed = False
        self.reason = ""
        self.dropped = 0
        self._line = line
        self._name = str(peer)
        self._incoming, self._outgoing = seals
        self._faults = faults
        self._lock = threading.Lock()
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._backlogged = threading.Condition(self._lock)
        self._writer: threading.Thread | None = None

    def send(self, record: object) -> bool:
        """Send a record without waiting. False when it is surely not sent."""
        try:
            return self.send_body(frames.pack(record))
        except FrameError as error:
            _log.warning("to %s: %s", self._name, error)
            return False

    def send_body(self, body: bytes) -> bool:
        """As `send`, for a record that is packed already (one body may go to many streams)."""
        if self._faults.active:
            # A frame that a fault has lost counts as sent: the sender can't know.
            self._faults.send(self._name, lambda: self._send(body))
            return not self.closed
        return self._send(body)

    def _send(self, body: bytes) -> bool:
        with self._lock:
            if self.closed:
                return False
            if self._backlog:
                return self._queue(body)
            data = self._outgoing.close(body)
            try:
                sent = self._line.send_now(data)
            except OSError as error:
                self._end(f"send: {error}")
                return False
            if sent < len(data):
                self._push(memoryview(data)[sent:])
            return True

    def _queue(self, body: bytes) -> bool:
        full = self._backlog_bytes + len(body) > QUEUE_BYTES
        if full or len(self._backlog) >= QUEUE_FRAMES:
            self.dropped += 1
            return False
        self._push(memoryview(self._outgoing.close(body)))
        return True

    def _push(self, data: memoryview) -> None:
        self._backlog.append(data)
        self._backlog_bytes += len(data)
        if self._writer is None:
            name = f"write-{self._name}"
            self._writer = threading.Thread(target=self._drain, name=name, daemon=True)
            self._writer.start()
        self._backlogged.notify()

    def _drain(self) -> None:
        """The writer: started with the first backlog, ends with the stream."""
        while not self.closed:
            with self._backlogged:
                while not self._backlog and not self.closed:
                    self._backlogged.wait(1.0)
            try:
                self._line.wait_to_send(1.0)
                with self._lock:
                    self._drain_some()
            except (OSError, ValueError) as error:
                self.close(f"send: {error}")

    def _drain_some(self) -> None:
        while self._backlog and not self.closed:
            data = self._backlog[0]
            sent = self._line.send_now(data)
            self._backlog_bytes -= sent
            if sent < len(data):
                self._backlog[0] = data[sent:]
                return
            self._backlog.popleft()

    def read(self, on_record: Callable[[Stream, object], None]) -> None:
        """Hand every record to `on_record` until the connection ends; then it is closed and
        `reason` says why. To be called once, by the thread that owns the reading."""
        reader = frames.FrameReader(self._incoming)
        try:
            while not self.closed:
                data = self._line.receive()
                if not data:
                    self.close("the other side closed it")
                    break
                reader.feed(data)
                while (body := reader.next_body()) is not None:
                    on_record(self, frames.unpack(body))
        except (OSError, ValueError) as error:
            self.close(str(error))
            if isinstance(error, FrameError):
                _log.warning("from %s: %s", self._name, error)
        except Exception:  # noqa: BLE001 (logged)
            # A handler's fault ends its stream; the dialer goes on with a new one.
            _log.exception("a message from %s could not be handled", self._name)
        finally:
            self.release()

    def release(self) -> None:
        """Close it and give the socket back: by the thread that reads it, or would have."""
        self.close("the reader ended")
        self._line.close()

    def close(self, reason: str) -> None:
        """End the stream; the first reason stays."""
        with self._lock:
            self._end(reason)

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.reason = reason
            self._backlog.clear()
            self._line.shut()
            self._backlogged.notify_all()


class StreamChanged(Protocol):
    """Whoever is told that a stream is there, or lost."""

    def __call__(self, stream: Stream, *, up: bool) -> None:
        """Mustn't wait."""


def accept_handshake(
    connection: socket.socket, own: Peer, credentials: Credentials, faults: FaultTable
) -> Stream | None:
    """Be the acceptor: a stream, or None for whoever leaves at once (a probe).

    Raises FrameError for a dialer that can't be believed, after telling it why; OSError."""
    versions = credentials.versions
    nonce = random_secrets.token_hex(frames.NONCE_BYTES)
    challenge = frames.challenge_of(versions, own, nonce)
    connection.sendall(frames.plain_frame(challenge))
    body = _receive_body(connection)
    if body is None:
        return None
    try:
        introduction = frames.plain_record(body, frames.Introduction, versions)
        secret = frames.choose_secret(credentials.secrets, challenge, introduction)
    except FrameError as error:
        connection.sendall(frames.plain_frame(frames.Rejected(str(error))))
        raise
    answer = frames.welcome(secret, challenge, introduction)
    connection.sendall(frames.plain_frame(answer))
    key = frames.session_key(secret, challenge, introduction)
    seals = (frames.Seal(key, frames.FROM_DIALER), frames.Seal(key, frames.FROM_ACCEPTOR))
    peer = Peer(introduction.role, introduction.replica)
    return _stream(connection, peer, introduction.version, seals, faults)


def dial_handshake(
    connection: socket.socket,
    own: Peer,
    expected: Peer,
    credentials: Credentials,
    faults: FaultTable,
) -> Stream:
    """Be the dialer. Raises FrameError when either side doesn't believe the other; OSError."""
    versions = credentials.versions
    challenge = frames.plain_record(_receive_whole(connection), frames.Challenge, versions)
    if (challenge.role, challenge.replica) != (expected.role, expected.replica):
        raise FrameError(f"{challenge.role[:20]}-{challenge.replica} is there, not {expected}")
    nonce = random_secrets.token_hex(frames.NONCE_BYTES)
    introduction = frames.introduce(credentials.secrets, challenge, versions, own, nonce)
    connection.sendall(frames.plain_frame(introduction))
    answer = frames.plain_record(_receive_whole(connection), frames.Welcome, versions)
    secret = frames.confirm_secret(credentials.secrets, challenge, introduction, answer)
    key = frames.session_key(secret, challenge, introduction)
    seals = (frames.Seal(key, frames.FROM_ACCEPTOR), frames.Seal(key, frames.FROM_DIALER))
    return _stream(connection, expected, introduction.version, seals, faults)


def _stream(
    connection: socket.socket,
    peer: Peer,
    version: int,
    seals: tuple[frames.Seal, frames.Seal],
    faults: FaultTable,
) -> Stream:
    _log.debug("a stream with %s: message version %d", peer, version)
    line = Line(connection)
    line.start()
    return Stream(line, peer, version, seals, faults)


def _receive_whole(connection: socket.socket) -> bytes:
    body = _receive_body(connection)
    if body is None:
        raise FrameError("the other side left during the handshake")
    return body


def _receive_body(connection: socket.socket) -> bytes | None:
    prefix = _receive_exactly(connection, 4)
    if prefix is None:
        return None
    length = frames.body_length(prefix, frames.HANDSHAKE_BODY_BYTES)
    return _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            return None
        data += part
    return data


def tune(connection: socket.socket) -> None:
    """No delay for small frames; a machine that is gone without a word is noticed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {  # not every system has all of them; SILENT_DEATH_S in all
        "TCP_KEEPIDLE": 2,
        "TCP_KEEPINTVL": 1,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": SILENT_DEATH_S * 1_000,
    }
    for name, value in options.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Dialer:
    """Keeps one stream to `peer` at (host, port), in a thread of its own."""

    def __init__(
        self,
        own: Peer,
        peer: Peer,
        address: tuple[str, int],
        credentials: Credentials,
        faults: FaultTable,
        connect_timeout_ms: float,
        on_record: Callable[[Stream, object], None],
        on_change: StreamChanged,
    ) -> None:
        """`on_change(stream, up=...)` is called when the stream is there and when it is lost."""
        self.peer = peer
        self.stream: Stream | None = None
        self._own = own
        self._address = address
        self._credentials = credentials
        self._faults = faults
        self._timeout_s = connect_timeout_ms / 1000
        self._on_record = on_record
        self._on_change = on_change
        self._closing = False
        self._wake = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name=f"dial-{peer}", daemon=True)

    def start(self) -> None:
        """Begin to dial."""
        self._thread.start()

    def nudge(self) -> None:
        """The peer was heard: try now rather than after the delay."""
        self._wake.set()

    def stop(self) -> None:
        """End the stream and dial no more; `join` waits for the thread."""
        self._closing = True
        self._wake.set()
        stream = self.stream
        if stream is not None:
            stream.close("closed here")

    def join(self) -> None:
        """Wait until the thread has ended, no longer than a handshake may take."""
        if threading.current_thread() is not self._thread and self._thread.ident:
            self._thread.join(timeout=1 + HANDSHAKE_TIMES * self._timeout_s)

    def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._closing:
            self._wake.clear()
            started_ms = SYSTEM.now_ms()
            stayed = self._try() and SYSTEM.now_ms() - started_ms > self._timeout_s * 1000
            if stayed:
                delay_s = FIRST_DELAY_S
            if not self._closing:
                self._wake.wait(delay_s)
            delay_s = min(delay_s * 2, self._timeout_s)

    def _try(self) -> bool:
        try:
            return self._connect_and_read()
        except Exception:  # noqa: BLE001 (logged)
            # A callback's fault must not end the dialling for ever.
            _log.exception("the stream to %s was given up", self.peer)
            return False

    def _connect_and_read(self) -> bool:
        """One connection from its beginning to its end; False when it never came up."""
        try:
            stream = self._connect()
        except (OSError, ValueError) as error:
            self._say(error)
            return False
        self._said = ""
        self.stream = stream
        if self._closing:
            stream.close("closed here")
        try:
            self._on_change(stream, up=True)
            stream.read(self._on_record)
        finally:
            stream.release()
            self.stream = None
            self._on_change(stream, up=False)
        _log.debug("lost the stream to %s: %s", self.peer, stream.reason)
        return True

    def _connect(self) -> Stream:
        connection: socket.socket = socket.create_connection(self._address, self._timeout_s)
        try:
            tune(connection)
            connection.settimeout(HANDSHAKE_TIMES * self._timeout_s)
            if self._credentials.client_tls is not None:
                connection = self._credentials.client_tls.wrap_socket(
                    connection, server_hostname=self._address[0]
                )
            return dial_handshake(connection, self._own, self.peer, self._credentials, self._faults)
        except BaseException:
            connection.close()
            raise

    def _say(self, error: Exception) -> None:
        """A refusal by word is worth a line, once; that nobody is there isn't."""
        if isinstance(error, FrameError) and str(error) != self._said:
            self._said = str(error)
            _log.warning("no stream to %s: %s", self.peer, error)
        else:
            _log.debug("no stream to %s: %s", self.peer, error)


def probe(address: tuple[str, int], timeout_s: float) -> bool:
    """A fresh connect: True when it is refused, which proves death (PROTOCOL 2.3)."""
    try:
        socket.create_connection(address, timeout_s).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def credentials_of(
    secrets: Sequence[str], tls_files: tuple[str, str, str] | None = None
) -> Credentials:
    """Credentials from settings; `tls_files` are certificate, key and authority. Without a secret
    (loopback only) everybody proves the empty one."""
    keys = tuple(secret.encode() for secret in secrets) or (b"",)
    if tls_files is None:
        return Credentials(keys)
    certificate, key, authority = tls_files
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
    return Credentials(keys, server, client)
