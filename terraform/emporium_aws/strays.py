"""Deletes what Terraform had AWS make and has in no state.

An interrupted Terraform gives up the requests that are under way, and AWS may have done what they
asked for; a killed one loses what it did since it last wrote its state. Such strays block what is
in the state: a VPC doesn't go before its last subnet. They come after it in the order of making,
so they can go first: nothing in the state needs a stray.

Only what carries the environment's tag is touched, in its region, with the node groups of a cluster
that does; and only kinds that the configuration makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from emporium_aws.cloud import Cloud
from emporium_aws.settings import TAG, Settings

OF_EC2: Final = {
    "vpce-": ("delete-vpc-endpoints", "--vpc-endpoint-ids"),
    "nat-": ("delete-nat-gateway", "--nat-gateway-id"),
    "eipalloc-": ("release-address", "--allocation-id"),
    "fl-": ("delete-flow-logs", "--flow-log-ids"),
    "subnet-": ("delete-subnet", "--subnet-id"),
    "rtb-": ("delete-route-table", "--route-table-id"),
    "igw-": ("delete-internet-gateway", "--internet-gateway-id"),
    "vpc-": ("delete-vpc", "--vpc-id"),
    "lt-": ("delete-launch-template", "--launch-template-id"),
}
"""How each kind is deleted, by how its identifiers begin, in the order in which they let go of each
other."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is by now; all but what Terraform's state knows are strays."""

    cluster: frozenset[str]
    """`NAME` for the cluster, `NAME:GROUP` for its node groups, as in Terraform's state."""
    of_ec2: frozenset[str]


@dataclass(frozen=True, slots=True)
class Strays:
    """The strays of one environment."""

    cloud: Cloud
    settings: Settings

    def find(self) -> Found:
        """What there is of the cluster, which was seen to be ours before, and in EC2. To be asked
        before the state is: what another run makes meanwhile must not look like a stray. Raises
        CommandError."""
        name = self.settings.name
        cluster: set[str] = set()
        if self.cloud.find("eks", "describe-cluster", "--name", name) is not None:
            listed = self.cloud.find("eks", "list-nodegroups", "--cluster-name", name) or {}
            cluster = {name, *(f"{name}:{group}" for group in listed.get("nodegroups", []))}
        filters = (f"Name=key,Values={TAG}", f"Name=value,Values={name}")
        sample = {"Tags": [{"ResourceId": "subnet-ID"}]}
        tags: Any = self.cloud.ask("ec2", "describe-tags", "--filters", *filters, sample=sample)
        of_ec2 = {each["ResourceId"] for each in tags["Tags"]}
        return Found(frozenset(cluster), frozenset(of_ec2))

    def remove_cluster(self, strays: AbstractSet[str]) -> bool:
        """Delete node groups and cluster; whether there was one. Raises CommandError."""
        name = self.settings.name
        which = ("--cluster-name", name)
        groups = [
            (*which, "--nodegroup-name", stray.partition(":")[2])
            for stray in sorted(strays - {name})
        ]
        for group in groups:
            self._delete_of_eks("nodegroup", *group)
        for group in groups:
            self.cloud.wait("eks", "nodegroup-deleted", *group)
        if name in strays:
            self._delete_of_eks("cluster", "--name", name)
            self.cloud.wait("eks", "cluster-deleted", "--name", name)
        return bool(strays)

    def _delete_of_eks(self, kind: str, *which: str) -> None:
        """EKS may refuse to delete what it is still making."""
        if not self.cloud.remove("eks", f"delete-{kind}", *which):
            self.cloud.wait("eks", f"{kind}-active", *which)
            self.cloud.remove("eks", f"delete-{kind}", *which)

    def remove_of_ec2(self, strays: AbstractSet[str]) -> None:
        """Delete what has such identifiers. Raises CommandError."""
        for beginning, deletion in OF_EC2.items():
            kind = sorted(each for each in strays if each.startswith(beginning))
            for stray in kind:
                self._detach(stray)
                self.cloud.remove("ec2", *deletion, stray)
            for stray in kind if beginning == "nat-" else ():  # it keeps its address till its end
                self.cloud.wait("ec2", "nat-gateway-deleted", "--nat-gateway-ids", stray)

    def remove_named(self, names: Iterable[str]) -> None:
        """Delete by ARN, when nothing is in the state any more. Raises CommandError."""
        kinds: dict[str, Callable[[str], object]] = {
            r"arn:[^:]+:iam::\d+:role/(?:.+/)?([^/]+)": self._role,
            r"arn:[^:]+:kms:.+:key/(.+)": self._key,
            r"arn:[^:]+:logs:.+:log-group:([^:]+)(?::\*)?": self._log_group,
            r"arn:[^:]+:ecr:.+:repository/(.+)": self._repository,
        }
        listed = list(names)
        self.remove_of_ec2({name.rpartition("/")[2] for name in listed if ":ec2:" in name})
        for name in listed:
            for kind, delete in kinds.items():
                if found := re.fullmatch(kind, name):
                    delete(found[1])

    def remove_alias(self, alias: str, tag: str = TAG) -> None:
        """Delete the name of a key of ours, which would keep it as long as the key waits for its
        end. Raises CommandError."""
        key = self.cloud.find("kms", "describe-key", "--key-id", alias)
        if key is None:
            return
        which = ("--key-id", key["KeyMetadata"]["KeyId"])
        tags = (self.cloud.find("kms", "list-resource-tags", *which) or {}).get("Tags", [])
        if {"TagKey": tag, "TagValue": self.settings.name} in tags:
            self.cloud.remove("kms", "delete-alias", "--alias-name", alias)

    def _detach(self, stray: str) -> None:
        """Part a stray from what it is attached to."""
        if stray.startswith("rtb-"):
            words = ("ec2", "describe-route-tables", "--route-table-ids", stray)
            tables = (self.cloud.find(*words) or {}).get("RouteTables", [])
            for association in (each for table in tables for each in table["Associations"]):
                which = ("--association-id", association["RouteTableAssociationId"])
                self.cloud.remove("ec2", "disassociate-route-table", *which)
        elif stray.startswith("igw-"):
            which = ("--internet-gateway-id", stray)
            words = ("ec2", "describe-internet-gateways", "--internet-gateway-ids", stray)
            gateways = (self.cloud.find(*words) or {}).get("InternetGateways", [])
            for attachment in (each for gateway in gateways for each in gateway["Attachments"]):
                vpc = ("--vpc-id", attachment["VpcId"])
                self.cloud.remove("ec2", "detach-internet-gateway", *which, *vpc)

    def _role(self, name: str) -> None:
        """A role goes after its policies."""
        which = ("--role-name", name)
        attached = self.cloud.find("iam", "list-attached-role-policies", *which) or {}
        for policy in attached.get("AttachedPolicies", []):
            arn = ("--policy-arn", policy["PolicyArn"])
            self.cloud.remove("iam", "detach-role-policy", *which, *arn)
        inline = self.cloud.find("iam", "list-role-policies", *which) or {}
        for policy in inline.get("PolicyNames", []):
            self.cloud.remove("iam", "delete-role-policy", *which, "--policy-name", policy)
        self.cloud.remove("iam", "delete-role", *which)

    def _key(self, identifier: str) -> None:
        window = ("--pending-window-in-days", "7")
        self.cloud.remove("kms", "schedule-key-deletion", "--key-id", identifier, *window)

    def _log_group(self, name: str) -> None:
        self.cloud.remove("logs", "delete-log-group", "--log-group-name", name)

    def _repository(self, name: str) -> None:
        self.cloud.remove("ecr", "delete-repository", "--repository-name", name, "--force")
