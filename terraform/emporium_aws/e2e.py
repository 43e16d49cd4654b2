"""The chart's scenario job on EKS: a fresh store beside the installed one, its verdict, its logs.

A store of its own, in a namespace of its own, because the first scenarios compare with golden logs
and all of them buy. It is removed again at the end; what it said stays in output/.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emporium_aws.commands import Runner
from emporium_aws.errors import AwsError
from emporium_aws.settings import ROOT, Settings
from emporium_aws.store import RELEASE, Outputs, Store, chart_values

NAMESPACE: Final = "emporium-e2e"
JOB: Final = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=client"
PODS: Final = f"app.kubernetes.io/instance={RELEASE}"
# What needs no more than `kubectl delete pod`: nothing is cut, paused or taken from below.
SCENARIOS: Final = ("1-11", "13", "16", "21", "22", "24", "31", "37")
NODES: Final = 9
"""Every pod of a store on a node of its own: 2 frontends, 1 cache, 3 catalogs, 3 orders."""
JOB_S: Final = 3600
LATE_S: Final = 300
POLL_S: Final = 5
BEGIN: Final = "--- report ---"
END: Final = "--- end of report ---"
ZONE: Final = "topology.kubernetes.io/zone"
COMPONENT: Final = "app.kubernetes.io/component"
GROUPS: Final = ("catalog", "order")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pods of a store run."""

    zones: dict[str, set[str]]
    """Of each role."""
    lines: tuple[str, ...]


