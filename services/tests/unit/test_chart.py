"""The rendered chart: every pod gets settings that it accepts, and reaches what it has to."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from emporium.runtime import settings, settings_table
from tests import chart, pod_security
from tests.chart import Network, Place
from tests.repository import ROOT

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


@pytest.mark.parametrize("name", chart.examples())
def test_every_pod_is_let_into_a_restricted_namespace(name: str) -> None:
    """Services, smoke test and scenario job alike; and nobody writes its root file system."""
    for what, pod in chart.pods(chart.example(name)).items():
        assert (what, pod_security.violations(pod)) == (what, [])
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_examples_have_pods_of_every_kind() -> None:
    """Or the test before this one would say nothing of some."""
    runs = {
        what.split()[0] for name in chart.examples() for what in chart.pods(chart.example(name))
    }
    assert runs == {"StatefulSet", "Job", "Pod"}


@pytest.mark.parametrize(
    ("where", "change", "what"),
    [
        ("pod", {"hostNetwork": True}, "hostNetwork"),
        ("pod", {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "hostPath"),
        ("pod", {"initContainers": [{"name": "init"}]}, "init may run as root"),
        ("pod context", {"runAsNonRoot": False, "runAsUser": 0}, "user 0"),
        ("pod context", {"sysctls": [{"name": "kernel.msgmax"}]}, "kernel.msgmax"),
        ("container", {"ports": [{"hostPort": 80}]}, "port of its node"),
        ("container", {"livenessProbe": {"httpGet": {"host": "127.0.0.1"}}}, "another host"),
        ("context", {"privileged": True}, "privileged"),
        ("context", {"allowPrivilegeEscalation": True}, "escalate"),
        ("context", {"capabilities": {"drop": ["NET_RAW"]}}, "capabilities"),
        ("context", {"capabilities": {"drop": ["ALL"], "add": ["SYS_TIME"]}}, "adds"),
        ("context", {"runAsNonRoot": False}, "as root"),
        ("context", {"seccompProfile": {"type": "Unconfined"}}, "Unconfined"),
        ("context", {"appArmorProfile": {"type": "Unconfined"}}, "AppArmor"),
    ],
)
def test_what_restricted_forbids_is_seen(where: str, change: chart.Document, what: str) -> None:
    """Each kind of violation, planted into a good pod."""
    good = chart.pods(chart.example("everything"))["StatefulSet shop-catalog"]
    if where == "pod context":
        change = {"securityContext": {**good["securityContext"], **change}}
    if where in ("container", "context"):
        container = good["containers"][0]
        if where == "context":
            change = {"securityContext": {**container["securityContext"], **change}}
        change = {"containers": [{**container, **change}]}
    if "initContainers" in change:
        good = {**good, "securityContext": {}}
    assert what in "; ".join(pod_security.violations({**good, **change}))


@pytest.mark.parametrize("name", chart.examples())
def test_what_a_client_writes_it_may_write(name: str) -> None:
    """/report and /tmp are volumes of the pod's own, given to its group, and not read-only."""
    for what, pod in chart.pods(chart.example(name)).items():
        if "client" not in {container["name"] for container in pod["containers"]}:
            continue
        places = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
        for path in ("/report", "/tmp"):
            mount = places[path]
            assert (what, path, mount.get("readOnly", False)) == (what, path, False)
            assert "emptyDir" in volumes[mount["name"]]


def test_every_alert_has_a_runbook_and_no_runbook_lacks_its_alert() -> None:
    """In docs/OPERATIONS.md, below "Alerts"; the alert says where."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
    section = text.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    runbooks = re.findall(r"(?m)^### (\S+)$", section)
    found = chart.alerts(chart.example("everything"))
    assert runbooks == [alert["alert"] for alert in found]
    for alert in found:
        link = f"docs/OPERATIONS.md#{alert['alert'].lower()}"
        assert alert["annotations"]["runbook"] == link


def test_alerts_look_at_the_pods_of_their_own_release_alone() -> None:
    """Another store in the namespace neither hides a trouble nor brings one."""
    own = {f"shop-{role}-0" for role in PORTS}
    others = {f"shop-two-{role}-0" for role in PORTS} | {f"a-{name}" for name in own}
    for alert in chart.alerts(chart.example("everything")):
        assert alert["labels"]["store"] == "shop"
        selectors = re.findall(r"(emporium_\w+)\{([^}]*)\}", alert["expr"])
        names = re.findall(r"emporium_\w+", alert["expr"])
        assert [name for name, _ in selectors] == names
        for _, selector in selectors:
            pods = re.search(r'pod=~"([^"]*)"', selector)
            assert pods is not None, selector
            assert 'namespace="bookstore"' in selector
            assert all(re.fullmatch(pods[1], name) for name in own)
            assert not any(re.fullmatch(pods[1], name) for name in others)
        claims = re.search(r'persistentvolumeclaim=~"([^"]*)"', alert["expr"])
        assert bool(claims) is not bool(selectors)
        if claims:
            assert re.fullmatch(claims[1], "data-shop-order-0")
            assert not re.fullmatch(claims[1], "data-shop-two-order-0")


def test_the_store_is_never_open_to_faults_by_default() -> None:
    """`--faults` is for lessons."""
    assert chart.values()["faults"] is False
