"""The background load: clients that buy and look things up while a scenario breaks the store.

Buyers buy items of the topic `load` (and now and then the scarce one), each purchase under its own
request id until its outcome is known; readers look the same items up. All of it is recorded. The
choice of items is seeded; what the store answers isn't.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from emporium.client.cluster import wait_until
from emporium.client.history import Recorder
from emporium.client.items import LOAD_ITEMS, SCARCE_ITEM
from emporium.client.store import Bought, ClientLog, Store, StoreError, Unknown

SCARCE_SHARE = 0.02
JOIN_S = 45.0
"""Above the longest purchase: its deadline and one answer."""


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How much load. The pauses are the mean time between two calls of one client, in seconds."""

    buyers: int = 4
    readers: int = 3
    buy_pause_s: float = 0.02
    read_pause_s: float = 0.02
    deadline_s: float = 30.0  # of one purchase
    seed: int = 1


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What the load has seen so far."""

    acknowledged: int
    repeated: int  # of those: answered as a repeat
    refused: int
    unknown: int
    reads: int
    cached_reads: int
    failed_reads: int
    longest_gap_s: float  # between two successful buys, as all clients together see it


class Load:
    """Starts and stops the clients. `errors` holds what went wrong inside the load itself."""

    def __init__(
        self,
        frontends: Sequence[str],
        recorder: Recorder,
        settings: LoadSettings | None = None,
        log: ClientLog | None = None,
    ) -> None:
        """Prepare; nothing runs before `start`."""
        self.settings = settings or LoadSettings()
        self.errors: list[str] = []
        self._frontends = list(frontends)
        self._recorder = recorder
        self._log = log
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._counts = dict.fromkeys(
            ("acknowledged", "repeated", "refused", "unknown", "reads", "cached", "failed"), 0
        )
        self._last_success = 0.0
        self._longest_gap_s = 0.0

    def start(self) -> None:
        """Start all clients."""
        self._last_success = time.monotonic()
        for index in range(self.settings.buyers):
            self._run(f"buyer{index}", index, self._buy)
        for index in range(self.settings.readers):
            self._run(f"reader{index}", index, self._read)

    def _run(self, name: str, index: int, act: object) -> None:
        thread = threading.Thread(target=self._client, args=(name, index, act), name=name)
        thread.daemon = True
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """Let every client finish its call; a client that doesn't is an error."""
        self._mark_gap()  # now: what the clients' last calls take is no gap
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_S)
            if thread.is_alive():
                self.errors.append(f"{thread.name} doesn't end")
        self._threads = []

    def counts(self) -> LoadCounts:
        """What has been seen so far."""
        with self._lock:
            gap = time.monotonic() - self._last_success if self._threads else 0.0
            counts = dict(self._counts)
            longest = max(self._longest_gap_s, gap)
        return LoadCounts(
            counts["acknowledged"],
            counts["repeated"],
            counts["refused"],
            counts["unknown"],
            counts["reads"],
            counts["cached"],
            counts["failed"],
            longest,
        )

    def wait_acknowledged(self, more: int, deadline_s: float, since: int = -1) -> None:
        """Wait until `more` purchases were acknowledged since the count `since` (default: now).
        Raises DeadlinePassedError."""
        start = self.counts().acknowledged if since < 0 else since
        wait_until(
            lambda: self.counts().acknowledged >= start + more,
            deadline_s,
            f"{more} more purchases of the background load are acknowledged",
        )

    def _client(self, name: str, index: int, act: object) -> None:
        chance = random.Random(f"{self.settings.seed}-{name}")
        store = Store(
            self._frontends, name=name, first=index, recorder=self._recorder, log=self._log
        )
        try:
            while not self._stop.is_set():
                pause = act(store, chance)  # type: ignore[operator]
                self._stop.wait(chance.uniform(0, 2 * pause))
        except Exception as error:  # noqa: BLE001 (a client that dies must not go unseen)
            self.errors.append(f"{name}: {type(error).__name__}: {error}")
        finally:
            store.close()

    @staticmethod
    def _choose(chance: random.Random) -> str:
        return SCARCE_ITEM if chance.random() < SCARCE_SHARE else chance.choice(LOAD_ITEMS)

    def _buy(self, store: Store, chance: random.Random) -> float:
        result = store.buy(self._choose(chance), deadline_s=self.settings.deadline_s)
        if isinstance(result, Bought):
            self._mark_gap()
            self._count("acknowledged", "repeated" if result.repeated else "")
        else:
            self._count("unknown" if isinstance(result, Unknown) else "refused")
        return self.settings.buy_pause_s

    def _read(self, store: Store, chance: random.Random) -> float:
        try:
            seen = store.lookup(self._choose(chance), deadline_s=self.settings.deadline_s)
        except StoreError:
            self._count("failed")
        else:
            self._count("reads", "cached" if seen.cached else "")
        return self.settings.read_pause_s

    def _count(self, *names: str) -> None:
        with self._lock:
            for name in names:
                if name:
                    self._counts[name] += 1

    def _mark_gap(self) -> None:
        """A purchase has succeeded, or the load ends; after its end nobody tries any more."""
        if self._stop.is_set():
            return
        with self._lock:
            now = time.monotonic()
            self._longest_gap_s = max(self._longest_gap_s, now - self._last_success)
            self._last_success = now
