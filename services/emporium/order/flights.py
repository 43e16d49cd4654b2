"""The purchases under way at the reigning order replica, one flight per request id."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from emporium.order.requests import Purchase
from emporium.replication.asking import Token

FLIGHTS_LIMIT = 1_024
WAITERS_LIMIT = 64  # concurrent requests with one id


@dataclass(frozen=True, slots=True)
class Waiter:
    """A request that waits for its flight. `direct`: it came from a client, not forwarded."""

    token: object
    deadline: float
    direct: bool


@dataclass(slots=True)
class Flight:
    """One request id on its way: one take at a time, whoever waits for it."""

    purchase: Purchase
    waiters: list[Waiter]
    deadline: float  # of the waiter that waits longest
    attempts: int = 0  # takes sent
    call: Token | None = None  # of the newest take; None when none is under way
    tried_epoch: int = 0  # the catalog's reign that it went to
    retry_at: float = float("inf")
    taken: bool = False  # the sale is here and waits for its order
    called_at: float = 0.0
    catalog_ms: float = 0.0


@dataclass(slots=True)
class Flights:
    """All flights by request id, and the deadlines of their waiters."""

    by_id: dict[str, Flight] = field(default_factory=dict)
    _deadlines: list[tuple[float, str]] = field(default_factory=list)
    _retries: dict[str, Flight] = field(default_factory=dict)

    def open(self, purchase: Purchase, waiter: Waiter) -> Flight:
        """A new flight for a request id that has none."""
        flight = Flight(purchase, [waiter], waiter.deadline)
        self.by_id[purchase.request_id] = flight
        heapq.heappush(self._deadlines, (waiter.deadline, purchase.request_id))
        return flight

    def join(self, flight: Flight, waiter: Waiter) -> None:
        """One more waiter."""
        flight.waiters.append(waiter)
        flight.deadline = max(flight.deadline, waiter.deadline)
        heapq.heappush(self._deadlines, (waiter.deadline, flight.purchase.request_id))

    def close(self, flight: Flight) -> None:
        """The flight is over. A later one under the same id is another flight."""
        request_id = flight.purchase.request_id
        if self.by_id.get(request_id) is flight:
            del self.by_id[request_id]
        self._retries.pop(request_id, None)

    def is_open(self, flight: Flight) -> bool:
        """Whether somebody still waits for this flight."""
        return self.by_id.get(flight.purchase.request_id) is flight

    def retry(self, flight: Flight, when: float) -> None:
        """The take is to be repeated at `when` (ms of now)."""
        flight.call, flight.retry_at = None, when
        self._retries[flight.purchase.request_id] = flight

    def settle(self, flight: Flight) -> None:
        """The take isn't to be repeated: another one has been sent, or the sale is here."""
        flight.retry_at = float("inf")
        self._retries.pop(flight.purchase.request_id, None)

    def due(self, now: float) -> list[Flight]:
        """The flights whose take is to be repeated now."""
        due = [flight for flight in self._retries.values() if flight.retry_at <= now]
        for flight in due:
            del self._retries[flight.purchase.request_id]
        return due

    def expired(self, now: float) -> list[tuple[Flight, list[Waiter]]]:
        """Take out the waiters whose time is over; a flight without waiters is closed."""
        found = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, request_id = heapq.heappop(self._deadlines)
            flight = self.by_id.get(request_id)
            if flight is None:
                continue
            late = [waiter for waiter in flight.waiters if waiter.deadline <= now]
            flight.waiters = [waiter for waiter in flight.waiters if waiter.deadline > now]
            found.append((flight, late))
            if not flight.waiters:
                self.close(flight)
        return found

    def wake_at(self) -> float:
        """The next retry or deadline."""
        retry = min((flight.retry_at for flight in self._retries.values()), default=float("inf"))
        return min(retry, self._deadlines[0][0] if self._deadlines else float("inf"))
