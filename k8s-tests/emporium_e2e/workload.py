"""The store under test and its scenario job: installed, started, served, and its report fetched.

A run has a namespace of its own, where Pod Security `restricted` is enforced. The job's pod runs on
a node that hosts neither catalog-0 nor order-0: they reign, so their nodes are the ones that are
cut, crashed and drained. Its output is followed line by line, over lost connections too.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from emporium.client import hands
from emporium.client import job as job_program
from emporium.client.items import scenario_items
from emporium.client.linearizability import Order
from emporium.client.store import Store
from emporium_e2e.client import Helm, Kubectl, end_group, wait_until
from emporium_e2e.cluster import OUTPUT, ROOT, Cluster
from emporium_e2e.errors import DeadlineError, E2eError
from emporium_e2e.nemesis import Nemesis
from emporium_e2e.steps import say

RELEASE: Final = "shop"
STORE: Final = f"{RELEASE}-emporium"
"""What all names of the release begin with: it is called otherwise than the chart."""
CHART: Final = ROOT / "charts" / "emporium"
REPORT: Final = OUTPUT / "report"
OURS: Final = "emporium.e2e/namespace"
RESTRICTED: Final = "pod-security.kubernetes.io/enforce"
SELECTOR: Final = f"app.kubernetes.io/instance={RELEASE}"
JOB_SELECTOR: Final = f"{SELECTOR},app.kubernetes.io/component=client"
HOSTNAME: Final = "kubernetes.io/hostname"
REIGNING: Final = ("catalog-0", "order-0")
PODS: Final = {"frontend": 2, "cache": 1, "catalog": 3, "order": 3}
"""Role -> pods, by the chart's defaults."""
MAIL: Final = ("python3", "-m", "emporium.client.hands")
FRONTEND_PORT: Final = 8000

INSTALL_S, SMOKE_S, START_S, GONE_S = 300.0, 240.0, 180.0, 300.0
NEXT_S, EXEC_S, PACK_S, END_S, READY_S = 20.0, 60.0, 120.0, 60.0, 120.0
SILENT_S: Final = 120.0
"""So long may the job's pod be out of reach while no drill is going on."""
POLL_S: Final = 1.0
TAR_END: Final = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Job:
    """What the scenario job is asked to do."""

    names: tuple[str, ...]
    repeats: int
    rounds: int
    purchases: int
    longest_gap_s: float
    deadline_s: float
    next_tag: str = ""


class JobNode(NamedTuple):
    """Where the job runs. A node's name and its label may differ."""

    name: str
    hostname: str  # the label's value, by which pods choose


