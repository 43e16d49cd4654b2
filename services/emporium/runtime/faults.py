"""Faults between processes: loss, delay, duplication and one-way cuts, at the sending side.

A rule belongs to a pair (from, to) of names such as catalog-0; `*` stands for everybody. Every
stream asks its table before it sends. An empty table costs one attribute look-up: `active` is
False. Only an operator, or the tests, fill it at run time. A cut swallows what is sent and leaves
the connection open, as a network does.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from emporium.runtime.clock import SYSTEM

EVERYBODY = "*"
MAXIMUM_DELAY_MS = 60_000.0
MAXIMUM_DELAYED = 10_000
"""How many frames may be on their way; those beyond it are lost."""
_AT_ONCE = (0.0,)


@dataclass(frozen=True, slots=True)
class FaultRule:
    """What happens to frames of one direction. Shares are between 0 and 1."""

    loss: float = 0.0
    delay_ms: float = 0.0
    duplicate: float = 0.0
    cut: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError, naming the field, for what can't be."""
        for name in ("loss", "duplicate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: must be between 0 and 1")
        if not 0 <= self.delay_ms <= MAXIMUM_DELAY_MS:
            raise ValueError(f"delay_ms: must be between 0 and {MAXIMUM_DELAY_MS:g}")

    @property
    def harmless(self) -> bool:
        """Whether the rule changes nothing."""
        return not (self.loss or self.delay_ms or self.duplicate or self.cut)


class FaultTable:
    """The rules of one process, which is called `own`."""

    def __init__(self, own: str, seed: int = 0) -> None:
        """No rule; the same seed loses the same frames."""
        self.own = own
        self.active = False
        self._rules: dict[tuple[str, str], FaultRule] = {}
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._delayer = Delayer()

    def set(self, to: str, rule: FaultRule, sender: str = "") -> None:
        """Use `rule` from now on for frames from `sender` (this process) to `to`."""
        with self._lock:
            rules = dict(self._rules)
            rules.pop((sender or self.own, to), None)
            if not rule.harmless:
                rules[sender or self.own, to] = rule
            self._rules = rules
            self.active = bool(rules)

    def clear(self) -> None:
        """Forget all rules; frames that are delayed still arrive."""
        with self._lock:
            self._rules = {}
            self.active = False

    def set_from_json(self, document: object) -> None:
        """Take an operator's `{"to": "catalog-1", "loss": 0.1, "delay_ms": 50, "duplicate": 0.05,
        "cut": true}`; all but `to` may be left out. Raises ValueError, naming the field."""
        if not isinstance(document, dict):
            raise ValueError("to: expected a JSON object")  # noqa: TRY004 (a bad request)
        unknown = set(document) - {"to", "loss", "delay_ms", "duplicate", "cut"}
        if unknown:
            raise ValueError(f"{min(map(str, unknown))}: no such field")
        to = document.get("to")
        if not isinstance(to, str) or not to:
            raise ValueError("to: expected a name as in catalog-1, or *")
        cut = document.get("cut", False)
        if not isinstance(cut, bool):
            raise ValueError("cut: expected true or false")  # noqa: TRY004 (a bad request)
        shares = {name: _number(document, name) for name in ("loss", "delay_ms", "duplicate")}
        self.set(to, FaultRule(cut=cut, **shares))

    def describe(self) -> list[dict[str, object]]:
        """The rules that hold, for the operator."""
        return [
            {
                "from": sender,
                "to": to,
                "loss": rule.loss,
                "delay_ms": rule.delay_ms,
                "duplicate": rule.duplicate,
                "cut": rule.cut,
            }
            for (sender, to), rule in sorted(self._rules.items())
        ]

    def cuts(self, to: str, sender: str = "") -> bool:
        """Whether nothing gets through from `sender` (this process) to `to`."""
        rule = self._rule(sender or self.own, to) if self.active else None
        return rule is not None and rule.cut

    def plan(self, to: str, sender: str = "") -> tuple[float, ...]:
        """When to send a frame: one delay in ms for each copy; empty when it is lost."""
        rule = self._rule(sender or self.own, to)
        if rule is None:
            return _AT_ONCE
        with self._lock:
            if rule.cut or self._random.random() < rule.loss:
                return ()
            copies = 2 if self._random.random() < rule.duplicate else 1
        return (rule.delay_ms,) * copies

    def send(self, to: str, deliver: Callable[[], object], sender: str = "") -> bool:
        """Deliver as the rules say: now, later, twice or not at all. False: lost now."""
        plan = self.plan(to, sender)
        for delay_ms in plan:
            if delay_ms:
                self._delayer.later(delay_ms, deliver)
            else:
                deliver()
        return bool(plan)

    def _rule(self, sender: str, to: str) -> FaultRule | None:
        rules = self._rules
        for key in ((sender, to), (sender, EVERYBODY), (EVERYBODY, to), (EVERYBODY, EVERYBODY)):
            if key in rules:
                return rules[key]
        return None


def _number(document: dict[str, object], name: str) -> float:
    value = document.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: expected a number")  # noqa: TRY004 (a bad request)
    return float(value)


class Delayer:
    """Does things later, in order of time, in a thread that starts with the first of them and
    ends when it has been idle for a second."""

    def __init__(self) -> None:
        """Nothing waits yet."""
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._running = False

    def later(self, delay_ms: float, action: Callable[[], object]) -> None:
        """Call `action` after `delay_ms`, unless too many wait already."""
        with self._changed:
            if len(self._waiting) >= MAXIMUM_DELAYED:
                return
            due = SYSTEM.now_ms() + delay_ms
            heapq.heappush(self._waiting, (due, next(self._order), action))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="faults-delay", daemon=True).start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                action = self._next()
                if action is None:
                    self._running = False
                    return
            action()

    def _next(self) -> Callable[[], object] | None:
        while self._waiting or self._changed.wait(1.0):
            if not self._waiting:
                continue
            left_ms = self._waiting[0][0] - SYSTEM.now_ms()
            if left_ms <= 0:
                return heapq.heappop(self._waiting)[2]
            self._changed.wait(left_ms / 1000)
        return None
