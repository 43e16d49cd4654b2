"""A pretended store on a substrate that brings every process back after a moment, as Kubernetes
does, and whose hands do everything: a drill named by `lazy` is answered and not done."""

from __future__ import annotations

import dataclasses
import re
import threading
from typing import Any

from emporium.client import hands
from emporium.client.cluster import GROUPS, KILL, LOSE_DISK, DrillError, Replica
from tests.scenarios.fake_store import FakeCluster, FakeStore, Process

BACK_S = 0.3
OUTAGE_S = 2.0
ROTATED = re.compile(r"secrets\.(generation|operatorTokenGeneration)=(\d+)")
OTHER_IMAGE, ROTATION, TOKEN = "other image", "rotation", "token"
"""Parts of an upgrade that `lazy` may name: the rest of it is done."""


class HealingCluster(FakeCluster):
    """Pods that come back, nodes that hold one pod each. With `moves` a drained pod finds another
    node; with `stuck` no pod that is added by scaling is ever started; with `only_cuts` a node that
    should crash is only cut off."""

    def __init__(self, store: FakeStore) -> None:
        super().__init__(store)
        self.lazy = ""
        self.moves = False
        self.stuck = False
        self.only_cuts = False
        self.done: list[tuple[str, dict[str, str]]] = []
        self._drills = frozenset({KILL, LOSE_DISK, hands.SCALE, *hands.VERBS})
        self._reachable = True
        self._scaled: dict[str, int] = {}
        self._uids = dict.fromkeys(store.processes, 1)
        self._versions = [1]  # of messages, the newest revision's last
        self._generations = {"generation": 1, "operatorTokenGeneration": 1}
        self._rotate_token()

    def kill(self, name: str, signal: int = 9) -> None:
        """Delete the pod; another one of that name comes."""
        if self.lazy != KILL:
            self._uids[name] += 1
            self._kill_process(name, signal)

    def _kill_process(self, name: str, signal: int = 9) -> None:
        super().kill(name, signal)
        threading.Timer(BACK_S, self._come_back, (name,)).start()

    def _come_back(self, name: str) -> None:
        if not self.store.processes[name].pid:
            super().start(name)

    def start(self, name: str) -> None:
        """It comes by itself."""

    def _replica(self, process: Process) -> Replica:
        name = process.name
        process_name = f"{name}.{self._uids[name]}/{process.pid}" if process.pid else ""
        version = self._versions[-1] if process.role in GROUPS else 0
        return dataclasses.replace(
            super()._replica(process), process=process_name, message_version=version
        )

    def reachable(self) -> bool:
        return self._reachable

    def pods(self, role: str) -> dict[str, bool]:
        own = sum(process.role == role for process in self.store.processes.values())
        count = self._scaled.get(role, own)
        return {f"{role}-{number}": number < own or not self.stuck for number in range(count)}

    def operator_token(self) -> str:
        return self.store.token

    def secret_generations(self) -> tuple[int, int]:
        return (self._generations["generation"], self._generations["operatorTokenGeneration"])

    def drill(self, verb: str, **about: str) -> dict[str, Any]:
        if verb not in self._drills:
            raise DrillError(f"no {verb}")
        self.done.append((verb, about))
        told: dict[str, Any] = {"ok": True, "node": about.get("pod", "")}
        if verb != self.lazy:
            self._do(verb, about)
        if verb == hands.EVICT_POD:
            told["refused"] = not self._evicted(about["pod"])
        return told

    def _do(self, verb: str, about: dict[str, str]) -> None:
        pod, node = about.get("pod", ""), about.get("node", "")
        match verb:
            case hands.KILL_PROCESS:
                self._kill_process(pod)
            case hands.DRAIN_NODE if self.moves:
                self.kill(pod)
                self.wait_until(lambda: self.store.able(pod), 5.0, f"{pod} runs elsewhere")
            case hands.CUT_NODE | hands.DRAIN_NODE:
                self.pause(pod)
            case hands.CRASH_NODE if self.only_cuts:
                self.pause(pod)
            case hands.CRASH_NODE:
                super().kill(pod)
            case hands.RESTART_NODE if not self.only_cuts:
                super().start(node)
            case hands.HEAL_NODE | hands.UNCORDON_NODE | hands.RESTART_NODE:
                self.resume(node)
            case hands.UPGRADE:
                self._upgrade(about["set"])
            case hands.ROLLBACK:
                self._replace_all()
                self._versions = self._versions[:-1] or [1]
            case hands.API_OUTAGE:
                self._reachable = False
                threading.Event().wait(OUTAGE_S)  # what an outage is
                self._reachable = True
            case hands.SCALE:
                self._scaled[about["role"]] = int(about["replicas"])

    def _evicted(self, name: str) -> bool:
        """A budget of one: refused while another one of the group is away."""
        role = self.store.processes[name].role
        others = [p.name for p in self.store.processes.values() if p.role == role]
        if self.lazy != hands.EVICT_POD and not all(map(self.store.able, others)):
            return False
        self.kill(name)
        return True

    def _upgrade(self, values: str) -> None:
        before = self.secret_generations()
        for name, number in ROTATED.findall(values):
            if int(number) != self._generations[name] + 1:
                raise DrillError(f"{name} {number}: the pods before it wouldn't be understood")
            if self.lazy != ROTATION:
                self._generations[name] = int(number)
        self._replace_all()
        if self.secret_generations()[1] != before[1] and self.lazy != TOKEN:
            self._rotate_token()
        other = "image.tags" in values and self.lazy != OTHER_IMAGE
        self._versions.append(self._versions[-1] + other)

    def _rotate_token(self) -> None:
        self.store.token = f"token-{self._generations['operatorTokenGeneration']}"

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
