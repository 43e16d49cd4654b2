"""The job is started where no drill hits, served over lost connections, and its report fetched."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from emporium.client import hands
from emporium.client import job as job_program
from emporium_e2e import workload
from emporium_e2e.client import Kubectl
from emporium_e2e.errors import E2eError
from emporium_e2e.pretended import PretendedCluster, World
from emporium_e2e.workload import Follower, Job, Shop, job_values

JOB = Job(("search", "node-cut"), 3, 2, 100, 10.0, 60.0, "next")
POD = "shop-emporium-client-1"
MAIL = f"kubectl exec {POD} -- python3 -m emporium.client.hands"
RUNS = {"status": {"phase": "Running"}}
ENDED = {
    "status": {
        "phase": "Failed",
        "containerStatuses": [{"state": {"terminated": {"exitCode": 1}}}],
    }
}


def node(name: str, **spec: Any) -> dict[str, Any]:
    """One that takes pods, unless `spec` says otherwise."""
    metadata = {"name": name, "labels": {workload.HOSTNAME: name}}
    ready = {"conditions": [{"type": "Ready", "status": spec.pop("ready", "True")}]}
    return {"metadata": metadata, "spec": spec, "status": ready}


def packed() -> bytes:
    """A report's folder of one round."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        text = json.dumps({"results": []}).encode()
        info = tarfile.TarInfo("scenarios.json")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    return buffer.getvalue()


class Quiet(Follower):
    """Follows nothing."""

    def _follow(self) -> None:
        """Not here."""


