"""Deletes what Kubernetes had AWS make: load balancers, volumes, network interfaces, logs.

Terraform doesn't know them, and its VPC can't go before they have. The cluster takes most of them
along when it is asked to in time; this is for a cluster that can't be asked any more, or didn't get
round to it. Only what is in the environment's VPC or carries its tags is touched, and what carries
no more than the cluster's name only where there was such an environment; each call may be made
again at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from emporium_aws.cloud import Cloud
from emporium_aws.errors import AwsError
from emporium_aws.settings import TAG, Settings

CLUSTER_TAG: Final = "kubernetes.io/cluster/"
"""With the cluster's name behind: what Kubernetes writes on what it makes."""
CNI: Final = ("aws-K8S-", "Amazon EKS ")
"""How the descriptions of interfaces begin that a node leaves when it goes quickly."""
GROUPS: Final = "k8s-"
"""How the names of security groups begin that the load balancer controller makes."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The leftovers of one environment."""

    cloud: Cloud
    settings: Settings
    vpcs: tuple[str, ...]
    """Kept from the beginning: what is in them can outlive them, as target groups do."""
    known: bool
    """Whether the environment was there: else its cluster's name may be another's."""

    @staticmethod
    def begin(cloud: Cloud, settings: Settings, *, known: bool) -> Sweep:
        """Look which VPCs are the environment's, which is `known` with one. Raises CommandError."""
        filters = f"Name=tag:{TAG},Values={settings.name}"
        sample = {"Vpcs": [{"VpcId": "VPC"}]}
        found = cloud.ask("ec2", "describe-vpcs", "--filters", filters, sample=sample)
        vpcs = tuple(str(vpc["VpcId"]) for vpc in found["Vpcs"])
        return Sweep(cloud, settings, vpcs, known or bool(vpcs))

    def run(self) -> None:
        """Delete them all. Raises CommandError when AWS doesn't answer."""
        for vpc in self.vpcs:
            self._balancers(vpc)
            self._interfaces(vpc)
            self._security_groups(vpc)
        self._volumes()
        if self.known:
            self._logs()

    def images(self) -> None:
        """Delete all images, for a repository with images can't be destroyed."""
        words = ("ecr", "describe-repositories")
        prefix = f"{self.settings.name}/"
        sample = {"repositories": [{"repositoryName": f"{prefix}catalog"}]}
        for repository in self.cloud.ask(*words, sample=sample)["repositories"]:
            name = repository["repositoryName"]
            if name.startswith(prefix) and self._is_ours(repository):
                self._empty(name)

    def _is_ours(self, repository: Any) -> bool:
        """Whether a repository carries our tag: others may have such a name."""
        if self.cloud.runner.dry_run:
            return True
        words = ("ecr", "list-tags-for-resource", "--resource-arn", repository["repositoryArn"])
        wanted = {"Key": TAG, "Value": self.settings.name}
        return wanted in ((self.cloud.find(*words) or {}).get("tags") or [])

    def _empty(self, name: str) -> None:
        words = ("--repository-name", name)
        images = self.cloud.ask("ecr", "list-images", *words, sample={"imageIds": []})["imageIds"]
        for digest in sorted({image["imageDigest"] for image in images}):
            which = ("--image-ids", f"imageDigest={digest}")
            self.cloud.remove("ecr", "batch-delete-image", *words, *which)

    def _balancers(self, vpc: str) -> None:
        """Load balancers of all generations, and what they send to."""
        found = self.cloud.ask("elbv2", "describe-load-balancers", sample={"LoadBalancers": []})
        for balancer in found["LoadBalancers"]:
            if balancer.get("VpcId") == vpc:
                arn = balancer["LoadBalancerArn"]
                self.cloud.remove("elbv2", "delete-load-balancer", "--load-balancer-arn", arn)
        found = self.cloud.ask("elbv2", "describe-target-groups", sample={"TargetGroups": []})
        for group in found["TargetGroups"]:
            if group.get("VpcId") == vpc:
                arn = group["TargetGroupArn"]
                self.cloud.remove("elbv2", "delete-target-group", "--target-group-arn", arn)
        sample: Any = {"LoadBalancerDescriptions": []}
        found = self.cloud.ask("elb", "describe-load-balancers", sample=sample)
        for balancer in found["LoadBalancerDescriptions"]:
            if balancer.get("VPCId") == vpc:
                name = balancer["LoadBalancerName"]
                self.cloud.remove("elb", "delete-load-balancer", "--load-balancer-name", name)

    def _interfaces(self, vpc: str) -> None:
        """Interfaces that nodes left behind, attached to nothing."""
        filters = (f"Name=vpc-id,Values={vpc}", "Name=status,Values=available")
        sample: Any = {"NetworkInterfaces": []}
        words = ("ec2", "describe-network-interfaces", "--filters", *filters)
        for interface in self.cloud.ask(*words, sample=sample)["NetworkInterfaces"]:
            if interface.get("Description", "").startswith(CNI):
                which = ("--network-interface-id", interface["NetworkInterfaceId"])
                self.cloud.remove("ec2", "delete-network-interface", *which)

    def _security_groups(self, vpc: str) -> None:
        """Groups that the load balancer controller or EKS made, after all rules of and about
        them."""
        words = ("ec2", "describe-security-groups", "--filters", f"Name=vpc-id,Values={vpc}")
        groups = self.cloud.ask(*words, sample={"SecurityGroups": []})["SecurityGroups"]
        begin = [GROUPS]
        if not self._cluster_is_there():
            begin.append(f"eks-cluster-sg-{self.settings.name}-")
        doomed = {each["GroupId"] for each in groups if each["GroupName"].startswith(tuple(begin))}
        if doomed:
            self._drop_rules({each["GroupId"] for each in groups}, doomed)
        for group in sorted(doomed):
            self.cloud.remove("ec2", "delete-security-group", "--group-id", group)

    def _cluster_is_there(self) -> bool:
        words = ("eks", "describe-cluster", "--name", self.settings.name)
        return self.cloud.find(*words) is not None

    def _drop_rules(self, groups: AbstractSet[str], doomed: AbstractSet[str]) -> None:
        """Drop the rules of doomed groups, and those of other groups that name them."""
        filters = f"Name=group-id,Values={','.join(sorted(groups))}"
        words = ("ec2", "describe-security-group-rules", "--filters", filters)
        for rule in self.cloud.ask(*words)["SecurityGroupRules"]:
            named = rule.get("ReferencedGroupInfo", {}).get("GroupId")
            if {rule["GroupId"], named} & doomed:
                way = "egress" if rule["IsEgress"] else "ingress"
                revoke = ("ec2", f"revoke-security-group-{way}", "--group-id", rule["GroupId"])
                which = ("--security-group-rule-ids", rule["SecurityGroupRuleId"])
                self.cloud.remove(*revoke, *which)

    def _volumes(self) -> None:
        """Volumes that the storage driver made, once nothing uses them."""
        for volume in sorted(set(self._loose_volumes())):
            self.cloud.remove("ec2", "delete-volume", "--volume-id", volume)

    def _loose_volumes(self) -> Iterator[str]:
        name = self.settings.name
        tags = [f"Name=tag:{TAG},Values={name}"]
        if self.known:
            tags.append(f"Name=tag:{CLUSTER_TAG}{name},Values=owned")
        for tag in tags:
            filters = (tag, "Name=status,Values=available")
            words = ("ec2", "describe-volumes", "--filters", *filters)
            for volume in self.cloud.ask(*words, sample={"Volumes": []})["Volumes"]:
                yield volume["VolumeId"]

    def _logs(self) -> None:
        """Log groups that EKS made anew after Terraform had deleted its own."""
        prefix = f"/aws/eks/{self.settings.name}/"
        words = ("logs", "describe-log-groups", "--log-group-name-prefix", prefix)
        if self._cluster_is_there():
            return
        for group in self.cloud.ask(*words, sample={"logGroups": []})["logGroups"]:
            self.cloud.remove("logs", "delete-log-group", "--log-group-name", group["logGroupName"])


def refuse_another_cluster(cloud: Cloud, settings: Settings) -> None:
    """A cluster of this name that `aws-up` hasn't made is somebody's. Raises AwsError, before
    anything is touched."""
    words = ("eks", "describe-cluster", "--name", settings.name)
    sample = {"cluster": {"tags": {TAG: settings.name}}}
    found: Any = cloud.find(*words, sample=sample)
    if found is not None and found["cluster"].get("tags", {}).get(TAG) != settings.name:
        raise AwsError(
            f"there is a cluster {settings.name} in {settings.region} without the tag"
            f" {TAG}={settings.name}: `make aws-up` hasn't made it",
            "nothing was touched; say NAME= or REGION= of the environment that is meant",
        )
