"""Makes the tool importable, and gives tests clusters that can't meet a real one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emporium_cluster import cgroups, remains
from emporium_cluster.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A cluster that isn't there, with its folder among the test's."""
    return Layout("test", tmp_path / "test")


@pytest.fixture
def halfway() -> Iterator[Layout]:
    """The name of a cluster that a test starts; nothing of it is there before and after."""
    layout = Layout.chosen("halfway")
    found = cgroups.machine_cgroups()
    remains.clear(layout, found)
    yield layout
    remains.clear(layout, found)
