"""The order group's tie to the catalog's ledger: admission, and tailing all the time.

A reign of the order group presents itself once (`AdmitOrders`); a group that is behind rebuilds
itself from the ledger first. From the first moment to the last the ledger is polled, so that a
sale whose answer was lost gets its order anyway (PROTOCOL 3.2). When the catalog doesn't hold the
past of the orders, `trouble` says so, and only the question "are you the right one now?" is
repeated (PROTOCOL 3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from emporium.catalog.requests import (
    AdmitOrders,
    LedgerMismatch,
    LedgerPage,
    OrdersAdmitted,
    OrdersBehind,
    PollLedger,
    TakeFenced,
)
from emporium.order.catalog_watch import CatalogWatch
from emporium.order.recorder import SaleRecorder
from emporium.order.state_machine import OrderState
from emporium.replication.asking import Asking, Token
from emporium.replication.failures import NotReigning
from emporium.replication.node import Port

POLL_WAIT_MS = 1_000
CALL_MARGIN_MS = 1_000.0  # how much longer than its wait a poll may take
ADMIT_TIMEOUT_MS = 2_000.0
RETRY_MS = 50.0
TROUBLE_RETRY_MS = 1_000.0
PACE_MS = 25.0  # between two polls, while takes bring their sales themselves


class LedgerTail:
    """Admission and ledger feed of one reign. `admitted_now` hears of the admission."""

    def __init__(
        self,
        state: OrderState,
        asking: Asking,
        watch: CatalogWatch,
        recorder: SaleRecorder,
        admitted_now: Callable[[Port], None],
    ) -> None:
        self.admitted = False
        self.trouble = ""  # why no purchase can be taken; empty when all is well
        self._state = state
        self._asking = asking
        self._watch = watch
        self._recorder = recorder
        self._admitted_now = admitted_now
        self._running = False
        self._behind = 0  # admission makes no sense before the watermark is here
        self._calls: dict[str, Token | None] = {}  # the calls under way
        self._call_epochs = {"admit": 0, "poll": 0}
        self._admit_at = self._poll_at = 0.0
        self._paced = False  # the next poll waits for the pace only, not after a failure
        self._admit_answers: dict[type, Callable[[Port, Any], None]] = {
            OrdersAdmitted: self._admitted,
            OrdersBehind: self._is_behind,
            LedgerMismatch: self._mismatched,
            TakeFenced: self._fenced,
            NotReigning: self._redirected,
        }

    def start(self, port: Port) -> None:
        """A new reign begins."""
        self._running = True
        self._reset(port)

    def stop(self) -> None:
        """The reign is over."""
        self._running = False
        self.admitted = False
        self.trouble = ""

    def admit_again(self, port: Port) -> None:
        """The catalog has fenced a take because the group isn't admitted."""
        self.admitted = False
        self._admit_at = port.now

    def look_again(self, port: Port) -> None:
        """The catalog has a newer reign: give up the calls in flight and ask there at once."""
        for name, epoch in self._call_epochs.items():
            if epoch < self._watch.epoch:
                self._calls[name] = None
                self._admit_at = min(self._admit_at, port.now)
                self._poll_at = min(self._poll_at, port.now)

    def tick(self, port: Port) -> None:
        """Send what is due."""
        if not self._running or self._watch.primary < 0:
            return
        if self._wants_admission(port.now):
            self._admit(port)
        if self._wants_page(port.now):
            self._poll(port)

    def wake_at(self) -> float:
        """When the next call is due."""
        if not self._running or self._watch.primary < 0:
            return float("inf")
        admit = poll = float("inf")
        if self._may_admit():
            admit = self._admit_at
        if self._may_poll():
            poll = self._poll_at
        return min(admit, poll)

    # --- admission ---

    def _may_admit(self) -> bool:
        rebuilt = self._state.watermark >= self._behind
        return not self.admitted and not self._calls.get("admit") and rebuilt

    def _wants_admission(self, now: float) -> bool:
        return self._may_admit() and now >= self._admit_at

    def _admit(self, port: Port) -> None:
        state = self._state
        admit = AdmitOrders(port.group, port.epoch, state.watermark, state.chain)
        self._call(port, "admit", admit, port.now + ADMIT_TIMEOUT_MS)

    def _admit_answered(self, port: Port, payload: object) -> None:
        handler = self._admit_answers.get(type(payload))
        if handler is None:  # lost, unknown, overloaded: ask again
            self._admit_at = port.now + RETRY_MS
        else:
            handler(port, payload)

    def _admitted(self, port: Port, fact: OrdersAdmitted) -> None:
        self._watch.hear_stamp(fact.stamp)
        self.admitted = True
        if self.trouble:
            port.note("ledger_found", "the catalog holds the past of the orders again")
        self.trouble = ""
        self._poll_at = min(self._poll_at, port.now)
        self._admitted_now(port)

    def _is_behind(self, port: Port, fact: OrdersBehind) -> None:
        self.trouble = ""
        self._behind = fact.length
        self._admit_at = self._poll_at = port.now

    def _mismatched(self, port: Port, fact: LedgerMismatch) -> None:
        mine = self._state.watermark
        reason = f"the catalog's ledger ({fact.length} sales) doesn't hold order {mine}"
        self._in_trouble(port, f"{reason}: one of the two groups has lost its past")

    def _fenced(self, port: Port, fact: TakeFenced) -> None:
        self._watch.hear_stamp(fact.stamp)
        self._in_trouble(port, f"the catalog has admitted another order reign ({fact.reason})")

    def _redirected(self, port: Port, fact: NotReigning) -> None:
        newer = self._watch.hint(fact.primary, fact.epoch)
        self._admit_at = port.now if newer else port.now + RETRY_MS

    def _in_trouble(self, port: Port, reason: str) -> None:
        if reason != self.trouble:
            port.note("ledger_trouble", reason)
        self.trouble = reason
        self.admitted = False
        self._behind = 0
        self._admit_at = port.now + TROUBLE_RETRY_MS

    # --- the feed ---

    def _may_poll(self) -> bool:
        room = self._recorder.sequencer.has_room
        return not self.trouble and not self._calls.get("poll") and room

    def _wants_page(self, now: float) -> bool:
        hurry = self._paced and self._recorder.sequencer.gap  # a gap doesn't wait for the pace
        return self._may_poll() and (now >= self._poll_at or hurry)

    def _poll(self, port: Port) -> None:
        self._paced = False
        after, chain = self._fetch_after()
        deadline = port.now + POLL_WAIT_MS + CALL_MARGIN_MS
        self._call(port, "poll", PollLedger(after, chain, POLL_WAIT_MS), deadline)

    def _fetch_after(self) -> tuple[int, str]:
        """After which sale the ledger is asked: the last one before the first gap."""
        return self._recorder.sequencer.fetch_after()

    def _poll_answered(self, port: Port, payload: object) -> None:
        if isinstance(payload, LedgerPage):
            self._page(port, payload)
        elif isinstance(payload, LedgerMismatch):
            self._mismatched(port, payload)
        else:
            newer = isinstance(payload, NotReigning) and self._watch.hint(
                payload.primary, payload.epoch
            )
            self._poll_at = port.now if newer else port.now + RETRY_MS

    def _page(self, port: Port, page: LedgerPage) -> None:
        self._watch.hear_stamp(page.stamp)
        sequencer = self._recorder.sequencer
        before = sequencer.reach
        for sale in page.sales:
            sequencer.offer(sale)
        self._recorder.pump(port)
        more = page.length > sequencer.reach > before
        self._poll_at = port.now if more else port.now + PACE_MS
        self._paced = sequencer.reach > before or not page.sales  # else: no progress, no hurry

    # --- calls ---

    def _call(self, port: Port, name: str, payload: object, deadline: float) -> None:
        self._call_epochs[name] = self._watch.epoch
        self._calls[name] = token = self._asking.token()
        target = ("catalog", self._watch.primary)
        handler = partial(self._called, name, token)
        self._asking.call(port, target, payload, handler, deadline, token)

    def _called(self, name: str, token: Token, port: Port, payload: object) -> None:
        if self._calls.get(name) is not token:
            return  # given up, or of an earlier reign
        self._calls[name] = None
        if name == "admit":
            self._admit_answered(port, payload)
        else:
            self._poll_answered(port, payload)

    def _reset(self, port: Port) -> None:
        self.admitted = False
        self.trouble = ""
        self._behind = 0
        self._calls = {}
        self._admit_at = self._poll_at = port.now
