"""Makes the package importable, and gives tests a world in which kubectl and helm only note."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emporium_e2e import client, nemesis
from emporium_e2e.client import Helm, Kubectl
from emporium_e2e.nemesis import Nemesis
from emporium_e2e.pretended import PretendedCluster, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """kubectl and helm never run; no wait takes long."""
    made = World()
    monkeypatch.setattr(client, "run", made.run)
    monkeypatch.setattr(client, "POLL_S", 0.001)
    monkeypatch.setattr(nemesis, "sleep", lambda seconds: made.done.append(f"wait {seconds}"))
    made.answers["kubectl get pod shop-catalog-0"] = {"spec": {"nodeName": "node-1"}}
    made.answers["kubectl get pod shop-order-1"] = {"spec": {"nodeName": "node-3"}}
    made.answers["kubectl get --raw=/readyz"] = "ok"
    made.answers["kubectl get node node-1"] = {"spec": {}}
    made.answers["kubectl get nodes"] = {
        "items": [{"metadata": {"name": name}} for name in ("node-1", "node-2", "node-3")]
    }
    made.answers["helm history"] = [[{"revision": 2}], [{"revision": 3}]]
    return made


@pytest.fixture
def kubectl() -> Kubectl:
    """For namespace e2e."""
    return Kubectl(Path("kubectl"), "e2e")


@pytest.fixture
def hand(world: World, kubectl: Kubectl) -> Nemesis:
    """The job runs on node-3, since revision 2."""
    helm = Helm(Path("helm"), kubectl, "shop", Path("chart"))
    made = Nemesis(PretendedCluster(world), kubectl, helm, "shop", "node-3")
    made.begin()
    world.done.clear()
    return made
