"""Whether everything is there that a target needs, before anything is begun."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emporium_aws.commands import Runner
from emporium_aws.errors import AwsError, CommandError

TERRAFORM: Final = (1, 11)
"""The first that locks an S3 state by itself."""
FROM: Final = {
    "terraform": "https://developer.hashicorp.com/terraform/install (1.11 or newer)",
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "helm": "https://helm.sh/docs/intro/install/",
    "skopeo": "https://github.com/containers/skopeo/blob/main/install.md",
    "buildah": "https://github.com/containers/buildah/blob/main/install.md",
    "docker": "https://docs.docker.com/engine/install/",
}
PUSHERS: Final = ("skopeo", "docker", "buildah")
"""What can put an archive's images into a registry, the best first."""
SAMPLE_ACCOUNT: Final = "123456789012"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom AWS takes us for."""

    account: str
    arn: str


def need(runner: Runner, *names: str) -> None:
    """Raises AwsError that names all tools that are missing or too old. A dry run needs none."""
    if runner.dry_run:
        return
    if missing := [name for name in names if shutil.which(name) is None]:
        raise AwsError(
            f"not on PATH: {', '.join(missing)}",
            "\n".join(f"{name}: {FROM[name]}" for name in missing),
        )
    if "terraform" in names:
        _check_terraform(runner)


def _check_terraform(runner: Runner) -> None:
    found = json.loads(runner.ask("terraform", "version", "-json"))["terraform_version"]
    version = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if version < TERRAFORM:
        raise AwsError(f"terraform is {found}, too old", f"terraform: {FROM['terraform']}")


def pusher(runner: Runner) -> str:
    """The tool that pushes. Raises AwsError when there is none that works."""
    if runner.dry_run:
        return PUSHERS[0]
    for name in PUSHERS:
        if shutil.which(name) is None:
            continue
        if name != "docker" or runner.attempt("docker", "info").code == 0:
            return name
    raise AwsError(
        f"none of {', '.join(PUSHERS)} is on PATH and works",
        "\n".join(f"{name}: {FROM[name]}" for name in PUSHERS)
        + "\ndocker counts when its daemon answers `docker info`",
    )


def caller(runner: Runner) -> Caller:
    """Who we are. Raises AwsError that says how to log in."""
    sample = json.dumps({"Account": SAMPLE_ACCOUNT, "Arn": "arn:aws:iam::123456789012:user/you"})
    command: Sequence[str] = ("aws", "sts", "get-caller-identity", "--output", "json")
    try:
        found = json.loads(runner.ask(*command, sample=sample))
    except CommandError as error:
        last = error.output.strip().splitlines()[-1:] or ["nothing"]
        raise AwsError(
            f"AWS doesn't know us: {last[0]}",
            "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY;\n"
            "or log in with `aws sso login` or `aws configure`;\n"
            "`aws sts get-caller-identity` has to work",
        ) from error
    return Caller(found["Account"], found["Arn"])
