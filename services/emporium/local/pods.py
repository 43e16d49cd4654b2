"""The data of a store on Kubernetes: out of its pods into a data folder, and back, by `kubectl`.

A folder that was pulled is one that `verify`, `backup` and `group force-new` read, and one that
`restore` or `force-new` wrote is placed in the volumes. In a pod runs the text of `in_pod.py`.

To place, no replica may run: the StatefulSets are scaled to nothing, each volume is mounted by a
pod that only waits (with the StatefulSet's own image and rights), and the number of replicas is
put back when every volume has its part. Cut short, it can be given again.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from emporium.local import in_pod
from emporium.local.errors import LocalError
from emporium.local.folder import NOT_PULLED, DataFolder, write_json
from emporium.local.inputs import old_store
from emporium.local.layout import GROUPS
from emporium.runtime.backup import verify_journal
from emporium.runtime.data_folder import RESTORE

COMMAND_S: Final = 600.0
GONE_S: Final = 180.0
POLL_S: Final = 0.5
_DROPPED: Final = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "ports")
_MADE_BY: Final = "emporium/made-by"


@dataclass(frozen=True, slots=True)
class Pods:
    """The groups of one release. `store` is what the names of its StatefulSets begin with."""

    namespace: str
    store: str
    kubectl: str = "kubectl"

    def statefulset(self, role: str) -> dict[str, Any]:
        """A group's StatefulSet. Raises LocalError."""
        name = f"{self.store}-{role}"
        found: dict[str, Any] = json.loads(self._run("get", "statefulset", name, "-o", "json"))
        return found

    def journal(self, pod: str, folder: Path) -> None:
        """Copy the journal of a pod that runs into `folder`. Raises LocalError."""
        words = ("exec", pod, "--", "python3", "-c", _text(), "copy")
        with tempfile.TemporaryFile() as copied:
            self._run(*words, out=copied)
            copied.seek(0)
            try:
                _unpack(copied, folder)
            except (tarfile.TarError, OSError) as error:
                raise LocalError(f"{pod}: what came is no journal: {error}") from None

    def claim(self, pod: str) -> str:
        """The volume claim of a replica, as kubectl names it; empty when it is gone. Raises
        LocalError."""
        return self._run("get", "pvc", f"data-{pod}", "--ignore-not-found", "-o", "name").strip()

    def scale(self, role: str, replicas: int) -> None:
        """Say how many pods a group shall have. Raises LocalError."""
        self._run("scale", "statefulset", f"{self.store}-{role}", f"--replicas={replicas}")

    def wait_until_gone(self, names: list[str]) -> None:
        """Wait for pods to go. Raises LocalError after a while."""
        until = time.monotonic() + GONE_S
        while left := self._run("get", "pod", *names, "--ignore-not-found", "-o", "name").split():
            if time.monotonic() > until:
                raise LocalError(f"still there after {GONE_S:.0f} s: {', '.join(left)}")
            time.sleep(POLL_S)

    def place(self, statefulset: dict[str, Any], number: int, text: str) -> str:
        """Put a beginning into the volume of a replica that doesn't run; what was done, in one
        sentence. Raises LocalError."""
        pod = waiting_pod(statefulset, number)
        name = pod["metadata"]["name"]
        self._run("delete", "pod", name, "--ignore-not-found", "--wait")
        self._run("create", "-f", "-", given=json.dumps(pod))
        try:
            self._run("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={GONE_S:.0f}s")
            words = ("exec", "-i", name, "--", "python3", "-c", _text(), "place")
            done = self._run(*words, given=text)
        finally:
            self._run("delete", "pod", name, "--ignore-not-found", "--wait")
        # It names the folder, which is the same in every pod.
        return f"{statefulset['metadata']['name']}-{number}:{done.strip().partition(':')[2]}"

    def _run(self, *words: str, given: str = "", out: IO[bytes] | None = None) -> str:
        """What a command says, or nothing when that goes to `out`."""
        try:
            done = subprocess.run(
                [self.kubectl, "--namespace", self.namespace, *words],
                input=given.encode(),
                stdout=out or subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=COMMAND_S,
                check=False,
            )
        except FileNotFoundError:
            raise LocalError(f"there is no {self.kubectl} here", "install it first") from None
        except subprocess.TimeoutExpired:
            raise LocalError(f"kubectl {words[0]} has no end after {COMMAND_S:.0f} s") from None
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
            # kubectl's own last line says no more than that the command failed.
            lines = [line for line in told if not line.startswith("command terminated")]
            raise LocalError(f"kubectl {' '.join(words[:3])}: {(lines or told)[-1]}")
        return (done.stdout or b"").decode()


def _text() -> str:
    return Path(in_pod.__file__).read_text("utf-8")


def _unpack(stream: IO[bytes], folder: Path) -> None:
    """Write the files of a journal, and no others."""
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if member.name not in in_pod.COPIED or content is None:
                raise OSError(f"{member.name!r} is no part of a journal")
            with (folder / member.name).open("xb") as file:
                while piece := content.read(1 << 20):
                    file.write(piece)


