"""Whole replicas with their journals and streams on loopback, in one process: the fault hooks,
the faults between replicas, and the good-bye."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emporium.catalog.desk import CatalogDesk
from emporium.catalog.requests import ChangeItem, ItemChanged, ItemFound, QueryItem
from emporium.catalog.state_machine import CatalogState
from emporium.local import ports
from emporium.local.layout import default_places, offsets
from emporium.order.desk import OrderDesk
from emporium.order.state_machine import OrderState
from emporium.runtime import errors
from emporium.runtime.driver import ReplicaHandle, build_replica
from emporium.runtime.lifecycle import Lifecycle
from emporium.runtime.settings import CatalogSettings, OrderSettings, read
from tests import chart
from tests.unit.catalog_data import DATA
from tests.waiting import eventually, never

HOST = "127.0.0.1"


class Group:
    """Three replicas of the catalog, each with a life of its own."""

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet."""
        counts = {"catalog": 3}
        places = default_places(counts, HOST, ports.free_base(HOST, offsets(counts)))
        self.addresses = ",".join(place.address for place in places)
        self.folder = folder
        self.more: dict[str, str] = {}  # further settings
        self.handles: dict[int, ReplicaHandle] = {}
        self._lives: dict[int, Lifecycle] = {}

    def settings(self, replica: int) -> CatalogSettings:
        """Those of one replica: quick failure detection."""
        environ = self.more | {
            "EMPORIUM_ID": str(replica),
            "EMPORIUM_CATALOG": self.addresses,
            "EMPORIUM_DATA_DIR": str(self.folder / str(replica)),
            "EMPORIUM_OUTPUT_DIR": str(self.folder),
            "EMPORIUM_HEARTBEAT_INTERVAL_MS": "100",
            "EMPORIUM_LOCK_WAIT_MS": "0",
        }
        found = read(environ, "catalog")
        assert isinstance(found, CatalogSettings)
        return found

    def start(self, replica: int) -> ReplicaHandle:
        """A new process, as it were."""
        life = self._lives[replica] = Lifecycle()
        self.handles[replica] = build_replica(
            self.settings(replica), CatalogState, CatalogDesk, DATA, life
        )
        return self.handles[replica]

    def stop(self, replica: int) -> None:
        """The end of the process."""
        life = self._lives.pop(replica, None)
        if life is not None:
            life.stop()

    def reigning(self) -> ReplicaHandle | None:
        """The one that says so."""
        for handle in self.handles.values():
            if handle.status().get("reigning"):
                return handle
        return None

    def settled(self) -> ReplicaHandle:
        """The reign, once all serve."""
        for handle in self.handles.values():
            eventually(lambda handle=handle: handle.serving, "serving")  # type: ignore[misc]
        reign = eventually(self.reigning, "a reign")
        assert reign is not None
        return reign

    def lives(self) -> list[tuple[str, str]]:
        """The group and the own incarnation of each replica."""
        found = [self.handles[replica].status() for replica in range(3)]
        return [(each["group"], each["incarnation"]) for each in found]

    def restock(self, number: int) -> int:
        """The stock of item 1 after one more piece, asked for until somebody grants it."""
        request = ChangeItem("1", None, 1, f"request-{number:08}")

        def ask() -> int:
            for handle in self.handles.values():
                try:
                    answer, _ = handle.ask(request, 2000, request.request_id)
                except errors.EmporiumError:
                    continue
                if isinstance(answer, ItemChanged):
                    return answer.view.stock
            return 0

        return eventually(ask, "a restock")


def stock(handle: ReplicaHandle) -> int:
    """The linearizable stock of item 1 at one replica."""

    def ask() -> int:
        try:
            answer, _ = handle.ask(QueryItem("1", "linearizable"), 2000)
        except errors.ServiceError:
            return 0
        assert isinstance(answer, ItemFound)
        return answer.view.stock

    return eventually(ask, "a read")


@contextmanager
def running(folder: Path) -> Iterator[Group]:
    """Three that run."""
    group = Group(folder)
    try:
        for replica in range(3):
            group.start(replica)
        yield group
    finally:
        for replica in range(3):
            group.stop(replica)


def test_a_primary_that_is_shut_down_is_replaced_and_recovers_from_its_journal(
    tmp_path: Path,
) -> None:
    """The seeds' fault hooks: nothing that was acknowledged is lost."""
    with running(tmp_path) as group:
        first = group.settled()
        assert group.restock(1) == 4
        first.shutdown()
        assert group.restock(2) == 5
        second = eventually(group.reigning, "a new reign")
        assert second is not first
        first.recover()
        assert first.serving
        assert stock(first) == 5
        assert (tmp_path / "catalog0_log").read_text().count("init,") == 3


def test_all_replicas_come_back_from_their_disks(tmp_path: Path) -> None:
    """A restart of all loses nothing and forms no new group."""
    with running(tmp_path) as group:
        epoch, before = group.settled().status()["epoch"], group.lives()
        assert group.restock(1) == 4
        for replica in range(3):
            group.stop(replica)
        for replica in range(3):
            group.start(replica)
        assert group.settled().status()["epoch"] > epoch
        assert stock(group.handles[1]) == 4
        assert group.lives() == before


