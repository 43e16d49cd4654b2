"""What still carries the environment's tag.

The tagging API knows nearly everything, some minutes late, and goes on listing for an hour what is
gone; so what it lists is looked at again. IAM's roles and policies it doesn't know: those are found
by their names and then their tags.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from emporium_aws.cloud import Cloud
from emporium_aws.settings import REGION_TAG, TAG, Settings

POLL_S: Final = 20
GLOBAL_REGION: Final = "us-east-1"
"""Where the tagging API lists what has no region."""
INSTANCE: Final = re.compile(r"instance/(i-[0-9a-f]+)$")
NAT: Final = re.compile(r"natgateway/(nat-[0-9a-f]+)$")
VOLUME: Final = re.compile(r"volume/(vol-[0-9a-f]+)$")
KEY: Final = re.compile(r":kms:.*:key/")
OFF: Final = frozenset({"terminated", "deleted", "PendingDeletion", "deleting"})


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Looks for what is left of an environment."""

    cloud: Cloud
    settings: Settings

    def find(self, key: str = TAG) -> list[str]:
        """Everything that carries the tag and isn't gone, sorted. Raises CommandError."""
        regions = {self.settings.region, GLOBAL_REGION}
        found = {arn for region in sorted(regions) for arn in self._tagged(key, region)}
        return sorted([arn for arn in found if self._is_there(arn)] + self._of_iam(key))

    def wait(self, key: str = TAG, sleep: Callable[[float], None] = time.sleep) -> list[str]:
        """As `find`, after giving what is on its way out the time to go. Raises CommandError."""
        found = self.find(key)
        for _ in range(self.settings.patience_s // POLL_S):
            if not found:
                break
            self.cloud.runner.say(f"  {len(found)} not gone yet, as it seems; looking again")
            sleep(POLL_S)
            found = self.find(key)
        return found

    def _tagged(self, key: str, region: str) -> list[str]:
        """What the tagging API lists for a region."""
        words = ("resourcegroupstaggingapi", "get-resources", "--region", region)
        filters = f"Key={key},Values={self.settings.name}"
        sample: Any = {"ResourceTagMappingList": []}
        found = self.cloud.ask(*words, "--tag-filters", filters, sample=sample)
        listed = [each["ResourceARN"] for each in found["ResourceTagMappingList"]]
        return [arn for arn in listed if self._is_of_the_region(arn, region)]

    def _is_of_the_region(self, arn: str, asked: str) -> bool:
        """Whether it isn't of another region's environment that has the same name; a bucket is
        listed where it is, without saying so."""
        service, region = arn.split(":")[2:4]
        if region or service == "s3":
            return (region or asked) == self.settings.region
        return True

    def _is_there(self, arn: str) -> bool:
        """Whether what is listed is more than a memory."""
        if found := INSTANCE.search(arn):
            answer = self.cloud.find("ec2", "describe-instances", "--instance-ids", found[1])
            state = answer and answer["Reservations"][0]["Instances"][0]["State"]["Name"]
        elif found := NAT.search(arn):
            answer = self.cloud.find("ec2", "describe-nat-gateways", "--nat-gateway-ids", found[1])
            state = answer and answer["NatGateways"] and answer["NatGateways"][0]["State"]
        elif found := VOLUME.search(arn):
            answer = self.cloud.find("ec2", "describe-volumes", "--volume-ids", found[1])
            state = answer and answer["Volumes"] and answer["Volumes"][0]["State"]
        elif KEY.search(arn):
            answer = self.cloud.find("kms", "describe-key", "--key-id", arn)
            state = answer and answer["KeyMetadata"]["KeyState"]
        else:
            return True
        return bool(state) and state not in OFF

    def _of_iam(self, key: str) -> list[str]:
        """IAM's roles and policies of our name that carry the tag, and the region's."""
        ours = f"{self.settings.name}-"
        roles = self.cloud.ask("iam", "list-roles", sample={"Roles": []})["Roles"]
        words = ("iam", "list-policies", "--scope", "Local")
        policies = self.cloud.ask(*words, sample={"Policies": []})["Policies"]
        found = [
            (role["Arn"], ("iam", "list-role-tags", "--role-name", role["RoleName"]))
            for role in roles
            if role["RoleName"].startswith(ours)
        ] + [
            (policy["Arn"], ("iam", "list-policy-tags", "--policy-arn", policy["Arn"]))
            for policy in policies
            if policy["PolicyName"].startswith(ours)
        ]
        wanted = {(key, self.settings.name), (REGION_TAG, self.settings.region)}
        return [arn for arn, question in found if wanted <= self._tags(*question)]

    def _tags(self, *question: str) -> set[tuple[str, str]]:
        tags = (self.cloud.find(*question) or {}).get("Tags") or []
        return {(tag["Key"], tag["Value"]) for tag in tags}
