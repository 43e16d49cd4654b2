"""What can't work is refused before anything is touched, with what to do about it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from emporium_cluster import (
    api,
    build,
    certificates,
    cgroups,
    cli,
    cluster,
    control_plane,
    drills,
    machine,
    processes,
)
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout

V1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755"
V1_TREE = "32 31 0:29 / /sys/fs/cgroup/{0} rw - cgroup cgroup rw,{0}"


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who isn't root is told that namespaces need it, and by which command."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"need root\n.*sudo make"):
        machine.require_cluster()


def test_another_system_is_sent_to_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the answer is kind, not a traceback."""
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(ClusterError, match=r"needs Linux, this is Darwin\n.*kind"):
        machine.require_cluster()


def test_missing_cgroup_controllers_are_named() -> None:
    """A machine whose cgroups lack a controller hears which one, and what to mount."""
    trees = [V1_TREE.format(name) for name in cgroups.NEEDED if name != "freezer"]
    with pytest.raises(ClusterError, match=r"no cgroup controllers freezer below .*\n.*mount"):
        cgroups.machine_cgroups("\n".join([V1, *trees]))


def test_a_machine_without_cgroups_is_refused() -> None:
    """No cgroup tree at all: every controller is missing."""
    with pytest.raises(ClusterError, match="cpu cpuacct cpuset memory pids freezer"):
        cgroups.machine_cgroups(V1)


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root nothing is installed: the whole command is printed instead."""
    monkeypatch.setattr(machine, "plugins", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError) as caught:
        machine.install_packages(images=True)
    assert "apt-get install -y" in caught.value.remedy
    for package in ("containerd", "runc", "containernetworking-plugins", "socat", "buildah"):
        assert f" {package}" in caught.value.remedy


def test_a_failed_install_says_what_was_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An install that fails tells the packages, the failure and the command."""
    monkeypatch.setattr(machine, "missing_packages", lambda **_: ["socat"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/bin/{name}")

    def fail(*_: object, **__: object) -> str:
        raise ClusterError("failed (100): apt-get update")

    monkeypatch.setattr(processes, "run", fail)
    with pytest.raises(ClusterError, match=r"missing: socat; failed \(100\)[^$]*install -y"):
        machine.install_packages(images=False)


def test_go_is_asked_for_only_when_something_is_to_be_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is in the cache is used without Go; without both, the message says what Go is for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"`go` is missing\n.*install Go"):
        build.provide("helpers")
    place = build.place_of(build.PROGRAMS["helpers"])
    place.parent.mkdir(parents=True)
    place.touch()
    assert build.provide("helpers") == place


def test_an_old_go_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Go that can't fetch the toolchain which a module asks for is refused by its version."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ClusterError, match=r"go1\.19\.8 .*too old\n.*1\.21"):
        machine.require_go()


def test_an_unknown_tool_is_answered_with_the_known_ones() -> None:
    """A misspelt tool: the message lists what there is."""
    with pytest.raises(ClusterError, match=r"no tool 'helmet'\n.*helm .*kubeconform"):
        build.provide("helmet")


@pytest.mark.parametrize("count", [0, -1, 10])
def test_a_size_that_is_not_possible_is_refused(layout: Layout, count: int) -> None:
    """Addresses are laid out for 1 to 9 nodes."""
    with pytest.raises(ClusterError, match="1 to 9 are possible"):
        cluster.up(layout, count)


@pytest.mark.parametrize("name", ["", "Emporium", "a-b", "x" * 17, "../up"])
def test_a_name_is_letters_and_digits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a folder, a cgroup and a namespace; empty means the usual one."""
    monkeypatch.delenv("LOCAL_CLUSTER", raising=False)
    if not name:
        assert Layout.chosen(name).name == "emporium"
        return
    with pytest.raises(ClusterError, match="letters and digits"):
        Layout.chosen(name)


def test_a_long_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets have short paths; a path that is too long would fail much later, and obscurely."""
    monkeypatch.setenv("LOCAL_CLUSTER_FOLDER", f"/{'x' * 70}")
    with pytest.raises(ClusterError, match=r"short paths\n.*LOCAL_CLUSTER_FOLDER"):
        Layout.chosen()


def test_without_a_cluster_everything_says_how_to_start_one(layout: Layout) -> None:
    """A kubeconfig, a load or a question to the API needs a cluster."""
    with pytest.raises(ClusterError, match=r"no cluster is up\n.*make cluster-up"):
        cluster.kubeconfig(layout)
    with pytest.raises(ClusterError, match="no cluster is up"):
        api.get(layout, "/api")
    with pytest.raises(ClusterError, match="no cluster is up"):
        layout.known("node-1")


def test_an_unknown_node_is_answered_with_the_known_ones(layout: Layout) -> None:
    """A misspelt node: the message lists what there is."""
    layout.state.mkdir()
    (layout.state / "nodes").write_text("2")
    with pytest.raises(ClusterError, match=r"no node 'node-3'\n.*node-1 node-2"):
        layout.known("node-3")


def test_a_cluster_keeps_its_size(layout: Layout) -> None:
    """`up` with another size than what is up changes nothing."""
    layout.state.mkdir()
    (layout.state / "nodes").write_text("3")
    with pytest.raises(ClusterError, match=r"with 3 nodes, not 5\n.*cluster-down"):
        cluster._already_up(layout, 5)


def test_two_changes_at_once_are_refused(layout: Layout) -> None:
    """While one command changes a cluster, the next one is told to wait."""
    with (
        cluster._alone(layout),
        pytest.raises(ClusterError, match="another command"),
        cluster._alone(layout),
    ):
        pass


def test_a_pod_that_does_not_run_so_is_refused() -> None:
    """A container that the pod doesn't have: the message lists what it has."""
    told = {"spec": {"containers": [{"name": "catalog"}]}, "status": {}}
    with pytest.raises(ClusterError, match=r"no container 'web'\n.*catalog"):
        drills._container_id(told, "web", "shop/catalog-0")


def test_errors_are_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line prints what happened and what to do, and fails with 1."""
    monkeypatch.setenv("LOCAL_CLUSTER_FOLDER", "/nonexistent")
    assert cli.main(["kubeconfig"]) == 1
    assert capsys.readouterr().err == "cluster: no cluster is up\n  start one: make cluster-up\n"


def test_every_part_of_the_control_plane_has_a_command(layout: Layout) -> None:
    """A component without one would be found only at a start."""
    layout.keys.mkdir(parents=True)
    for file in ("ca.crt", "admin.crt", "admin.key"):
        (layout.keys / file).write_text("x")
    certificates.write_kubeconfig(layout, "admin", layout.kubeconfig, "https://127.0.0.1:1")
    for component in control_plane.COMPONENTS:
        assert len(control_plane._command(layout, component)) > 1
