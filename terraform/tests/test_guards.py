"""What keeps the aws-* targets from what isn't theirs, and from what wasn't meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import FakeAws, runner
from emporium_aws import cli, e2e
from emporium_aws.cloud import Cloud
from emporium_aws.commands import Done, Runner
from emporium_aws.errors import AwsError, CommandError
from emporium_aws.settings import Settings
from emporium_aws.store import Outputs
from emporium_aws.strays import Strays
from emporium_aws.sweep import Sweep, refuse_another_cluster
from emporium_aws.terraform import Terraform, identifiers, stage, variables

OUTPUTS = Outputs("emporium", "registry.example", "emporium", "gp3", "amd64")


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


def test_what_the_environment_says_in_vain_is_told() -> None:
    """`VARS=x make ...` plans without x, and says so; behind make it counts, silently."""
    told = "Not taken from the environment: VARS. Say it behind make: make aws-plan VARS=...\n"
    for before, behind in ((True, False), (False, True)):
        done = subprocess.run(
            ["make", "--dry-run", "aws-plan", *(["VARS=x.tfvars"] if behind else [])],
            cwd=Path(__file__).resolve().parents[2],
            env={"PATH": os.environ["PATH"], **({"VARS": "x.tfvars"} if before else {})},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert (told in done.stdout) is before
        assert ("--var-file" in done.stdout) is behind


@pytest.mark.parametrize("known", [False, True])
def test_a_clusters_name_alone_makes_nothing_ours(said: list[str], known: Any) -> None:
    """Kept volumes and audit logs of somebody's former cluster of that name stay."""
    aws = FakeAws(say=said.append)
    aws.answers = {
        "describe-vpcs": {"Vpcs": []},
        "kubernetes.io/cluster/shop": {"Volumes": [{"VolumeId": "vol-theirs"}]},
        "describe-volumes": {"Volumes": [{"VolumeId": "vol-ours"}]},
        "describe-log-groups": {"logGroups": [{"logGroupName": "/aws/eks/shop/cluster"}]},
    }
    Sweep.begin(Cloud(aws), Settings("shop", "us-east-1"), known=known).run()
    deleted = [words for words in aws.asked if " delete-" in words]
    assert any("vol-ours" in words for words in deleted)
    assert any("vol-theirs" in words for words in deleted) is known
    assert any("/aws/eks/shop/cluster" in words for words in deleted) is known


def test_target_groups_are_found_after_their_vpc_is_gone(said: list[str]) -> None:
    """The first refusal ("in use") isn't the last word."""
    aws = FakeAws(say=said.append)
    group = {"VpcId": "vpc-1", "TargetGroupArn": "arn:group"}
    aws.answers = {
        "describe-vpcs": {"Vpcs": [{"VpcId": "vpc-1"}]},
        "describe-target-groups": {"TargetGroups": [group, {"VpcId": "x", "TargetGroupArn": "no"}]},
        "elbv2 describe-load-balancers": {"LoadBalancers": []},
        "elb describe-load-balancers": {"LoadBalancerDescriptions": []},
        "describe-network-interfaces": {"NetworkInterfaces": []},
        "describe-security-groups": {"SecurityGroups": []},
        "describe-volumes": {"Volumes": []},
        "describe-log-groups": {"logGroups": []},
    }
    sweep = Sweep.begin(Cloud(aws), Settings("shop", "us-east-1"), known=False)
    aws.answers["describe-vpcs"] = {"Vpcs": []}
    sweep.run()
    deleted = [words for words in aws.asked if "delete-target-group" in words]
    assert deleted == ["aws elbv2 delete-target-group --target-group-arn arn:group"]


def test_only_what_the_state_does_not_know_is_a_stray(said: list[str]) -> None:
    """A node group and what hangs on it go before the VPC; what Terraform will destroy stays."""
    aws = FakeAws(say=said.append)
    ids = ["vpc-ours", "subnet-ours", "subnet-stray", "nat-stray", "eipalloc-stray", "i-node"]
    aws.answers = {
        "describe-cluster": {"cluster": {}},
        "list-nodegroups": {"nodegroups": ["ours", "stray"]},
        "describe-tags": {"Tags": [{"ResourceId": each} for each in ids]},
    }
    strays = Strays(Cloud(aws), Settings("shop", "us-east-1"))
    strays.remove(frozenset({"shop", "shop:ours", "vpc-ours", "subnet-ours"}))
    done = [words for words in aws.asked if " describe-" not in words and " list-" not in words]
    group = "--cluster-name shop --nodegroup-name stray"
    assert done == [
        f"aws eks delete-nodegroup {group}",
        f"aws eks wait nodegroup-deleted {group}",
        "aws ec2 delete-nat-gateway --nat-gateway-id nat-stray",
        "aws ec2 wait nat-gateway-deleted --nat-gateway-ids nat-stray",
        "aws ec2 release-address --allocation-id eipalloc-stray",
        "aws ec2 delete-subnet --subnet-id subnet-stray",
    ]