@pytest.fixture
def shop(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shop:
    """A release whose job runs, with nothing to ask."""
    monkeypatch.setattr(workload, "OUTPUT", tmp_path)
    monkeypatch.setattr(workload, "ROOT", tmp_path)
    monkeypatch.setattr(workload, "REPORT", tmp_path / "report")
    monkeypatch.setattr(workload, "Follower", Quiet)
    monkeypatch.setattr(workload, "POLL_S", 0.001)
    nodes = [node("node-1"), node("node-2"), node("node-3")]
    world.answers |= {
        "kubectl get pod shop-emporium-catalog-0": {"spec": {"nodeName": "node-1"}},
        "kubectl get pod shop-emporium-order-0": {"spec": {"nodeName": "node-2"}},
        "kubectl get nodes": {"items": nodes},
        "kubectl get pods --selector": {"items": [{"metadata": {"name": POD}, **RUNS}]},
        f"kubectl get pod {POD}": [RUNS, RUNS, RUNS, RUNS, ENDED],
        f"{MAIL} next": "{}",
        f"{MAIL} pack": packed(),
        "kubectl get namespace": "",
    }
    return Shop(PretendedCluster(world), "e2e")


def request(number: int, verb: str, **about: str) -> dict[str, Any]:
    """As the mailbox tells it."""
    return {"id": number, "verb": verb, "about": about}


def answers(world: World) -> list[tuple[int, dict[str, Any]]]:
    """What the job was answered."""
    found = [done.removeprefix(f"{MAIL} answer ") for done in world.done if " answer " in done]
    return [(int(told.partition(" ")[0]), json.loads(told.partition(" ")[2])) for told in found]


def test_the_job_runs_where_no_reigning_replica_is(shop: Shop) -> None:
    """Its node must outlive every drill."""
    assert shop.job_node() == ("node-3", "node-3")


def test_a_nodes_label_may_differ_from_its_name(shop: Shop, world: World) -> None:
    """Pods choose by the label; the node that is spared goes by its name."""
    third = node("node-3")
    third["metadata"]["labels"][workload.HOSTNAME] = "host-c"
    world.answers["kubectl get nodes"] = {"items": [third]}
    world.answers[f"{MAIL} next"] = [request(1, hands.CRASH_NODE, node="node-3"), "{}"]
    assert shop.job_node() == ("node-3", "host-c")
    shop.run_job(JOB)
    assert "own node" in answers(world)[0][1]["reason"]
    values = json.loads((workload.OUTPUT / "job-values.json").read_text("utf-8"))
    assert values["client"]["job"]["nodeSelector"] == {workload.HOSTNAME: "host-c"}


def test_ready_pods_say_so_themselves(shop: Shop, world: World) -> None:
    """A pod that is starting has no conditions yet."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    unready = {"conditions": [{"type": "Ready", "status": "False"}]}
    pods = zip("abc", (ready, unready, {}), strict=True)
    world.answers["kubectl get pods --selector"] = {
        "items": [{"metadata": {"name": name}, "status": status} for name, status in pods]
    }
    assert shop.ready_pods() == {"a"}


@pytest.mark.parametrize(
    "third", [node("node-3", unschedulable=True), node("node-3", ready="Unknown"), None]
)
def test_a_node_that_takes_no_pods_is_none(shop: Shop, world: World, third: Any) -> None:
    """Then there is no place for the job, and that is said."""
    world.answers["kubectl get nodes"] = {"items": [node("node-1"), *([third] if third else [])]}
    with pytest.raises(E2eError, match="three nodes or more"):
        shop.job_node()


def test_the_job_understands_its_arguments() -> None:
    """The values say what the job's own parser takes, for every verb of the hands."""
    values = job_values(JOB, hands.VERBS, "node-3")["client"]["job"]
    told = job_program._arguments(values["args"])
    assert (told.names, told.hands) == (["search", "node-cut"], hands.VERBS)
    assert (told.repeats, told.rounds, told.purchases, told.longest_gap) == (3, 2, 100, 10.0)
    assert (told.next_tag, str(told.output)) == ("next", hands.REPORT)
    assert (values["deadlineSeconds"], values["nodeSelector"]) == (
        60,
        {workload.HOSTNAME: "node-3"},
    )


def test_requests_are_done_answered_and_the_report_is_fetched(shop: Shop, world: World) -> None:
    """Until the job's pod has ended."""
    world.answers[f"{MAIL} next"] = [
        request(1, hands.CUT_NODE, pod="catalog-0"),
        "{}",
        request(2, hands.HEAL_NODE, node="node-1"),
        request(3, hands.COLLECT),
    ]
    outcome = shop.run_job(JOB)
    assert outcome.trouble == ""
    assert (outcome.exit_code, outcome.folders) == (1, [workload.REPORT])
    cut = {"ok": True, "node": "node-1"}
    assert answers(world) == [(1, cut), (2, cut), (3, {"ok": True})]
    assert [done for done in world.done if done.endswith(" node-1")] == [
        "cut node-1",
        "heal node-1",
    ]


def test_what_the_job_left_broken_is_mended(shop: Shop, world: World) -> None:
    """It may have ended in the middle of a scenario."""
    world.answers[f"{MAIL} next"] = [request(1, hands.CUT_NODE, pod="catalog-0"), "{}"]
    outcome = shop.run_job(JOB)
    assert outcome.trouble == "the job has ended with exit code 1 and no report"
    assert world.done[-1] == "heal node-1"


def test_a_lost_connection_is_tried_again(shop: Shop, world: World) -> None:
    """An exec may break while a node is cut; the request and the answer still arrive, once."""
    lost = E2eError("connection refused")
    world.answers[f"{MAIL} next"] = [lost, request(1, hands.KILL_PROCESS, pod="catalog-0"), "{}"]
    world.answers[f"{MAIL} answer"] = [lost, lost, ""]
    assert shop.run_job(JOB).exit_code == 1
    assert world.done.count("kill e2e/shop-emporium-catalog-0") == 1
    assert {number for number, _ in answers(world)} == {1}


def test_what_is_cut_off_is_asked_for_again(shop: Shop, world: World) -> None:
    """kubectl says nothing of a connection that is lost while it prints."""
    whole = packed()
    world.answers[f"{MAIL} next"] = [
        b'{"id": 1, "ver',
        request(1, hands.COLLECT),
        request(1, hands.COLLECT),
        "{}",
    ]
    world.answers[f"{MAIL} pack"] = [whole[: 2 * tarfile.BLOCKSIZE], whole]
    lost = E2eError("connection refused")
    world.answers["kubectl logs"] = [lost, "1 search: passed\n"]
    outcome = shop.run_job(JOB)
    assert (outcome.trouble, outcome.exit_code) == ("", 1)
    assert outcome.folders == [workload.REPORT]
    assert outcome.lines == ["1 search: passed"]
    assert answers(world) == [(1, {"ok": True})]


def test_pods_may_take_a_moment_to_say_that_they_are_ready(shop: Shop, world: World) -> None:
    """One that is too busy once is waited for; one that stays away is named."""
    names = [
        f"{workload.STORE}-{role}-{n}"
        for role, count in workload.PODS.items()
        for n in range(count)
    ]

    def items(*names: str) -> dict[str, Any]:
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        return {"items": [{"metadata": {"name": name}, "status": status} for name in names]}

    world.answers["kubectl get pods --selector"] = [items(*names[1:]), items(*names)]
    shop.wait_ready()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workload, "READY_S", 0.0)
        with pytest.raises(E2eError, match=f"otherwise: {names[0]}"):
            shop.wait_ready(names[0])


