"""aws-up ... aws-down on the stand-in: real Terraform and AWS's real command line; kubectl, helm
and skopeo are doubles that check how they are called.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

from conftest import Checkout, StandIn

STATE_OF = "emporium:state-of"
VPC_IS_MADE = "module.network.aws_vpc.this: Creation complete"


def second_plan(checkout: Checkout) -> int:
    """Terraform's own exit code for a plan on the state: 0 nothing to do, 2 something."""
    done = subprocess.run(
        [
            *("terraform", "-chdir=terraform", "plan", "-detailed-exitcode", "-input=false"),
            *(f"-var=name={checkout.name}", "-no-color"),
        ],
        cwd=checkout.root,
        env=checkout.environment
        | {
            "TF_DATA_DIR": str(checkout.folder / ".terraform"),
            "TF_CLI_CONFIG_FILE": str(checkout.folder / "terraform.rc"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        print(done.stdout[-5000:], done.stderr)
    return done.returncode


def nothing_is_left(checkout: Checkout, stand_in: StandIn) -> None:
    """Neither anything tagged, nor volumes, nor a bucket. Keys that wait for their end and deleted
    gateways go on being listed, as AWS does it."""
    for arn in stand_in.tagged(checkout.name) + stand_in.tagged(checkout.name, STATE_OF):
        if ":kms:" in arn:
            key = stand_in.ask("kms", "describe-key", "--key-id", arn)
            assert key["KeyMetadata"]["KeyState"] == "PendingDeletion"
        else:
            assert ":natgateway/" in arn, arn
            which = ("--nat-gateway-ids", arn.rpartition("/")[2])
            found = stand_in.ask("ec2", "describe-nat-gateways", *which)
            assert found["NatGateways"][0]["State"] == "deleted"
    tags = f"Name=tag:kubernetes.io/cluster/{checkout.name},Values=owned"
    ours = f"Name=tag:emporium:environment,Values={checkout.name}"
    assert stand_in.ask("ec2", "describe-volumes", "--filters", tags)["Volumes"] == []
    buckets = stand_in.ask("s3api", "list-buckets")["Buckets"]
    assert not [bucket for bucket in buckets if bucket["Name"].startswith(f"{checkout.name}-")]
    addresses = stand_in.ask("ec2", "describe-addresses", "--filters", ours)["Addresses"]
    endpoints = stand_in.ask("ec2", "describe-vpc-endpoints", "--filters", ours)["VpcEndpoints"]
    assert addresses == [each for each in endpoints if each["State"] != "deleted"] == []
    templates = stand_in.ask("ec2", "describe-launch-templates")["LaunchTemplates"]
    begun = f"{checkout.name}-"
    assert not [each for each in templates if each["LaunchTemplateName"].startswith(begun)]
    roles = stand_in.ask("iam", "list-roles")["Roles"]
    assert not [role for role in roles if role["RoleName"].startswith(begun)]
    groups = stand_in.ask("logs", "describe-log-groups")["logGroups"]
    assert not [group for group in groups if f"/{checkout.name}/" in group["logGroupName"]]


def test_from_nothing_to_the_store_and_back_to_nothing(
    checkout: Checkout, stand_in: StandIn
) -> None:
    """Every target in its turn does its work, and after the last one nothing is left."""
    assert "3 node t3.medium" in (told := checkout.run("plan")), told
    assert stand_in.tagged(checkout.name) == [], "a plan changes nothing"

    checkout.run("up", "--yes")
    assert second_plan(checkout) == 0, "a second plan is empty"
    assert len(stand_in.tagged(checkout.name)) > 20

    checkout.run("push")
    assert "there already" in checkout.run("push"), "what is there isn't pushed again"

    told = checkout.run("install")
    assert "it sells" in told
    rendered = (checkout.root / "doubles" / "rendered-0-emporium.yaml").read_text("utf-8")
    for role in ("frontend", "cache", "catalog", "order"):
        image = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/emporium/{role}@sha256:"
        assert image in rendered, f"{role} runs an image of the registry, by its digest"
    assert "storageClassName: gp3" in rendered

    told = checkout.run("e2e")
    assert "all scenarios passed" in told
    gathered = {path.name for path in (checkout.folder / "e2e").iterdir()}
    assert {"report.md", "emporium-catalog-0.log", "emporium-order-2.log"} <= gathered
    report = (checkout.folder / "e2e" / "report.md").read_text("utf-8")
    assert report.startswith("# Emporium scenarios")
    assert "---" not in report, "without the marker lines"
    job = max((checkout.root / "doubles").glob("rendered-*-emporium-e2e.yaml"))
    assert "emporium.client.job" in job.read_text("utf-8")

    plant_what_kubernetes_leaves(checkout, stand_in)
    told = checkout.run("down", "--yes")
    assert "nothing of emporium is left" in told
    for deletion in ("eks delete-", "delete-subnet", "delete-vpc ", "release-address"):
        assert deletion not in told, "what is in the state is Terraform's to delete"
    nothing_is_left(checkout, stand_in)
    planted_is_gone(stand_in)
    assert not (checkout.folder / "bootstrap").exists()
    assert "nothing of emporium is left" in checkout.run("down", "--yes"), "and again"


def plant_what_kubernetes_leaves(checkout: Checkout, stand_in: StandIn) -> None:
    """A load balancer with its group, an interface of a node, in the environment's VPC: each of
    them would keep the VPC from going."""
    ours = f"Name=tag:emporium:environment,Values={checkout.name}"
    vpc = stand_in.ask("ec2", "describe-vpcs", "--filters", ours)["Vpcs"][0]["VpcId"]
    where = ("--filters", f"Name=vpc-id,Values={vpc}")
    subnets = [
        subnet["SubnetId"] for subnet in stand_in.ask("ec2", "describe-subnets", *where)["Subnets"]
    ]
    group = stand_in.ask(
        *("ec2", "create-security-group", "--group-name", "k8s-elb-a1", "--vpc-id", vpc),
        *("--description", "of a balancer"),
    )["GroupId"]
    stand_in.ask(
        *("elbv2", "create-load-balancer", "--name", "k8s-shop", "--type", "network"),
        *("--subnets", *subnets[:2]),
    )
    stand_in.ask(
        *("ec2", "create-network-interface", "--subnet-id", subnets[0], "--groups", group),
        *("--description", "aws-K8S-i-0123456789"),
    )


def planted_is_gone(stand_in: StandIn) -> None:
    """Nobody's tag leads to these; they are found by the VPC that they are in."""
    assert stand_in.ask("elbv2", "describe-load-balancers")["LoadBalancers"] == []
    interfaces = stand_in.ask("ec2", "describe-network-interfaces")["NetworkInterfaces"]
    assert [each for each in interfaces if each["Description"].startswith("aws-K8S-")] == []
    groups = stand_in.ask("ec2", "describe-security-groups")["SecurityGroups"]
    assert [group for group in groups if group["GroupName"].startswith("k8s-")] == []


def test_what_can_not_be_deleted_is_named(checkout: Checkout, stand_in: StandIn) -> None:
    """aws-down fails and lists a leftover that it doesn't touch, and succeeds once it is gone."""
    checkout.name = "leftover"
    tags = "ResourceType=elastic-ip,Tags=[{Key=emporium:environment,Value=leftover}]"
    address = stand_in.ask("ec2", "allocate-address", "--tag-specifications", tags)
    made = ("s3api", "create-bucket", "--bucket", "someones-with-our-tag")
    stand_in.ask(*made)
    tagging = json.dumps({"TagSet": [{"Key": "emporium:environment", "Value": "leftover"}]})
    bucket = ("--bucket", "someones-with-our-tag")
    stand_in.ask("s3api", "put-bucket-tagging", *bucket, "--tagging", tagging)
    told = checkout.run("down", "--yes", "--patience", "0", code=1)
    assert "arn:aws:s3:::someones-with-our-tag" in told
    assert "make aws-down again" in told
    stand_in.ask("s3api", "delete-bucket", *bucket)
    stand_in.ask("ec2", "release-address", "--allocation-id", address["AllocationId"])
    assert "nothing of leftover is left" in checkout.run("down", "--yes")


def test_whatever_is_interrupted_can_be_taken_down(checkout: Checkout, stand_in: StandIn) -> None:
    """An apply that is told to stop, then an aws-down that is killed: the next one takes down all
    there is, also what is in no state, after the lock is broken if the blow came before Terraform
    gave it back."""
    checkout.name = "cut-short"
    told = interrupt(
        checkout, "up", "module.network.aws_vpc.this: Creation complete", signal.SIGTERM
    )
    assert "interrupted" in told
    assert any(":vpc/" in arn for arn in stand_in.tagged(checkout.name)), "something was made"
    plant_strays(checkout, stand_in)
    interrupt(checkout, "down", "Destruction complete", signal.SIGKILL)
    assert "nothing of cut-short is left" in take_down(checkout)
    nothing_is_left(checkout, stand_in)


def take_down(checkout: Checkout) -> str:
    """What aws-down says at last; with the lock broken where the dead run held it."""
    words = ("down", "--yes", "--patience", "60")
    code, told = checkout.end(*words)
    if code:
        assert "UNLOCK=" in told, told[-6000:]
        told = checkout.run(*words, "--unlock", told.split("UNLOCK=")[1].split()[0])
    return told


def plant_strays(checkout: Checkout, stand_in: StandIn) -> None:
    """What AWS may have made for an interrupted Terraform that didn't wait for the answer; each of
    the first keeps the VPC from going, and a name that is taken keeps the next aws-up from it."""

    def tags(kind: str) -> tuple[str, str]:
        tag = f"{{Key=emporium:environment,Value={checkout.name}}}"
        return "--tag-specifications", f"ResourceType={kind},Tags=[{tag}]"

    def make(what: str, kind: str, *words: str) -> Any:
        return stand_in.ask("ec2", what, *words, *tags(kind))

    ours = f"Name=tag:emporium:environment,Values={checkout.name}"
    vpc = stand_in.ask("ec2", "describe-vpcs", "--filters", ours)["Vpcs"][0]["VpcId"]
    where = ("--vpc-id", vpc)
    made = make("create-subnet", "subnet", *where, "--cidr-block", "10.20.200.0/24")
    subnet = made["Subnet"]["SubnetId"]
    made = make("create-route-table", "route-table", *where)
    table = ("--route-table-id", made["RouteTable"]["RouteTableId"])
    stand_in.ask("ec2", "associate-route-table", *table, "--subnet-id", subnet)
    gateway = make("create-internet-gateway", "internet-gateway")["InternetGateway"]
    which = ("--internet-gateway-id", gateway["InternetGatewayId"])
    stand_in.ask("ec2", "attach-internet-gateway", *which, *where)
    address = make("allocate-address", "elastic-ip")["AllocationId"]
    which = ("--allocation-id", address, "--subnet-id", subnet)
    make("create-nat-gateway", "natgateway", *which)
    service = ("--service-name", "com.amazonaws.us-east-1.s3", "--vpc-endpoint-type", "Gateway")
    make("create-vpc-endpoint", "vpc-endpoint", *where, *service)
    template = ("--launch-template-name", f"{checkout.name}-node-1", "--launch-template-data", "{}")
    make("create-launch-template", "launch-template", *template)
    key = f"Key=emporium:environment,Value={checkout.name}"
    role = ("--role-name", f"{checkout.name}-planted")
    region = "Key=emporium:region,Value=us-east-1"
    trust = ("--assume-role-policy-document", "{}")
    stand_in.ask("iam", "create-role", *role, *trust, "--tags", key, region)
    managed = ("--policy-arn", "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")
    stand_in.ask("iam", "attach-role-policy", *role, *managed)
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": deny})
    inline = ("--policy-name", "inline", "--policy-document", policy)
    stand_in.ask("iam", "put-role-policy", *role, *inline)
    group = ("--log-group-name", f"/emporium/{checkout.name}/planted")
    named = ("--tags", f"emporium:environment={checkout.name}")
    stand_in.ask("logs", "create-log-group", *group, *named)
    repository = ("--repository-name", f"{checkout.name}/planted")
    stand_in.ask("ecr", "create-repository", *repository, "--tags", key)
    of_the_state = f"TagKey={STATE_OF},TagValue={checkout.name}"
    stand_in.ask("kms", "create-key", "--tags", of_the_state)


def test_what_a_killed_apply_made_can_be_taken_down(checkout: Checkout, stand_in: StandIn) -> None:
    """What was made since Terraform last wrote its state is in none; its tag still finds it."""
    checkout.name = "killed"
    checkout.extra["TF_STATE_PERSIST_INTERVAL"] = "3600"  # it writes every 20 s otherwise
    interrupt(checkout, "up", VPC_IS_MADE, signal.SIGKILL)
    vpcs = [arn for arn in stand_in.tagged(checkout.name) if ":vpc/" in arn]
    assert vpcs
    assert "nothing of killed is left" in take_down(checkout)
    nothing_is_left(checkout, stand_in)


def interrupt(checkout: Checkout, verb: str, line: str, blow: signal.Signals) -> str:
    """Start a target, and strike when it prints a line; what it says after that. SIGKILL strikes
    Terraform, too, since nothing passes it on."""
    process = checkout.start(verb, "--yes")
    assert process.stdout is not None
    found = False
    try:
        for printed in process.stdout:
            if line in printed:
                found = True
                if blow == signal.SIGKILL:
                    os.killpg(process.pid, blow)
                else:
                    process.send_signal(blow)
                break
        rest = process.stdout.read()
        process.wait(300)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert found, f"it never said {line}"
    assert process.returncode != 0, "it was struck before its end"
    return rest
