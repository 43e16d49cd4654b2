"""A copy of the checkout, an AWS to ask, and doubles of the tools that need a cluster."""

from __future__ import annotations

import hashlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import cached
from emporium_aws.commands import Done, Runner
from emporium_aws.settings import ROLES
from emporium_aws.terraform import cli_configuration, mirror

ROOT = Path(__file__).resolve().parents[2]
START_S = 60
RUN_S = 600
COPIED = ("terraform", "charts/emporium", "services/emporium/client/items.py")


@dataclass(frozen=True)
class StandIn:
    """An AWS that knows this test run only."""

    address: str
    programs: Path

    @property
    def environment(self) -> dict[str, str]:
        """What points everything to it, and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_VAR_stand_in": "true",
        }

    def ask(self, *words: str) -> Any:
        """Ask it with AWS's own command line."""
        done = subprocess.run(
            [str(self.programs / "aws"), *words, "--output", "json"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    def tagged(self, name: str, key: str = "emporium:environment") -> list[str]:
        """Everything that carries the tag of an environment."""
        words = ("resourcegroupstaggingapi", "get-resources", "--tag-filters")
        found = self.ask(*words, f"Key={key},Values={name}")
        return [each["ResourceARN"] for each in found["ResourceTagMappingList"]]


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    """One for all tests; each uses names of its own."""
    programs = cached.programs(cached.STAND_IN)
    process = subprocess.Popen(
        [programs / "python", "-m", "stand_in"],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        readable, _, _ = select.select([process.stdout], [], [], START_S)
        address = process.stdout.readline().strip() if readable else ""
        try:
            assert address.startswith("http://127.0.0.1:"), "the stand-in doesn't start"
            yield StandIn(address, programs)
        finally:
            process.stdin.close()
            process.wait(START_S)


@pytest.fixture
def terraform_settings(tmp_path: Path) -> dict[str, str]:
    """Where Terraform finds its provider: the mirror where there is one, else the registry."""
    file = tmp_path / "terraform.rc"
    file.write_text(cli_configuration(mirror()), "utf-8")
    return {"TF_CLI_CONFIG_FILE": str(file)}


@dataclass
class Checkout:
    """A copy of what the make targets use, with a PATH of its own."""

    root: Path
    environment: dict[str, str]
    name: str = "emporium"
    extra: dict[str, str] = field(default_factory=dict)

    def start(self, verb: str, *words: str) -> subprocess.Popen[str]:
        """Start a target's program."""
        return subprocess.Popen(
            [sys.executable, "terraform/aws.py", verb, "--name", self.name, *words],
            cwd=self.root,
            env=self.environment | {"PYTHONUNBUFFERED": "1"} | self.extra,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, verb: str, *words: str, code: int = 0) -> str:
        """Run a target's program, which ends with `code`, and answer what it printed."""
        ended, output = self.end(verb, *words)
        assert ended == code, output[-6000:]
        return output

    def end(self, verb: str, *words: str) -> tuple[int, str]:
        """Run a target's program to its end: its exit code, and what it printed."""
        process = self.start(verb, *words)
        try:
            output, _ = process.communicate(timeout=RUN_S)
        finally:
            process.kill()
            process.wait()
        return process.returncode, output

    def calls(self) -> list[list[str]]:
        """What the doubles were called with."""
        file = self.root / "doubles" / "calls.jsonl"
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()]

    @property
    def folder(self) -> Path:
        """Where the targets keep things."""
        return self.root / "output" / "aws" / self.name


@pytest.fixture
def plain_checkout(tmp_path: Path) -> Checkout:
    """A copy, with no tool on its PATH at all."""
    return Checkout(copy(tmp_path), {"PATH": str(tmp_path / "no-tools")})


@pytest.fixture
def checkout(tmp_path: Path, stand_in: StandIn) -> Checkout:
    """A copy, with real Terraform and aws on the stand-in, and doubles of the other tools."""
    root = copy(tmp_path)
    bin_folder, doubles = tmp_path / "bin", root / "doubles"
    bin_folder.mkdir()
    doubles.mkdir()
    for tool in ("kubectl", "helm", "skopeo"):
        file = bin_folder / tool
        double = Path(__file__).with_name("double.py")
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{double}" {tool} "$@"\n', "utf-8")
        file.chmod(0o755)
    inherited = {
        name: os.environ[name] for name in ("HOME", "TF_PLUGIN_MIRROR") if name in os.environ
    }
    path = [str(bin_folder), str(stand_in.programs), os.environ["PATH"]]
    environment = {
        **inherited,
        **stand_in.environment,
        "PATH": os.pathsep.join(path),
        "DOUBLE_FOLDER": str(doubles),
        "DOUBLE_HELM": str(cached.tool("helm")),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    write_archive(root / "output" / "images" / "emporium.tar")
    return Checkout(root, environment)


def copy(folder: Path) -> Path:
    """What the targets use, in a folder of its own."""
    root = folder / "checkout"
    ignored = shutil.ignore_patterns("tests", ".terraform*", "__pycache__")
    for name in COPIED:
        source, target = ROOT / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return root


def write_archive(path: Path, architecture: str = "amd64", roles: tuple[str, ...] = ROLES) -> None:
    """An archive as `make images` leaves it, with images that hold nothing."""
    blobs: dict[str, bytes] = {}

    def blob(content: Mapping[str, Any]) -> dict[str, Any]:
        data = json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    entries = []
    for role in roles:
        config = blob({"architecture": architecture, "os": "linux", "role": role})
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = blob({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []})
        named = {"org.opencontainers.image.ref.name": f"localhost/emporium/{role}:0.1.0"}
        entries.append(manifest | {"mediaType": kind, "annotations": named})
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in blobs.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def said() -> list[str]:
    """What a runner of the test says."""
    return []


def runner(said: list[str], *, dry_run: bool = False) -> Runner:
    """A runner whose words are kept."""
    return Runner(dry_run, say=said.append)


class FakeAws(Runner):
    """A runner that answers from a table: the first key that is in the command."""

    answers: dict[str, Any]
    asked: list[str]

    def attempt(self, *command: Any, **_: Any) -> Done:
        """The answer."""
        words = " ".join(str(part) for part in command)
        self.asked = [*getattr(self, "asked", []), words]
        found = next((value for key, value in self.answers.items() if key in words), None)
        return Done(0, json.dumps(found), "")
