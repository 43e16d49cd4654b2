"""The configuration keeps the house's rules; what it does is tested by `terraform test`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

TERRAFORM = Path(__file__).resolve().parents[1]
MODULES = sorted(path for path in (TERRAFORM / "modules").iterdir() if path.is_dir())
CONFIGURATIONS = [TERRAFORM, TERRAFORM / "bootstrap", *MODULES]
SIZES = sorted((TERRAFORM / "sizes").glob("*.tfvars"))
PLAN_S = 60
FILES = {"README.md", "main.tf", "variables.tf", "outputs.tf", "versions.tf"}


def blocks(path: Path, kind: str) -> dict[str, str]:
    """The blocks of a kind in a formatted file, by name."""
    text = path.read_text("utf-8")
    return dict(re.findall(rf'(?ms)^{kind} "([^"]+)" \{{\n(.*?)^\}}', text))


def refused() -> set[tuple[str, str]]:
    """(configuration, variable) of every run that expects a variable to refuse its value."""
    runs = [
        run
        for file in (TERRAFORM / "tests").glob("*.tftest.hcl")
        for run in blocks(file, "run").values()
    ]
    found = set()
    for run in runs:
        module = re.search(r'source = "\./tests/variables/([a-z-]+)"', run)
        for variable in re.findall(r"expect_failures = \[var\.([a-z_]+)\]", run):
            assert module is not None, run
            found.add((module[1], variable))
    return found


def named(folder: Path) -> str:
    """What tests/variables calls a configuration."""
    return "environment" if folder == TERRAFORM else folder.name


@pytest.mark.parametrize("folder", CONFIGURATIONS, ids=named)
def test_a_configuration_has_its_five_files(folder: Path) -> None:
    """README, main, variables, outputs, versions."""
    assert {file.name for file in folder.iterdir()} >= FILES
    if folder in MODULES:
        assert {file.name for file in folder.iterdir()} == FILES


@pytest.mark.parametrize("folder", CONFIGURATIONS, ids=named)
def test_variables_and_outputs_explain_themselves(folder: Path) -> None:
    """Each variable has a description and a type and takes no null; each output a description."""
    variables = blocks(folder / "variables.tf", "variable")
    assert [name for name, text in variables.items() if "description = " not in text] == []
    for wanted in (r" type +=", r" nullable += false"):
        assert [name for name, text in variables.items() if not re.search(wanted, text)] == []
    outputs = blocks(folder / "outputs.tf", "output")
    assert [name for name, text in outputs.items() if "description = " not in text] == []


@pytest.mark.parametrize("folder", CONFIGURATIONS, ids=named)
def test_every_variable_has_a_value_that_it_refuses(folder: Path) -> None:
    """Each variable but a bool has a validation, and a native test that it works."""
    link = TERRAFORM / "tests" / "variables" / named(folder) / "variables.tf"
    assert link.resolve() == folder / "variables.tf"
    variables = {
        name: text
        for name, text in blocks(folder / "variables.tf", "variable").items()
        if not re.search(r" type +=  *bool", text)
    }
    assert [name for name, text in variables.items() if "validation {" not in text] == []
    tested = {variable for module, variable in refused() if module == named(folder)}
    assert tested == set(variables)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.stem)
def test_a_size_sets_variables_to_what_they_take(size: Path, tmp_path: Path) -> None:
    """A plan of the variables alone, which needs no provider, has nothing to say against it."""
    shutil.copy(TERRAFORM / "variables.tf", tmp_path)
    done = subprocess.run(
        ["terraform", f"-chdir={tmp_path}", "plan", "-no-color", f"-var-file={size}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PLAN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A variable that isn't there is only warned of.
    assert "undeclared" not in done.stdout + done.stderr
