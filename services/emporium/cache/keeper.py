"""A holder among threads: the lock around it, its clock, and the thread that renews its lease.

Whatever the holder sends is sent within the lock, in the order of its decisions; sending never
waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from emporium.cache.holder import Holder, Outgoing
from emporium.replication.messages import Heartbeat, Invalidate
from emporium.runtime import logs
from emporium.runtime.clock import SYSTEM, Clock
from emporium.runtime.reigns import Reign
from emporium.runtime.ticker import Ticker

CATALOG = "catalog"
SHORTEST_WAIT_MS, LONGEST_WAIT_MS = 5.0, 100.0
_log = logs.logger("holder")


class Streams(Protocol):
    """What is wanted of the hub."""

    def send(self, role: str, replica: int, message: object) -> bool:
        """Send a message without an answer."""

    def on_heartbeat(self, callback: Callable[[Heartbeat], None]) -> None:
        """Tell heartbeats."""

    def on_message(self, callback: Callable[[str, int, object], None]) -> None:
        """Tell messages."""

    def on_disconnect(self, callback: Callable[[str, int], None]) -> None:
        """Tell lost streams."""


class Keeper:
    """Keeps copies for the threads of one process. `on_invalidation` is told every invalidation
    when it has been obeyed."""

    def __init__(
        self,
        holder: Holder,
        streams: Streams,
        failure_timeout_ms: float,
        on_invalidation: Callable[[Invalidate], None] = lambda _: None,
        clock: Clock = SYSTEM,
    ) -> None:
        """Listens to `streams`; renews nothing before `start`."""
        self._holder = holder
        self._streams = streams
        self._reign = Reign(CATALOG, failure_timeout_ms)
        self._on_invalidation = on_invalidation
        self._clock = clock
        self._lock = threading.Lock()
        self.ticker = Ticker("holder", self._tick, clock)
        streams.on_heartbeat(self._heard)
        streams.on_message(self._told)
        streams.on_disconnect(self._lost)

    def start(self) -> None:
        """Begin to ask for a lease."""
        self.ticker.start()

    def close(self) -> None:
        """Give the lease back; nothing is answered from copies any more."""
        with self._lock:
            self._send(self._holder.close())
        self.ticker.stop()

    # --- for request threads ---

    def get(self, key: str) -> object | None:
        """The copy, as good as a linearizable read; None when there is none to answer from."""
        with self._lock:
            return self._holder.get(key, self._clock.now_ms())

    def get_quietly(self, key: str) -> object | None:
        """As `get`, but a miss isn't counted: whoever asks so asks again with `get`."""
        with self._lock:
            now = self._clock.now_ms()
            return self._holder.get(key, now) if self._holder.has(key, now) else None

    def session(self) -> str:
        """What a fill must name; ask before the read. Empty without a lease."""
        with self._lock:
            return self._holder.session(self._clock.now_ms())

    def put(self, key: str, value: object, index: int, session: str) -> bool:
        """Keep a copy, read at `index` under `session`; False when it is refused."""
        with self._lock:
            return self._holder.put(key, value, index, session, self._clock.now_ms())

    def drop(self, keys: Iterable[str]) -> list[str]:
        """Forget copies; those that were there."""
        with self._lock:
            return self._holder.drop(keys)

    def copies(self) -> dict[str, object]:
        """All copies, to look at."""
        with self._lock:
            return self._holder.copies()

    def status(self) -> dict[str, object]:
        """The holder's state and counters, flat."""
        with self._lock:
            counters = self._holder.counters
            counts: dict[str, object] = {n: getattr(counters, n) for n in counters.__slots__}
            return {**self._holder.status(self._clock.now_ms()), **counts}

    # --- for the readers' threads ---

    def _heard(self, beat: Heartbeat) -> None:
        now = self._clock.now_ms()
        with self._lock:
            before = self._reign.primary(now)
            self._reign.heard(beat, now)
            changed = self._reign.primary(now) != before
        if changed:
            self.ticker.wake()

    def _told(self, role: str, replica: int, message: object) -> None:
        if role != CATALOG:
            return
        with self._lock:
            self._send(self._holder.receive(replica, message, self._clock.now_ms()))
            if isinstance(message, Invalidate):
                self._on_invalidation(message)

    def _lost(self, role: str, replica: int) -> None:
        if role == CATALOG:
            with self._lock:
                self._holder.disconnected(replica)
            self.ticker.wake()

    # --- the thread ---

    def _tick(self) -> float:
        with self._lock:
            now = self._clock.now_ms()
            self._send(self._holder.tick(now, self._reign.primary(now)))
            wait_ms = self._holder.wake_at() - now
        return min(max(wait_ms, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)

    def _send(self, outgoing: Outgoing) -> None:
        for replica, message in outgoing:
            if not self._streams.send(CATALOG, replica, message):
                _log.debug("nothing could be sent to catalog-%d", replica)
