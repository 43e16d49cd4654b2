"""Every planted bug is caught by the general checks, and its seed is clean without it."""

from __future__ import annotations

import pytest

from tests.simulation.plants import PLANTS, Plant


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_planted_bug_is_caught(plant: Plant) -> None:
    """With the bug a seed fails, the named one or one soon after it; without it all promises
    hold there."""
    caught = plant.catch()
    assert caught is not None, f"nobody noticed: {plant.name}"
    clean = caught.run(planted=False)
    assert not clean.failure, clean.failure
