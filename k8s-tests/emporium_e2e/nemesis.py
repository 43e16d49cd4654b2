"""The hands of the scenario job: what a pod may not do, done from outside, and undone at the end.

`obey` does one verb of `emporium.client.hands` and gives the answer's fields. Whatever it breaks is
noted before, with how it is mended, so that `mend` finds it even when the breaking itself failed
half-way. Leaving the `with` block mends all of it, in the reverse order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Self

from emporium.client import hands
from emporium_e2e.client import ASK_S, Helm, Kubectl, wait_until
from emporium_e2e.cluster import CONTEXT, Cluster
from emporium_e2e.errors import E2eError
from emporium_e2e.interruptions import undisturbed
from emporium_e2e.steps import say

Answer = dict[str, Any]
NODE_S: Final = 300.0
ROLL_S: Final = hands.ANSWER_S - 3 * ASK_S
"""Helm's own limit; the job waits until it is over, asked for the revision, and answered."""
DISK_S: Final = 180.0
STUCK_S: Final = 5.0
"""A pod that waits so long for a claim that isn't there is made anew."""
READY_S: Final = 120.0
MOST_OUTAGE_S: Final = 60.0
SETTING: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\\-]*=[^,]*(,[A-Za-z][A-Za-z0-9_.\\-]*=[^,]*)*")
REFUSED: Final = re.compile(r"TooManyRequests|disruption budget")
GONE: Final = "has no processes|NotFound|answers 404"


