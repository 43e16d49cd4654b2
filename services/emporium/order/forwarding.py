"""What a replica that doesn't reign does with a purchase: pass it on, once (PROTOCOL 3.5).

While nobody is known to reign (a hand-over, a fail-over) purchases wait here for a moment: most
reigns are back within it, and an answer "not here, and nobody knows where" helps no client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from emporium.order.requests import OrderRecorded, Purchase
from emporium.replication.asking import Asking
from emporium.replication.effects import Request
from emporium.replication.failures import NotReigning, OutcomeUnknown, Overloaded
from emporium.replication.node import Port

PARK_MS = 1_000.0  # as long as a hand-over may queue (PROTOCOL 2.4)
PARKED_LIMIT = 1_024
RETRY_AFTER_MS = 500


@dataclass(frozen=True, slots=True)
class _Parked:
    request: Request
    until: float


class Forwarding:
    """Purchases on their way to the reigning replica of this group. `admit` takes one that may be
    flown here after all; `relayed` hears of every order whose client came to this replica."""

    def __init__(
        self,
        asking: Asking,
        admit: Callable[[Port, Request], None],
        relayed: Callable[[Port, OrderRecorded], None],
    ) -> None:
        self._asking = asking
        self._admit = admit
        self._relayed = relayed
        self._parked: list[_Parked] = []

    def pass_on(self, port: Port, request: Request, purchase: Purchase) -> None:
        """Forward `purchase`, or send it back with a hint, or let it wait for a reign."""
        if port.primary in (-1, port.replica):
            self._park(port, request)
        elif purchase.forwarded:
            port.reply(request.token, NotReigning(port.primary, port.epoch))
        else:
            onward = replace(purchase, forwarded=True)
            handler = partial(self._relay, request.token, purchase, port.now)
            target = ("order", port.primary)
            self._asking.call(port, target, onward, handler, request.deadline)

    def tick(self, port: Port) -> None:
        """Let go what waits, as soon as somebody reigns, or its time is over."""
        if not self._parked:
            return
        somebody = port.reigning or port.primary not in (-1, port.replica)
        parked, self._parked = self._parked, []
        for one in parked:
            if somebody:
                self._admit(port, one.request)
            elif one.until <= port.now:
                port.reply(one.request.token, NotReigning(port.primary, port.epoch))
            else:
                self._parked.append(one)

    def wake_at(self) -> float:
        """When the first has waited long enough."""
        return min((one.until for one in self._parked), default=float("inf"))

    def _park(self, port: Port, request: Request) -> None:
        if len(self._parked) >= PARKED_LIMIT:
            port.reply(request.token, Overloaded(RETRY_AFTER_MS))
        else:
            self._parked.append(_Parked(request, min(port.now + PARK_MS, request.deadline)))

    def _relay(
        self, token: object, purchase: Purchase, since: float, port: Port, payload: object
    ) -> None:
        if payload is None:
            payload = OutcomeUnknown(purchase.request_id)
        if isinstance(payload, OrderRecorded):
            self._relayed(port, payload)
        port.reply(token, payload, timings=(("order", port.now - since),))
