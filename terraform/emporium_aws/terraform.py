"""Terraform, with its data, its plans and its provider's mirror kept out of the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emporium_aws.commands import Runner
from emporium_aws.errors import AwsError, CommandError
from emporium_aws.settings import Settings

MIRROR: Final = "TF_PLUGIN_MIRROR"
MIRROR_NAME: Final = "tf-plugins"
LOCK: Final = re.compile(r"Error acquiring the state lock")
LOCK_ID: Final = re.compile(r"\bID:\s+([0-9a-f-]{36})")
LOCK_WHO: Final = re.compile(r"\bWho:\s+(\S+)")
LOCK_WHEN: Final = re.compile(r"\bCreated:\s+(\S+)")
EXISTS: Final = re.compile(
    r"Already(Exists|Associated|OwnedByYou)|already exists|InvalidSubnet\.Conflict"
)
REMEDY_EXISTS: Final = (
    "what is there and in no state may be of another region's environment of this name (look at its"
    " tags): take another NAME;\nor an interrupted run has left it: delete it by hand, and the same"
    " again, or begin anew with `make aws-down`, which deletes it, and the store's data"
)
LOCK_WAIT: Final = "60s"


def mirror(environment: Mapping[str, str] = os.environ, top: Path = Path("/")) -> Path | None:
    """A folder that has the provider: the one of TF_PLUGIN_MIRROR, or a folder `tf-plugins` at
    most two levels down; None: the registry has it. Raises AwsError for a setting that is wrong."""
    if given := environment.get(MIRROR, ""):
        if not Path(given).is_dir():
            raise AwsError(f"{MIRROR}={given} is no folder", "a filesystem mirror, or unset it")
        return Path(given)
    return next(_mirrors(top), None)


def _mirrors(top: Path) -> Iterator[Path]:
    for pattern in (MIRROR_NAME, f"*/{MIRROR_NAME}"):
        for found in sorted(top.glob(pattern)):
            if found.is_dir() and _is_trusted(found):
                yield found


def _is_trusted(folder: Path) -> bool:
    """Whether only root and we can put a provider there: it runs with all our credentials."""
    stats = [place.stat() for place in (folder, folder.parent)]
    return all(s.st_uid in {0, os.getuid()} and not s.st_mode & 0o022 for s in stats)


def configure(
    runner: Runner,
    folder: Path,
    environment: Mapping[str, str] = os.environ,
    top: Path = Path("/"),
) -> None:
    """Set Terraform's environment; where there is a mirror, write the file that names it.

    Without a mirror a file of the user's own is used as it is; only one that is named and isn't
    there is passed over.
    """
    for name in ("CHECKPOINT_DISABLE", "TF_IN_AUTOMATION"):
        runner.export(name, "1")
    runner.export("TF_INPUT", "0")
    named = environment.get("TF_CLI_CONFIG_FILE", "")
    found = mirror(environment, top)
    if found is None and (not named or Path(named).is_file()):
        return
    file = folder / "terraform.rc"
    runner.export("TF_CLI_CONFIG_FILE", str(file))
    if not runner.dry_run:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(cli_configuration(found), "utf-8")


def cli_configuration(found: Path | None) -> str:
    """The text of Terraform's own settings."""
    if found is None:
        return "disable_checkpoint = true\n"
    path = json.dumps(str(found))
    return (
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f"    path    = {path}\n"
        '    include = ["hashicorp/*"]\n'
        "  }\n"
        "}\n"
    )


