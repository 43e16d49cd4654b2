"""A cluster that isn't finished leaves nothing, however its command ended.

Each case starts a cluster of one node, of its own name, and ends the command at a moment. They
need root, and everything built (make cluster-build).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emporium_cluster import build, cgroups, cluster, control_plane, network, processes, remains
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout

TOOL = Path(__file__).resolve().parent.parent / "cluster.py"
MOMENT_S = 120.0
END_S = 60.0
READY = (
    sys.platform == "linux"
    and os.geteuid() == 0
    and all(build.place_of(build.PROGRAMS[name]).exists() for name in build.CLUSTER)
)
pytestmark = [
    pytest.mark.skipif(not READY, reason="needs root and a built cluster (make cluster-build)"),
    pytest.mark.serial,
    pytest.mark.slow,
]


def fabric_is_made(layout: Layout) -> bool:
    """Nothing runs yet."""
    return network.exists(layout.fabric)


def api_server_runs(layout: Layout) -> bool:
    """The control plane is on its way."""
    return control_plane.running(layout, cgroups.machine_cgroups(), control_plane.API_SERVER)


def node_runs(layout: Layout) -> bool:
    """A node's first process has started."""
    return bool(cgroups.machine_cgroups().processes(layout.group(layout.node(1), "daemons")))


def pods_run(layout: Layout) -> bool:
    """A pod's processes are there: the nodes are ready, DNS isn't."""
    return bool(cgroups.machine_cgroups().processes(layout.group(layout.node(1), "pods")))


MOMENTS = [fabric_is_made, api_server_runs, node_runs, pods_run]


def interrupted(layout: Layout, moment: Callable[[Layout], bool], number: int) -> int:
    """Start a cluster and send the command a signal at the moment; its exit code."""
    command = [sys.executable, str(TOOL), "--name", layout.name, "up", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
        what = str(moment.__doc__)
        nothing = Path(os.devnull)
        processes.wait_for(
            what, MOMENT_S, lambda: moment(layout), nothing, lambda: tool.poll() is None
        )
        tool.send_signal(number)
        return tool.wait(END_S)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_start_clears_away_what_it_made(
    halfway: Layout, moment: Callable[[Layout], bool]
) -> None:
    """After SIGTERM at any moment nothing is left, and the command fails."""
    assert interrupted(halfway, moment, signal.SIGTERM) == 130
    assert remains.found(halfway, cgroups.machine_cgroups()) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_killed_start_down_finds_everything(
    halfway: Layout, moment: Callable[[Layout], bool]
) -> None:
    """SIGKILL leaves the command no time; the next `down` removes what it had made."""
    assert interrupted(halfway, moment, signal.SIGKILL) == -signal.SIGKILL
    found = cgroups.machine_cgroups()
    assert remains.found(halfway, found) != []
    down = subprocess.run(
        [sys.executable, TOOL, "--name", halfway.name, "down"],
        check=False, capture_output=True, text=True, timeout=END_S,
    )  # fmt: skip
    assert down.returncode == 0, down.stderr
    assert remains.found(halfway, found) == []


def test_a_failed_start_says_why_and_leaves_nothing(halfway: Layout) -> None:
    """A component that can't start: the message has its last words, and all is cleared away."""
    found = cgroups.machine_cgroups()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control_plane, "_api_flags", lambda _: ["--no-such-flag"])
        with pytest.raises(ClusterError, match=r"it has ended: the API server[^$]*no-such-flag"):
            cluster.up(halfway, 1)
    assert remains.found(halfway, found) == []


def test_down_without_a_cluster_is_fine(halfway: Layout) -> None:
    """`down` can be said twice."""
    cluster.down(halfway)
    assert remains.found(halfway, cgroups.machine_cgroups()) == []
