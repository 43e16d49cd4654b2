"""Proposes sales in their order and follows them into the state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from emporium.catalog.requests import Sale
from emporium.order.requests import OrderRecorded, RecordSale
from emporium.order.sequencer import SaleSequencer
from emporium.order.state_machine import OrderState
from emporium.replication import wire
from emporium.replication.asking import Asking
from emporium.replication.effects import DONE, Answer
from emporium.replication.node import Port

AGAIN_MS = 50.0  # pause after a proposal that failed

Recorded = Callable[[Port, Sale, int], None]  # the order of a sale is in the state at an index
Interrupted = Callable[[Port, Sale], None]  # proposed, and the reign ended before the answer


class SaleRecorder:
    """One reign's way from a sale to its order. `recorded` hears of every order, also of those
    that a reign which hands over still commits; `interrupted` of those that it doesn't."""

    def __init__(
        self, state: OrderState, asking: Asking, recorded: Recorded, interrupted: Interrupted
    ) -> None:
        self.sequencer = SaleSequencer()
        self.proposed: set[str] = set()  # request ids whose order is proposed and not answered
        self._state = state
        self._asking = asking
        self._recorded = recorded
        self._interrupted = interrupted
        self._stopped = True
        self._reign = 0  # counts reigns, so that answers of an earlier one are told apart
        self._failed = False
        self._again_at = float("inf")

    def start(self) -> None:
        """A new reign: go on after the newest order in the state."""
        self._reign += 1
        self._stopped = False
        self._failed = False
        self.proposed = set()
        self._again_at = float("inf")
        self.sequencer.restart(self._state.watermark, self._state.chain)

    def stop(self) -> None:
        """The reign is over: propose nothing more, and wait for the answers only."""
        self._stopped = True
        self._again_at = float("inf")

    def pump(self, port: Port) -> None:
        """Propose what can be proposed. After a failure, not before all answers are here: else a
        later sale would be refused because an earlier one is missing, again and again."""
        self.sequencer.record(self._state.watermark, self._state.chain)
        if self._failed or self._stopped:
            return
        for sale in self.sequencer.ready():
            self.proposed.add(sale.request_id)
            handler = partial(self._answered, self._reign, sale)
            command = wire.encode(RecordSale(sale))
            self._asking.propose(port, command, handler, float("inf"))

    def tick(self, port: Port) -> None:
        """Begin again after a failure."""
        if port.now >= self._again_at:
            self._again_at = float("inf")
            self._failed = False
            self.sequencer.rewind()
            self.pump(port)

    def wake_at(self) -> float:
        """When to begin again."""
        return self._again_at

    def _answered(self, reign: int, sale: Sale, port: Port, answer: Answer) -> None:
        if reign != self._reign:
            return
        self.proposed.discard(sale.request_id)
        if answer.status == DONE and isinstance(answer.fact, OrderRecorded):
            self._recorded(port, sale, answer.index)
        elif self._stopped:
            self._interrupted(port, sale)
        else:
            self._failed = True
            port.note("record_failed", f"sale {sale.number}: {answer.status} {answer.fact}"[:200])
        if self._failed and not self.proposed and not self._stopped:
            self._again_at = port.now + AGAIN_MS
        self.pump(port)
