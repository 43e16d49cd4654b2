"""The scenario job's mailbox, and the Cluster port on Kubernetes against a pretended API server."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emporium.client import hands, job, kubernetes_cluster
from emporium.client.cluster import CUT, KILL, LOSE_DISK, PAUSE, DrillError
from emporium.client.conservation import Finding
from emporium.client.kubernetes_cluster import KubernetesCluster, RefusedError
from emporium.client.report import Report, ScenarioResult
from emporium.runtime import settings
from emporium.runtime.settings import ClientSettings


def answering(mailbox: hands.Mailbox, told: dict[str, Any]) -> threading.Thread:
    """Hands that answer one request."""

    def serve() -> None:
        request = mailbox.next(10.0)
        assert request is not None
        mailbox.answer(request.id, told)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_an_answer_reaches_who_asked(tmp_path: Path) -> None:
    """Requests are answered in turn, each once, and the later answer changes nothing."""
    mailbox = hands.Mailbox(tmp_path)
    for number, node in ((1, "node-2"), (2, "node-3")):
        thread = answering(mailbox, {"ok": True, "node": node})
        assert mailbox.ask(hands.CUT_NODE, {"pod": "catalog-0"}, 10.0)["node"] == node
        thread.join()
        mailbox.answer(number, {"ok": False, "reason": "twice"})
        told = json.loads((tmp_path / "hands" / f"answer-{number:06}.json").read_text("utf-8"))
        assert told == {"ok": True, "node": node}
    assert mailbox.next(0.0) is None


def test_what_cannot_be_done_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """A refusal by the hands, and silence, are a DrillError."""
    mailbox = hands.Mailbox(tmp_path)
    thread = answering(mailbox, {"ok": False, "reason": "node-1 is the job's own"})
    with pytest.raises(DrillError, match="node-1 is the job's own"):
        mailbox.ask(hands.CUT_NODE, {"pod": "catalog-0"}, 10.0)
    thread.join()
    with pytest.raises(DrillError, match="the hands have done thaw"):
        mailbox.ask(hands.THAW, {"pod": "catalog-0"}, 0.0)


@pytest.mark.parametrize("text", ["[1]", "{}", '{"ok": "yes"}', "no JSON", '{"ok": 2}'])
def test_an_answer_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing is written for it, and the exit code says so."""
    mailbox = hands.Mailbox(tmp_path)
    with pytest.raises(DrillError):
        mailbox.ask(hands.THAW, {"pod": "catalog-0"}, 0.0)
    assert hands.main(["--report", str(tmp_path), "answer", "1", text]) == 2
    assert mailbox.next(0.0) is not None


def test_the_verbs_of_the_hands(tmp_path: Path, capfdbinary: Any) -> None:
    """`next` prints the request, `pack` gives the folder without the mailbox."""
    mailbox = hands.Mailbox(tmp_path)
    (tmp_path / "scenarios.md").write_text("# all\n", "utf-8")
    assert hands.main(["--report", str(tmp_path), "next", "--wait", "0"]) == 0
    assert capfdbinary.readouterr().out == b"{}\n"
    with pytest.raises(DrillError):
        mailbox.ask(hands.THAW, {"pod": "catalog-0"}, 0.0)
    assert hands.main(["--report", str(tmp_path), "next"]) == 0
    said = json.loads(capfdbinary.readouterr().out)
    assert said == {"id": 1, "verb": "thaw", "about": {"pod": "catalog-0"}}
    assert hands.main(["--report", str(tmp_path), "answer", "2", '{"ok": true}']) == 2
    packed = io.BytesIO()
    hands.pack(tmp_path, packed)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        assert archive.getnames() == ["scenarios.md"]


class PretendedApi:
    """Pods of a namespace; a deleted one comes back at once with another uid."""

    def __init__(self, health: int) -> None:
        self.health = health
        self.silent = False
        self.busy = 0  # so many answers come too late
        self.deleted: list[tuple[str, str, int | None]] = []
        self.scaled: list[tuple[str, int]] = []
        self.uids = {f"shop-{name}": "a" * 8 for name in ("catalog-0", "frontend-0", "cache-0")}
        self.waiting: set[str] = set()
        self.ended: set[str] = set()  # wait after they have run
        self.secrets = ""

    def pods(self) -> list[dict[str, Any]]:
        if self.silent:
            raise OSError("the API server doesn't answer")
        return [self._pod(name, uid) for name, uid in self.uids.items()]

    def _pod(self, name: str, uid: str) -> dict[str, Any]:
        state: dict[str, Any] = {"waiting": {}} if name in self.waiting else {"running": {}}
        status = {"state": state, "containerID": f"containerd://{uid}0123456789"}
        if name in self.ended:
            status["lastState"] = {"terminated": {}}
        annotations = {"emporium/secrets": self.secrets} if self.secrets else {}
        return {
            "metadata": {"name": name, "uid": uid, "annotations": annotations},
            "status": {"podIP": "127.0.0.1", "containerStatuses": [status]},
        }

    def delete(self, pod: str, uid: str, grace_s: int | None) -> None:
        if self.uids[pod] != uid:
            raise RefusedError("409 Conflict")
        self.deleted.append((pod, uid, grace_s))
        self.uids[pod] = "b" * 8
        self._take_time()

    def _take_time(self) -> None:
        """What was asked is done, and its answer comes too late."""
        if self.busy:
            self.busy -= 1
            raise OSError("timed out")

    def log(self, pod: str) -> str:
        self._take_time()
        if pod in self.waiting:
            raise RefusedError("no container")
        return "time=2026-01-01T00:00:00Z level=info\nquery_by_item,2\n[2026-01-01 00:00:00] up\n"

    def scale(self, statefulset: str, replicas: int) -> None:
        self.scaled.append((statefulset, replicas))