def waiting_pod(statefulset: dict[str, Any], number: int) -> dict[str, Any]:
    """A pod that holds the volume of a replica and runs nothing of the store."""
    metadata, template = statefulset["metadata"], statefulset["spec"]["template"]
    spec: dict[str, Any] = json.loads(json.dumps(template["spec"]))
    for field in ("affinity", "topologySpreadConstraints"):
        spec.pop(field, None)
    container = spec["containers"][0]
    for field in _DROPPED:
        container.pop(field, None)
    container["command"] = ["python3", "-c", _text(), "wait"]
    claim = {"claimName": f"data-{metadata['name']}-{number}"}
    spec["volumes"] = [
        *(volume for volume in spec.get("volumes", []) if volume["name"] != "data"),
        {"name": "data", "persistentVolumeClaim": claim},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-{number}-volume",
            "labels": {_MADE_BY: "pods-place"},
        },
        "spec": {**spec, "restartPolicy": "Never"},
    }


def _setting(statefulset: dict[str, Any], name: str) -> str:
    """A setting of the group's pods. Raises LocalError."""
    container = statefulset["spec"]["template"]["spec"]["containers"][0]
    for variable in container.get("env", []):
        if variable["name"] == f"EMPORIUM_{name}":
            return str(variable.get("value", ""))
    raise LocalError(
        f"the pods of {statefulset['metadata']['name']} have no setting EMPORIUM_{name}",
        "--store is what the names of the release's StatefulSets begin with",
    )


# --- what the commands do ---


def pull(pods: Pods, folder: DataFolder) -> Iterator[str]:
    """Copy every journal that can be reached into a fresh folder; a sentence for each. One that
    can't be reached and has a volume still is marked, so that nobody takes it for lost. Raises
    LocalError."""
    if any((folder.root / "replicas").glob("*/*")) or folder.store_file.exists():
        raise LocalError(
            f"{folder.root} holds data already", "give a folder that isn't there yet with --data"
        )
    store: dict[str, Any] = {}
    for role in GROUPS:
        statefulset = pods.statefulset(role)
        store["edition"] = _setting(statefulset, "EDITION")
        store[role] = len(_setting(statefulset, role.upper()).split(","))
    folder.make()
    made = f"{pods.namespace}/{pods.store}, {time.strftime('%Y-%m-%d %H:%M:%S')}"
    write_json(folder.store_file, {**store, "made": made})
    # Orders first: whatever was ordered is then in the catalog's ledger.
    for name in (
        f"{role}-{number}" for role in ("order", "catalog") for number in range(store[role])
    ):
        target = folder.replica(name)
        try:
            pods.journal(f"{pods.store}-{name}", target)
        except LocalError as error:
            yield f"{name}: NOT pulled: {error}{_mark_unless_lost(pods, name, target, error)}"
            continue
        report = verify_journal(target)
        whole = "; ".join(report.problems) or f"whole, up to entry {report.last_index}"
        yield f"{name}: {whole}"


def _mark_unless_lost(pods: Pods, name: str, target: Path, error: LocalError) -> str:
    """Leave `NOT_PULLED` where a journal should be, unless its volume claim is gone; what that
    means."""
    try:
        lost = not pods.claim(f"{pods.store}-{name}")
    except LocalError:  # nobody knows: no reason to give it up
        lost = False
    if lost:
        return "; its volume claim is gone, so it counts as lost"
    target.mkdir(parents=True, exist_ok=True)
    (target / NOT_PULLED).write_text(f"{error}\n", "utf-8")
    return "; it may be whole in its volume"


def place(pods: Pods, folder: DataFolder) -> Iterator[str]:
    """Put the beginnings that `restore` or `force-new` left in a folder into the volumes; a
    sentence for each step. The groups that get one are stopped before and started after. Raises
    LocalError, and leaves those groups stopped then."""
    parts = beginnings(folder)
    sets = {role: pods.statefulset(role) for role in parts}
    for role, texts in parts.items():
        have = len(_setting(sets[role], role.upper()).split(","))
        if have != len(texts):
            raise LocalError(
                f"the release has {have} {role} replicas, and {folder.root} has {len(texts)}",
                "install a release with as many first",
            )
    for role in parts:
        pods.scale(role, 0)
        yield f"{role}: stopped"
    for role, texts in parts.items():
        pods.wait_until_gone([f"{pods.store}-{role}-{number}" for number in range(len(texts))])
        for number, text in enumerate(texts):
            yield pods.place(sets[role], number, text)
    for role, texts in parts.items():
        pods.scale(role, len(texts))
        yield f"{role}: {len(texts)} replicas start"


def beginnings(folder: DataFolder) -> dict[str, list[str]]:
    """The texts that are to be placed, by role and id. Raises LocalError when there is none, or one
    for a part of a group alone."""
    old = old_store(folder) or {}
    found: dict[str, list[str]] = {}
    for role in GROUPS:
        files = [folder.replica(f"{role}-{n}") / RESTORE for n in range(int(old.get(role, 0)))]
        there = [file for file in files if file.exists()]
        if there and len(there) < len(files):
            raise LocalError(
                f"{folder.root} has a beginning for {len(there)} of {len(files)} {role}"
            )
        if there:
            found[role] = [file.read_text("utf-8") for file in files]
    if not found:
        raise LocalError(
            f"{folder.root} holds no beginning of a group",
            f"{folder.command('restore FILE')} or"
            f" {folder.command('group force-new ROLE')} makes one",
        )
    return found