@dataclass(slots=True)
class Outcome:
    """How the job ended: its exit code (None where it had none), the folders of its reports, and
    what ended it before its time."""

    exit_code: int | None = None
    trouble: str = ""
    folders: list[Path] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class Shop:
    """One release in a namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        """Nothing is done yet."""
        self.cluster = cluster
        self.namespace = namespace
        self.kubectl: Kubectl = cluster.kubectl(namespace)
        self.helm = Helm(cluster.helm, self.kubectl, RELEASE, CHART)

    # --- namespace and release ---

    def make_namespace(self) -> None:
        """A fresh one, with `restricted` enforced. Raises E2eError when it is somebody else's."""
        there = self.kubectl.find("namespace", self.namespace)
        if there is not None:
            if OURS not in there["metadata"].get("labels", {}):
                raise E2eError(
                    f"namespace {self.namespace} is there, and not made by these tests",
                    "set E2E_NAMESPACE to another name",
                )
            say(f"removing namespace {self.namespace} of an earlier run")
            self.remove_namespace()
        labels = {OURS: "", RESTRICTED: "restricted", f"{RESTRICTED}-version": "latest"}
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": self.namespace, "labels": labels},
            }
        )

    def remove_namespace(self) -> None:
        """With everything in it, claims too."""
        self.kubectl.text(
            *("delete", "namespace", self.namespace, "--ignore-not-found"),
            f"--timeout={GONE_S:g}s",
            deadline_s=GONE_S + 30,
        )

    def install(self) -> None:
        """Install the chart with the scenarios' items, and wait until all pods are ready."""
        OUTPUT.mkdir(parents=True, exist_ok=True)
        items = OUTPUT / "items.txt"
        items.write_text(scenario_items(), encoding="utf-8")
        values = self._values_file("values", self.cluster.values())
        with self.evidence_of_failure():
            self.helm.install(f"--values={values}", f"--set-file=items={items}", wait_s=INSTALL_S)

    def smoke(self) -> str:
        """`helm test`; what it says."""
        with self.evidence_of_failure():
            return self.helm.test(SMOKE_S)

    def ready_pods(self) -> set[str]:
        """The names of the release's pods that say of themselves that they are ready."""
        return {
            pod["metadata"]["name"]
            for pod in self.kubectl.items("pods", f"--selector={SELECTOR}")
            for condition in pod["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def wait_ready(self, *missing: str) -> None:
        """Wait until the store's pods are ready, all but the `missing` ones. Raises DeadlineError:
        helm may have seen them ready a moment before one is too busy to say so."""
        wanted = {f"{STORE}-{role}-{n}" for role, count in PODS.items() for n in range(count)}
        wanted -= set(missing)

        def differs() -> str:
            return "otherwise: " + ", ".join(sorted(self.ready_pods() ^ wanted))

        what = f"the ready pods are all but {', '.join(missing) or 'none'}"
        wait_until(what, READY_S, lambda: self.ready_pods() == wanted, differs)

    def orders(self) -> list[Order]:
        """Every order of the store."""
        with self.open_store() as store:
            return store.orders()

    @contextlib.contextmanager
    def open_store(self) -> Iterator[Store]:
        """The store as an operator sees it from outside, through a port-forward."""
        secret = self.kubectl.get("secret", f"{STORE}-secrets")
        token = base64.b64decode(secret["data"]["operator-token"]).decode()
        with self.kubectl.forward(f"service/{STORE}-frontend", FRONTEND_PORT) as url:
            store = Store([url], token=token)
            try:
                yield store
            finally:
                store.close()

    # --- the job ---

    def run_job(self, job: Job) -> Outcome:
        """Start the scenario job, be its hands until it ends, and fetch its report."""
        node = self.job_node()
        say(f"the scenario job runs on {node.name}")
        nemesis = Nemesis(self.cluster, self.kubectl, self.helm, STORE, node.name)
        able = nemesis.able()
        say(f"hands for: {', '.join(able)}")
        values = self._values_file("job-values", job_values(job, able, node.hostname))
        with nemesis, self.evidence_of_failure():
            self.helm.upgrade(f"--values={values}", wait_s=INSTALL_S)
            nemesis.begin()
            return self._serve(self._job_pod(), nemesis, job.deadline_s)

    def job_node(self) -> JobNode:
        """A ready node that hosts no reigning replica. Raises E2eError when there is none."""
        taken = {
            self.kubectl.get("pod", f"{STORE}-{name}")["spec"].get("nodeName") for name in REIGNING
        }
        free = [
            node["metadata"]
            for node in self.kubectl.items("nodes")
            if _takes_pods(node) and node["metadata"]["name"] not in taken
        ]
        if not free:
            raise E2eError(
                "every node hosts catalog-0 or order-0, and the job may not be where drills hit",
                "use a cluster of three nodes or more",
            )
        return JobNode(free[0]["name"], free[0]["labels"][HOSTNAME])

    def _job_pod(self) -> str:
        """The name of the job's pod, once it runs."""
        found: list[dict[str, Any]] = []

        def runs() -> bool:
            found[:] = self.kubectl.items("pods", f"--selector={JOB_SELECTOR}")
            return bool(found) and found[0]["status"]["phase"] != "Pending"

        def instead() -> str:
            return "; ".join(json.dumps(pod["status"])[:500] for pod in found) or "it has no pod"

        wait_until("the scenario job's pod runs", START_S, runs, instead)
        return str(found[0]["metadata"]["name"])

    def _serve(self, pod: str, nemesis: Nemesis, deadline_s: float) -> Outcome:
        """Answer the job's requests until its pod has ended; what came of it, as far as it came."""
        outcome = Outcome()
        with Follower(self.kubectl, pod) as follower:
            try:
                self._serve_until_its_end(pod, nemesis, deadline_s, outcome)
                what = "the ended job's log and exit code are read"
                wait_until(what, END_S, lambda: self._take_leave(pod, follower, outcome))
            except E2eError as error:
                outcome.trouble = str(error)
                with contextlib.suppress(E2eError):
                    outcome.folders = outcome.folders or self._collect(pod)
            outcome.lines = follower.lines
        if not outcome.trouble and not outcome.folders:
            code = outcome.exit_code
            outcome.trouble = f"the job has ended with exit code {code} and no report"
        return outcome

    def _serve_until_its_end(
        self, pod: str, nemesis: Nemesis, deadline_s: float, outcome: Outcome
    ) -> None:
        """Raises E2eError when that can't be done any more."""
        heard = began = time.monotonic()
        while time.monotonic() < began + deadline_s:
            try:
                phase = self.kubectl.get("pod", pod)["status"]["phase"]
                if phase in {"Succeeded", "Failed"}:
                    return
                self._serve_one(pod, nemesis, outcome)
                heard = time.monotonic()
            except E2eError as error:  # a drill may have hit the way to the pod
                if time.monotonic() - heard > SILENT_S:
                    raise E2eError(f"the job's pod is out of reach: {error}") from error
                time.sleep(POLL_S)
        raise DeadlineError(f"the scenario job hasn't ended within {deadline_s:g} s")

    def _serve_one(self, pod: str, nemesis: Nemesis, outcome: Outcome) -> None:
        """Wait for one request, do it and answer it. Raises E2eError when the pod is out of
        reach; the request is still there then."""
        told = self.kubectl.execute(pod, *MAIL, "next", f"--wait={NEXT_S:g}", deadline_s=EXEC_S)
        try:
            request = json.loads(told)
        except ValueError as error:  # kubectl says nothing of a connection that was lost
            raise E2eError(f"the job's request is cut off: {error}") from error
        if not request:
            return
        verb, about = request["verb"], request["about"]
        if verb == hands.COLLECT:
            outcome.folders = self._collect(pod)
            answer: dict[str, Any] = {"ok": True}
        else:
            began = time.monotonic()
            answer = nemesis.obey(verb, about)
            words = " ".join([verb, *map(str, about.values())])
            say(f"   {words}: {_in_words(answer)}, {time.monotonic() - began:.1f} s")
        self._answer(pod, request["id"], answer)

    def _answer(self, pod: str, number: int, answer: dict[str, Any]) -> None:
        """Answer, again and again until it arrives: what was done may not be done twice."""
        words = (*MAIL, "answer", str(number), json.dumps(answer))
        wait_until(
            f"answer {number} has arrived",
            SILENT_S,
            lambda: self.kubectl.execute(pod, *words, deadline_s=EXEC_S) is not None,
        )

    def _collect(self, pod: str) -> list[Path]:
        """Fetch the report's folder; the folders with a report, one for each round."""
        packed = self.kubectl.execute(pod, *MAIL, "pack", deadline_s=PACK_S)
        if not packed.endswith(TAR_END):  # kubectl says nothing of a connection that was lost
            raise E2eError(f"the job's report is cut off after {len(packed)} bytes")
        shutil.rmtree(REPORT, ignore_errors=True)
        REPORT.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(REPORT, filter="data")
        return sorted(path.parent for path in REPORT.rglob("scenarios.json"))

    def _take_leave(self, pod: str, follower: Follower, outcome: Outcome) -> bool:
        """Read what an ended pod leaves. Raises E2eError."""
        follower.finish()
        outcome.exit_code = self._exit_code(pod)
        return True

    def _exit_code(self, pod: str) -> int | None:
        states = self.kubectl.get("pod", pod)["status"].get("containerStatuses") or [{}]
        code = states[0].get("state", {}).get("terminated", {}).get("exitCode")
        return None if code is None else int(code)

    def _values_file(self, name: str, values: dict[str, Any]) -> Path:
        path = OUTPUT / f"{name}.json"
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        return path

    @contextlib.contextmanager
    def evidence_of_failure(self) -> Iterator[None]:
        """Helm says only that something isn't ready; keep what."""
        try:
            yield
        except E2eError:
            self.keep_evidence()
            raise

    def keep_evidence(self) -> None:
        """Keep what the namespace looks like, for whoever reads a failure, and print its pods."""
        folder = OUTPUT / "evidence"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, words in (
            ("pods.txt", ("get", "pods,pvc,jobs,pdb", "--output=wide")),
            ("events.txt", ("get", "events", "--sort-by=.lastTimestamp")),
            ("describe.txt", ("describe", "pods")),
            ("logs.txt", ("logs", f"--selector={SELECTOR}", "--tail=300", "--prefix")),
        ):
            try:
                (folder / name).write_bytes(self.kubectl.raw(*words))
            except E2eError as error:
                (folder / name).write_text(f"{error}\n", encoding="utf-8")
        say(f"how the namespace looks, in {folder.relative_to(ROOT)}:")
        print((folder / "pods.txt").read_text("utf-8"), end="", flush=True)


def job_values(job: Job, able: Sequence[str], hostname: str) -> dict[str, Any]:
    """The chart's values that start the job."""
    arguments = [
        *job.names,
        f"--hands={','.join(able)}",
        f"--repeats={job.repeats}",
        f"--rounds={job.rounds}",
        f"--purchases={job.purchases}",
        f"--longest-gap={job.longest_gap_s:g}",
        f"--output={hands.REPORT}",
    ]
    if job.next_tag:
        arguments.append(f"--next-tag={job.next_tag}")
    return {
        "client": {
            "job": {
                "enabled": True,
                "args": arguments,
                "deadlineSeconds": int(job.deadline_s),
                "nodeSelector": {HOSTNAME: hostname},
            }
        }
    }


def _takes_pods(node: dict[str, Any]) -> bool:
    """Whether a node is ready, not cordoned, and has no taint."""
    ready = any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in node.get("status", {}).get("conditions", [])
    )
    spec = node.get("spec", {})
    return ready and not spec.get("unschedulable") and not spec.get("taints")


def _in_words(answer: dict[str, Any]) -> str:
    if not answer["ok"]:
        return f"NOT done: {answer['reason']}"
    told = [f"{name} {value}" for name, value in answer.items() if name != "ok" and value != ""]
    return f"done ({', '.join(told)})" if told else "done"


class Follower:
    """Prints the job's log as it grows, but for the report, which is fetched as files. A lost
    connection is taken up again where it ended."""

    def __init__(self, kubectl: Kubectl, pod: str) -> None:
        """Nothing is read yet."""
        self._kubectl = kubectl
        self._pod = pod
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._child: subprocess.Popen[bytes] | None = None
        self._in_report = False
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, at once if nobody has waited for the end of the log."""
        self._over.set()
        child = self._child
        if child is not None and child.poll() is None:
            end_group(child)
        self._thread.join(END_S)

    def finish(self) -> None:
        """The pod has ended: read what is missing of its log."""
        self._over.set()
        self._thread.join(END_S)
        text = self._kubectl.raw("logs", self._pod, deadline_s=END_S)
        self._take(text.splitlines())

    def _follow(self) -> None:
        while not self._over.is_set():
            with self._kubectl.start("logs", "--follow", self._pod) as child:
                self._child = child
                self._take(child.stdout or ())
            self._over.wait(POLL_S)

    def _take(self, lines: Iterable[bytes]) -> None:
        """Print what wasn't read before, of lines from the first on."""
        for number, raw in enumerate(lines):
            if number >= len(self.lines):
                self.lines.append(raw.decode(errors="replace").rstrip())
                self._print(self.lines[-1])

    def _print(self, line: str) -> None:
        self._in_report = self._in_report or line == job_program.BEGIN
        if not self._in_report:
            print(f"job| {line}", flush=True)
        self._in_report = self._in_report and line != job_program.END