def test_two_lost_disks_of_three_are_seen_at_every_replica(tmp_path: Path) -> None:
    """All run and hear each other, and the gauge behind the alert says that it is no majority."""
    with running(tmp_path) as group:
        first = group.settled()
        assert first.status()["hears_majority"]
        lost = [replica for replica in range(3) if group.handles[replica] is not first][:2]
        for replica in lost:
            group.stop(replica)
            shutil.rmtree(tmp_path / str(replica))
        for replica in lost:
            group.start(replica)

        def told() -> list[tuple[object, object]]:
            found = [group.handles[replica].status() for replica in range(3)]
            return [(each["group"] != "", each["hears_majority"]) for each in found]

        eventually(lambda: told() == [(True, False)] * 3, "no majority, at all three")
        never(lambda: told() != [(True, False)] * 3, "a majority", for_s=0.5)
        port = group.settings(lost[0]).health_port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        (gauge,) = [line for line in lines if line.startswith("emporium_hears_majority{")]
        assert float(gauge.split()[-1]) == 0


def test_a_primary_that_cannot_be_heard_is_replaced(tmp_path: Path) -> None:
    """A one-way cut set by the operator, and healed."""
    with running(tmp_path) as group:
        first = group.settled()
        others = {n: handle for n, handle in group.handles.items() if handle is not first}
        for other in others:
            first.faults.set_from_json({"to": f"catalog-{other}", "cut": True})
        heirs = others.values()
        eventually(lambda: any(h.status().get("reigning") for h in heirs), "a new reign")
        eventually(lambda: first.status().get("reigning") is False, "the old reign's end")
        assert group.restock(1) == 4
        first.faults.clear()
        eventually(lambda: first.serving, "its return")
        assert stock(first) == 4


def test_leaving_hands_the_reign_over(tmp_path: Path) -> None:
    """SIGTERM: another one reigns before this one goes."""
    with running(tmp_path) as group:
        first = group.settled()
        group.restock(1)
        eventually(lambda: first.status()["commit"] == first.status()["last_index"], "rest")
        first.leave(10_000)
        assert not first.status()["reigning"]
        eventually(group.reigning, "a new reign")
        assert group.restock(2) == 5


def test_a_second_process_on_a_data_folder_is_refused(tmp_path: Path) -> None:
    """Two replicas with one promise would be one too many."""
    with running(tmp_path) as group:
        group.settled()
        environ = group.settings(0)
        group.addresses = Group(tmp_path).addresses
        life = Lifecycle()
        with pytest.raises(errors.DataFolderInUse, match=environ.data_dir):
            build_replica(group.settings(0), CatalogState, CatalogDesk, DATA, life)
        life.stop()


def test_the_health_port_tells_what_the_replica_is(tmp_path: Path) -> None:
    """Ready, alive, status and metrics; a shut down replica is alive and not ready."""
    with running(tmp_path) as group:
        group.settled()
        port = group.settings(0).health_port

        def page(path: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return str(answer.read().decode())

        assert page("/readyz") == "ready\n"
        assert page("/healthz").startswith("last step")
        status = json.loads(page("/status"))
        assert (status["role"], status["replica"], status["voter"]) == ("catalog", 0, True)
        assert "emporium_commit" in page("/metrics")
        group.handles[0].shutdown()
        with pytest.raises(OSError, match="503"):
            page("/readyz")
        assert json.loads(page("/status"))["up"] is False


def test_another_lease_on_old_data_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The lease is the one that the group was formed with, and the log says so at a start."""
    said = "EMPORIUM_LEASE_MS has no effect"
    with caplog.at_level("WARNING", "emporium"), running(tmp_path) as group:
        group.settled()
        group.stop(0)
        group.start(0)
        assert said not in caplog.text
        group.stop(0)
        group.more = {"EMPORIUM_LEASE_MS": "50"}
        group.start(0)
        assert caplog.text.count(said) == 1
        (line,) = [record for record in caplog.records if said in record.getMessage()]
        assert vars(line)["fields"] == {"asked_ms": "50", "lease_ms": "200"}


def asked_by_alerts(role: str) -> set[tuple[str, str]]:
    """(metric, event) of every alert that asks a replica of this role."""
    found = set()
    for alert in chart.alerts(chart.example("everything")):
        for name, selector in re.findall(r"(emporium_\w+)\{([^}]*)\}", alert["expr"]):
            labels = dict(re.findall(r'(\w+)=~?"([^"]*)"', selector))
            if re.fullmatch(labels.get("role", role), role):
                found.add((name, labels.get("event", "")))
    return found


def test_what_alerts_ask_for_is_there_from_the_start(tmp_path: Path) -> None:
    """A flag that only comes with its trouble, or a counter that begins at 1, raises no alarm."""
    catalogs, lives = Group(tmp_path / "catalog"), Lifecycle()
    environ = {
        "EMPORIUM_CATALOG": catalogs.addresses,
        "EMPORIUM_DATA_DIR": str(tmp_path / "order"),
        "EMPORIUM_OUTPUT_DIR": str(tmp_path),
    }
    shown = {}
    try:
        shown["catalog"] = catalogs.start(0).metrics.text().decode()
        # Ports that are looked for now are others than those that the catalog has taken.
        environ["EMPORIUM_ORDER"] = Group(tmp_path / "order").addresses
        settings = read(environ, "order")
        assert isinstance(settings, OrderSettings)
        order = build_replica(settings, OrderState, OrderDesk, "", lives)
        shown["order"] = order.metrics.text().decode()
    finally:
        lives.stop()
        catalogs.stop(0)
    for role, text in shown.items():
        asked = asked_by_alerts(role)
        assert ("emporium_events_total", "reign_open") in asked
        for name, event in asked:
            lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
            there = [line for line in lines if not event or f'event="{event}"' in line]
            assert there, (role, name, event)
    assert re.search(r"(?m)^emporium_ledger_trouble\{.*\} 0\.0$", shown["order"])
