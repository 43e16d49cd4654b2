"""The chart installs where Pod Security `restricted` is enforced, and the store is whole."""

from __future__ import annotations

import pytest

from emporium_e2e.errors import E2eError
from emporium_e2e.workload import SELECTOR, Shop


def test_every_pod_is_ready(shop: Shop) -> None:
    """Each role has its pods, and each pod says of itself that it is ready."""
    shop.wait_ready()


def test_helm_test_passes(shop: Shop) -> None:
    """Every replica votes and is caught up, and items can be read."""
    assert "Phase:          Succeeded" in shop.smoke()


def test_the_namespace_refuses_a_privileged_pod(shop: Shop) -> None:
    """So the store's own pods have been held to the same rules."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged"},
        "spec": {
            "containers": [
                {"name": "c", "image": "none:1", "securityContext": {"privileged": True}}
            ]
        },
    }
    with pytest.raises(E2eError, match=r'violates PodSecurity "restricted'):
        shop.kubectl.apply(pod)


def test_no_pod_of_the_store_has_a_token(shop: Shop) -> None:
    """Only the scenario job may ask the API server anything."""
    pods = shop.kubectl.items("pods", f"--selector={SELECTOR}")
    with_token = [
        pod["metadata"]["name"]
        for pod in pods
        for volume in pod["spec"].get("volumes", [])
        if "serviceAccountToken" in str(volume)
    ]
    assert with_token == []
