"""Doubles of kubectl, helm and skopeo, for the chain of make targets without a cluster.

    double.py TOOL ARGUMENT ...

Each takes only the uses that it knows: anything else ends with code 64, and so does a kubectl or
helm without the environment's own kubeconfig. All calls are recorded. What the real tools would
change in AWS they change in the stand-in: skopeo puts images into its registry, an installed store
has volumes there, of which the deleted claims take one along and leave the other behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(os.environ["DOUBLE_FOLDER"])
MISUSED: Final = 64
ROLES: Final = ("frontend", "cache", "catalog", "order", "client")
REPORT: Final = """\
 1 search: passed, 1.0 s
--- report ---
# Emporium scenarios

**Verdict: passed** (1 of 1 scenarios)

--- end of report ---
"""


def refuse(text: str) -> int:
    """Say what is wrong with a call."""
    sys.stderr.write(f"double: {text}\n")
    return MISUSED


def aws(*words: str) -> Any:
    """Ask the stand-in."""
    command = ["aws", *words, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout or "null")


def kept(name: str) -> Any:
    """What an earlier call left."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def keep(name: str, content: Any) -> None:
    """Leave something for later calls."""
    (FOLDER / f"{name}.json").write_text(json.dumps(content), "utf-8")


def option(words: Sequence[str], name: str) -> str:
    """What follows an option, or ""."""
    return words[words.index(name) + 1] if name in words else ""


def cluster() -> str:
    """The cluster that the kubeconfig names; "" when it isn't the environment's own."""
    file = Path(os.environ.get("KUBECONFIG", ""))
    if not file.is_file() or "output/aws/" not in str(file):
        return ""
    text = file.read_text("utf-8")
    found = [line.split("/")[-1].strip() for line in text.splitlines() if "cluster: arn:" in line]
    return found[0] if found else ""


# --- kubectl ---


def kubectl(words: Sequence[str]) -> int:
    """What the targets ask of it."""
    if not cluster():
        return refuse("kubectl without the environment's kubeconfig")
    if words[:1] == ["--namespace"]:
        return namespaced(words[1], words[2:])
    match list(words):
        case ["get", "--raw=/readyz", "--request-timeout=30s"]:
            print("ok")
        case ["apply", "-f", file] if Path(file).is_file():
            print(f"{Path(file).name} applied")
        case ["get", "nodes", "--output", "json"]:
            print(json.dumps({"items": [node(letter) for letter in "abc"]}))
        case ["delete", "persistentvolumeclaims", "--all", *where]:
            release_volumes(option(where, "--namespace"))
        case ["delete", "ingresses.networking.k8s.io" | "persistentvolumes", "--all", *_]:
            pass
        case ["delete", "services", "--field-selector", "spec.type=LoadBalancer", *where] if (
            "--all-namespaces" in where
        ):
            pass
        case _:
            return refuse(f"no such use of kubectl: {words}")
    return 0


def namespaced(namespace: str, words: Sequence[str]) -> int:
    """kubectl --namespace NAMESPACE ..."""
    releases = kept("releases")
    if namespace not in releases:
        return refuse(f"nothing is installed in {namespace}")
    match list(words):
        case ["get", "pods", "--selector", selector, "--output", "json"] if "instance" in selector:
            names = [("emporium-client-1", "client", "a")] if releases[namespace]["job"] else []
            names += [
                (f"emporium-{role}-{number}", role, letter)
                for role in ("catalog", "order")
                for number, letter in enumerate("abc")
            ]
            print(json.dumps({"items": [pod(*each) for each in names]}))
        case ["get", "jobs", "--selector", selector, "--output", "json"] if "client" in selector:
            asked = kept("asked").get("times", 0) + 1
            keep("asked", {"times": asked})
            ended = {"failed": 1} if os.environ.get("DOUBLE_FAILS") else {"succeeded": 1}
            print(json.dumps({"items": [{"status": ended if asked > 1 else {"active": 1}}]}))
        case ["get", "events", "--sort-by=.lastTimestamp"]:
            print("LAST SEEN   TYPE   REASON")
        case ["logs", name, "--all-containers"]:
            print(REPORT if "client" in name else f"log of {name}")
        case _:
            return refuse(f"no such use of kubectl in a namespace: {words}")
    return 0


