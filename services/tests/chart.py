"""The chart as tests see it: rendered examples, and what their network policies let through.

`make chart-check` holds the examples to what Helm renders; so tests read them, and need no Helm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from tests.repository import ROOT

CHART: Final = ROOT / "charts" / "emporium"
NAMESPACE: Final = "bookstore"
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
COMPONENT: Final = "app.kubernetes.io/component"

Document = dict[str, Any]


def example(name: str) -> list[Document]:
    """The objects of a rendered example."""
    text = (CHART / "examples" / f"{name}.yaml").read_text("utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def examples() -> list[str]:
    """The names of all examples."""
    return sorted(path.stem for path in (CHART / "examples").glob("*.yaml"))


def values() -> Document:
    """The chart's default values."""
    return dict(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")))


def given_values() -> set[str]:
    """The paths of all values, with dots, down to where a user may write what he likes."""
    schema = _schema()
    return set(_paths(schema, schema, values(), ""))


def described_values() -> set[str]:
    """The paths of all values that the schema describes."""
    schema = _schema()
    return set(_described(schema, schema, "")) - {"global"}  # which is Helm's own


def _schema() -> Document:
    return dict(json.loads((CHART / "values.schema.json").read_text("utf-8")))


def _resolved(schema: Document, part: Document) -> Document:
    """What a reference stands for."""
    reference = part.get("$ref", "")
    return dict(schema["definitions"][reference.rpartition("/")[2]]) if reference else part


def _paths(schema: Document, part: Document, given: Document, above: str) -> Iterator[str]:
    """A mapping that the schema leaves open, such as annotations, is one value."""
    for key, below in given.items():
        described = _resolved(schema, part.get("properties", {}).get(key, {}))
        if isinstance(below, dict) and described.get("additionalProperties") is False:
            yield from _paths(schema, described, below, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _described(schema: Document, part: Document, above: str) -> Iterator[str]:
    for key, below in part["properties"].items():
        described = _resolved(schema, below)
        if described.get("additionalProperties") is False:
            yield from _described(schema, described, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    """The objects of some kinds."""
    return [document for document in documents if document["kind"] in kinds]


def containers(documents: Iterable[Document]) -> dict[str, Document]:
    """The first container that each role runs, by role; the job stands for the client."""
    found: dict[str, Document] = {}
    for document in of_kind(documents, "StatefulSet", "Job"):
        template = document["spec"]["template"]
        container = template["spec"]["containers"][0]
        found[template["metadata"]["labels"][COMPONENT]] = container
    return found


def pods(documents: Iterable[Document]) -> dict[str, Document]:
    """The spec of every pod that is run, by kind and name of what runs it."""
    found: dict[str, Document] = {}
    for document in of_kind(documents, "StatefulSet", "Job", "Pod"):
        spec = document["spec"]
        name = f"{document['kind']} {document['metadata']['name']}"
        found[name] = spec if document["kind"] == "Pod" else spec["template"]["spec"]
    return found


def alerts(documents: Iterable[Document]) -> list[Document]:
    """The alerts of all PrometheusRules."""
    rules = of_kind(documents, "PrometheusRule")
    return [rule for each in rules for group in each["spec"]["groups"] for rule in group["rules"]]


def environment(container: Document, pod: str) -> dict[str, str]:
    """The environment of a container, in a pod of that name."""
    return {each["name"]: each.get("value", pod) for each in container["env"]}


# --- network policies ---


@dataclass(frozen=True)
class Place:
    """A pod, or an address outside of the cluster (no namespace)."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def pod_of(documents: Iterable[Document], role: str) -> Place:
    """A pod of a role, with the labels that its StatefulSet, or the smoke test, gives."""
    for document in of_kind(documents, "StatefulSet", "Job", "Pod"):
        labels = document["metadata"]["labels"]
        if document["kind"] != "Pod":
            labels = document["spec"]["template"]["metadata"]["labels"]
        if labels[COMPONENT] == role:
            return Place(role, NAMESPACE, labels)
    raise LookupError(role)


@dataclass(frozen=True)
class Network:
    """What a set of policies lets through, as Kubernetes defines it."""

    policies: list[Document]

    def allows(self, source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
        """May `source` open a connection to that port of `target`?"""
        return self._side("egress", "to", source, target, port, protocol) and self._side(
            "ingress", "from", target, source, port, protocol
        )

    def _side(
        self, side: str, word: str, own: Place, other: Place, port: int, protocol: str
    ) -> bool:
        """Do the policies for `own` let this through? Without any, everything goes."""
        mine = [
            policy["spec"]
            for policy in self.policies
            if side.title() in policy["spec"]["policyTypes"]
            and own.namespace == policy["metadata"]["namespace"]
            and _selects(policy["spec"]["podSelector"], own.labels)
        ]
        if not mine:
            return True
        return any(
            _peers(rule.get(word, []), own, other) and _ports(rule.get("ports", []), port, protocol)
            for spec in mine
            for rule in spec.get(side) or []
        )


def _selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """matchLabels alone: the chart uses nothing else here."""
    if set(selector) - {"matchLabels"}:
        raise NotImplementedError(selector)
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _peers(peers: list[Document], own: Place, other: Place) -> bool:
    """Is the other one of them? No list: everybody."""
    return not peers or any(_peer(peer, own, other) for peer in peers)


def _peer(peer: Document, own: Place, other: Place) -> bool:
    if "ipBlock" in peer:
        return bool(peer["ipBlock"]["cidr"] == f"{other.name}/32")
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], {NAMESPACE_NAME: other.namespace}):
            return False
    elif other.namespace != own.namespace:
        return False
    return _selects(peer.get("podSelector", {}), other.labels)


def _ports(ports: list[Document], port: int, protocol: str) -> bool:
    """Is the port one of them? No list: every port."""
    return not ports or any(
        each["port"] == port and each.get("protocol", "TCP") == protocol for each in ports
    )