def client_settings() -> ClientSettings:
    """One process of three roles, whose health ports nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        health = free.getsockname()[1]
    environ = {
        "EMPORIUM_FRONTEND": f"shop-frontend-0.shop:{health - 2000}",
        "EMPORIUM_CATALOG": f"shop-catalog-0.shop:{health - 2000}",
        "EMPORIUM_ORDER": f"shop-order-0.shop:{health - 2000}",
        "EMPORIUM_CACHE": f"shop-cache-0.shop:{health - 2000}",
        "EMPORIUM_CACHE_MODE": "server",
    }
    found = settings.read(environ, "client")
    assert isinstance(found, ClientSettings)
    return found


@contextmanager
def pretended(
    tmp_path: Path, *able: str, token: Callable[[], str] | None = None
) -> Iterator[tuple[KubernetesCluster, PretendedApi]]:
    """A cluster over the pretended API server."""
    found = client_settings()
    api = PretendedApi(found.catalog[0].port + found.health_offset)
    yield KubernetesCluster(api, found, "shop", hands.Mailbox(tmp_path), able, token), api


def test_members_are_the_pods_at_their_own_addresses(tmp_path: Path) -> None:
    """A pod that isn't there or whose container doesn't run is no process; clients use names."""
    with pretended(tmp_path) as (cluster, api):
        api.waiting = {"shop-cache-0"}
        members = {member.name: member for member in cluster.members()}
        assert {name for name, member in members.items() if member.running} == {
            "frontend-0",
            "catalog-0",
        }
        assert members["catalog-0"].address.startswith("127.0.0.1:")
        assert members["catalog-0"].process == "aaaaaaaa/aaaaaaaa"
        assert cluster.frontends()[0].startswith("http://shop-frontend-0.shop:")


def test_killing_is_deleting_this_very_pod(tmp_path: Path) -> None:
    """9 without grace, 15 with the pod's own; nothing else; the pod's uid goes with it."""
    with pretended(tmp_path) as (cluster, api):
        cluster.kill("catalog-0")
        cluster.kill("frontend-0", 15)
        assert api.deleted == [
            ("shop-catalog-0", "a" * 8, 0),
            ("shop-frontend-0", "a" * 8, None),
        ]
        with pytest.raises(DrillError, match="never 3"):
            cluster.kill("catalog-0", 3)
        with pytest.raises(DrillError, match="doesn't run"):
            cluster.kill("order-0")
        with pytest.raises(DrillError, match="no catalog-7"):
            cluster.kill("catalog-7")


def test_a_silent_api_server_hides_no_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The members are as they last were; what needs the API server says that it is silent."""
    monkeypatch.setattr(kubernetes_cluster, "SILENT_S", 0.0)
    with pretended(tmp_path) as (cluster, api):
        before = cluster.members()
        assert cluster.reachable()
        api.silent = True
        assert cluster.members() == before
        assert not cluster.reachable()
        with pytest.raises(DrillError, match="can't be listed"):
            cluster.pods("catalog")
        api.busy = 1
        with pytest.raises(DrillError, match="log of catalog-0 can't be read"):
            cluster.logs("catalog-0")


def test_a_busy_api_server_is_asked_again(tmp_path: Path) -> None:
    """A timeout is no refusal: a log isn't empty by it, and a deletion may have been heard."""
    with pretended(tmp_path) as (cluster, api):
        api.busy = 1
        assert cluster.logs("catalog-0") == ["query_by_item,2"]
        api.busy = 1
        cluster.kill("catalog-0")
        assert [pod for pod, _, _ in api.deleted] == ["shop-catalog-0"]