def node(letter: str) -> Any:
    """A node in a zone."""
    return {
        "metadata": {
            "name": f"node-{letter}",
            "labels": {"topology.kubernetes.io/zone": f"us-east-1{letter}"},
        },
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(name: str, role: str, letter: str) -> Any:
    """A pod on a node."""
    labels = {"app.kubernetes.io/component": role}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": f"node-{letter}"}}


def release_volumes(namespace: str) -> None:
    """The storage driver deletes the volume of one claim, and is too slow for the other."""
    volumes = kept("volumes")
    for where in [namespace] if namespace else list(volumes):
        for volume in volumes.pop(where, [])[:1]:
            aws("ec2", "delete-volume", "--volume-id", volume)
    keep("volumes", volumes)


# --- helm ---


def helm(words: Sequence[str]) -> int:
    """What the targets ask of it; a chart that the real Helm can't render isn't installed."""
    name, releases = cluster(), kept("releases")
    namespace = option(words, "--namespace")
    if not name or not namespace:
        return refuse("helm without the environment's kubeconfig or a namespace")
    match list(words):
        case ["upgrade", "--install", "emporium", chart, "--namespace", _, *rest]:
            values = [part for part in rest if part not in {"--wait", "--timeout", "15m"}]
            command = [os.environ["DOUBLE_HELM"], "template", "emporium", chart]
            done = subprocess.run(
                [*command, "--namespace", namespace, *values],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            if done.returncode:
                return refuse(f"the chart doesn't render: {done.stderr}")
            number = len(list(FOLDER.glob("rendered-*.yaml")))
            (FOLDER / f"rendered-{number}-{namespace}.yaml").write_text(done.stdout, "utf-8")
            if namespace not in releases:
                make_volumes(name, namespace)
            releases[namespace] = {"job": "kind: Job" in done.stdout}
        case ["test", "emporium", "--namespace", _, "--logs", "--timeout", "5m"]:
            if namespace not in releases:
                return refuse("nothing to test")
        case ["uninstall", "emporium", "--namespace", _, "--ignore-not-found", "--wait", *_]:
            releases.pop(namespace, None)
        case _:
            return refuse(f"no such use of helm: {words}")
    keep("releases", releases)
    return 0


def make_volumes(name: str, namespace: str) -> None:
    """Two volumes, tagged as the storage driver tags them."""
    tags = f"{{Key=kubernetes.io/cluster/{name},Value=owned}}"
    made = [
        aws(
            *("ec2", "create-volume", "--size", "1", "--availability-zone", "us-east-1a"),
            *("--tag-specifications", f"ResourceType=volume,Tags=[{tags}]"),
        )["VolumeId"]
        for _ in range(2)
    ]
    keep("volumes", kept("volumes") | {namespace: made})


# --- skopeo ---


def skopeo(words: Sequence[str]) -> int:
    """Log in with the registry's password, and copy images that the archive really has."""
    match list(words):
        case ["login", "--authfile", file, "--username", "AWS", "--password-stdin", registry]:
            if sys.stdin.read().strip() != "123456789012-auth-token":
                return refuse("that isn't the registry's password")
            Path(file).write_text(registry, "utf-8")
        case ["copy", "--authfile", file, "--preserve-digests", source, target]:
            registry, _, place = target.removeprefix("docker://").partition("/")
            if not Path(file).is_file() or Path(file).read_text("utf-8") != registry:
                return refuse(f"not logged in at {registry}")
            repository, _, tag = place.partition(":")
            transport, path, reference = source.split(":", 2)
            if transport != "oci-archive":
                return refuse(f"no such transport: {transport}")
            put(Path(path), reference, repository, tag)
        case _:
            return refuse(f"no such use of skopeo: {words}")
    return 0


def put(path: Path, reference: str, repository: str, tag: str) -> None:
    """Put an image's manifest into the stand-in's registry."""
    with tarfile.open(path) as tar:
        index = json.loads(member(tar, "index.json"))
        name = "org.opencontainers.image.ref.name"
        digest = next(
            entry["digest"]
            for entry in index["manifests"]
            if entry["annotations"][name] == reference
        )
        manifest = member(tar, f"blobs/{digest.replace(':', '/')}").decode()
    if hashlib.sha256(manifest.encode()).hexdigest() != digest.partition(":")[2]:
        raise ValueError(f"{reference} isn't what its digest says")
    where = ("--repository-name", repository, "--image-tag", tag)
    aws("ecr", "put-image", *where, "--image-manifest", manifest)


def member(tar: tarfile.TarFile, name: str) -> bytes:
    """A file of an archive."""
    found = tar.extractfile(name)
    if found is None:
        raise ValueError(f"{name} is no file")
    return found.read()


TOOLS: Final = {"kubectl": kubectl, "helm": helm, "skopeo": skopeo}


def main(tool: str, words: Sequence[str]) -> int:
    """Record the call, and answer it."""
    with (FOLDER / "calls.jsonl").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps([tool, *words]) + "\n")
    return TOOLS[tool](words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
