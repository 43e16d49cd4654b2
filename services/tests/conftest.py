"""What all tests share: a clean environment, marks by folder, and their order on two workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

TESTS = Path(__file__).parent
MARK_OF_FOLDER = {"local": "local", "simulation": "simulation"}

# The same examples in every run: a test fails for a reason in the change, not by luck. Times are
# no verdict on a machine that runs something else besides.
hypothesis_settings.register_profile("emporium", derandomize=True, deadline=None, database=None)
hypothesis_settings.load_profile("emporium")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own EMPORIUM_ variables never reach a test."""
    for name in [name for name in os.environ if name.startswith("EMPORIUM_")]:
        monkeypatch.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder. Tests with real processes go first and one after the other, on one worker:
    they share the machine's ports and are the longest; the others fill the second worker."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARK_OF_FOLDER:
            item.add_marker(MARK_OF_FOLDER[folder])
        if shares_the_machine(item):
            item.add_marker(pytest.mark.xdist_group("machine"))
    items.sort(key=lambda item: not shares_the_machine(item))


def shares_the_machine(item: pytest.Item) -> bool:
    """May it not run beside another of its kind?"""
    return any(item.get_closest_marker(name) for name in ("local", "serial"))
