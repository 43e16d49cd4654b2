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
from emporium_aws.down import Down
from emporium_aws.errors import AwsError, CommandError
from emporium_aws.leftovers import Leftovers
from emporium_aws.settings import Settings
from emporium_aws.state import State
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


def stray_aws(said: list[str], groups: tuple[str, ...] = ()) -> FakeAws:
    """AWS with a cluster that has such node groups, and things in EC2."""
    aws = FakeAws(say=said.append)
    ids = ["vpc-ours", "subnet-ours", "subnet-stray", "nat-stray", "eipalloc-stray", "i-node"]
    aws.answers = {
        "describe-cluster": {"cluster": {}},
        "list-nodegroups": {"nodegroups": list(groups)},
        "describe-tags": {"Tags": [{"ResourceId": each} for each in ids]},
    }
    return aws


def changes(aws: FakeAws) -> list[str]:
    """What was asked for that isn't a question."""
    return [words for words in aws.asked if " describe-" not in words and " list-" not in words]


def test_what_hangs_on_a_stray_goes_before_it(said: list[str]) -> None:
    """Node groups before the cluster, gateways before their addresses and subnets; what
    Terraform will destroy, and what it never makes, stays."""
    aws = stray_aws(said, ("ours", "stray"))
    strays = Strays(Cloud(aws), Settings("shop", "us-east-1"))
    known = frozenset({"shop", "shop:ours", "vpc-ours", "subnet-ours"})
    found = strays.find()
    assert strays.remove_cluster(found.cluster - known)
    strays.remove_of_ec2(found.of_ec2 - known)
    group = "--cluster-name shop --nodegroup-name stray"
    assert changes(aws) == [
        f"aws eks delete-nodegroup {group}",
        f"aws eks wait nodegroup-deleted {group}",
        "aws ec2 delete-nat-gateway --nat-gateway-id nat-stray",
        "aws ec2 wait nat-gateway-deleted --nat-gateway-ids nat-stray",
        "aws ec2 release-address --allocation-id eipalloc-stray",
        "aws ec2 delete-subnet --subnet-id subnet-stray",
    ]


def test_a_cluster_that_is_still_being_made_is_waited_for(said: list[str]) -> None:
    """EKS may refuse to delete it before."""
    aws = stray_aws(said)
    refused = iter([Done(254, "", "An error occurred (ResourceInUseException)")])
    answer = aws.attempt

    def attempt(*command: str, **more: Any) -> Done:
        done = answer(*command, **more)
        return next(refused, done) if "delete-cluster" in command else done

    aws.attempt = attempt  # type: ignore[method-assign]
    strays = Strays(Cloud(aws), Settings("shop", "us-east-1"))
    assert strays.remove_cluster(strays.find().cluster)
    assert changes(aws) == [
        "aws eks delete-cluster --name shop",
        "aws eks wait cluster-active --name shop",
        "aws eks delete-cluster --name shop",
        "aws eks wait cluster-deleted --name shop",
    ]


class Beside(Terraform):
    """A Terraform beside another run, that makes something just before the state is read."""

    def known(self) -> frozenset[str]:
        """All but an address."""
        aws: Any = self.runner
        aws.answers["describe-tags"]["Tags"].append({"ResourceId": "subnet-of-another-run"})
        return frozenset({"shop", "vpc-ours", "subnet-ours", "subnet-stray", "nat-stray"})


def test_what_another_run_makes_is_no_stray(said: list[str], tmp_path: Path) -> None:
    """What there is is listed before the state is read, not after it."""
    aws = stray_aws(said)
    settings = Settings("shop", "us-east-1")
    cloud = Cloud(aws)
    strays = Strays(cloud, settings)
    sweep = Sweep(cloud, settings, (), known=False)
    work = Down(aws, settings, State(aws, settings, "1"), cloud, Leftovers(cloud, settings), strays)
    work.remove_strays(Beside(aws, tmp_path, tmp_path), sweep)
    assert changes(aws) == ["aws ec2 release-address --allocation-id eipalloc-stray"]


def test_another_regions_environment_of_the_same_name_is_left_alone(said: list[str]) -> None:
    """Neither listed nor deleted, though IAM has no regions and us-east-1 lists what has none."""
    aws = FakeAws(say=said.append)
    here, there = "eu-central-1", "us-east-1"
    arns = [
        f"arn:aws:ec2:{there}:1:vpc/vpc-1",
        f"arn:aws:ecr:{there}:1:repository/shop/catalog",
        f"arn:aws:logs:{there}:1:log-group:/aws/vpc/shop/flow",
        f"arn:aws:kms:{there}:1:key/k",
        "arn:aws:s3:::shop-state-1-us-east-1",
    ]
    role = {"RoleName": "shop-node", "Arn": "arn:aws:iam::1:role/shop-node"}
    tags = [
        {"Key": "emporium:environment", "Value": "shop"},
        {"Key": "emporium:region", "Value": there},
    ]
    aws.answers = {
        f"--region {there}": {"ResourceTagMappingList": [{"ResourceARN": arn} for arn in arns]},
        f"--region {here}": {"ResourceTagMappingList": []},
        "list-roles": {"Roles": [role]},
        "list-policies": {"Policies": []},
        "list-role-tags": {"Tags": tags},
        "describe-key": {"KeyMetadata": {"KeyState": "Enabled"}},
    }
    assert Leftovers(Cloud(aws), Settings("shop", here)).find() == []
    assert len(Leftovers(Cloud(aws), Settings("shop", there)).find()) == len([*arns, role])


@pytest.mark.parametrize("ours", [False, True])
def test_only_our_keys_lose_their_name(said: list[str], ours: Any) -> None:
    """Somebody else may have one of the same name."""
    aws = FakeAws(say=said.append)
    tags = [{"TagKey": "emporium:environment", "TagValue": "shop" if ours else "other"}]
    aws.answers = {
        "describe-key": {"KeyMetadata": {"KeyId": "k"}},
        "list-resource-tags": {"Tags": tags},
    }
    Strays(Cloud(aws), Settings("shop", "us-east-1")).remove_alias("alias/shop")
    assert ("aws kms delete-alias --alias-name alias/shop" in aws.asked) is ours


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
    assert "an interrupted run has left it" in failure.value.remedy


def test_a_state_whose_identifiers_are_not_found_has_no_strays(
    said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that there is would be one."""
    terraform = Terraform(runner(said), tmp_path, tmp_path)
    monkeypatch.setattr(Terraform, "plan", lambda *_, **__: {"prior_state": {"elsewhere": {}}})
    monkeypatch.setattr(Terraform, "resources", lambda _: ["aws_vpc.this"])
    with pytest.raises(CommandError, match="without an identifier"):
        terraform.known()
    monkeypatch.setattr(Terraform, "resources", lambda _: [])
    assert terraform.known() == frozenset()


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