def test_another_pod_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has come since the list was made: a refusal at the first try is one."""
    with pretended(tmp_path) as (cluster, api):
        members = cluster.members()
        api.uids["shop-catalog-0"] = "c" * 8
        monkeypatch.setattr(cluster, "members", lambda: members)
        with pytest.raises(DrillError, match="409 Conflict"):
            cluster.kill("catalog-0")
        assert api.deleted == []


def test_drills_are_what_the_hands_can_do(tmp_path: Path) -> None:
    """Without hands a pod kills, cuts by the fault routes, and scales."""
    with pretended(tmp_path) as (cluster, api):
        assert cluster.drills() == {KILL, CUT, hands.SCALE}
        with pytest.raises(DrillError, match="no drill for: cut-node"):
            cluster.drill(hands.CUT_NODE, pod="catalog-0")
        cluster.drill(hands.SCALE, role="catalog", replicas="5")
        assert api.scaled == [("shop-catalog", 5)]
    with pretended(tmp_path, hands.FREEZE, hands.THAW, hands.LOSE_DISK) as (cluster, _):
        assert {PAUSE, LOSE_DISK} <= cluster.drills()


def test_the_operation_log_is_told_from_the_other_lines(tmp_path: Path) -> None:
    """A pod's log has structured lines and gunicorn's too."""
    with pretended(tmp_path) as (cluster, api):
        assert cluster.logs("catalog-0") == ["query_by_item,2"]
        api.waiting = {"shop-catalog-0"}
        assert cluster.logs("catalog-0") == []


def test_pods_beyond_the_settings_are_seen(tmp_path: Path) -> None:
    """`kubectl scale` makes pods that no setting names."""
    with pretended(tmp_path) as (cluster, api):
        api.uids["shop-catalog-3"] = "c" * 8
        api.uids["shop-catalog-headless-0"] = "d" * 8
        api.waiting = {"shop-catalog-3"}
        assert cluster.pods("catalog") == {"shop-catalog-0": True, "shop-catalog-3": False}
        api.ended = {"shop-catalog-3"}
        assert cluster.pods("catalog")["shop-catalog-3"]


def test_the_operator_token_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation changes it, and the pods tell their generations."""
    monkeypatch.setattr(kubernetes_cluster, "SILENT_S", 0.0)
    tokens = ["old", "new"]
    with pretended(tmp_path, token=lambda: tokens[0]) as (cluster, api):
        assert cluster.operator_token() == "old"
        del tokens[0]
        assert cluster.operator_token() == "new"
        with pytest.raises(DrillError, match="no pod of shop has the annotation emporium/secrets"):
            cluster.secret_generations()
        api.secrets = "7 true 3"
        assert cluster.secret_generations() == (7, 3)
        api.silent = True
        with pytest.raises(DrillError, match="can't be listed"):
            cluster.secret_generations()


def test_faults_end_at_every_replica_in_spite_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that doesn't answer keeps no other from being healed, and is told."""
    tried = []

    def fault(_cluster: KubernetesCluster, name: str, *_: object) -> None:
        tried.append(name)
        if name == "catalog-0":
            raise DrillError("catalog-0 takes no fault")

    monkeypatch.setattr(KubernetesCluster, "_fault", fault)
    with pretended(tmp_path) as (cluster, api):
        api.uids["shop-order-0"] = "e" * 8
        with pytest.raises(DrillError, match="catalog-0 takes no fault"):
            cluster.heal()
    assert tried == ["catalog-0", "order-0"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--hands", "cut-node,fly"], "'fly' is no work for hands; there are: kill-process"),
        (["--repeats", "0"], "'0' is no number from 1 to 1000"),
        (["--longest-gap", "-1"], "'-1' is no time from 0 to 600 s"),
        (["--longest-gap", "soon"], "'soon' is no time"),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_arguments_of_the_job_are_refused_by_name(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which value, and what is allowed."""
    with pytest.raises(SystemExit):
        job.main(arguments)
    assert text in capsys.readouterr().err


def test_the_job_says_what_its_surroundings_lack(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown scenario, and a place that is no pod."""
    assert job.main(["fly"]) == 2
    assert "there is no scenario 'fly'" in capsys.readouterr().err
    monkeypatch.delenv(job.NAMESPACE, raising=False)
    assert job.main(["21"]) == 2
    assert "STORE_NAMESPACE, STORE_NAME isn't set" in capsys.readouterr().err


def test_the_report_is_fetched_after_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that has ended gives nothing; a later round with nothing left in it fails nothing."""
    collected: list[tuple[str, int]] = []
    rounds: list[bool] = []

    def drill(verb: str) -> None:
        collected.append((verb, len(rounds)))

    def run(*_: object, again: bool) -> Report:
        rounds.append(again)
        if again:
            return Report("none", left_out={"buy": "why"})
        return Report(
            "one", [ScenarioResult(3, "buy", "", [Finding("all", passed=True, detail="")])]
        )

    cluster = SimpleNamespace(frontends=list, drills=lambda: {hands.COLLECT}, drill=drill)
    monkeypatch.setattr(job, "connect", lambda *_: cluster)
    monkeypatch.setattr("emporium.client.scenarios.runner.run", run)
    assert job.main(["buy", "--rounds", "2", "--output", str(tmp_path)]) == 0
    assert rounds == [False, True]
    assert collected == [(hands.COLLECT, 1), (hands.COLLECT, 2)]
