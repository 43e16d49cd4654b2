"""Deletes what Terraform had AWS make and has in no state.

An interrupted Terraform gives up the requests that are under way, and AWS may have done what they
asked for; a killed one loses what it did since it last wrote its state. Such strays block what is
in the state: a VPC doesn't go before its last subnet. They come after it in the order of making,
so they can go first: nothing in the state needs a stray.

Only what carries the environment's tag is touched, and only kinds that the configuration makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from emporium_aws.cloud import Cloud
from emporium_aws.settings import TAG, Settings

GONE_S: Final = 2400
"""How long a node group or a cluster may take to go; AWS's own waiting ends at 40 minutes."""
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
class Strays:
    """The strays of one environment."""

    cloud: Cloud
    settings: Settings

    def remove(self, known: AbstractSet[str]) -> None:
        """Delete what EKS and EC2 have, but for what is `known`, by the identifiers of Terraform's
        state. Raises CommandError."""
        self._cluster(known)
        filters = (f"Name=key,Values={TAG}", f"Name=value,Values={self.settings.name}")
        sample: Any = {"Tags": []}
        found = self.cloud.ask("ec2", "describe-tags", "--filters", *filters, sample=sample)
        self._of_ec2({each["ResourceId"] for each in found["Tags"]} - known)

    def remove_named(self, names: Iterable[str]) -> None:
        """Delete what is left when nothing is in the state any more, by ARN. Of kinds that the
        configuration doesn't make, nothing is deleted. Raises CommandError."""
        kinds: dict[str, Callable[[str], object]] = {
            r"arn:[^:]+:iam::\d+:role/(?:.+/)?([^/]+)": self._role,
            r"arn:[^:]+:kms:.+:key/(.+)": self._key,
            r"arn:[^:]+:logs:.+:log-group:([^:]+)(?::\*)?": self._log_group,
            r"arn:[^:]+:ecr:.+:repository/(.+)": self._repository,
        }
        listed = list(names)
        self._of_ec2({name.rpartition("/")[2] for name in listed if ":ec2:" in name})
        for name in listed:
            for kind, delete in kinds.items():
                if found := re.fullmatch(kind, name):
                    delete(found[1])

    def _of_ec2(self, identifiers: AbstractSet[str]) -> None:
        for beginning, deletion in OF_EC2.items():
            strays = sorted(each for each in identifiers if each.startswith(beginning))
            for stray in strays:
                self._detach(stray)
                self.cloud.remove("ec2", *deletion, stray)
            if strays and beginning == "nat-":  # their addresses are theirs until they are gone
                which = ("--nat-gateway-ids", *strays)
                self.cloud.remove("ec2", "wait", "nat-gateway-deleted", *which, timeout_s=GONE_S)

    def _cluster(self, known: AbstractSet[str]) -> None:
        """The cluster's node groups, and the cluster, which was seen to be ours before."""
        name = self.settings.name
        if self.cloud.find("eks", "describe-cluster", "--name", name) is None:
            return
        which = ("--cluster-name", name)
        listed = self.cloud.ask("eks", "list-nodegroups", *which)
        strays = [group for group in listed["nodegroups"] if f"{name}:{group}" not in known]
        groups = [(*which, "--nodegroup-name", group) for group in strays]
        for group in groups:
            self.cloud.remove("eks", "delete-nodegroup", *group)
        for group in groups:
            self.cloud.remove("eks", "wait", "nodegroup-deleted", *group, timeout_s=GONE_S)
        if name not in known:
            self.cloud.remove("eks", "delete-cluster", "--name", name)
            self.cloud.remove("eks", "wait", "cluster-deleted", "--name", name, timeout_s=GONE_S)

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
        """A key waits for its end; its alias would keep the name till then."""
        which = ("--key-id", identifier)
        for alias in (self.cloud.find("kms", "list-aliases", *which) or {}).get("Aliases", []):
            self.cloud.remove("kms", "delete-alias", "--alias-name", alias["AliasName"])
        window = ("--pending-window-in-days", "7")
        self.cloud.remove("kms", "schedule-key-deletion", *which, *window)

    def _log_group(self, name: str) -> None:
        self.cloud.remove("logs", "delete-log-group", "--log-group-name", name)

    def _repository(self, name: str) -> None:
        self.cloud.remove("ecr", "delete-repository", "--repository-name", name, "--force")
