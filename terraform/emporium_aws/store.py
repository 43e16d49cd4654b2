"""The store in the cluster: kubectl's and Helm's settings, the chart's values, the release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emporium_aws.cloud import Cloud
from emporium_aws.commands import Runner
from emporium_aws.errors import AwsError
from emporium_aws.settings import CHART, ROLES, TERRAFORM, Settings

RELEASE: Final = "emporium"
NAMESPACE: Final = "emporium"
VALUES: Final = TERRAFORM / "eks-values.yaml"
STORAGE_CLASS: Final = TERRAFORM / "kubernetes" / "storageclass.yaml"
HELM_TIMEOUT: Final = "15m"
REACH_S: Final = 30
DIGEST: Final = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Outputs:
    """What Terraform says of an environment."""

    cluster_name: str
    registry: str
    repository: str
    storage_class: str
    architecture: str

    @staticmethod
    def sample(settings: Settings, account: str) -> dict[str, Any]:
        """What a dry run shows."""
        return {
            "cluster_name": settings.name,
            "registry": f"{account}.dkr.ecr.{settings.region}.amazonaws.com",
            "repository": settings.name,
            "storage_class": "gp3",
            "architecture": "amd64",
        }

    @staticmethod
    def read(found: Mapping[str, Any]) -> Outputs:
        """From Terraform's outputs. Raises AwsError when something isn't there yet."""
        names = Outputs.__dataclass_fields__
        if missing := [name for name in names if not found.get(name)]:
            raise AwsError(
                f"the environment isn't complete: no {', '.join(missing)} yet", "make aws-up"
            )
        return Outputs(**{name: str(found[name]) for name in names})


@dataclass(frozen=True, slots=True)
class Store:
    """A release of the chart in the environment's cluster."""

    runner: Runner
    settings: Settings
    namespace: str = NAMESPACE

    def reach(self, cluster_name: str) -> None:
        """Make kubectl and Helm speak to the cluster. Raises AwsError when it doesn't answer."""
        connect(self.runner, self.settings, cluster_name)
        words = ("get", "--raw=/readyz", f"--request-timeout={REACH_S}s")
        done = self.runner.attempt("kubectl", *words)
        if done.code:
            raise AwsError(
                f"the cluster doesn't answer: {done.errors.strip()[-300:]}",
                "name your address in api_allowed_cidrs (as a /32) and `make aws-up` again, or run"
                " this\nfrom inside the VPC; if admin_principal_arns is set, it has to name you",
            )

    def prepare(self) -> None:
        """Make the StorageClass and the namespace, which refuses pods that aren't restricted."""
        self.runner.work("kubectl", "apply", "-f", STORAGE_CLASS)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.namespace, "labels": labels},
        }
        file = self._write("namespace.json", namespace)
        self.runner.work("kubectl", "apply", "-f", file)

    def install(self, values: Mapping[str, Any], *further: Path, wait: bool = True) -> None:
        """Install or upgrade the release, the later values winning. Raises CommandError."""
        file = self._write("values.json", values)
        files = [VALUES, file, *further, *self.settings.values]
        self.runner.work(
            *("helm", "upgrade", "--install", RELEASE, CHART, "--namespace", self.namespace),
            *(part for path in files for part in ("--values", path)),
            *(("--wait", "--timeout", HELM_TIMEOUT) if wait else ()),
        )

    def test(self) -> None:
        """The chart's smoke test. Raises CommandError."""
        words = ("test", RELEASE, "--namespace", self.namespace, "--logs", "--timeout", "5m")
        self.runner.work("helm", *words)

    def uninstall(self) -> None:
        """Remove the release, if it is there; its volumes stay. Raises CommandError."""
        words = ("uninstall", RELEASE, "--namespace", self.namespace, "--ignore-not-found")
        self.runner.work("helm", *words, "--wait", "--timeout", HELM_TIMEOUT)

    def kubectl(self, *words: str, sample: Any = None) -> Any:
        """What kubectl answers about the namespace, as plain JSON. Raises CommandError."""
        command = ("kubectl", "--namespace", self.namespace, *words, "--output", "json")
        return json.loads(self.runner.ask(*command, sample=json.dumps(sample)) or "null")

    def write_values(self, name: str, values: Mapping[str, Any]) -> Path:
        """Write further values; JSON is YAML."""
        return self._write(name, values)

    def _write(self, name: str, content: Mapping[str, Any]) -> Path:
        file = self.settings.folder / self.namespace / name
        text = json.dumps(content, indent=1, sort_keys=True)
        if self.runner.dry_run:
            self.runner.say(f"# {self.runner.short(file)}: {json.dumps(content, sort_keys=True)}")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n", "utf-8")
        return file


def connect(runner: Runner, settings: Settings, cluster_name: str) -> None:
    """Write the environment's own kubeconfig, and let all programs use it. Raises CommandError."""
    runner.export("KUBECONFIG", str(settings.kubeconfig))
    words = ("eks", "update-kubeconfig", "--name", cluster_name)
    runner.ask("aws", *words, "--kubeconfig", settings.kubeconfig)


def chart_values(outputs: Outputs, digests: Mapping[str, str]) -> dict[str, Any]:
    """What the chart has to be told of this environment: images by digest, volumes by class."""
    persistence = {"persistence": {"storageClass": outputs.storage_class}}
    return {
        "image": {
            "registry": outputs.registry,
            "repository": outputs.repository,
            "digests": dict(digests),
        },
        "catalog": persistence,
        "order": persistence,
    }


def pushed(
    runner: Runner, repository: str, tag: str, roles: Sequence[str] = ROLES
) -> dict[str, str]:
    """The digest of each role's image in the registry; roles that aren't there are left out.
    Raises CommandError."""
    found = {}
    for role in roles:
        words = ("ecr", "describe-images", "--repository-name", f"{repository}/{role}")
        sample = {"imageDetails": [{"imageDigest": DIGEST}]}
        images = Cloud(runner).find(*words, "--image-ids", f"imageTag={tag}", sample=sample)
        if images and images["imageDetails"]:
            found[role] = images["imageDetails"][0]["imageDigest"]
    return found


def digests(runner: Runner, repository: str, tag: str) -> dict[str, str]:
    """The digest of every role's image. Raises AwsError when one isn't in the registry."""
    found = pushed(runner, repository, tag)
    if missing := [role for role in ROLES if role not in found]:
        raise AwsError(f"not in the registry with tag {tag}: {', '.join(missing)}", "make aws-push")
    return found