def test_a_pod_that_stays_out_of_reach_ends_the_run(
    shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, and with what could still be fetched."""
    monkeypatch.setattr(workload, "SILENT_S", 0.01)
    world.answers[f"kubectl get pod {POD}"] = E2eError("no route")
    outcome = shop.run_job(JOB)
    assert outcome.trouble == "the job's pod is out of reach: no route"
    assert outcome.folders == [workload.REPORT]


def test_a_job_that_never_ends_is_given_up(shop: Shop, world: World) -> None:
    """At its deadline."""
    world.answers[f"kubectl get pod {POD}"] = RUNS
    outcome = shop.run_job(Job((), 1, 1, 1, 10.0, 0.05))
    assert "hasn't ended within 0.05 s" in outcome.trouble


def test_a_failed_installation_leaves_its_evidence(
    shop: Shop, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Helm itself only says that something isn't ready."""
    world.answers["helm install"] = E2eError("context deadline exceeded")
    world.answers["kubectl get pods,pvc"] = "shop-emporium-order-2 Pending\n"
    with pytest.raises(E2eError, match="context deadline exceeded"):
        shop.install()
    assert "shop-emporium-order-2 Pending" in capsys.readouterr().out
    assert (tmp_path / "evidence" / "events.txt").exists()


def test_the_namespace_is_restricted(shop: Shop, world: World) -> None:
    """And marked as ours."""
    shop.make_namespace()
    assert '"pod-security.kubernetes.io/enforce": "restricted"' in world.done[-1]
    assert f'"{workload.OURS}"' in world.done[-1]


def test_somebody_elses_namespace_is_left_alone(shop: Shop, world: World) -> None:
    """What these tests made before is removed; anything else is refused."""
    world.answers["kubectl get namespace"] = {"metadata": {"labels": {"team": "a"}}}
    with pytest.raises(E2eError, match=r"not made by these tests\n  set E2E_NAMESPACE"):
        shop.make_namespace()
    assert not any("delete" in done for done in world.done)
    world.answers["kubectl get namespace"] = {"metadata": {"labels": {workload.OURS: ""}}}
    shop.make_namespace()
    assert any("kubectl delete namespace e2e" in done for done in world.done)


def test_a_log_is_followed_over_a_lost_connection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every line once, in order, also those that came while nobody was connected."""
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        f"seen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        "count = len(seen.read_text()) if seen.exists() else 0\n"
        "seen.write_text('x' * (count + 1))\n"
        "print('Error from server', file=sys.stderr)\n"
        "print('\\n'.join(['one', 'two', 'three', 'four'][:count + 2]))\n",
        "utf-8",
    )
    program.chmod(0o755)
    with Follower(Kubectl(program, "e2e"), POD) as follower:
        follower.finish()
    assert follower.lines[:2] == ["one", "two"]
    assert follower.lines == ["one", "two", "three", "four"][: len(follower.lines)]
    assert len(follower.lines) > 2
    assert capsys.readouterr().out == "".join(f"job| {line}\n" for line in follower.lines)


def test_the_report_isnt_printed_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """It is kept with the other lines, and fetched as a file."""
    follower = Follower(Kubectl(Path("kubectl"), "e2e"), POD)
    lines = ["1 search: passed", job_program.BEGIN, "# Emporium", job_program.END, "2 lookup"]
    follower._take(line.encode() for line in lines)
    assert follower.lines == lines
    assert capsys.readouterr().out == "job| 1 search: passed\njob| 2 lookup\n"
