"""The outgoing side of a process: one stream to every replica that it talks to.

Frontends and caches dial every replica of the catalog and of order (and frontends the cache, in
`server` mode), order replicas every catalog replica, and every replica its own group. Over these
streams go requests and their answers, messages between replicas, holders' messages; heartbeats
come back. Callbacks run in the readers' threads: they mustn't wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emporium.replication.messages import Heartbeat
from emporium.runtime.faults import FaultTable
from emporium.runtime.frames import Answered, Peer
from emporium.runtime.rpc import Calls, Done, Pending
from emporium.runtime.settings import CommonSettings
from emporium.runtime.streams import Credentials, Dialer, Stream, credentials_of

Addresses = Mapping[str, Mapping[int, tuple[str, int]]]
"""(host, internal port) by role and id."""


class Hub:
    """Keeps the streams, makes calls over them, and hands on what comes in."""

    def __init__(
        self,
        own: Peer,
        addresses: Addresses,
        credentials: Credentials,
        faults: FaultTable,
        connect_timeout_ms: float,
    ) -> None:
        """Nothing is dialled before `start`."""
        self.own = own
        self.faults = faults
        self._calls = Calls()
        self._on_heartbeat: list[Callable[[Heartbeat], None]] = []
        self._on_message: list[Callable[[str, int, object], None]] = []
        self._on_connect: list[Callable[[str, int], None]] = []
        self._on_disconnect: list[Callable[[str, int], None]] = []
        self._dialers = {
            (role, replica): Dialer(
                own,
                Peer(role, replica),
                address,
                credentials,
                faults,
                connect_timeout_ms,
                self._record,
                self._changed,
            )
            for role, replicas in addresses.items()
            for replica, address in replicas.items()
        }

    def start(self) -> None:
        """Begin to dial. Callbacks should be there by now."""
        for dialer in self._dialers.values():
            dialer.start()

    def close(self) -> None:
        """End all streams; calls in flight end as Unreachable."""
        for dialer in self._dialers.values():
            dialer.stop()
        for dialer in self._dialers.values():
            dialer.join()

    # --- calls and messages ---

    def call(
        self,
        role: str,
        replica: int,
        payload: object,
        timeout_ms: float,
        request_id: str = "",
        done: Done | None = None,
    ) -> Pending:
        """Ask a replica; the answer is waited for on the `Pending`, or goes to `done`."""
        stream = self._stream(role, replica)
        return self._calls.ask(stream, payload, timeout_ms, request_id, done)

    def send(self, role: str, replica: int, message: object) -> bool:
        """Send a message that has no answer. False when it is surely not sent."""
        stream = self._stream(role, replica)
        return stream is not None and stream.send(message)

    def send_body(self, role: str, replica: int, body: bytes) -> bool:
        """As `send`, with a body that `frames.pack` made."""
        stream = self._stream(role, replica)
        return stream is not None and stream.send_body(body)

    def connected(self, role: str, replica: int) -> bool:
        """Whether there is a stream to it now."""
        return self._stream(role, replica) is not None

    def streams(self) -> tuple[Stream, ...]:
        """The streams that are up."""
        streams = [dialer.stream for dialer in self._dialers.values()]
        return tuple(stream for stream in streams if stream is not None)

    def dropped(self) -> int:
        """How many frames the full queues of the present streams have dropped."""
        return sum(stream.dropped for stream in self.streams())

    @property
    def in_flight(self) -> int:
        """How many calls wait for their answers."""
        return len(self._calls)

    def nudge(self, role: str, replica: int) -> None:
        """The replica was heard in another way: connect now rather than after the delay."""
        dialer = self._dialers.get((role, replica))
        if dialer is not None and dialer.stream is None:
            dialer.nudge()

    # --- what comes in ---

    def on_heartbeat(self, callback: Callable[[Heartbeat], None]) -> None:
        """Tell `callback` every heartbeat."""
        self._on_heartbeat.append(callback)

    def on_message(self, callback: Callable[[str, int, object], None]) -> None:
        """Tell `callback(role, replica, message)` whatever is neither answer nor heartbeat."""
        self._on_message.append(callback)

    def on_connect(self, callback: Callable[[str, int], None]) -> None:
        """Tell `callback(role, replica)` that a stream is there."""
        self._on_connect.append(callback)

    def on_disconnect(self, callback: Callable[[str, int], None]) -> None:
        """Tell `callback(role, replica)` that a stream was lost."""
        self._on_disconnect.append(callback)

    def _stream(self, role: str, replica: int) -> Stream | None:
        dialer = self._dialers.get((role, replica))
        return dialer.stream if dialer is not None else None

    def _record(self, stream: Stream, record: object) -> None:
        if isinstance(record, Answered):
            self._calls.answered(stream, record)
        elif isinstance(record, Heartbeat):
            for heard in self._on_heartbeat:
                heard(record)
        else:
            for told in self._on_message:
                told(stream.peer.role, stream.peer.replica, record)

    def _changed(self, stream: Stream, *, up: bool) -> None:
        if not up:
            self._calls.lost(stream)
        for changed in self._on_connect if up else self._on_disconnect:
            changed(stream.peer.role, stream.peer.replica)


DIALLED_BY = {
    "frontend": ("catalog", "order", "cache"),
    "cache": ("catalog", "order"),
    "order": ("catalog", "order"),
    "catalog": ("catalog",),
}


def internal_addresses(settings: CommonSettings, roles: Sequence[str]) -> Addresses:
    """Where the replicas of `roles` listen for streams, without this process itself."""
    return {
        role: {
            replica: (address.host, address.port)
            for replica, address in enumerate(settings.internal(role))
            if (role, replica) != (settings.role, settings.replica)
        }
        for role in roles
    }


def credentials_from(settings: CommonSettings) -> Credentials:
    """The secrets and TLS contexts of the settings."""
    tls = settings.tls
    files = (tls.cert_file, tls.key_file, tls.ca_file) if tls is not None else None
    return credentials_of(settings.secrets, files)


def build_hub(settings: CommonSettings, faults: FaultTable | None = None) -> Hub:
    """The hub of this role; the caller adds its callbacks and starts it."""
    return Hub(
        Peer(settings.role, settings.replica),
        internal_addresses(settings, DIALLED_BY[settings.role]),
        credentials_from(settings),
        faults or FaultTable(settings.name),
        float(settings.heartbeat_interval_ms),
    )
