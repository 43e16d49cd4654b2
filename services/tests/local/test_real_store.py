"""`emporium up` with the real roles: kills, returns, verify, backup and restore."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emporium.client.linearizability import Order
from emporium.client.store import Bought, Store
from emporium.local import processes
from emporium.local.cluster import LocalCluster
from emporium.local.commands_group import ACCEPT
from emporium.local.folder import DataFolder
from emporium.local.launcher import Launcher
from emporium.local.processes import ProcessKey
from tests.local.up_process import Up, config_text, run_apart
from tests.waiting import eventually

COUNTS = {"frontend": 2, "cache": 1, "catalog": 3, "order": 3}
BOOK = "4"
SERVES_S = 30.0

pytestmark = pytest.mark.slow
StartUp = Callable[..., Up]


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder."""
    return DataFolder(tmp_path / "data")


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[StartUp]:
    """Start `up` on a folder with free ports; in the end nothing is left."""
    started: list[tuple[Up, DataFolder]] = []
    keys: set[ProcessKey] = set()

    def start(folder: DataFolder, *words: str) -> Up:
        config = tmp_path / f"config-{len(started)}"
        config.write_text(config_text(COUNTS))
        up = Up("--data", str(folder.root), "--config", str(config), *words)
        started.append((up, folder))
        up.ready()
        keys.update(Launcher.running(folder).keys().values())
        return up

    yield start
    for up, folder in started:
        left = Launcher.recorded(folder)
        up.close([*keys, *(left.keys().values() if left else [])])


def client_of(folder: DataFolder) -> Store:
    """A client of the running store."""
    return Store(LocalCluster.running(folder).frontends())


def stock_of(folder: DataFolder) -> int:
    """The book's stock, as a client sees it."""
    store = client_of(folder)
    try:
        return store.lookup(BOOK).stock
    finally:
        store.close()


def buy(folder: DataFolder) -> int:
    """Buy one; the order's number."""
    store = client_of(folder)
    try:
        bought = store.buy(BOOK)
        assert isinstance(bought, Bought), bought
        return bought.number
    finally:
        store.close()


def orders_of(folder: DataFolder) -> list[Order]:
    """All orders, read as an operator."""
    store = Store(LocalCluster.running(folder).frontends(), token=folder.token())
    try:
        return store.orders()
    finally:
        store.close()


def reigning(folder: DataFolder, role: str) -> str:
    """The name of the one that reigns; empty between two reigns."""
    found = [r for r in LocalCluster.running(folder).replicas(role) if r.reigning]
    return max(found, key=lambda replica: replica.epoch).name if found else ""


def test_kill_the_primary_and_take_it_back(start_up: StartUp, folder: DataFolder) -> None:
    """The store sells without its primary, and takes it back as a voter with all sales."""
    up = start_up(folder)
    data = ["--data", str(folder.root)]
    assert buy(folder) == 1
    eventually(lambda: reigning(folder, "catalog") == "catalog-0", "the first one reigns")
    key = Launcher.running(folder).keys()["catalog-0"]
    run_apart("kill", "catalog-0", *data)
    assert not processes.alive(key)
    up.says("catalog-0 was killed by SIGKILL")
    assert buy(folder) == 2
    eventually(lambda: reigning(folder, "catalog") not in ("", "catalog-0"), "another one reigns")
    run_apart("start", "catalog-0", *data)
    eventually(
        lambda: LocalCluster.running(folder).replicas("catalog")[0].healthy,
        "catalog-0 is a voter and caught up",
        timeout_s=SERVES_S,
    )
    assert buy(folder) == 3
    assert stock_of(folder) == 3
    text = run_apart("verify", *data)
    assert "GOOD" in text
    assert "replicas equal" in text
    status = json.loads(run_apart("status", "--json", *data))
    assert {each["state"] for each in status} == {"up"}
    run_apart("down", *data)
    assert up.ends() == 0
    assert "GOOD" in run_apart("verify", *data)


def test_everything_survives_down_and_up(start_up: StartUp, folder: DataFolder) -> None:
    """After a stop and a start, on other ports, stock and order numbers go on."""
    up = start_up(folder)
    assert buy(folder) == 1
    up.signal(signal.SIGTERM)
    assert up.ends() == 0
    again = start_up(folder)
    assert "Going on from the data of" in again.text
    assert stock_of(folder) == 5
    assert buy(folder) == 2


def test_backup_and_restore(start_up: StartUp, folder: DataFolder, tmp_path: Path) -> None:
    """A backup of a running store makes a new store elsewhere, with the same sales, that sells."""
    up = start_up(folder)
    for number in (1, 2):
        assert buy(folder) == number
    file = tmp_path / "backup"
    assert "2 sales" in run_apart("backup", str(file), "--data", str(folder.root))
    up.signal(signal.SIGTERM)
    assert up.ends() == 0
    other = DataFolder(tmp_path / "other")
    run_apart("restore", str(file), "--data", str(other.root))
    start_up(other)
    assert stock_of(other) == 4
    assert buy(other) == 3
    assert "GOOD" in run_apart("verify", "--data", str(other.root))


def test_force_new_after_the_loss_of_a_majority(start_up: StartUp, folder: DataFolder) -> None:
    """Two of three order disks are lost: the orders come back with their numbers, and sell on."""
    up = start_up(folder)
    for number in (1, 2, 3):
        assert buy(folder) == number
    before = orders_of(folder)
    up.signal(signal.SIGTERM)
    assert up.ends() == 0
    for name in ("order-0", "order-2"):
        shutil.rmtree(folder.replica(name))
    data = ["--data", str(folder.root)]
    told = run_apart("group", "force-new", "order", ACCEPT, *data)
    assert "would begin from order-1" in told
    start_up(folder)
    eventually(lambda: orders_of(folder) == before, "all orders are back", timeout_s=SERVES_S)
    assert buy(folder) == 4
    assert "GOOD" in run_apart("verify", *data)


def test_local_cluster_leaves_nothing() -> None:
    """The adapter for scenarios: kill, start, pause, resume, lose a disk; then nothing is left."""
    with LocalCluster.fresh({"frontend": 1, "catalog": 3, "order": 1}, cache_mode="off") as cluster:
        keys = set(cluster.launcher.keys().values())
        root = cluster.folder.root
        cluster.pause("catalog-1")
        assert not cluster.replicas("catalog")[1].answers
        cluster.resume("catalog-1")
        before = cluster.replicas("catalog")[2]
        cluster.kill("catalog-2")
        assert not cluster.member("catalog-2").running
        cluster.start("catalog-2")
        cluster.lose_disk("catalog-2")
        assert not cluster.member("catalog-2").running
        cluster.start("catalog-2")
        cluster.wait_until(
            lambda: all(replica.healthy for replica in cluster.replicas("catalog")),
            SERVES_S,
            "the group is whole again",
        )
        after = cluster.replicas("catalog")[2]
        assert after.pid != before.pid
        assert after.incarnation != before.incarnation
        assert cluster.digest("catalog-0")["length"] == 0
        keys |= set(cluster.launcher.keys().values())
    assert not root.exists()
    assert len(keys) == 6
    assert not any(processes.alive(key) for key in keys)
