"""The bucket that keeps the state: made before everything else, removed after everything else.

`terraform/bootstrap` makes it. Its own state is a file in the environment's folder, and a copy of
that file is in the bucket, so that `make clean` or another machine can't lose it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emporium_aws.cloud import Cloud, is_gone
from emporium_aws.commands import Runner
from emporium_aws.errors import AwsError
from emporium_aws.settings import Settings
from emporium_aws.terraform import Terraform, stage, variables

COPY: Final = "bootstrap/terraform.tfstate"
TAG: Final = "emporium:state-of"
BATCH: Final = 500
"""Versions that are deleted by one request; S3 takes 1000."""
FOR_A_STAND_IN: Final = (
    "skip_credentials_validation = true\n"
    "skip_metadata_api_check     = true\n"
    "skip_region_validation      = true\n"
    "use_path_style              = true\n"
)


@dataclass(frozen=True, slots=True)
class State:
    """The bucket of one environment."""

    runner: Runner
    settings: Settings
    account: str

    @property
    def bucket(self) -> str:
        """Its name, as `terraform/bootstrap` makes it."""
        return f"{self.settings.name}-state-{self.account}-{self.settings.region}"

    @property
    def _folder(self) -> Path:
        return self.settings.folder / "bootstrap"

    @property
    def _file(self) -> Path:
        return self._folder / "terraform.tfstate"

    @property
    def _backend(self) -> Path:
        return self.settings.folder / "backend.tfbackend"

    def exists(self, *, sample: bool) -> bool:
        """Whether the bucket is there. Raises AwsError when it is somebody else's."""
        words = ("aws", "s3api", "head-bucket", "--bucket", self.bucket)
        done = self.runner.attempt(*words, code=0 if sample else 1)
        if done.code == 0:
            return True
        if self.runner.dry_run or is_gone(done):
            return False
        raise AwsError(
            f"can't tell whether there is a bucket {self.bucket}: {done.errors.strip()}",
            "403: it is somebody else's, or we may not look; choose another NAME, or ask for"
            " s3:ListBucket",
        )

    def make(self) -> None:
        """Make the bucket, or finish what was begun. Raises CommandError."""
        self.runner.step("The state's bucket")
        self._fetch()
        terraform = self._terraform()
        terraform.init()
        terraform.apply()
        self._keep()

    def ready(self, *, sample: bool) -> bool:
        """Whether there is a bucket with all that protects it, and so perhaps a state in it."""
        if self.runner.dry_run:
            return self.exists(sample=sample)
        return self._configuration() != "" and self.exists(sample=sample)

    def connect(self, terraform: Terraform) -> None:
        """Connect the environment's Terraform with its state. Raises CommandError."""
        if not self.runner.dry_run:
            self._backend.write_text(self._configuration(), "utf-8")
        terraform.init(f"-backend-config={self._backend}")

    def _configuration(self) -> str:
        """What the backend has to be told, as the bootstrap's outputs say; "" before it is done."""
        self._fetch()
        output = self._read().get("outputs", {}).get("backend", {})
        text = str(output.get("value") or "")
        return text + (FOR_A_STAND_IN if text and self.settings.stand_in else "")

    def _read(self) -> dict[str, Any]:
        """The bootstrap's state."""
        text = self._file.read_text("utf-8") if self._file.is_file() else ""
        found: dict[str, Any] = json.loads(text or "{}")
        return found

    def begun(self) -> bool:
        """Whether this machine has begun to make it, and not seen it gone."""
        return self._folder.is_dir()

    def forget(self) -> None:
        """Keep nothing of a bucket that is gone."""
        if not self.runner.dry_run:
            shutil.rmtree(self._folder)

    def remove(self, *, bucket: bool) -> None:
        """Empty the bucket, and destroy it with its key. Raises CommandError."""
        self.runner.step("Remove the state's bucket")
        if bucket:
            self._fetch()
        terraform = self._terraform()
        terraform.init()
        if bucket:
            self._empty()
        terraform.destroy()
        if bucket and self.exists(sample=False):  # an interrupted run's, that is in no state
            Cloud(self.runner).remove("s3api", "delete-bucket", "--bucket", self.bucket)

    def _terraform(self) -> Terraform:
        folder = stage(self.runner, self.settings.root / "terraform" / "bootstrap", self._folder)
        given = [f"-var=name={self.settings.name}", f"-var=region={self.settings.region}"]
        given += ["-var=stand_in=true"] if self.settings.stand_in else []
        return Terraform(self.runner, folder, self._folder / ".terraform", tuple(given))

    def _keep(self) -> None:
        """Put a copy of the bootstrap's state into the bucket."""
        self.runner.ask("aws", "s3", "cp", self._file, f"s3://{self.bucket}/{COPY}")

    def _fetch(self) -> None:
        """Get the bootstrap's state from the bucket, where this machine has none."""
        if self._file.is_file():
            return
        if self.exists(sample=False):
            self._folder.mkdir(parents=True, exist_ok=True)
            done = self.runner.attempt("aws", "s3", "cp", f"s3://{self.bucket}/{COPY}", self._file)
            if done.code:
                raise AwsError(
                    f"there is a bucket {self.bucket}, but no trace of how it was made",
                    f"if {self.settings.folder} has moved, bring it back; else look into the bucket"
                    " and delete it yourself",
                )

    def _empty(self) -> None:
        """Delete every version of every object. Raises CommandError."""
        cloud = Cloud(self.runner)
        words = ("s3api", "list-object-versions", "--bucket", self.bucket)
        listed = cloud.find(*words, sample=None) or {}
        versions = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in (*(listed.get("Versions") or []), *(listed.get("DeleteMarkers") or []))
        ]
        if self.runner.dry_run:
            versions = [{"Key": "KEY", "VersionId": "VERSION"}]
        for first in range(0, len(versions), BATCH):
            batch = json.dumps({"Objects": versions[first : first + BATCH], "Quiet": True})
            deletion = ("s3api", "delete-objects", "--bucket", self.bucket, "--delete", batch)
            self.runner.ask("aws", *deletion)


def environment(runner: Runner, settings: Settings, folder: Path | None = None) -> Terraform:
    """The environment's Terraform, or, in `folder`, a copy of it without its state."""
    given = variables(settings, *(("stand_in",) if settings.stand_in else ()))
    where = folder or settings.root / "terraform"
    return Terraform(runner, where, (folder or settings.folder) / ".terraform", given)
