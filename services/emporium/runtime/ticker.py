"""A thread that does one thing again and again, and sooner when it is woken."""

from __future__ import annotations

import threading
from collections.abc import Callable

from emporium.runtime.clock import SYSTEM, Clock


class Ticker:
    """Calls `action` from a thread of its own. What `action` returns is how long to wait, in ms,
    until the next call; `wake` shortens it. An action that raises ends the ticking, and then the
    liveness that `age_ms` tells."""

    def __init__(self, name: str, action: Callable[[], float], clock: Clock = SYSTEM) -> None:
        """Nothing is done before `start`."""
        self._action = action
        self._clock = clock
        self._wake = threading.Event()
        self._stopped = False
        self._last = clock.now_ms()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with a first call at once."""
        self._thread.start()

    def wake(self) -> None:
        """Call it now rather than later."""
        self._wake.set()

    def stop(self) -> None:
        """No further call; one that is under way goes on."""
        self._stopped = True
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def age_ms(self) -> float:
        """How long ago the last call began."""
        return self._clock.now_ms() - self._last

    def _run(self) -> None:
        while not self._stopped:
            self._last = self._clock.now_ms()
            wait_ms = self._action()
            self._wake.wait(max(wait_ms, 0.0) / 1000)
            self._wake.clear()