@dataclass(frozen=True, slots=True)
class Terraform:
    """Terraform on one configuration. `data` keeps what `init` makes."""

    runner: Runner
    folder: Path
    data: Path
    arguments: tuple[str, ...] = ()
    """`-var` and `-var-file`, for every command that reads variables."""

    def _command(self, *words: str | Path) -> tuple[str | Path, ...]:
        self.runner.export("TF_DATA_DIR", str(self.data))
        return ("terraform", f"-chdir={self.folder}", *words)

    def init(self, *backend: str) -> None:
        """Fetch modules and provider, and connect to the state. Raises CommandError."""
        self.runner.work(
            *self._command("init", "-no-color", "-input=false", "-reconfigure", *backend)
        )

    def plan(self, plan: Path, *words: str, quiet: bool = False) -> Any:
        """Write a plan; it is the answer as JSON. Raises CommandError."""
        self._locked(
            *self._command("plan", "-no-color", "-input=false", f"-lock-timeout={LOCK_WAIT}"),
            *(*self.arguments, *words, f"-out={plan}"),
            quiet=quiet,
        )
        return json.loads(self.runner.ask(*self._command("show", "-json", plan), sample="{}"))

    def apply(self, plan: Path | None = None) -> None:
        """Do what a plan says; without one, whatever is to be done. Raises CommandError."""
        what = [str(plan)] if plan else ["-auto-approve", *self.arguments]
        words = ("apply", "-no-color", "-input=false", f"-lock-timeout={LOCK_WAIT}", *what)
        try:
            self._locked(*self._command(*words))
        except CommandError as error:
            if error.remedy or not EXISTS.search(error.output):
                raise
            raise CommandError(str(error), error.output, REMEDY_EXISTS) from error

    def destroy(self) -> None:
        """Destroy all that is in the state. Raises CommandError."""
        self._locked(
            *self._command("destroy", "-no-color", "-input=false", "-auto-approve"),
            *(f"-lock-timeout={LOCK_WAIT}", *self.arguments),
        )

    def known(self) -> frozenset[str]:
        """The identifiers of all that the state holds, when no other run is at work: that would
        hold the state's lock. Raises CommandError."""
        file = self.data / "known"
        try:
            plan = self.plan(file, "-destroy", "-refresh=false", quiet=True)
        finally:
            file.unlink(missing_ok=True)  # it has all that the state has
        prior = plan.get("prior_state", {}).get("values", {}).get("root_module", {})
        found = frozenset(identifiers(prior))
        # Whoever doesn't know them would take all that there is for a stray.
        if not found and (held := self.resources()):
            raise CommandError(f"{len(held)} resources of the state without an identifier", "")
        return found

    def outputs(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs by name; empty when nothing was applied yet. Raises CommandError."""
        shown = {name: {"value": value} for name, value in sample.items()}
        words = self._command("output", "-json")
        found = json.loads(self.runner.ask(*words, sample=json.dumps(shown)) or "{}")
        return {name: output["value"] for name, output in found.items()}

    def resources(self) -> list[str]:
        """What the state holds. Raises CommandError."""
        done = self.runner.attempt(*self._command("state", "list"))
        if done.code and "No state file was found" not in done.errors:
            raise CommandError(f"terraform state list\n{done.errors.strip()}", done.errors)
        return [line for line in done.output.split() if not line.startswith("data.")]

    def unlock(self, identifier: str) -> None:
        """Break the lock of a run that is dead. Raises CommandError."""
        self.runner.work(*self._command("force-unlock", "-no-color", "-force", identifier))

    def _locked(self, *command: str | Path, quiet: bool = False) -> None:
        """Run what takes the state's lock. Raises CommandError that says how to break it."""
        try:
            self.runner.work(*command, quiet=quiet)
        except CommandError as error:
            if not LOCK.search(error.output):
                raise
            whole = LOCK_ID.search(error.output)
            who, since = LOCK_WHO.search(error.output), LOCK_WHEN.search(error.output)
            raise CommandError(
                f"the state is locked, by {who[1] if who else 'a run'}"
                f" since {since[1] if since else 'some time'}",
                error.output,
                "if that run still works, wait for its end; if it was killed:\n"
                f"the same target again with UNLOCK={whole[1] if whole else 'ID'}",
            ) from error


def identifiers(module: Mapping[str, Any]) -> Iterator[str]:
    """The identifiers of a module's resources in a state, and of the modules below."""
    for resource in module.get("resources", []):
        if resource["mode"] == "managed":
            yield str(resource["values"].get("id"))
    for child in module.get("child_modules", []):
        yield from identifiers(child)


def stage(runner: Runner, source: Path, target: Path) -> Path:
    """Copy a configuration without its backend, so that its state is a file beside the copy, and
    stays there whatever happens to the checkout."""
    runner.say(f"$ cp -r {runner.short(source)} {runner.short(target)}  # without backend.tf")
    if runner.dry_run:
        return target
    for old in (*target.glob("*.tf"), *target.glob("*.tfvars"), *target.glob("modules/**/*.tf")):
        old.unlink()  # a file that the source has no more would be read along
    for file in (*source.glob("*.tf"), *source.glob("*.tfvars"), *source.glob("modules/**/*.tf")):
        if file.name == "backend.tf":
            continue
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return target


def variables(settings: Settings, *names: str) -> tuple[str, ...]:
    """The arguments that tell Terraform the settings; `names`: further ones that are true."""
    given = [f"-var-file={path.resolve()}" for path in settings.variables]
    # Last, so that no file makes another environment of it than the one that is looked after.
    given += [f"-var=name={settings.name}", f"-var=region={settings.region}"]
    given += [f"-var={name}=true" for name in names]
    return tuple(given)