def run(
    runner: Runner,
    settings: Settings,
    outputs: Outputs,
    digests: dict[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Run the scenarios; whether all of them passed. Raises AwsError and CommandError."""
    store = Store(runner, settings, NAMESPACE)
    runner.step("A fresh store")
    store.prepare()
    remove(store)
    spread = settings.spread or _spread(runner)
    values = chart_values(outputs, digests) | {
        "spread": spread,
        "items": _items(),
        "client": {"job": {"enabled": False}},
    }
    try:
        store.install(values)
        show_places(runner, store)
        runner.step("The scenario job")
        names = list(settings.arguments or SCENARIOS)
        job = {"client": {"job": {"enabled": True, "args": names, "deadlineSeconds": JOB_S}}}
        store.install(values, store.write_values("job.json", job), wait=False)
        passed = _wait(runner, store, sleep)
    except (AwsError, KeyboardInterrupt):
        try:  # an installation that hangs says why in its logs and events
            _gather(runner, settings, store)
        except AwsError as error:  # it mustn't hide the first failure
            runner.say(f"  can't gather them: {error}")
        runner.say(
            f"  that store stays in {NAMESPACE} to be looked at; the next aws-e2e removes it"
        )
        raise
    _gather(runner, settings, store)
    runner.step("Remove that store")
    remove(store)
    runner.done(
        f"aws-e2e: {'all scenarios passed' if passed else 'NOT passed'}; logs and report"
        f" are in {settings.shown(folder(settings))}"
    )
    return passed


def remove(store: Store) -> None:
    """Remove the store with its volumes. Raises CommandError."""
    store.uninstall()
    words = ("delete", "persistentvolumeclaims", "--all", "--namespace", store.namespace)
    store.runner.work("kubectl", *words, "--timeout=300s")


def folder(settings: Settings) -> Path:
    """Where logs and report are gathered."""
    return settings.folder / "e2e"


def _items() -> str:
    """The books that the scenarios buy, as the project's own module has them."""
    path = ROOT / "services" / "emporium" / "client" / "items.py"
    spec = importlib.util.spec_from_file_location("scenario_items", path)
    if spec is None or spec.loader is None:
        raise AwsError(f"can't read {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.scenario_items())


def _spread(runner: Runner) -> str:
    """Every pod on a node of its own where there are enough; else zones and nodes apart."""
    nodes = [node for node in _nodes(runner) if _takes_pods(node)]
    spread = "nodes" if len(nodes) >= NODES else "soft"
    why = f"{len(nodes)} nodes take pods, {NODES} are needed for a node of its own for every pod"
    runner.say(f"  spread={spread}: {why}")
    return spread


def _nodes(runner: Runner) -> list[Any]:
    """The cluster's nodes."""
    words = ("kubectl", "get", "nodes", "--output", "json")
    found: list[Any] = json.loads(runner.ask(*words, sample='{"items": []}'))["items"]
    return found


def _takes_pods(node: Any) -> bool:
    ready = any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in node["status"].get("conditions", [])
    )
    return ready and not node["spec"].get("unschedulable", False)


def show_places(runner: Runner, store: Store) -> None:
    """Print where each pod runs; say so when a group isn't in three zones."""
    pods = store.kubectl("get", "pods", "--selector", PODS, sample={})
    found = places(_nodes(runner), pods.get("items", []))
    for line in found.lines:
        runner.say(f"  {line}")
    for role in GROUPS:
        if found.zones and len(found.zones.get(role, ())) < len(GROUPS) + 1:
            runner.say(
                f"  WARNING: {role} isn't in three zones: a zone may take its majority along"
            )


def places(nodes: Sequence[Any], pods: Sequence[Any]) -> Places:
    """Where pods run, from kubectl's JSON."""
    zone_of = {
        node["metadata"]["name"]: node["metadata"].get("labels", {}).get(ZONE, "no zone")
        for node in nodes
    }
    zones: dict[str, set[str]] = {}
    lines = []
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        node = pod["spec"].get("nodeName", "")
        zone = zone_of.get(node, "nowhere")
        lines.append(f"{pod['metadata']['name']:28} {zone:14} {node}")
        zones.setdefault(pod["metadata"]["labels"].get(COMPONENT, ""), set()).add(zone)
    return Places(zones, tuple(lines))


def _wait(runner: Runner, store: Store, sleep: Callable[[float], None]) -> bool:
    """Wait for the job's end; whether it succeeded. Raises AwsError when it has no end."""
    runner.say(f"  waiting for its end, at most {JOB_S // 60} minutes")
    ended = {"items": [{"status": {"succeeded": 1}}]}
    for _ in range((JOB_S + LATE_S) // POLL_S):
        found = store.kubectl("get", "jobs", "--selector", JOB, sample=ended)["items"]
        status = found[0]["status"] if found else {}
        if status.get("succeeded"):
            return True
        if status.get("failed") or any(
            each["type"] == "Failed" and each["status"] == "True"
            for each in status.get("conditions") or []
        ):
            return False
        sleep(POLL_S)
    raise AwsError("the scenario job doesn't end", f"kubectl -n {NAMESPACE} get pods,jobs")


def _gather(runner: Runner, settings: Settings, store: Store) -> None:
    """Write the events, every pod's log, and the report out of the job's."""
    runner.step("Gather logs and report")
    target = folder(settings)
    words = ("kubectl", "--namespace", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp")
    events = runner.attempt(*words)
    if not runner.dry_run:
        target.mkdir(parents=True, exist_ok=True)
        (target / "events.txt").write_text(events.output or events.errors, "utf-8")
    sample = {"items": [{"metadata": {"name": "emporium-catalog-0", "labels": {}}}]}
    pods = store.kubectl("get", "pods", "--selector", PODS, sample=sample)["items"]
    for pod in pods:
        name = pod["metadata"]["name"]
        words = ("kubectl", "--namespace", NAMESPACE, "logs", name, "--all-containers")
        done = runner.attempt(*words)
        if runner.dry_run:
            continue
        (target / f"{name}.log").write_text(done.output or done.errors, "utf-8")
        if pod["metadata"]["labels"].get(COMPONENT) == "client":
            text = report(done.output)
            (target / "report.md").write_text(text, "utf-8")
            runner.say(text or "  the job printed no report; its log says why")


def report(log: str) -> str:
    """What is between the marker lines of the job's log, every round of it; "" without any."""
    rounds = log.split(f"{BEGIN}\n")[1:]
    return "\n".join(each.split(f"\n{END}")[0] for each in rounds if END in each)