def test_a_cluster_that_is_in_no_state_is_deleted(said: list[str]) -> None:
    """It was seen to carry the environment's tag before."""
    aws = FakeAws(say=said.append)
    aws.answers = {
        "describe-cluster": {"cluster": {}},
        "list-nodegroups": {"nodegroups": []},
        "describe-tags": {"Tags": []},
    }
    Strays(Cloud(aws), Settings("shop", "us-east-1")).remove(frozenset({"shop-node"}))
    assert "aws eks delete-cluster --name shop" in aws.asked


def test_an_apply_that_meets_what_it_does_not_know_says_what_it_may_be(
    said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a subnet of an interrupted run that is in no state."""
    told = "Error: InvalidSubnet.Conflict: The CIDR conflicts with another subnet"
    work = runner(said)
    terraform = Terraform(work, tmp_path, tmp_path)

    def fail(*_: object, **__: object) -> str:
        raise CommandError(told, told)

    monkeypatch.setattr(Runner, "work", fail)
    with pytest.raises(CommandError, match="conflicts") as failure:
        terraform.apply()
    assert "an interrupted run may have left" in failure.value.remedy


def test_the_identifiers_of_a_state_are_those_of_all_its_modules() -> None:
    """What Terraform only reads is nothing that it made."""
    vpc = {"mode": "managed", "values": {"id": "vpc-1"}}
    read = {"mode": "data", "values": {"id": "us-east-1"}}
    deepest = {"resources": [{"mode": "managed", "values": {"id": "x"}}]}
    below = {"resources": [vpc, read], "child_modules": [deepest]}
    assert set(identifiers({"child_modules": [below]})) == {"vpc-1", "x"}


class FakeCluster(Runner):
    """A cluster whose job ends as `ends`, or whose installation fails."""

    ends: dict[str, Any]
    fails: bool
    blind: bool

    def work(self, *command: Any, **_: Any) -> str:
        """Do nothing, or fail."""
        if self.fails and "upgrade" in command:
            raise CommandError("failed (1): helm upgrade", "timed out")
        return ""

    def ask(self, *command: Any, **_: Any) -> str:
        """The job, no pods and no nodes."""
        if self.blind:
            raise CommandError("failed (1): kubectl get", "no answer")
        return json.dumps({"items": [{"status": self.ends}] if "jobs" in command else []})

    def attempt(self, *_: Any, **__: Any) -> Done:
        """The events."""
        return Done(0, "FailedScheduling: Too many pods", "")


def cluster(said: list[str], ends: dict[str, Any], *, fails: bool = False) -> FakeCluster:
    """One whose words are kept."""
    made = FakeCluster(say=said.append)
    made.ends, made.fails, made.blind = ends, fails, False
    return made


@pytest.mark.parametrize(("ends", "passed"), [({"succeeded": 1}, True), ({"failed": 1}, False)])
def test_the_jobs_end_is_the_verdict(
    said: list[str], tmp_path: Path, ends: Any, passed: Any
) -> None:
    """Whatever it is, events are gathered."""
    settings = Settings(root=tmp_path)
    assert e2e.run(cluster(said, ends), settings, OUTPUTS, {}, lambda _: None) is passed
    assert ("NOT passed" in said[-1]) is not passed
    assert (e2e.folder(settings) / "events.txt").is_file()


def test_a_store_that_does_not_start_says_why(said: list[str], tmp_path: Path) -> None:
    """Its events are gathered, and the first failure is the one that is told."""
    settings = Settings(root=tmp_path, spread="soft")
    broken = cluster(said, {}, fails=True)
    with pytest.raises(CommandError, match="helm upgrade"):
        e2e.run(broken, settings, OUTPUTS, {}, lambda _: None)
    assert "Too many pods" in (e2e.folder(settings) / "events.txt").read_text("utf-8")
    broken.blind = True
    with pytest.raises(CommandError, match="helm upgrade"):
        e2e.run(broken, settings, OUTPUTS, {}, lambda _: None)
    assert any("can't gather them" in line for line in said)


def test_a_staged_copy_has_only_what_is_there_now(said: list[str], tmp_path: Path) -> None:
    """A renamed file would be there twice; the state stays."""
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        (folder / "modules" / "m").mkdir(parents=True)
    for old in ("old.tf", "modules/m/old.tf", "terraform.tfstate"):
        (target / old).touch()
    for new in ("new.tf", "modules/m/new.tf", "backend.tf"):
        (source / new).touch()
    stage(runner(said), source, target)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {"new.tf", "modules/m/new.tf", "terraform.tfstate"}


def test_no_file_renames_the_environment(tmp_path: Path) -> None:
    """Terraform takes the last one: name and region come after the files."""
    file = tmp_path / "mine.tfvars.json"
    file.write_text('{"name": "other"}', "utf-8")
    words = variables(Settings("shop", "us-east-1", variables=(file,)), "force_delete_images")
    assert words[0] == f"-var-file={file}"
    assert words[1:3] == ("-var=name=shop", "-var=region=us-east-1")


def test_a_check_that_is_not_there_is_refused() -> None:
    """A slip in its name would be good news."""
    done = subprocess.run(
        [sys.executable, "terraform/check.py", "polices"],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no check polices" in done.stdout
