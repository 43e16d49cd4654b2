"""A pretended store on a substrate that brings every process back after a moment, as Kubernetes
does, and whose hands do everything: a drill named by `lazy` is answered and not done."""

from __future__ import annotations

import threading
from typing import Any

from emporium.client import hands
from emporium.client.cluster import KILL, LOSE_DISK, DrillError
from tests.scenarios.fake_store import FakeCluster, FakeStore

BACK_S = 0.3
OUTAGE_S = 2.0


class HealingCluster(FakeCluster):
    """Pods that come back, nodes that hold one pod each."""

    def __init__(self, store: FakeStore) -> None:
        super().__init__(store)
        self.lazy = ""
        self._drills = frozenset({KILL, LOSE_DISK, hands.SCALE, *hands.VERBS})
        self._reachable = True
        self._scaled: dict[str, int] = {}

    def kill(self, name: str, signal: int = 9) -> None:
        if self.lazy == KILL:
            return
        super().kill(name, signal)
        threading.Timer(BACK_S, self._come_back, (name,)).start()

    def _come_back(self, name: str) -> None:
        if not self.store.processes[name].pid:
            super().start(name)

    def start(self, name: str) -> None:
        """It comes by itself."""

    def reachable(self) -> bool:
        return self._reachable

    def pods(self, role: str) -> list[str]:
        own = sum(process.role == role for process in self.store.processes.values())
        return [f"{role}-{number}" for number in range(self._scaled.get(role, own))]

    def drill(self, verb: str, **about: str) -> dict[str, Any]:
        if verb not in self._drills:
            raise DrillError(f"no {verb}")
        told: dict[str, Any] = {"ok": True, "refused": verb != self.lazy, "node": "node-1"}
        if verb == self.lazy:
            return told
        pod = about.get("pod", "")
        match verb:
            case hands.KILL_PROCESS:
                self.kill(pod)
            case hands.CUT_NODE | hands.CRASH_NODE | hands.DRAIN_NODE:
                self.pause(pod)
                told["node"] = pod
            case hands.HEAL_NODE | hands.RESTART_NODE | hands.UNCORDON_NODE:
                self.resume(about["node"])
            case hands.UPGRADE | hands.ROLLBACK:
                self._replace_all()
            case hands.API_OUTAGE:
                self._reachable = False
                threading.Event().wait(OUTAGE_S)  # what an outage is
                self._reachable = True
            case hands.SCALE:
                self._scaled[about["role"]] = int(about["replicas"])
        return told

    def _replace_all(self) -> None:
        """A rolling update: the next one goes when the one before is back."""
        for name in list(self.store.processes):
            before = self.store.processes[name].pid
            self.kill(name)
            self.wait_until(
                lambda name=name, before=before: self._replaced(name, before),
                5.0,
                f"{name} is back",
            )

    def _replaced(self, name: str, before: int) -> bool:
        return self.store.processes[name].pid not in (0, before)
