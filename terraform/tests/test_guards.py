"""What keeps the aws-* targets from what isn't theirs, and from what wasn't meant."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import FakeAws, runner
from emporium_aws import cli
from emporium_aws.cloud import Cloud
from emporium_aws.errors import AwsError
from emporium_aws.settings import Settings
from emporium_aws.sweep import refuse_another_cluster


@pytest.mark.parametrize(
    ("cluster", "refused"),
    [
        (None, False),
        ({"tags": {"emporium:environment": "shop"}}, False),
        ({"tags": {"owner": "another team"}}, True),
        ({"tags": {"emporium:environment": "other"}}, True),
        ({}, True),
    ],
)
def test_somebody_elses_cluster_is_not_touched(said: list[str], cluster: Any, refused: Any) -> None:
    """Only a cluster with the environment's tag is ours; none at all is no obstacle."""
    aws = FakeAws(say=said.append)
    aws.answers = {"describe-cluster": None if cluster is None else {"cluster": cluster}}
    settings = Settings("shop", "us-east-1")
    if not refused:
        refuse_another_cluster(Cloud(aws), settings)
        return
    with pytest.raises(AwsError, match="hasn't made it"):
        refuse_another_cluster(Cloud(aws), settings)


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("module.network.aws_vpc.this", True),
        ("module.cluster.aws_eks_cluster.this", True),
        ("module.cluster.aws_launch_template.zone", False),
    ],
)
def test_a_plan_that_deletes_the_environment_is_refused(
    said: list[str], address: str, refused: Any
) -> None:
    """What goes is listed; without its network or cluster an environment is another one."""
    change = {"address": address, "change": {"actions": ["delete", "create"]}}
    if not refused:
        cli.tell_losses(runner(said), {"resource_changes": [change]})
    else:
        with pytest.raises(AwsError, match="would delete what the environment is made of"):
            cli.tell_losses(runner(said), {"resource_changes": [change]})
    assert f"  {address}" in said


@pytest.mark.parametrize("target", ["aws-down", "aws-up", "aws-install"])
def test_a_dry_run_said_before_make_counts(target: str) -> None:
    """`DRY_RUN=1 make ...` holds back as `make ... DRY_RUN=1` does."""
    done = subprocess.run(
        ["make", "--dry-run", target, "YES=1"],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "DRY_RUN": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert "--dry-run" in done.stdout
