"""`pods pull` and `pods place`, against a kubectl of ours: a folder stands for each volume."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from emporium.local import cli
from emporium.local.folder import DataFolder
from emporium.local.pods import waiting_pod
from emporium.runtime.backup import restored_data
from emporium.runtime.data_folder import FolderLock
from emporium.runtime.journal import JOURNAL
from tests import chart, pod_security
from tests.local.store_journals import logs_with, write_store

Run = Callable[..., str]
ACCEPT: Final = "--i-accept-that-the-store-stops"
KUBECTL: Final = """\
#!{python} -IS
import json, os, pathlib, subprocess, sys
root = pathlib.Path({root!r})
words = sys.argv[1:]
assert words[:2] == ["--namespace", "shop"], words
with (root / "calls").open("a") as calls:
    calls.write(" ".join(word for word in words[2:] if "\\n" not in word) + "\\n")
match words[2:]:
    case ["get", "statefulset", name, "-o", "json"]:
        print((root / (name + ".json")).read_text())
    case ["exec", *rest]:
        pod = next(word for word in rest if word != "-i").removesuffix("-volume")
        volume = root / "volumes" / pod
        if not volume.is_dir():
            sys.exit("Error from server (NotFound): pods " + pod + " not found")
        command = [sys.executable, *rest[rest.index("--") + 2 :]]
        done = subprocess.run(command, env={{**os.environ, "EMPORIUM_DATA_DIR": str(volume)}})
        if done.returncode:
            sys.exit("command terminated with exit code " + str(done.returncode))
    case ["get", "pvc", name, "--ignore-not-found", "-o", "name"]:
        if (root / "claims" / name).exists():
            print("persistentvolumeclaim/" + name)
    case ["create", "-f", "-"]:
        pod = json.load(sys.stdin)
        (root / pod["metadata"]["name"]).write_text(json.dumps(pod))
    case _:
        pass
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release with its volumes, journals in them, and a kubectl that is found first."""
    root = tmp_path / "cluster"
    write_store(DataFolder(tmp_path / "made"), logs_with(3))
    root.mkdir()
    volumes = root / "volumes"
    shutil.copytree(tmp_path / "made" / "replicas", volumes)
    for volume in volumes.iterdir():
        volume.rename(volumes / f"bookstore-emporium-{volume.name}")
    for statefulset in chart.of_kind(chart.example("bookstore"), "StatefulSet"):
        path = root / f"{statefulset['metadata']['name']}.json"
        path.write_text(json.dumps(statefulset), encoding="utf-8")
    tools = tmp_path / "tools"
    tools.mkdir()
    kubectl = tools / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable, root=str(root)), encoding="utf-8")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    return root


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command; its output together with its exit code."""
    assert root.is_dir()

    def command(*words: object) -> str:
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return f"{captured.out}{captured.err}exit {code}"

    return command


def pods(action: str, folder: Path, *more: str) -> list[str]:
    """The words of a command."""
    where = ["--data", str(folder), "-n", "shop", "--store", "bookstore-emporium"]
    return ["pods", action, *where, *more]


def test_what_is_pulled_can_be_verified_and_backed_up(tmp_path: Path, run: Run) -> None:
    """A folder of pulled journals is a store's data folder."""
    folder = tmp_path / "pulled"
    told = run(*pods("pull", folder))
    assert "exit 0" in told
    assert "order-2: whole, up to entry " in told
    assert "exit 0" in run("verify", "--data", folder)
    told = run("backup", tmp_path / "file", "--data", folder)
    assert "3 sales" in told
    assert "exit 0" in told


def test_a_journal_is_pulled_whole_beside_the_process_that_writes_it(
    root: Path, tmp_path: Path, run: Run
) -> None:
    """What is in the write-ahead log alone comes along."""
    path = root / "volumes" / "bookstore-emporium-order-0" / JOURNAL
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("CREATE TABLE beside (one INTEGER)")
    writer.execute("INSERT INTO beside VALUES (7)")
    writer.commit()
    assert "exit 0" in run(*pods("pull", tmp_path / "pulled"))
    writer.close()
    pulled = sqlite3.connect(tmp_path / "pulled" / "replicas" / "order-0" / JOURNAL)
    assert pulled.execute("SELECT one FROM beside").fetchall() == [(7,)]
    pulled.close()


