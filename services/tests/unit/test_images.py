"""The images hold what a role imports, and no room of the package that it doesn't need."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests import repository
from tests.repository import ROOT

ROLES: Final = ("frontend", "cache", "catalog", "order", "client")
SAME: Final = re.compile(r"(?m)^(ARG|FROM|RUN|ENV|USER|COPY --from|COPY images)\b.*(?:\\\n.*)*")


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
