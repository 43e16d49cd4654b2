"""The parts of an EKS cluster that moto hasn't: add-ons, access entries, pod identities.

Each is kept by (cluster, its own name). What is made is ACTIVE at once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from werkzeug.wrappers import Request, Response

from stand_in.answers import ACCOUNT, arn, conflict, missing, not_allowed, reply, sent

KNOWN_ADDONS: Final = (
    *("aws-ebs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy"),
    *("metrics-server", "vpc-cni"),
)
VERSION: Final = "v1.0.0-eksbuild.1"
"""Of every add-on: the default of every Kubernetes."""
ADDON_SETTINGS: Final = ("addonVersion", "configurationValues", "serviceAccountRoleArn")

Key: TypeAlias = tuple[str, str]
Kept: TypeAlias = dict[Key, dict[str, Any]]


class Parts:
    """All parts of all clusters."""

    def __init__(self) -> None:
        self.addons: Kept = {}
        self.entries: Kept = {}
        self.policies: dict[Key, Kept] = {}
        self.identities: Kept = {}
        self.kinds: dict[str, Callable[[Request, str, Sequence[str]], Response]] = {
            "addons": self.answer_addons,
            "access-entries": self.answer_entries,
            "pod-identity-associations": self.answer_identities,
        }

    def forget(self, cluster: str) -> None:
        """A cluster is gone, with its parts."""
        for kept in (self.addons, self.entries, self.policies, self.identities):
            for key in [key for key in kept if key[0] == cluster]:
                del kept[key]

    def supported(self, names: Sequence[str], kubernetes: str) -> Response:
        """What DescribeAddonVersions says; every Kubernetes has the same."""
        fits = {"clusterVersion": kubernetes, "platformVersions": ["*"], "defaultVersion": True}
        version = {
            "addonVersion": VERSION,
            "architecture": ["amd64", "arm64"],
            "compatibilities": [fits],
        }
        if unknown := set(names) - set(KNOWN_ADDONS):
            return missing(f"add-ons {sorted(unknown)}")
        chosen = names or KNOWN_ADDONS
        return reply(
            {"addons": [{"addonName": name, "addonVersions": [version]} for name in chosen]}
        )

    def answer_addons(self, request: Request, cluster: str, rest: Sequence[str]) -> Response:
        """/clusters/C/addons[/A[/update]]"""
        if not rest and request.method == "GET":
            return reply({"addons": [name for where, name in self.addons if where == cluster]})
        if not rest:
            return self._make_addon(request, cluster)
        key = (cluster, rest[0])
        if key not in self.addons:
            return missing(key)
        match request.method, list(rest[1:]):
            case "GET", []:
                return reply({"addon": self.addons[key]})
            case "DELETE", []:
                return reply({"addon": self.addons.pop(key)})
            case "POST", ["update"]:
                body = sent(request)
                changed = {name: body[name] for name in ADDON_SETTINGS if name in body}
                self.addons[key] |= changed | {"modifiedAt": time.time()}
                update = {"id": str(uuid.uuid4()), "status": "Successful", "type": "AddonUpdate"}
                return reply({"update": update})
            case _:
                return not_allowed(request)

    def _make_addon(self, request: Request, cluster: str) -> Response:
        body = sent(request)
        name = body["addonName"]
        if (cluster, name) in self.addons:
            return conflict(name)
        addon = {
            "addonName": name,
            "clusterName": cluster,
            "status": "ACTIVE",
            "addonVersion": VERSION,
            "addonArn": arn(request, "addon", cluster, name, str(uuid.uuid4())),
            "health": {"issues": []},
            "tags": body.get("tags") or {},
            "podIdentityAssociations": [],
            **_now(),
            **{setting: body[setting] for setting in ADDON_SETTINGS if body.get(setting)},
        }
        for identity in body.get("podIdentityAssociations") or []:
            made = self._make_identity(request, cluster, identity | {"namespace": "kube-system"})
            addon["podIdentityAssociations"].append(made["associationArn"])
        self.addons[cluster, name] = addon
        return reply({"addon": addon})

    def answer_entries(self, request: Request, cluster: str, rest: Sequence[str]) -> Response:
        """/clusters/C/access-entries[/PRINCIPAL[/access-policies[/POLICY]]]"""
        if not rest and request.method == "GET":
            return reply(
                {"accessEntries": [name for where, name in self.entries if where == cluster]}
            )
        if not rest:
            return self._make_entry(request, cluster)
        key = (cluster, rest[0])
        if key not in self.entries:
            return missing(key)
        if len(rest) > 1:
            return self._answer_policies(request, key, rest[2:])
        match request.method:
            case "GET":
                pass
            case "DELETE":
                self.policies.pop(key, None)
                del self.entries[key]
                return reply({})
            case "POST":
                body = sent(request)
                names = ("kubernetesGroups", "username")
                self.entries[key] |= {name: body[name] for name in names if name in body}
            case _:
                return not_allowed(request)
        return reply({"accessEntry": self.entries[key]})

    def _make_entry(self, request: Request, cluster: str) -> Response:
        body = sent(request)
        principal = body["principalArn"]
        if (cluster, principal) in self.entries:
            return conflict(principal)
        name = principal.rsplit("/", 1)[-1]
        self.entries[cluster, principal] = {
            "clusterName": cluster,
            "principalArn": principal,
            "type": body.get("type") or "STANDARD",
            "accessEntryArn": arn(
                request, "access-entry", cluster, "role", ACCOUNT, name, str(uuid.uuid4())
            ),
            "kubernetesGroups": body.get("kubernetesGroups") or [],
            "username": body.get("username") or principal,
            "tags": body.get("tags") or {},
            **_now(),
        }
        return reply({"accessEntry": self.entries[cluster, principal]})

    def _answer_policies(self, request: Request, key: Key, rest: Sequence[str]) -> Response:
        """/clusters/C/access-entries/PRINCIPAL/access-policies[/POLICY]"""
        cluster, principal = key
        bound = self.policies.setdefault(key, {})
        whose = {"clusterName": cluster, "principalArn": principal}
        match request.method, list(rest):
            case "GET", []:
                return reply(whose | {"associatedAccessPolicies": list(bound.values())})
            case "POST", []:
                body = sent(request)
                policy = {"policyArn": body["policyArn"], "accessScope": body["accessScope"]}
                now = time.time()
                bound[cluster, body["policyArn"]] = policy | {
                    "associatedAt": now,
                    "modifiedAt": now,
                }
                return reply(whose | {"associatedAccessPolicy": bound[cluster, body["policyArn"]]})
            case "DELETE", [policy_arn]:
                gone = bound.pop((cluster, policy_arn), None)
                return reply({}) if gone else missing(policy_arn)
            case _:
                return not_allowed(request)

    def answer_identities(self, request: Request, cluster: str, rest: Sequence[str]) -> Response:
        """/clusters/C/pod-identity-associations[/ID]"""
        if not rest and request.method == "GET":
            found = [kept for (where, _), kept in self.identities.items() if where == cluster]
            return reply({"associations": found})
        if not rest:
            return reply({"association": self._make_identity(request, cluster, sent(request))})
        key = (cluster, rest[0])
        if key not in self.identities:
            return missing(key)
        match request.method:
            case "GET":
                pass
            case "DELETE":
                return reply({"association": self.identities.pop(key)})
            case "POST":
                body = sent(request)
                self.identities[key]["roleArn"] = (
                    body.get("roleArn") or self.identities[key]["roleArn"]
                )
            case _:
                return not_allowed(request)
        return reply({"association": self.identities[key]})

    def _make_identity(
        self, request: Request, cluster: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        name = f"a-{uuid.uuid4().hex[:17]}"
        self.identities[cluster, name] = {
            "clusterName": cluster,
            "associationId": name,
            "associationArn": arn(request, "podidentityassociation", cluster, name),
            "namespace": body["namespace"],
            "serviceAccount": body["serviceAccount"],
            "roleArn": body["roleArn"],
            "tags": body.get("tags") or {},
            **_now(),
        }
        return self.identities[cluster, name]


def _now() -> dict[str, float]:
    return {"createdAt": time.time(), "modifiedAt": time.time()}
