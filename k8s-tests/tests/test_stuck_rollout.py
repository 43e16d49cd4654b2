"""A roll-out that can't go on stops at one pod of the role, and `helm rollback` mends it.

The story is told in docs/OPERATIONS.md, "A stuck roll-out".
"""

from __future__ import annotations

import pytest

from emporium.client.items import LOAD_ITEMS
from emporium.client.store import Bought
from emporium_e2e.client import wait_until
from emporium_e2e.nemesis import ROLL_S
from emporium_e2e.session import Found
from emporium_e2e.settings import Settings
from emporium_e2e.workload import STORE, Shop

FIRST_REPLACED = f"{STORE}-catalog-2"
NO_TAG = "none"
STUCK_S = 120.0


def waits_for_its_image(shop: Shop) -> bool:
    """The replaced pod wants the new image, and its container can't be made."""
    pod = shop.kubectl.get("pod", FIRST_REPLACED)
    wanted = str(pod["spec"]["containers"][0]["image"]).endswith(f":{NO_TAG}")
    states = pod["status"].get("containerStatuses") or [{}]
    reason = states[0].get("state", {}).get("waiting", {}).get("reason", "")
    return wanted and "Image" in reason


def test_a_stuck_roll_out_is_rolled_back(shop: Shop, found: Found, settings: Settings) -> None:
    """An image that there isn't: the other two go on selling, and the way back leads to a whole
    store."""
    if not settings.full:
        pytest.skip("not run: full set only: two more roll-outs")
    assert found.verdicts
    with shop.evidence_of_failure():
        # Helm makes anew what is gone: the scenario job must not start again.
        shop.helm.upgrade("--set=client.job.enabled=false", wait_s=ROLL_S)
        shop.wait_ready()
        shop.helm.begin_upgrade(f"--set=image.tags.catalog={NO_TAG}")
        try:
            wait_until(
                f"{FIRST_REPLACED} waits for an image", STUCK_S, lambda: waits_for_its_image(shop)
            )
            shop.wait_ready(FIRST_REPLACED)
            with shop.open_store() as store:
                assert isinstance(store.buy(LOAD_ITEMS[0]), Bought)
        finally:
            shop.helm.rollback(wait_s=ROLL_S)
        shop.wait_ready()
        assert not waits_for_its_image(shop)
