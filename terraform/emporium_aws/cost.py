"""What a plan costs in a month, and the question whether to go on.

List prices of us-east-1 in US dollars, on demand; other regions differ by up to half. Traffic,
requests and logs come on top (docs/AWS.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TextIO

from emporium_aws.errors import AwsError

HOURS: Final = 730
"""In a month, as AWS counts."""
CLUSTER_USD: Final = 0.10
"""An hour of control plane, while the version is in standard support."""
NAT_USD: Final = 0.045
"""An hour of NAT gateway, without its traffic (0.045 a GB)."""
ADDRESS_USD: Final = 0.005
"""An hour of public IPv4 address."""
GP3_USD: Final = 0.08
"""A GiB of gp3 for a month."""
KEY_USD: Final = 1.0
"""A KMS key for a month."""
STORE_GIB: Final = 6
"""The chart's six volumes of 1 GiB."""
INSTANCE_USD: Final = {
    "t3.small": 0.0208,
    "t3.medium": 0.0416,
    "t3.large": 0.0832,
    "t3.xlarge": 0.1664,
    "t3a.medium": 0.0376,
    "t3a.large": 0.0752,
    "t4g.small": 0.0168,
    "t4g.medium": 0.0336,
    "t4g.large": 0.0672,
    "t4g.xlarge": 0.1344,
    "m6g.large": 0.0770,
    "m6i.large": 0.0960,
    "m7g.large": 0.0816,
    "m7i.large": 0.1008,
    "c7g.large": 0.0725,
    "c7i.large": 0.0893,
}
"""An hour of Linux."""


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of thing; `usd` a month, None where the price isn't known here."""

    count: int
    what: str
    usd: float | None


def estimate(plan: Any) -> list[Line]:
    """What is there once the plan of `terraform show -json` is applied."""
    found = list(_resources(plan.get("planned_values", {}).get("root_module", {})))
    lines = []
    for kind, what, usd in (
        ("aws_eks_cluster", "EKS control plane", CLUSTER_USD * HOURS),
        ("aws_nat_gateway", "NAT gateway", NAT_USD * HOURS),
        ("aws_eip", "public IPv4 address", ADDRESS_USD * HOURS),
        ("aws_kms_key", "KMS key", KEY_USD),
    ):
        if count := sum(resource["type"] == kind for resource in found):
            lines.append(Line(count, what, count * usd))
    lines.append(Line(1, "KMS key of the state's bucket", KEY_USD))
    disk_gib = sum(
        mapping["ebs"][0].get("volume_size") or 0
        for resource in found
        if resource["type"] == "aws_launch_template"
        for mapping in resource["values"].get("block_device_mappings") or []
        if mapping.get("ebs")
    )
    nodes: dict[str, int] = {}
    for resource in found:
        if resource["type"] == "aws_eks_node_group":
            values = resource["values"]
            instance = (values.get("instance_types") or ["t3.medium"])[0]
            nodes[instance] = nodes.get(instance, 0) + values["scaling_config"][0]["desired_size"]
    for instance, count in nodes.items():
        price = INSTANCE_USD.get(instance)
        each = None if price is None else count * price * HOURS
        lines.append(Line(count, f"node {instance}", each))
    if nodes:
        gib = sum(nodes.values()) * disk_gib + STORE_GIB
        lines.append(Line(gib, "GiB of gp3 (nodes, and the store's volumes)", gib * GP3_USD))
    return lines


def _resources(module: Any) -> Iterator[Any]:
    """All managed resources of a module and those below it."""
    for resource in module.get("resources", []):
        if resource.get("mode") == "managed":
            yield resource
    for child in module.get("child_modules", []):
        yield from _resources(child)


def table(lines: list[Line]) -> str:
    """The estimate, to be read."""
    shown = [
        f"  {line.count:4} {line.what:45} "
        + (f"{line.usd:8.2f}" if line.usd is not None else "unknown to this table")
        for line in lines
    ]
    month = sum(line.usd or 0 for line in lines)
    total = f"  {'':4} {'a month, about (an hour: ' + f'{month / HOURS:.2f})':45} {month:8.2f}"
    return "\n".join([*shown, total])


def confirm(
    question: str,
    *,
    yes: bool,
    dry_run: bool,
    say: Callable[[str], None] = print,
    source: TextIO | None = None,
) -> None:
    """Go on only when somebody says so. Raises AwsError otherwise."""
    say(question)
    if dry_run:
        say("(dry run: here it would ask)")
        return
    if yes:
        say("YES=1: going on")
        return
    typed = sys.stdin if source is None else source
    if not typed.isatty():
        raise AwsError("nobody to ask: standard input is no terminal", "say YES=1 to go on")
    say("Type yes to go on:")
    if typed.readline().strip().lower() != "yes":
        raise AwsError("not confirmed; nothing was changed")
