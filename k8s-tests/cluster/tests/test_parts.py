"""The parts that need neither root nor a cluster."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from emporium_cluster import archives, build, cgroups, network, nodes, processes
from emporium_cluster.drills import is_gone
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout

MANIFESTS = Path(__file__).resolve().parent.parent / "manifests"
V1_TREE = "32 31 0:29 / /sys/fs/cgroup/{0} rw - cgroup cgroup rw,{0}"
UNIFIED_BESIDE = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"


def tree_of_version_2(folder: Path, controllers: str = "cpu cpuset io memory pids") -> Path:
    """A folder with the files of a root cgroup."""
    folder.mkdir()
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text("")
    return folder


def test_version_1_registers_in_the_freezer() -> None:
    """Every tree is known, also that of version 2 beside them: runc leaves groups there, too."""
    trees = [V1_TREE.format(name) for name in cgroups.NEEDED]
    found = cgroups.machine_cgroups("\n".join([*trees, UNIFIED_BESIDE]))
    assert found.version == 1
    assert found.register == Path("/sys/fs/cgroup/freezer")
    assert len(found.trees) == len(cgroups.NEEDED) + 1


def test_version_2_needs_its_controllers(tmp_path: Path) -> None:
    """Without a memory controller there is no node."""
    tree = tree_of_version_2(tmp_path / "tree", "cpu cpuset pids")
    with pytest.raises(ClusterError, match="lacks the controllers memory"):
        cgroups._unified(tree)


def test_version_2_hands_its_controllers_down(tmp_path: Path) -> None:
    """Every level above a node's pods lets the one below use the controllers."""
    tree = tree_of_version_2(tmp_path / "tree")
    found = cgroups._unified(tree)
    (tree / "emporium").mkdir()
    (tree / "emporium" / "cgroup.controllers").write_text("memory")
    (tree / "emporium" / "cgroup.subtree_control").write_text("")
    found.create_everywhere("emporium/node-1/pods")
    assert (tree / "emporium" / "node-1" / "pods").is_dir()
    assert (tree / "emporium" / "cgroup.subtree_control").read_text() == "+memory"


def test_version_2_in_a_container_is_refused(tmp_path: Path) -> None:
    """A container's root has processes, so that it can't be divided."""
    tree = tree_of_version_2(tmp_path / "tree")
    (tree / "cgroup.type").write_text("domain")
    (tree / "cgroup.procs").write_text("1\n")
    with pytest.raises(ClusterError, match="can't be divided"):
        cgroups._unified(tree)


def test_every_program_is_pinned_with_checksums() -> None:
    """A module without go.sum would take whatever comes; only our own helpers need nothing."""
    for program in build.PROGRAMS.values():
        text = (program.folder / "go.mod").read_text()
        assert (program.folder / "go.sum").exists() or "require" not in text, program.name


def test_versions_come_from_the_pins() -> None:
    """helm takes charts for the Kubernetes that the cluster runs; nothing is said twice."""
    kubernetes = build.pinned("kube", build.KUBERNETES)
    minor = kubernetes.split(".")[1]
    flags = build.link_flags(build.PROGRAMS["helm"])
    assert f"chartutil.k8sVersionMinor={minor}" in flags
    assert f"version.version={build.pinned('helm', build.HELM)}" in flags
    assert f"gitVersion={kubernetes}" in build.link_flags(build.PROGRAMS["kube"])


