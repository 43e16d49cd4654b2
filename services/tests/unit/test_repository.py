"""What `test_tidy` sees of a file."""

from __future__ import annotations

from pathlib import Path

from tests import repository, test_tidy
from tests.repository import SERVICES, Module

SOURCE = '''
import time as clock, os.path
from datetime import datetime
from . import wire
from ..runtime import errors

def outer():
    """Two lines
    and more."""
    clock.sleep(1)
    datetime.now().isoformat()
    print("x")
'''


class Given(Module):
    """A file of the catalog that exists only here."""

    text = SOURCE


def given() -> Module:
    """The module."""
    return Given(SERVICES / "emporium" / "catalog" / "rule.py")


def test_a_module_knows_its_name_and_room() -> None:
    """From its path."""
    assert given().name == "emporium.catalog.rule"
    assert given().room == "catalog"
    assert Module(SERVICES / "emporium" / "order" / "__init__.py").name == "emporium.order"
    assert Module(SERVICES / "tests" / "conftest.py").room == ""


def test_imports_are_full_names() -> None:
    """Relative ones too, and what comes after `from ... import`."""
    assert [found.module for found in given().imports()] == [
        "time",
        "os.path",
        "datetime",
        "datetime.datetime",
        "emporium.catalog",
        "emporium.catalog.wire",
        "emporium.runtime",
        "emporium.runtime.errors",
    ]


def test_calls_are_seen_through_other_names() -> None:
    """`import time as clock` hides nothing."""
    names = {call.name for call in given().calls()}
    assert {"time.sleep", "datetime.datetime.now", "print"} <= names


def test_a_function_has_the_length_of_its_text() -> None:
    """From `def` to its last line."""
    (function,) = given().functions()
    assert (function.name, function.length) == ("outer", 6)


def test_arrows_point_down_only() -> None:
    """A role may import the runtime and another role's requests, not its rule."""
    role = given()
    assert test_tidy.may_import(role, "emporium.runtime.clock")
    assert test_tidy.may_import(role, "emporium.order.requests.Purchase")
    assert not test_tidy.may_import(role, "emporium.order.desk")
    assert not test_tidy.may_import(role, "emporium.local.cli")
    core = Module(SERVICES / "emporium" / "replication" / "core.py")
    assert not test_tidy.may_import(core, "emporium.runtime.clock")
    assert not test_tidy.may_import(core, "emporium.catalog.requests")
    front = Module(SERVICES / "emporium" / "frontend" / "parts.py")
    assert test_tidy.may_import(front, "emporium.cache.holder.Holder")
    assert not test_tidy.may_import(front, "emporium.cache.app")


def test_links_are_checked_with_their_headings(tmp_path: Path) -> None:
    """Files, headings and both; other sites and code are left alone."""
    (tmp_path / "B.md").write_text("# A `word` & more\n\n## Same\n## Same\n")
    text = (
        "[a](B.md) [b](B.md#a-word--more) [c](B.md#same-1) [d](#here) [e](https://example.org)\n"
        "[f](C.md) ![g](no.png) [h](B.md#no) [i](#no)\n# Here\n```\n[j](no.md)\n```\n"
    )
    broken = repository.broken_links(tmp_path / "A.md", text)
    (tmp_path / "A.md").write_text(text)
    assert "C.md" in broken
    assert repository.broken_links(tmp_path / "A.md", text) == ["C.md", "no.png", "B.md#no", "#no"]


def test_names_of_settings_are_whole() -> None:
    """A name with a star stands for several."""
    text = "`EMPORIUM_PORT=1`, EMPORIUM_TLS_*, EMPORIUM_TLS_CA_FILE, EMPORIUM_{name}"
    assert test_tidy.settings_named(text) == {"EMPORIUM_PORT", "EMPORIUM_TLS_CA_FILE"}
