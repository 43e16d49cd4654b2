"""What was asked for, and where its things are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emporium_aws.errors import AwsError

ROOT: Final = Path(__file__).resolve().parents[2]
TERRAFORM: Final = ROOT / "terraform"
CHART: Final = ROOT / "charts" / "emporium"
ROLES: Final = ("frontend", "cache", "catalog", "order", "client")
TAG: Final = "emporium:environment"
"""The key of the tag that everything of an environment carries; its value is the name."""
REGION_TAG: Final = "emporium:region"
"""The key of the one that says where the environment is, for what is in no region."""

NAME: Final = re.compile(r"[a-z][a-z0-9-]{1,18}[a-z0-9]")
REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+){1,2}-[1-9]")
DEFAULT_REGION: Final = "us-east-1"
SPREADS: Final = ("", "none", "soft", "nodes")
GIVEN_TWICE: Final = re.compile(r"(?m)^\s*(name|region)\s*=")


@dataclass(frozen=True, slots=True)
class Settings:
    """One environment, and how to treat it."""

    name: str = "emporium"
    region: str = DEFAULT_REGION
    dry_run: bool = False
    yes: bool = False
    variables: tuple[Path, ...] = ()
    values: tuple[Path, ...] = ()
    tag: str = ""
    spread: str = ""
    arguments: tuple[str, ...] = ()
    unlock: str = ""
    keep_state: bool = False
    patience_s: int = 600
    """How long AWS may go on listing what is on its way out."""
    stand_in: bool = False
    root: Path = ROOT

    @property
    def folder(self) -> Path:
        """Where everything about this environment is kept that isn't in AWS."""
        return self.root / "output" / "aws" / self.name

    @property
    def place(self) -> Path:
        """Where aws-up notes the environment's region and account."""
        return self.folder / "place.json"

    @property
    def kubeconfig(self) -> Path:
        """The environment's own; the user's is left alone."""
        return self.folder / "kubeconfig"

    @property
    def archive(self) -> Path:
        """The images, as `make images` leaves them."""
        return self.root / "output" / "images" / "emporium.tar"

    def shown(self, path: Path) -> str:
        """A path as one would type it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def region_of(given: str, environment: Mapping[str, str]) -> str:
    """The region that was given, or that AWS's own variables name."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        given = given or environment.get(name, "")
    return given or DEFAULT_REGION


def check(settings: Settings) -> Settings:
    """The same settings. Raises AwsError for what can't be meant."""
    if not NAME.fullmatch(settings.name) or "--" in settings.name:
        raise AwsError(
            f"NAME={settings.name!r} can't name an environment",
            "3 to 20 lower-case letters, digits and single hyphens, a letter first, no hyphen last",
        )
    if not REGION.fullmatch(settings.region):
        raise AwsError(
            f"REGION={settings.region!r} is no AWS region", "like us-east-1 or eu-central-1"
        )
    if settings.spread not in SPREADS:
        raise AwsError(f"SPREAD={settings.spread!r}", "one of: none, soft, nodes")
    for path in (*settings.variables, *settings.values):
        if not path.is_file():
            raise AwsError(f"there is no file {path}")
    tfvars = settings.root / "terraform" / "terraform.tfvars"
    for path in (*settings.variables, *([tfvars] if tfvars.is_file() else [])):
        if found := GIVEN_TWICE.search(path.read_text("utf-8")):
            raise AwsError(
                f"{settings.shown(path)} sets `{found[1]}`, which the make targets give themselves",
                f"take the line out, and say {found[1].upper()}=... to every target",
            )
    return settings


def is_stand_in(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the AWS that is meant is the tests' own."""
    return environment.get("TF_VAR_stand_in", "").lower() in {"1", "true"}
