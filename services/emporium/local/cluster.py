"""The `Cluster` port on this machine: a store of real processes that scenarios may break.

`LocalCluster.fresh(...)` lays out a new store in a temporary folder on free ports, starts it,
and waits until it really answers; leaving the `with` block stops every process and removes the
folder. `LocalCluster.running(folder)` is the store that `emporium up` runs.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emporium.client.cluster import CUT, KILL, LOSE_DISK, PAUSE, DrillError, HttpCluster, Member
from emporium.local import processes
from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder
from emporium.local.launcher import Launcher
from emporium.local.layout import GROUPS, Plan, default_places, offsets
from emporium.local.ports import free_base
from emporium.local.readiness import wait_until_answers

HOST = "127.0.0.1"
READY_S = 60.0


def temporary_plan(
    counts: dict[str, int],
    *,
    edition: str = "bookstore",
    cache_mode: str = "server",
    items_file: str = "",
    faults: bool = True,
    settings: tuple[tuple[str, str], ...] = (),
) -> Plan:
    """A plan on a free block of ports. A cache process is added in cache mode `server` alone."""
    counts = counts | {"cache": 1 if cache_mode == "server" else 0}
    places = default_places(counts, HOST, free_base(HOST, offsets(counts)))
    return Plan(edition, cache_mode, places, items_file, faults, settings)


class LocalCluster(HttpCluster):
    """Adapter of `client.cluster.Cluster`. Names are those of the table that `up` prints."""

    def __init__(self, launcher: Launcher) -> None:
        """Over a store that has been started."""
        self.launcher = launcher
        self.folder = launcher.folder

    @classmethod
    def running(cls, folder: DataFolder) -> LocalCluster:
        """The store that runs in `folder`. Raises LocalError."""
        return cls(Launcher.running(folder))

    @classmethod
    @contextmanager
    def fresh(
        cls,
        counts: dict[str, int],
        *,
        items: str = "",
        edition: str = "bookstore",
        cache_mode: str = "server",
        faults: bool = True,
        settings: tuple[tuple[str, str], ...] = (),
        keep_logs: Path | None = None,
    ) -> Iterator[LocalCluster]:
        """A new store in a temporary folder, answering. `items` is the text of an items file
        (empty: the edition's own); the logs are copied to `keep_logs` before the folder goes."""
        root = Path(tempfile.mkdtemp(prefix="emporium-"))
        launcher: Launcher | None = None
        try:
            items_file = root / "items"
            if items:
                items_file.write_text(items, "utf-8")
            plan = temporary_plan(
                counts,
                edition=edition,
                cache_mode=cache_mode,
                items_file=str(items_file) if items else "",
                faults=faults,
                settings=settings,
            )
            launcher = Launcher(DataFolder(root / "data"), plan)
            launcher.begin()
            launcher.start_all()
            wait_until_answers(launcher, READY_S)
            yield cls(launcher)
        finally:
            if launcher is not None:
                launcher.stop(grace_s=0)
                _keep(launcher.folder, keep_logs)
            shutil.rmtree(root, ignore_errors=True)

    def drills(self) -> frozenset[str]:
        """Everything, and cuts where the fault routes are open."""
        own = {KILL, PAUSE, LOSE_DISK}
        return frozenset(own | {CUT} if self.launcher.plan.faults else own)

    def members(self) -> list[Member]:
        """Every process of the plan, running or not."""
        self.launcher.reap()
        keys = self.launcher.keys()
        found = []
        for place in self.launcher.plan.places:
            key = keys.get(place.name)
            runs = key is not None and processes.alive(key)
            found.append(
                Member(
                    place.name,
                    place.role,
                    place.replica,
                    place.address,
                    f"{place.host}:{place.health_port}",
                    key.pid if key and runs else 0,
                    f"{key.pid}@{key.started.rpartition(':')[2]}" if key and runs else "",
                )
            )
        return found

    def cache_mode(self) -> str:
        """As the store was started."""
        return self.launcher.plan.cache_mode

    def operator_token(self) -> str:
        """From the data folder."""
        return self.folder.token()

    def kill(self, name: str, signal: int = signal.SIGKILL) -> None:
        """With 9 the whole process group is gone when this returns."""
        with _as_drill():
            self.launcher.kill(name, _number(signal))

    def start(self, name: str) -> None:
        """Start it again with the same settings."""
        with _as_drill():
            self.launcher.start(name)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        with _as_drill():
            self.launcher.pause(name)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        with _as_drill():
            self.launcher.resume(name)

    def lose_disk(self, name: str) -> None:
        """Kill -9, and delete the replica's data folder."""
        if self.launcher.plan.place(name).role not in GROUPS:
            raise DrillError(f"{name} has no data folder")
        self.kill(name)
        shutil.rmtree(self.folder.replica(name), ignore_errors=True)

    def logs(self, name: str) -> list[str]:
        """The operation log, line by line."""
        place = self.launcher.plan.place(name)
        number = str(place.replica) if place.role in GROUPS else ""
        path = self.folder.output / f"{place.role}{number}_log"
        if not path.exists():
            return []
        return path.read_text("utf-8", "replace").splitlines()


@contextmanager
def _as_drill() -> Iterator[None]:
    """Scenarios know one error for a drill that didn't work."""
    try:
        yield
    except LocalError as error:
        raise DrillError(str(error)) from error


def _number(number: int) -> signal.Signals:
    try:
        return signal.Signals(number)
    except ValueError:
        raise DrillError(f"there is no signal {number}") from None


def _keep(folder: DataFolder, target: Path | None) -> None:
    if target is None:
        return
    for part in ("logs", "output"):
        source = folder.root / part
        if source.is_dir():
            shutil.copytree(source, target / part, dirs_exist_ok=True)