def test_a_pod_that_cannot_be_reached_is_left_out(root: Path, tmp_path: Path, run: Run) -> None:
    """And said so, by the exit code too; a majority is enough for a backup."""
    shutil.rmtree(root / "volumes" / "bookstore-emporium-catalog-1")
    folder = tmp_path / "pulled"
    told = run(*pods("pull", folder))
    assert "catalog-1: NOT pulled: kubectl exec bookstore-emporium-catalog-1 --: Error" in told
    assert "exit 1" in told
    assert "exit 0" in run("backup", tmp_path / "file", "--data", folder)


def test_a_replica_that_cannot_be_reached_is_not_taken_for_lost(
    root: Path, tmp_path: Path, run: Run
) -> None:
    """While its volume claim is there, nobody begins a group without its journal."""
    shutil.rmtree(root / "volumes" / "bookstore-emporium-order-1")
    (root / "volumes" / "bookstore-emporium-order-2").rename(root / "away")
    claim = root / "claims" / "data-bookstore-emporium-order-2"
    claim.parent.mkdir()
    claim.touch()
    words = ("group", "force-new", "order", "--i-accept-losing-acknowledged-purchases", "--data")
    told = run(*pods("pull", tmp_path / "pulled"))
    assert re.search("order-1: NOT pulled: .*; its volume claim is gone, so it counts as", told)
    assert re.search("order-2: NOT pulled: .*; it may be whole in its volume", told)
    told = run(*words, tmp_path / "pulled")
    assert "order-2: kubectl exec bookstore-emporium-order-2 --: Error" in told
    assert "order-1" not in told
    assert "exit 1" in told
    assert not list(tmp_path.glob("pulled/replicas/*/restore"))
    assert not list(tmp_path.glob("pulled/replicas/*/set-aside-*"))
    claim.unlink()
    run(*pods("pull", tmp_path / "again"))
    assert "exit 0" in run(*words, tmp_path / "again")


def test_a_folder_that_holds_something_is_not_written_over(tmp_path: Path, run: Run) -> None:
    """Two stores in one folder would be neither."""
    run(*pods("pull", tmp_path / "pulled"))
    told = run(*pods("pull", tmp_path / "pulled"))
    assert "holds data already" in told
    assert "exit 1" in told


def test_a_restored_backup_is_placed_while_nothing_runs(
    root: Path, tmp_path: Path, run: Run
) -> None:
    """Stop, then every volume, then start; the old journals are set aside."""
    run(*pods("pull", tmp_path / "pulled"))
    run("backup", tmp_path / "file", "--data", tmp_path / "pulled")
    folder = tmp_path / "restored"
    run("restore", tmp_path / "file", "--data", folder)
    told = run(*pods("place", folder))
    assert "exit 2" in told
    assert "scale" not in (root / "calls").read_text("utf-8")
    told = run(*pods("place", folder, ACCEPT))
    assert "exit 0" in told
    for role in ("catalog", "order"):
        for number in range(3):
            volume = root / "volumes" / f"bookstore-emporium-{role}-{number}"
            assert "restored" in restored_data(volume, role)
            assert (volume / "set-aside-1" / JOURNAL).exists()
    calls = (root / "calls").read_text("utf-8").splitlines()
    scaled = [(index, call) for index, call in enumerate(calls) if call.startswith("scale")]
    stopped = [index for index, call in scaled if call.endswith("=0")]
    started = [index for index, call in scaled if call.endswith("=3")]
    placed = [index for index, call in enumerate(calls) if call.startswith("exec -i")]
    assert (len(stopped), len(placed), len(started)) == (2, 6, 2)
    assert max(stopped) < min(placed)
    assert max(placed) < min(started)
    waits = [call for call in calls if call.startswith("get pod ")]
    assert len(waits) == 2