def test_a_changed_source_is_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place in the cache tells what was built; the same inputs have the same place."""
    program = build.PROGRAMS["helpers"]
    before = build.place_of(program)
    assert build.place_of(program) == before
    for name in ("helpers", "kube"):
        (tmp_path / name).mkdir()
        text = (build.MODULES / name / "go.mod").read_text()
        (tmp_path / name / "go.mod").write_text(text + "// changed\n")
    monkeypatch.setattr(build, "MODULES", tmp_path)
    assert build.place_of(program) != before


def test_an_unfinished_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that fails is not taken for a finished one, and its folder goes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = build.cache_folder() / "x-1" / "x"

    def fail() -> None:
        with build._fresh_folder(place) as folder:
            (folder / "x").touch()
            raise ClusterError("out of disk")

    with pytest.raises(ClusterError):
        fail()
    assert list(build.cache_folder().iterdir()) == []


def test_an_image_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Two archives of the same files are equal, and hold what an OCI layout must."""
    program = tmp_path / "program"
    program.write_bytes(b"#!")
    for name, changed in (("a.tar", 1), ("b.tar", 2)):
        os.utime(program, (changed, changed))
        archives.write_image(tmp_path / name, "localhost/x:1", {"x": program}, ["/x"], "1:1")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        assert f"blobs/sha256/{digest}" in tar.getnames()


def test_a_wait_says_what_it_waited_for_and_where_to_look(tmp_path: Path) -> None:
    """A deadline that passes tells the end of the log of whom it waited for."""
    log = tmp_path / "etcd.log"
    log.write_text("first\nlast words\n")
    with pytest.raises(ClusterError, match=r"not within 0 s: etcd[^$]*last words"):
        processes.wait_for("etcd", 0, lambda: False, log)


def test_a_program_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    """After its deadline neither the program nor what it started is there."""
    file = tmp_path / "pid"
    with pytest.raises(ClusterError, match="not done within 3 s: sh -c"):
        processes.run(["sh", "-c", f"sleep 60 & echo $! > {file}; wait"], 3)
    child = int(file.read_text())
    processes.wait_for("the child's end", 30, lambda: is_gone(child), Path(os.devnull))


def test_a_failure_tells_the_program_s_own_words() -> None:
    """What a failed program wrote to standard error is in the message."""
    with pytest.raises(ClusterError, match=r"failed \(3\): .*[^$]*no such thing"):
        processes.run([sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)"])


def test_a_program_joins_the_register_before_it_becomes_itself(tmp_path: Path) -> None:
    """The process that is registered is the program itself; without a register it never runs."""
    ran = tmp_path / "ran"
    processes.spawn(["touch", ran], tmp_path / "procs", tmp_path / "log")
    processes.wait_for("the program", 30, ran.exists, tmp_path / "log")
    assert (tmp_path / "procs").read_text().strip().isdecimal()
    ran.unlink()
    with pytest.raises(ClusterError, match="not started: touch"):
        processes.spawn(["touch", ran], tmp_path / "none" / "procs", tmp_path / "log")
    assert not ran.exists()


def test_proxies_of_the_user_do_not_reach_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component with the user's proxy would look for the API server outside."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert "PROXY" not in processes.run(["env"]).upper()


def test_addresses_of_nodes_and_pods_differ(layout: Layout) -> None:
    """Nine nodes have nine addresses, nine ranges of pods, and cables with short names."""
    layout.state.mkdir()
    (layout.state / "nodes").write_text("9")
    every = layout.nodes()
    assert len({node.address for node in every} | {node.pods for node in every}) == 18
    assert all(len(node.cable) <= 15 for node in every)


def test_only_namespaces_of_this_cluster_are_its_own(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`down` removes namespaces by their names: another cluster's are not among them."""
    monkeypatch.setattr(network, "NAMESPACES", tmp_path)
    for name in ("test-fabric", "test-node-1", "test2-node-1", "another-fabric", "test"):
        (tmp_path / name).touch()
    assert network.of_cluster(layout) == ["test-fabric", "test-node-1"]


def test_the_answers_of_dns_live_for_a_second() -> None:
    """A pod that comes back has another address: an old answer would be a gap of its own."""
    text = (MANIFESTS / "coredns.yaml").read_text()
    assert "ttl 1" in text
    assert "cache 1" in text
    assert "trafficDistribution: PreferSameNode" in text


def test_process_ids_tell_the_first_of_a_namespace() -> None:
    """Our own process is known in our namespace; one that is gone has no ids."""
    assert nodes.process_ids(os.getpid())[0] == os.getpid()
    assert nodes.process_ids(2**22 + 1) == []
