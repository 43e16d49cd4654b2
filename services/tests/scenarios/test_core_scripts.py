"""The core does what the scenario files say. `REWRITE=1` writes down what it does instead; read
the difference before you keep it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.core_script import played

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_core_follows_the_script(path: Path) -> None:
    """Every block of the file leads to what stands below it."""
    text = path.read_text(encoding="utf-8")
    told = played(text)
    if os.environ.get("REWRITE"):
        path.write_text(told, encoding="utf-8")
    else:
        assert told == text
