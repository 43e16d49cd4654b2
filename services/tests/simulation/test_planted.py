"""Every planted bug is caught by the general checks, and its seed is clean without it."""

from __future__ import annotations

import pytest

from tests.simulation.plants import PLANTS, Plant


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_planted_bug_is_caught(plant: Plant) -> None:
    """With the bug the seed fails; without it all promises hold."""
    assert plant.run(planted=True).failure, f"nobody noticed: {plant.name}"
    clean = plant.run(planted=False)
    assert not clean.failure, clean.failure
