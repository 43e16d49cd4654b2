"""How a frontend does a write: exactly once, however often it has to ask (PROTOCOL 3.5).

A write has a request id and goes to the reign of its group (`/v1`), or to its replicas in turn (the
seeds' routes, where a backup forwards it once). Whatever leaves the outcome open - a lost stream, a
silent replica, a newer reign, an answer "unknown" - is followed by the same request under the same
id, until the deadline. What is told in the end is the outcome, or OutcomeUnknown with the id when
any try may have done it, and only otherwise that nothing happened.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from emporium.frontend.board import Board
from emporium.order.requests import (
    OrderRecorded,
    Purchase,
    PurchaseConflict,
    PurchaseRefused,
)
from emporium.runtime import errors

FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 10.0, 160.0
MOST_TRIES = 100
NOBODY = -1

Outcome = OrderRecorded | PurchaseRefused | PurchaseConflict


class Writing:
    """Writes of one frontend. `timeout_ms` is the whole time of one, over all tries."""

    def __init__(self, board: Board, gate: AbstractContextManager[None], timeout_ms: float) -> None:
        """Over the board's view and calls; the gate bounds how many wait at the same time."""
        self._board = board
        self._gate = gate
        self._timeout_ms = timeout_ms

    def purchase(
        self, purchase: Purchase, *, in_turn: bool = False, trace: str = ""
    ) -> tuple[Outcome, dict[str, float]]:
        """The outcome of a purchase and the ms by tier. Raises OutcomeUnknown, Overloaded,
        NotServing, BadRequest."""
        request_id = purchase.request_id
        answer, timings = self.submit("order", purchase, request_id, in_turn=in_turn, trace=trace)
        if isinstance(answer, OrderRecorded | PurchaseRefused | PurchaseConflict):
            return answer, timings
        raise errors.OutcomeUnknown(request_id, f"order answered {type(answer).__name__}")

    def submit(
        self, role: str, payload: object, request_id: str, *, in_turn: bool, trace: str
    ) -> tuple[object, dict[str, float]]:
        """The group's answer to a write, and the ms by tier. Raises as `purchase`."""
        with self._gate:
            return self._submit(role, payload, request_id, trace, in_turn=in_turn)

    def _submit(
        self, role: str, payload: object, request_id: str, trace: str, *, in_turn: bool
    ) -> tuple[object, dict[str, float]]:
        attempt = _Write(self._board, role, payload, trace, in_turn=in_turn)
        deadline = self._board.now_ms() + self._timeout_ms
        pause_ms = FIRST_PAUSE_MS
        for _ in range(MOST_TRIES):
            seen = self._board.last_change
            answered = attempt.once(deadline)
            if answered is not None:
                return answered
            left_ms = deadline - self._board.now_ms()
            if left_ms <= 0 or self._board.closed:
                break
            self._board.wait_for_change(seen, min(pause_ms, left_ms))
            pause_ms = min(2 * pause_ms, LONGEST_PAUSE_MS)
        if attempt.perhaps_done:
            raise errors.OutcomeUnknown(request_id)
        raise errors.NotServing(f"no {role} replica could take it: {attempt.reason}")


class _Write:
    """One write over its tries."""

    def __init__(
        self, board: Board, role: str, payload: object, trace: str, *, in_turn: bool
    ) -> None:
        self.perhaps_done = False
        self.reason = "nobody reigns"
        self._board = board
        self._role = role
        self._payload = payload
        self._trace = trace
        self._in_turn = in_turn
        self._tried: frozenset[int] = frozenset()
        self._hint = errors.Misdirected()

    def once(self, deadline: float) -> tuple[object, dict[str, float]] | None:
        """One try: the answer, or None when it is worth another. Raises BadRequest, and
        Overloaded while nothing can have happened."""
        target = self._target()
        if target == NOBODY:
            return None
        started = self._board.now_ms()
        try:
            answer, timings = self._board.call(
                self._role, target, self._payload, deadline, trace=self._trace, within_reign=True
            )
        except errors.Misdirected as error:
            self._hint = error
            self._failed(target, error)
            return None
        except errors.Overloaded as error:
            if not self.perhaps_done:
                raise
            self._failed(target, error)
            return None
        except errors.ServiceError as error:
            self.perhaps_done = self.perhaps_done or not error.definite
            self._failed(target, error)
            return None
        timings[self._role] = self._board.now_ms() - started
        return answer, timings

    def _failed(self, target: int, error: errors.EmporiumError) -> None:
        self.reason = error.detail
        self._tried |= {target}

    def _target(self) -> int:
        if self._in_turn:
            chosen = self._board.choose(self._role, self._tried)
            if chosen == NOBODY and self._tried:
                self._tried = frozenset()
                chosen = self._board.choose(self._role)
            return chosen
        reign = self._board.reign(self._role)
        hint, self._hint = self._hint, errors.Misdirected()  # a hint is good for one try
        if hint.hint >= 0 and (reign is None or hint.epoch > reign.epoch):
            return hint.hint
        return NOBODY if reign is None else reign.replica