class Nemesis:
    """Hands on one release. `job_node` is never cut or crashed: nobody could answer its job."""

    def __init__(
        self, cluster: Cluster, kubectl: Kubectl, helm: Helm, store: str, job_node: str = ""
    ) -> None:
        """`store` is what the names of the release's pods begin with."""
        self._cluster = cluster
        self._kubectl = kubectl
        self._helm = helm
        self._store = store
        self._job_node = job_node
        self._oldest = 0
        self._broken: dict[tuple[str, str], Callable[[], object]] = {}

    def able(self) -> list[str]:
        """The verbs that can be done on this cluster, in the order of `hands.VERBS`."""
        return [verb for verb in hands.VERBS if verb in self._cluster.verbs]

    def begin(self) -> None:
        """The job runs: a rollback may go no further than this revision, or it would remove it."""
        self._oldest = self._helm.revision()

    def __enter__(self) -> Self:
        """From here on everything is mended at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Mend everything; raises E2eError when something can't be mended and nothing else was."""
        with undisturbed():
            trouble = self.mend()
        if trouble and error is None:
            raise E2eError("not everything could be mended", "\n  ".join(trouble))
        for line in trouble:
            say(f"NOT mended: {line}")

    def mend(self) -> list[str]:
        """Undo what is still broken, the newest first, each in spite of the others; what failed."""
        trouble = []
        while self._broken:
            (what, name), undo = self._broken.popitem()
            say(f"mending: {what} {name}")
            try:
                undo()
            except Exception as error:  # noqa: BLE001 (the others are mended whatever it is)
                trouble.append(f"{what} {name}: {str(error) or type(error).__name__}")
        return trouble

    def obey(self, verb: str, about: Mapping[str, str]) -> Answer:
        """Do one verb; the answer for the job, which says why when it couldn't be done."""
        actions: dict[str, Callable[[Mapping[str, str]], Answer]] = {
            hands.KILL_PROCESS: self._kill_process,
            hands.FREEZE: self._freeze,
            hands.THAW: self._thaw,
            hands.LOSE_DISK: self._lose_disk,
            hands.CUT_NODE: self._cut,
            hands.HEAL_NODE: lambda a: self._mend_node("heal", a),
            hands.DRAIN_NODE: self._drain,
            hands.UNCORDON_NODE: lambda a: self._mend_node("uncordon", a),
            hands.EVICT_POD: self._evict,
            hands.CRASH_NODE: self._crash,
            hands.RESTART_NODE: lambda a: self._mend_node("restart", a),
            hands.UPGRADE: self._upgrade,
            hands.ROLLBACK: self._rollback,
            hands.API_OUTAGE: self._api_outage,
        }
        if verb not in actions or verb not in self._cluster.verbs:
            return {"ok": False, "reason": f"this cluster ({self._cluster.kind}) has no {verb}"}
        try:
            return {"ok": True, **actions[verb](about)}
        except KeyError as error:
            return {"ok": False, "reason": f"{verb} needs to know: {error.args[0]}"}
        except (E2eError, ValueError) as error:
            return {"ok": False, "reason": str(error)}

    # --- pods ---

    def _pod(self, about: Mapping[str, str]) -> str:
        return f"{self._store}-{about['pod']}"

    def _node_of(self, about: Mapping[str, str]) -> str:
        """The node that is named, or the one where the named pod runs."""
        if about.get("node"):
            return self._known_node(about["node"])
        pod = self._pod(about)
        node = self._kubectl.get("pod", pod)["spec"].get("nodeName", "")
        if not node:
            raise E2eError(f"{pod} is on no node")
        return str(node)

    def _known_node(self, name: str) -> str:
        """Nothing else may get among kubectl's words."""
        names = [node["metadata"]["name"] for node in self._kubectl.items("nodes")]
        if name not in names:
            raise E2eError(f"there is no node {name!r}", f"there are: {', '.join(names)}")
        return name

    def _kill_process(self, about: Mapping[str, str]) -> Answer:
        return {"pid": self._cluster.kill_process(self._kubectl, self._pod(about))}

    def _freeze(self, about: Mapping[str, str]) -> Answer:
        pod = self._pod(about)
        self._broken["thaw", pod] = lambda: self._thaw_unless_gone(pod)
        self._cluster.freeze(self._kubectl, pod, frozen=True)
        return {}

    def _thaw(self, about: Mapping[str, str]) -> Answer:
        pod = self._pod(about)
        self._cluster.freeze(self._kubectl, pod, frozen=False)
        self._broken.pop(("thaw", pod), None)
        return {}

    def _thaw_unless_gone(self, pod: str) -> None:
        """At the end: a pod that was replaced meanwhile needs nothing."""
        try:
            self._cluster.freeze(self._kubectl, pod, frozen=False)
        except E2eError as error:
            if not re.search(GONE, str(error)):
                raise

    def _evict(self, about: Mapping[str, str]) -> Answer:
        pod, namespace = self._pod(about), self._kubectl.namespace
        metadata = {"name": pod, "namespace": namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        try:
            self._kubectl.raw(
                "create", f"--raw={path}", "--filename=-", stdin=json.dumps(body).encode()
            )
        except E2eError as error:
            if REFUSED.search(str(error)):
                return {"refused": True, "reason": error.what.splitlines()[-1].strip()}
            raise
        return {"refused": False, "reason": ""}

    def _lose_disk(self, about: Mapping[str, str]) -> Answer:
        """Delete claim and pod. The StatefulSet makes both anew; but a pod that it made while the
        old claim was still ending waits for ever, and is deleted once more."""
        pod = self._pod(about)
        claim = f"data-{pod}"
        old = self._kubectl.get("pvc", claim)["metadata"]["uid"]
        self._kubectl.text("delete", "pvc", claim, "--wait=false")
        self._delete_now(pod)
        waits_since: list[float] = []

        def lost() -> bool:
            there = self._kubectl.find("pvc", claim)
            if there is not None:
                return bool(there["metadata"]["uid"] != old)
            waits_since.append(monotonic())
            if monotonic() - waits_since[0] > STUCK_S:
                waits_since.clear()
                self._delete_now(pod)
            return False

        wait_until(f"{claim} is another one", DISK_S, lost)
        return {"claim": claim}

    def _delete_now(self, pod: str) -> None:
        self._kubectl.text(
            *("delete", "pod", pod, "--grace-period=0", "--force"),
            *("--wait=false", "--ignore-not-found"),
        )

    # --- nodes ---

    def _spare(self, node: str) -> None:
        if node == self._job_node:
            raise E2eError(f"{node} is the scenario job's own node: nobody could answer it")

    def _cut(self, about: Mapping[str, str]) -> Answer:
        node = self._node_of(about)
        self._spare(node)
        self._broken["heal", node] = lambda: self._cluster.heal(node)
        self._cluster.cut(node)
        return {"node": node}

    def _crash(self, about: Mapping[str, str]) -> Answer:
        node = self._node_of(about)
        self._spare(node)
        self._broken["restart", node] = lambda: self._cluster.restart(node)
        self._cluster.crash(node)
        return {"node": node}

    def _drain(self, about: Mapping[str, str]) -> Answer:
        node = self._node_of(about)
        self._spare(node)
        if ("uncordon", node) not in self._broken:
            self._refuse_cordoned(node)
        ours = self._only_ours(node) if self._cluster.kind == CONTEXT else []
        self._broken["uncordon", node] = lambda: self._kubectl.text("uncordon", node)
        self._kubectl.text(
            *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", *ours),
            f"--timeout={NODE_S:g}s",
            deadline_s=NODE_S + ASK_S,
        )
        return {"node": node}

    def _refuse_cordoned(self, node: str) -> None:
        """Whoever cordoned it wants it to stay so, and at the end it would be uncordoned."""
        if self._kubectl.get("node", node)["spec"].get("unschedulable"):
            raise E2eError(f"{node} is cordoned already, and not by these tests")

    def _only_ours(self, node: str) -> list[str]:
        """What makes a drain leave other people's pods alone. It goes by a label, in all
        namespaces: raises E2eError when that hits somebody else's release."""
        selector = f"app.kubernetes.io/instance={self._helm.release}"
        there = self._kubectl.items(
            *("pods", "--all-namespaces", f"--selector={selector}"),
            f"--field-selector=spec.nodeName={node}",
        )
        others = {pod["metadata"]["namespace"] for pod in there} - {self._kubectl.namespace}
        if others:
            told = ", ".join(sorted(others))
            raise E2eError(f"{node} has pods of another release {self._helm.release} too: {told}")
        return [f"--pod-selector={selector}"]

    def _mend_node(self, what: str, about: Mapping[str, str]) -> Answer:
        """End what was begun on a node; where nothing was, there is nothing to end."""
        node = self._node_of(about)
        undo = self._broken.get((what, node))
        if undo is None:
            raise E2eError(f"there is nothing to {what} on {node}")
        undo()
        del self._broken[what, node]
        return {"node": node}

    # --- the release ---

    def _upgrade(self, about: Mapping[str, str]) -> Answer:
        setting = about["set"]
        if not SETTING.fullmatch(setting):
            raise E2eError(f"{setting!r} is no list of values", "allowed: a.b=1,c=2")
        return {"revision": self._helm.upgrade(f"--set={setting}", wait_s=ROLL_S)}

    def _rollback(self, _about: Mapping[str, str]) -> Answer:
        revision = self._helm.revision()
        if revision <= self._oldest:
            raise E2eError(
                f"revision {revision} is the one that started the job: the one before has no job",
                "nothing was upgraded since: run the scenario upgrade before rollback",
            )
        return {"revision": self._helm.rollback(wait_s=ROLL_S)}

    # --- the API server ---

    def _api_outage(self, about: Mapping[str, str]) -> Answer:
        seconds = float(about["seconds"])
        if not 0 < seconds <= MOST_OUTAGE_S:
            raise E2eError(f"an outage of {seconds:g} s", f"allowed: up to {MOST_OUTAGE_S:g}")
        self._broken["api-start", "API server"] = self._cluster.api_start
        self._cluster.api_stop()
        sleep(seconds)
        self._cluster.api_start()
        del self._broken["api-start", "API server"]
        wait_until(
            "the API server answers",
            READY_S,
            lambda: self._kubectl.text("get", "--raw=/readyz") == "ok",
        )
        return {"seconds": seconds}
