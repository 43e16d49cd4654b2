#!/usr/bin/env python3
"""Checks the Terraform configuration and the program around it, without an AWS account.

    terraform/check.py [NAME ...]     all checks, or those whose names begin so; 1 if one fails

Each is named with the time that it took. Nothing is skipped: a tool that isn't there is a failure.
What comes from PyPI or is built from sources is made once, in the user's cache folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

sys.dont_write_bytecode = True
HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "tests")]

import cached  # noqa: E402 - the folders come first
from emporium_aws.commands import Runner  # noqa: E402
from emporium_aws.errors import AwsError  # noqa: E402
from emporium_aws.terraform import cli_configuration, mirror  # noqa: E402
from emporium_aws.tools import need  # noqa: E402

ROOT: Final = HERE.parent
CHECK_S: Final = 900
CHAIN_S: Final = 1800
"""Two cores that have little else to do take six minutes."""
SHOWN_LINES: Final = 80
WORKERS: Final = 2
ON_THE_STAND_IN: Final = ("test_chain.py", "test_round.py")
DOCUMENTED: Final = ("BEGIN_TF_DOCS", "END_TF_DOCS")
LEFT_OUT: Final = ("__pycache__", ".terraform*", "*.tfstate*")


class CheckFailedError(Exception):
    """A check failed; the text shows where."""


def run(*command: str | Path, cwd: Path = ROOT, timeout_s: float = CHECK_S, **more: str) -> str:
    """What a program prints; `more` is added to its environment. Raises CheckFailedError."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise CheckFailedError(f"{command[0]} isn't installed") from error
    except subprocess.TimeoutExpired as error:
        raise CheckFailedError(f"not done after {timeout_s:.0f} s: {command[0]}") from error
    if done.returncode:
        raise CheckFailedError(done.stdout.strip())
    return done.stdout


@contextmanager
def configuration() -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy of the configuration, and the environment in which Terraform finds its provider."""
    with tempfile.TemporaryDirectory(prefix="emporium-terraform-") as name:
        folder = Path(name)
        copy = folder / "terraform"
        ignored = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(HERE, copy, symlinks=True, ignore=ignored)
        file = folder / "terraform.rc"
        file.write_text(cli_configuration(mirror()), "utf-8")
        environment = {
            "TF_CLI_CONFIG_FILE": str(file),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
        }
        yield copy, environment


# --- the checks, in their order ---


def check_format() -> None:
    """terraform fmt, of everything that Terraform reads."""
    run("terraform", "fmt", "-check", "-recursive", "-diff", "-no-color", HERE)


def check_validity() -> None:
    """terraform validate, of the environment and of the state's bucket."""
    with configuration() as (copy, environment):
        for folder in (copy, copy / "bootstrap"):
            words = ("terraform", f"-chdir={folder}")
            run(*words, "init", "-backend=false", "-input=false", "-no-color", **environment)
            run(*words, "validate", "-no-color", **environment)


def check_units() -> None:
    """terraform test: the native tests, against a mocked provider."""
    with configuration() as (copy, environment):
        words = ("terraform", f"-chdir={copy}")
        run(*words, "init", "-backend=false", "-input=false", "-no-color", **environment)
        print(_last_line(run(*words, "test", "-no-color", **environment)))


def check_documents() -> None:
    """terraform-docs: every README has the tables of its variables and outputs."""
    tool = cached.tool("terraform-docs")
    with configuration() as (copy, _):
        stale = []
        for readme in sorted(copy.rglob("README.md")):
            before = readme.read_text("utf-8")
            if DOCUMENTED[0] not in before:
                continue
            settings = HERE / ".terraform-docs.yml"
            run(tool, "--config", settings, readme.parent)
            if readme.read_text("utf-8") != before:
                stale.append(str(Path("terraform") / readme.relative_to(copy)))
        undocumented = [
            str(Path("terraform") / folder.relative_to(copy))
            for folder in (copy, copy / "bootstrap", *(copy / "modules").iterdir())
            if not (folder / "README.md").is_file()
            or DOCUMENTED[0] not in (folder / "README.md").read_text("utf-8")
        ]
    if stale or undocumented:
        again = f"{tool} --config terraform/.terraform-docs.yml FOLDER"
        raise CheckFailedError(f"stale: {stale}; without tables: {undocumented}; {again}")


def check_policies() -> None:
    """checkov; exceptions stand beside what they are about, with their reasons."""
    tool = cached.programs(cached.CHECKOV) / "checkov"
    run(
        tool, "--config-file", "terraform/checkov.yaml", LOG_LEVEL="ERROR", ANSI_COLORS_DISABLED="1"
    )


def check_types() -> None:
    """mypy, strict, of the program behind the aws-* targets."""
    words = ("--strict", "--python-version", "3.11", "--cache-dir", ROOT / ".mypy_cache")
    run(sys.executable, "-m", "mypy", "--config-file=", *words, "-p", "emporium_aws", cwd=HERE)


def check_program() -> None:
    """The configuration's own rules; the program: refusals, dry runs, costs, interruptions."""
    tests = {file.name for file in (HERE / "tests").glob("test_*.py")}
    _pytest(*sorted(tests - set(ON_THE_STAND_IN)))


def check_chain() -> None:
    """On the AWS stand-in: aws-up ... aws-down; there and back with everything switched on; what
    is interrupted; what is left."""
    _pytest(*ON_THE_STAND_IN, "-n", str(WORKERS))


def _pytest(*words: str) -> None:
    """Tests of this folder."""
    tests = HERE / "tests"
    named = [tests / word if word.endswith(".py") else word for word in words]
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=8")
    found = run(*command, "-c", tests / "pytest.ini", *named, timeout_s=CHAIN_S)
    print("\n".join(line for line in found.splitlines() if " call " in line))
    print(_last_line(found))


def _last_line(text: str) -> str:
    return f"  {text.strip().splitlines()[-1]}"


CHECKS: Final[dict[str, Callable[[], None]]] = {
    "format": check_format,
    "validity": check_validity,
    "units": check_units,
    "documents": check_documents,
    "policies": check_policies,
    "types": check_types,
    "program": check_program,
    "chain": check_chain,
}


def main(names: Sequence[str]) -> int:
    """The command line."""
    try:
        need(Runner(say=lambda _: None), "terraform")
    except AwsError as error:
        print(f"terraform-check: {error}\n  {error.remedy}")
        return 1
    unknown = [name for name in names if not any(check.startswith(name) for check in CHECKS)]
    if unknown:
        print(
            f"terraform-check: there is no check {', '.join(unknown)};"
            f" there are: {' '.join(CHECKS)}"
        )
        return 1
    failed = []
    begun = time.monotonic()
    for name, action in CHECKS.items():
        if names and not name.startswith(tuple(names)):
            continue
        print(f"== {name}: {' '.join((action.__doc__ or '').split())}", flush=True)
        started = time.monotonic()
        try:
            action()
        except (CheckFailedError, cached.NotBuiltError, AwsError) as failure:
            print("\n".join(str(failure).splitlines()[-SHOWN_LINES:]))
            failed.append(name)
        verdict = "FAILED" if name in failed else "good"
        print(f"   {verdict}, {time.monotonic() - started:.0f} s", flush=True)
    total = f"{time.monotonic() - begun:.0f} s"
    verdict = f"failed: {', '.join(failed)}" if failed else "all good"
    print(f"terraform-check: {verdict}, {total}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