def test_a_replica_that_still_runs_keeps_the_store_stopped(
    root: Path, tmp_path: Path, run: Run
) -> None:
    """Its journal isn't touched; the command can be given again."""
    run(*pods("pull", tmp_path / "pulled"))
    run("backup", tmp_path / "file", "--data", tmp_path / "pulled")
    run("restore", tmp_path / "file", "--data", tmp_path / "restored")
    lock = FolderLock(root / "volumes" / "bookstore-emporium-order-1")
    lock.acquire(0.0)
    told = run(*pods("place", tmp_path / "restored", ACCEPT))
    assert "DataFolderInUse" in told
    assert "give it again" in told
    assert "exit 1" in told
    assert "=3" not in (root / "calls").read_text("utf-8")
    lock.release()
    assert "exit 0" in run(*pods("place", tmp_path / "restored", ACCEPT))


def test_a_group_alone_begins_anew_from_what_is_left(root: Path, tmp_path: Path, run: Run) -> None:
    """Two disks of three are lost: force-new on the pulled folder, and that group alone stops."""
    for number in (1, 2):
        shutil.rmtree(root / "volumes" / f"bookstore-emporium-order-{number}")
    folder = tmp_path / "pulled"
    run(*pods("pull", folder))
    told = run(
        *("group", "force-new", "order", "--data", folder),
        "--i-accept-losing-acknowledged-purchases",
    )
    assert "exit 0" in told
    for number in (1, 2):
        (root / "volumes" / f"bookstore-emporium-order-{number}").mkdir()
    assert "exit 0" in run(*pods("place", folder, ACCEPT))
    assert "scale statefulset bookstore-emporium-catalog" not in (root / "calls").read_text("utf-8")


def test_nothing_is_stopped_for_a_folder_without_a_beginning(
    root: Path, tmp_path: Path, run: Run
) -> None:
    """Journals alone are no beginning: they hold old promises."""
    run(*pods("pull", tmp_path / "pulled"))
    told = run(*pods("place", tmp_path / "pulled", ACCEPT))
    assert "holds no beginning" in told
    assert "scale" not in (root / "calls").read_text("utf-8")


def test_a_release_of_another_size_is_refused(root: Path, tmp_path: Path, run: Run) -> None:
    """Before anything is stopped."""
    run(*pods("pull", tmp_path / "pulled"))
    run("backup", tmp_path / "file", "--data", tmp_path / "pulled")
    run("restore", tmp_path / "file", "--data", tmp_path / "restored")
    path = root / "bookstore-emporium-order.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace("EMPORIUM_ORDER", "EMPORIUM_NONE"), encoding="utf-8")
    told = run(*pods("place", tmp_path / "restored", ACCEPT))
    assert "no setting EMPORIUM_ORDER" in told
    assert "scale" not in (root / "calls").read_text("utf-8")


def test_the_pod_that_holds_a_volume_is_one_of_the_store_but_runs_nothing_of_it() -> None:
    """Same image, user and rights; no probe, no label that a Service or a policy looks for."""
    (statefulset,) = (
        each
        for each in chart.of_kind(chart.example("bookstore"), "StatefulSet")
        if each["metadata"]["name"] == "bookstore-emporium-order"
    )
    pod: dict[str, Any] = waiting_pod(statefulset, 2)
    container = pod["spec"]["containers"][0]
    own = statefulset["spec"]["template"]["spec"]["containers"][0]
    assert pod_security.violations(pod["spec"]) == []
    assert container["image"] == own["image"]
    assert container["command"][-1] == "wait"
    assert not [key for key in container if key.endswith("Probe")]
    assert {
        "name": "data",
        "persistentVolumeClaim": {"claimName": "data-bookstore-emporium-order-2"},
    } in (pod["spec"]["volumes"])
    assert chart.COMPONENT not in pod["metadata"]["labels"]
