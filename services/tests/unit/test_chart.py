"""The rendered chart: every pod gets settings that it accepts, and reaches what it has to."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Final

import pytest

from emporium.runtime import settings, settings_table
from tests import chart
from tests.chart import Network, Place

PORTS: Final = {"frontend": 8000, "cache": 8031, "catalog": 8001, "order": 8011}
INTERNAL: Final = 1000
HEALTH: Final = 2000
# The design (PROTOCOL 4.1, DESIGN 3): frontends and caches dial every replica of both groups, order
# dials catalog, replicas dial their own group. The client is a stranger that also reads health.
DIALS: Final = {
    "frontend": ("cache", "catalog", "order"),
    "cache": ("catalog", "order"),
    "order": ("catalog", "order"),
    "catalog": ("catalog",),
}
STRANGER: Final = Place("a stranger", "elsewhere")
INGRESS: Final = Place("the ingress", "ingress")
MONITORING: Final = Place("monitoring", "monitoring")
DNS: Final = Place("dns", "kube-system")
API: Final = Place("10.96.0.1")
WORLD: Final = Place("203.0.113.7")
SCANNED: Final = (
    *(port + offset for port in PORTS.values() for offset in (0, INTERNAL, HEALTH)),
    *(22, 53, 80, 443, 6443),
)
FILES: Final = ("SECRET_FILE", "OPERATOR_TOKEN_FILE", "ITEMS_FILE")
TLS: Final = ("TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CA_FILE")

Edge = tuple[str, str, int]


def edges_of_the_design(cache: str, *, job: bool, everybody: bool) -> set[Edge]:
    """Who may call whom, on which port. `everybody` may shop, or only the ingress; monitoring is
    let in beside the latter."""
    roles = [role for role in PORTS if role != "cache" or cache == "server"]
    found = {
        (source, target, PORTS[target] + INTERNAL)
        for source in roles
        for target in DIALS[source]
        if target in roles
    }
    found |= {("client", role, PORTS[role] + offset) for role in roles for offset in (0, HEALTH)}
    found |= {(role, "dns", 53) for role in (*roles, "client")}
    shoppers = (STRANGER, INGRESS, MONITORING, DNS, WORLD, API) if everybody else (INGRESS,)
    found |= {(place.name, "frontend", PORTS["frontend"]) for place in shoppers}
    if not everybody:
        found |= {("monitoring", role, PORTS[role] + HEALTH) for role in roles}
    if job:
        found |= {("client", API.name, port) for port in (443, 6443)}
    return found


def edges_of(documents: list[chart.Document], cache: str) -> set[Edge]:
    """What the rendered policies let through, of all pairs and ports."""
    network = Network(chart.of_kind(documents, "NetworkPolicy"))
    roles = [role for role in (*PORTS, "client") if role != "cache" or cache == "server"]
    pods = [chart.pod_of(documents, role) for role in roles]
    outside = [STRANGER, INGRESS, MONITORING, DNS, API, WORLD]
    pairs = [*product(pods, pods), *product(pods, outside), *product(outside, pods)]
    return {
        (source.name, target.name, port)
        for source, target in pairs
        for port in SCANNED
        if network.allows(source, target, port)
    }


@pytest.mark.parametrize(
    ("name", "cache", "job", "everybody"),
    [
        ("bookstore", "server", False, True),
        ("frontend-cache", "frontend", False, True),
        ("everything", "server", True, False),
    ],
)
def test_network_policies_are_the_edges_of_the_design(
    name: str, cache: str, job: bool, everybody: bool
) -> None:
    """Nothing is missing, and nothing is too much."""
    allowed = edges_of(chart.example(name), cache)
    wanted = edges_of_the_design(cache, job=job, everybody=everybody)
    assert (allowed - wanted, wanted - allowed) == (set(), set())


def test_names_are_resolved_over_udp_too() -> None:
    """DNS asks by UDP first."""
    documents = chart.example("bookstore")
    network = Network(chart.of_kind(documents, "NetworkPolicy"))
    assert network.allows(chart.pod_of(documents, "order"), DNS, 53, "UDP")
    assert not network.allows(chart.pod_of(documents, "order"), WORLD, 53, "UDP")


@pytest.mark.parametrize("name", chart.examples())
def test_every_pod_gets_settings_that_it_accepts(name: str, tmp_path: Path) -> None:
    """Read as the process reads them, with files in the place of the mounted ones."""
    present = tmp_path / "present"
    present.write_text("a secret that is long enough\n", encoding="utf-8")
    for role, container in chart.containers(chart.example(name)).items():
        environ = chart.environment(container, f"bookstore-emporium-{role}-0")
        for setting in (*FILES, *TLS):
            if f"{settings_table.PREFIX}{setting}" in environ:
                environ[f"{settings_table.PREFIX}{setting}"] = str(present)
        ours = {key: text for key, text in environ.items() if key.startswith("EMPORIUM_")}
        found = settings.read(ours, role)
        assert found.role == role
        for group in ("catalog", "order"):
            hosts = [address.host for address in found.public(group)]
            assert [host.partition(".")[0][-2:] for host in hosts] == [
                f"-{number}" for number in range(len(hosts))
            ]


@pytest.mark.parametrize("name", chart.examples())
def test_ports_are_those_of_the_settings(name: str) -> None:
    """Public, internal and health: what a pod opens is what its addresses say."""
    for role, container in chart.containers(chart.example(name)).items():
        opened = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        wanted = {
            "public": PORTS.get(role, 0),
            "internal": PORTS.get(role, 0) + INTERNAL,
            "health": PORTS.get(role, 0) + HEALTH,
        }
        assert opened == ({} if role == "client" else wanted)


def test_default_values_are_the_defaults_of_the_settings() -> None:
    """Where a setting has a default, the chart's is the same; a pod listens to all the same."""
    other = {"EMPORIUM_HOST", "EMPORIUM_ID", "EMPORIUM_OUTPUT_DIR"}
    defaults = {setting.variable: setting.default for setting in settings_table.TABLE}
    for container in chart.containers(chart.example("bookstore")).values():
        for name, text in chart.environment(container, "").items():
            if defaults[name] and name not in other:
                assert (name, text) == (name, defaults[name])


def test_the_store_is_never_open_to_faults_by_default() -> None:
    """`--faults` is for lessons."""
    assert chart.values()["faults"] is False
