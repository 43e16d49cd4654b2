"""`helm uninstall` leaves the claims alone, and a new installation on them has every order."""

from __future__ import annotations

import re

import pytest

from emporium.client.linearizability import Order
from emporium_e2e.client import wait_until
from emporium_e2e.session import Found
from emporium_e2e.workload import GONE_S, STORE, Shop

CLAIM = re.compile(rf"persistentvolumeclaim/data-{STORE}-(catalog|order)-\d")
NOBODYS = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
"""What every namespace has."""


@pytest.fixture(scope="module")
def orders(shop: Shop, found: Found) -> list[Order]:
    """All orders, when every scenario has run."""
    assert found.verdicts
    return shop.orders()


def left(shop: Shop) -> list[str]:
    """Everything in the namespace that somebody made."""
    listed = shop.kubectl.text(
        "api-resources", "--namespaced", "--verbs=list,delete", "--output=name"
    )
    kinds = ",".join(kind for kind in listed.split() if not kind.startswith("events"))
    told = shop.kubectl.text("get", kinds, "--ignore-not-found", "--output=name")
    return sorted(set(told.split()) - NOBODYS)


def test_uninstall_leaves_only_the_claims(shop: Shop, orders: list[Order]) -> None:
    """The claims of catalog and order stay, and nothing else does."""
    assert orders
    claims = [name for name in left(shop) if CLAIM.fullmatch(name)]
    assert len(claims) >= 6
    shop.helm.uninstall(GONE_S)
    wait_until(
        "only the claims are left",
        GONE_S,
        lambda: left(shop) == claims,
        lambda: ", ".join(left(shop)),
    )


def test_a_new_installation_has_every_order(shop: Shop, orders: list[Order]) -> None:
    """The chart installed again on the old claims comes up whole, with the same orders."""
    shop.install()
    assert "Phase:          Succeeded" in shop.smoke()
    assert shop.orders() == orders
