"""The images hold what a role imports, and no room of the package that it doesn't need; their
Dockerfiles give the same image for the same commit, and another for another."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from emporium_images import next_version, source
from emporium_images.errors import BuildError
from emporium_images.source import ROLES, Source

from emporium.replication import wire
from tests import repository
from tests.repository import ROOT

SAME: Final = re.compile(r"(?m)^(ARG|FROM|RUN|ENV|USER|COPY --from|COPY images)\b(?:.*\\\n)*.*")


def dockerfile(role: str) -> str:
    """The text of a role's Dockerfile."""
    return (ROOT / "images" / role / "Dockerfile").read_text("utf-8")


def copied(role: str) -> set[str]:
    """The modules that an image holds."""
    places = re.findall(r"services/(emporium/\S*?)(?:/)?(?=\s)", dockerfile(role))
    sources = {place for place in places if f"/services/{place}" not in place}
    found = set()
    for module in repository.package_modules():
        path = module.path.relative_to(repository.SERVICES).as_posix()
        if any(path == source or path.startswith(f"{source}/") for source in sources):
            found.add(module.name)
    return found


def needed(role: str) -> set[str]:
    """The modules that a role's programs import, directly or not, with the packages above."""
    modules = {module.name: module for module in repository.package_modules()}
    if role == "client":
        open_ones = [name for name in modules if name.startswith("emporium.client")]
    else:
        open_ones = ["emporium.runtime.serve", f"emporium.{role}.wsgi"]
    found: set[str] = set()
    while open_ones:
        name = open_ones.pop()
        if name in found or name not in modules:
            continue
        found.add(name)
        parts = name.split(".")
        open_ones += [".".join(parts[:length]) for length in range(1, len(parts))]
        open_ones += [each.module for each in modules[name].imports()]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_an_image_holds_what_its_role_imports(role: str) -> None:
    """Else it would end at its first step."""
    assert needed(role) - copied(role) == set()


@pytest.mark.parametrize("role", ROLES)
def test_an_image_holds_no_room_that_its_role_doesnt_need(role: str) -> None:
    """Whole rooms are copied, or single files of other roles'."""
    rooms = {".".join(name.split(".")[:2]) for name in needed(role)}
    assert {".".join(name.split(".")[:2]) for name in copied(role)} - rooms == set()


@pytest.mark.parametrize("role", ROLES)
def test_dockerfiles_are_alike(role: str) -> None:
    """But for the role, its files and its packages."""
    shapes = [
        [match.group().replace("client.txt", "runtime.txt") for match in SAME.finditer(text)]
        for text in (dockerfile(role), dockerfile("catalog"))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("role", ROLES)
def test_an_image_starts_a_program_without_a_shell_and_not_as_root(role: str) -> None:
    """Signals reach the process itself; nothing in it is root's to change."""
    text = dockerfile(role)
    assert "\nUSER 10001:10001\n" in text
    assert re.search(r'\nENTRYPOINT \["python3", "-m", "emporium\.', text)


@pytest.mark.parametrize("role", ROLES)
def test_an_image_holds_the_packages_that_its_role_imports(role: str) -> None:
    """Those that are locked for it are all that it gets."""
    modules = {module.name: module for module in repository.package_modules()}
    imported = {each.top for name in needed(role) for each in modules[name].imports()}
    # ... _typeshed is the type checker's own.
    foreign = imported - sys.stdlib_module_names - {repository.PACKAGE, "_typeshed"}
    locked = re.findall(r"(?m)^([a-z0-9.-]+)==", source.requirements(role).read_text("utf-8"))
    assert {name.replace("_", "-") for name in foreign} - set(locked) == set()


@pytest.mark.parametrize("role", ROLES)
def test_no_step_but_run_and_from_takes_a_text_from_an_argument(role: str) -> None:
    """buildah takes a cached step whose text is the same: what its arguments were is in the text of
    RUN alone, and FROM isn't cached. A label from an argument stays that of an earlier commit."""
    steps = re.findall(r"(?m)^([A-Z]+) ((?:.*\\\n)*.*)", dockerfile(role))
    assert {step for step, text in steps if "$" in text} == {"ARG", "FROM", "RUN"}


COMMIT: Final = Source("0.1.0", revision="ab12", timestamp=1_700_000_000)


def labels(place: Path, built: Source) -> str:
    """The last step of a staged Dockerfile."""
    source.stage(place, built)
    return source.dockerfile(place, "order").read_text("utf-8").splitlines()[-1]


def test_labels_stand_in_the_last_step_as_they_are(tmp_path: Path) -> None:
    """And there is none for what isn't known."""
    prefix = "org.opencontainers.image."
    assert labels(tmp_path, COMMIT) == (
        f'LABEL {prefix}version="0.1.0" {prefix}revision="ab12"'
        f' {prefix}created="2023-11-14T22:13:20Z"'
    )


def test_a_project_with_an_address_says_it_in_a_label(tmp_path: Path) -> None:
    """A sign that a Dockerfile would read otherwise is kept."""
    given = replace(COMMIT, url='https://shop.example/"$HOME"')
    assert r'source="https://shop.example/\"\$HOME\""' in labels(tmp_path, given)


def test_a_staged_copy_is_the_same_under_a_stricter_umask(tmp_path: Path) -> None:
    """Else the files of an image could be read by root alone."""
    before = os.umask(0o077)
    try:
        source.stage(tmp_path, COMMIT)
    finally:
        os.umask(before)
    modes = {path.is_dir(): set[int]() for path in (tmp_path, source.dockerfile(tmp_path, "order"))}
    for path in tmp_path.rglob("*"):
        modes[path.is_dir()].add(path.stat().st_mode & 0o7777)
    assert modes == {True: {0o755}, False: {0o644}}


def test_a_tag_that_no_registry_takes_is_refused() -> None:
    """Before anything is built."""
    with pytest.raises(BuildError, match="not 'a b'"):
        source.read_source("a b")


def test_the_next_message_version_is_all_that_differs(tmp_path: Path) -> None:
    """So that a test of an upgrade tests the upgrade."""
    now, then = tmp_path / "now", tmp_path / "then"
    source.stage(now, COMMIT)
    source.stage(then, replace(COMMIT, next_message_version=True))
    changed = [
        path.relative_to(then)
        for path in then.rglob("*")
        if path.is_file() and path.read_bytes() != (now / path.relative_to(then)).read_bytes()
    ]
    assert changed == [next_version.WIRE]
    before, after = [(place / next_version.WIRE).read_text("utf-8") for place in (now, then)]
    number = wire.NEWEST_MESSAGE_VERSION
    name = "NEWEST_MESSAGE_VERSION = "
    assert after == before.replace(f"{name}{number}\n", f"{name}{number + 1}\n") != before
