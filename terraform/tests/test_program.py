"""The program behind the aws-* targets, without any AWS: what it refuses, prints and survives."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from conftest import Checkout, FakeAws, runner, write_archive
from emporium_aws import cost, e2e, push
from emporium_aws.cloud import Cloud
from emporium_aws.errors import AwsError, CommandError
from emporium_aws.leftovers import Leftovers
from emporium_aws.settings import ROLES, Settings, check, region_of
from emporium_aws.store import Outputs
from emporium_aws.terraform import Terraform, cli_configuration, configure, mirror

VERBS = ("plan", "up", "push", "install", "e2e", "down")
OUTPUTS = Outputs("emporium", "registry.example", "emporium", "gp3", "amd64")


# --- a dry run ---


@pytest.mark.parametrize("verb", VERBS)
def test_a_dry_run_needs_neither_tools_nor_credentials(plain_checkout: Checkout, verb: str) -> None:
    """With nothing on PATH each target prints its commands, and changes nothing."""
    told = plain_checkout.run(verb, "--dry-run")
    assert "$ aws sts get-caller-identity" in told
    assert told.rstrip().endswith("Dry run: nothing was run")
    assert not (plain_checkout.root / "output").exists()


def test_a_dry_run_of_aws_down_shows_the_order(plain_checkout: Checkout) -> None:
    """First what Kubernetes holds, then Terraform, then the question what is left, then the
    bucket."""
    told = plain_checkout.run("down", "--dry-run")
    order = [
        *(
            "$ helm uninstall",
            "$ kubectl delete services",
            "$ kubectl delete persistentvolumeclaims",
        ),
        *("$ aws ec2 describe-volumes", "$ terraform -chdir=terraform destroy"),
        *("$ aws resourcegroupstaggingapi get-resources", "$ aws s3api delete-objects"),
    ]
    places = [told.index(words) for words in order]
    assert places == sorted(places)


# --- refusals ---


@pytest.mark.parametrize("verb", VERBS)
def test_missing_tools_are_named_with_where_to_get_them(
    plain_checkout: Checkout, verb: str
) -> None:
    """Before anything else happens."""
    write_archive(plain_checkout.root / "output" / "images" / "emporium.tar")
    told = plain_checkout.run(verb, "--yes", code=1)
    wanted = "skopeo" if verb == "push" else "terraform"
    assert f"aws:   {wanted}: https://" in told
    assert "PATH" in told


def test_missing_credentials_are_told_with_the_ways_to_log_in(checkout: Checkout) -> None:
    """AWS's own words, and what to do."""
    checkout.environment = {
        name: value
        for name, value in checkout.environment.items()
        if name not in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    }
    told = checkout.run("up", "--yes", code=1)
    assert "AWS doesn't know us" in told
    assert "aws sso login" in told
    assert not (checkout.folder / "plan").exists()


def test_what_needs_an_environment_says_to_make_one(checkout: Checkout) -> None:
    """Push, install and the scenarios come after aws-up."""
    checkout.name = "never-made"
    for verb in ("push", "install", "e2e"):
        told = checkout.run(verb, code=1)
        assert "there is no environment never-made yet" in told
        assert "make aws-up" in told


def test_an_environment_is_looked_for_where_it_was_made(checkout: Checkout) -> None:
    """In another region aws-down would find nothing, and say so; it refuses instead."""
    checkout.folder.mkdir(parents=True)
    place = {"region": "eu-west-1", "account": "123456789012"}
    (checkout.folder / "place.json").write_text(json.dumps(place), "utf-8")
    told = checkout.run("down", "--yes", code=1)
    assert "was made in eu-west-1 of account 123456789012" in told
    assert "REGION=eu-west-1" in told


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (Settings(name="Shop"), "NAME='Shop'"),
        (Settings(name="a--b"), "NAME='a--b'"),
        (Settings(name="x" * 21), "NAME="),
        (Settings(region="Frankfurt"), "REGION='Frankfurt'"),
        (Settings(spread="wide"), "SPREAD='wide'"),
        (Settings(values=(Path("nowhere.yaml"),)), r"no file nowhere\.yaml"),
    ],
)
def test_settings_that_can_not_be_meant_are_refused(settings: Settings, problem: str) -> None:
    """With the setting as it is given to make."""
    with pytest.raises(AwsError, match=problem):
        check(settings)


def test_name_and_region_are_given_once(tmp_path: Path) -> None:
    """A file of variables that names another environment would be destroyed under the wrong one."""
    file = tmp_path / "my.tfvars"
    file.write_text('nat_gateways = 3\nname = "other"\n', "utf-8")
    with pytest.raises(AwsError, match="sets `name`"):
        check(Settings(variables=(file,)))
    file.write_text('nat_gateways = 3\n# name = "other"\n', "utf-8")
    assert check(Settings(variables=(file,))).variables == (file,)


def test_the_region_is_that_of_aws_where_none_is_given() -> None:
    """REGION, AWS_REGION, AWS_DEFAULT_REGION, us-east-1, in this order."""
    known = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-north-1"}
    assert region_of("eu-central-1", known) == "eu-central-1"
    assert region_of("", known) == "eu-west-1"
    assert region_of("", {"AWS_DEFAULT_REGION": "eu-north-1"}) == "eu-north-1"
    assert region_of("", {}) == "us-east-1"


# --- the question ---


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        """There is somebody."""
        return True


def test_nothing_goes_on_without_a_yes(said: list[str]) -> None:
    """Typed at a terminal, or given beforehand; no terminal is no yes."""
    ask = {"yes": False, "dry_run": False, "say": said.append}
    with pytest.raises(AwsError, match="no terminal"):
        cost.confirm("Money?", source=io.StringIO("yes\n"), **ask)
    for typed in ("", "no\n", "y\n"):
        with pytest.raises(AwsError, match="not confirmed"):
            cost.confirm("Money?", source=Terminal(typed), **ask)
    cost.confirm("Money?", source=Terminal("yes\n"), **ask)
    cost.confirm("Money?", source=io.StringIO(), **(ask | {"yes": True}))
    assert said.count("Money?") == 6


def test_costs_are_counted_from_the_plan() -> None:
    """Nodes by type and number with their disks, NATs, keys; a type without a price is said."""
    plan = planned(("t3.medium", 2), ("t3.medium", 2), ("x9.huge", 1))
    lines = {line.what: line for line in cost.estimate(plan)}
    assert lines["node t3.medium"].count == 4
    assert lines["node t3.medium"].usd == pytest.approx(4 * 0.0416 * 730)
    assert lines["node x9.huge"].usd is None
    assert lines["EKS control plane"].usd == pytest.approx(73)
    assert lines["GiB of gp3 (nodes, and the store's volumes)"].count == 5 * 20 + 6
    assert "unknown" in cost.table(cost.estimate(plan))


def planned(*groups: tuple[str, int]) -> Any:
    """A plan of a cluster with these node groups, as `terraform show -json` has it."""
    disk = [{"ebs": [{"volume_size": 20}]}]
    resources = [
        {"type": "aws_eks_cluster", "mode": "managed", "values": {}},
        {"type": "aws_eks_cluster", "mode": "data", "values": {}},
        {
            "type": "aws_launch_template",
            "mode": "managed",
            "values": {"block_device_mappings": disk},
        },
    ]
    for instance, count in groups:
        values = {"instance_types": [instance], "scaling_config": [{"desired_size": count}]}
        resources.append({"type": "aws_eks_node_group", "mode": "managed", "values": values})
    module = {"child_modules": [{"resources": resources}]}
    return {"planned_values": {"root_module": module}}


# --- programs ---


def test_a_failure_has_the_last_words_of_the_program(said: list[str]) -> None:
    """And its exit code, and the command."""
    with pytest.raises(CommandError, match=r"failed \(3\): sh -c [\s\S]*no such bucket"):
        runner(said).work("sh", "-c", "echo no such bucket; exit 3")


def test_a_secret_is_shown_nowhere(said: list[str], tmp_path: Path) -> None:
    """It goes from one program to the other, and neither into words nor into errors."""
    secret, heard = tmp_path / "secret", tmp_path / "heard"
    secret.write_text("s3cret\n", "utf-8")
    hear = f"cat > {heard}"
    runner(said).pipe(("cat", str(secret)), "sh", "-c", hear)
    assert heard.read_text("utf-8") == "s3cret"
    with pytest.raises(CommandError) as failure:
        runner(said).pipe(("sh", "-c", f"cat {secret}; exit 1"), "cat")
    assert "s3cret" not in "\n".join(said)
    assert "s3cret" not in str(failure.value)


def test_an_interrupted_program_may_finish() -> None:
    """SIGTERM is passed on as the interrupt that Terraform obeys, and its end is waited for."""
    script = (
        "import signal, sys\n"
        "from emporium_aws.commands import Done, Runner\n"
        "runner = Runner()\n"
        "signal.signal(signal.SIGTERM, runner.terminate)\n"
        "child = \"trap 'kill %1; echo state written; exit 0' INT; echo ready; sleep 60 & wait\"\n"
        "try:\n    runner.work('bash', '-c', child)\n"
        "except KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    overdue = threading.Timer(60, process.kill)
    overdue.start()
    with process.stdout:
        for line in process.stdout:
            if line.strip() == "ready":
                process.terminate()
                break
        rest = process.stdout.read()
    process.wait()
    overdue.cancel()
    assert "state written" in rest
    assert process.returncode == 130


def test_a_lock_is_explained(said: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    """Who holds it since when, and how to break it."""
    text = (
        "Error: Error acquiring the state lock\\nLock Info:\\n"
        "  ID:        0b1d2c3e-1111-2222-3333-444455556666\\n"
        "  Who:       me@laptop\\n  Created:   2026-01-02 03:04:05\\n"
    )
    tool = tmp_path / "terraform"
    tool.write_text(f"#!/bin/sh\nprintf '{text}'\nexit 1\n", "utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(CommandError, match="locked, by me@laptop since 2026-01-02") as failure:
        Terraform(runner(said), tmp_path, tmp_path).destroy()
    assert "UNLOCK=0b1d2c3e-1111-2222-3333-444455556666" in failure.value.remedy


# --- the provider's mirror ---


def test_a_mirror_is_found_or_given_or_there_is_none(tmp_path: Path) -> None:
    """By the setting, else a folder of that name at most two levels down, else the registry."""
    assert mirror({}, tmp_path) is None
    deep = tmp_path / "a" / "b" / "tf-plugins"
    deep.mkdir(parents=True)
    assert mirror({}, tmp_path) is None
    found = tmp_path / "opt" / "tf-plugins"
    found.mkdir(parents=True)
    for folder in (found.parent, found):
        folder.chmod(0o755)
    assert mirror({}, tmp_path) == found
    assert mirror({"TF_PLUGIN_MIRROR": str(deep)}, tmp_path) == deep
    with pytest.raises(AwsError, match="TF_PLUGIN_MIRROR=/nowhere is no folder"):
        mirror({"TF_PLUGIN_MIRROR": "/nowhere"}, tmp_path)
    assert str(found) in cli_configuration(found)
    assert "filesystem_mirror" not in cli_configuration(None)


def test_a_mirror_that_others_can_write_is_passed_over(tmp_path: Path) -> None:
    """A provider runs with all credentials, so not everybody may put one there."""
    found = tmp_path / "tmp" / "tf-plugins"
    found.mkdir(parents=True)
    found.parent.chmod(0o1777)
    assert mirror({}, tmp_path) is None
    for folder in (found.parent, found):
        folder.chmod(0o755)
    assert mirror({}, tmp_path) == found


def test_the_users_own_terraform_settings_are_kept(said: list[str], tmp_path: Path) -> None:
    """Where there is no mirror to name."""
    mine = tmp_path / "mine.rc"
    mine.touch()
    first = runner(said)
    configure(first, tmp_path, {"TF_CLI_CONFIG_FILE": str(mine)}, tmp_path)
    assert "TF_CLI_CONFIG_FILE" not in first.environment
    second = runner(said)
    configure(second, tmp_path, {"TF_CLI_CONFIG_FILE": str(tmp_path / "gone.rc")}, tmp_path)
    assert second.environment["TF_CLI_CONFIG_FILE"] == str(tmp_path / "terraform.rc")


# --- images ---


def test_the_tag_is_made_of_the_content(tmp_path: Path) -> None:
    """The same images have the same tag, others another one."""
    settings = Settings(root=tmp_path)
    write_archive(settings.archive)
    first = push.read(settings).tag
    write_archive(settings.archive)
    assert push.read(settings).tag == first
    assert first.startswith("0.1.0-")
    write_archive(settings.archive, "arm64")
    assert push.read(settings).tag != first


def test_images_for_other_processors_are_refused(said: list[str], tmp_path: Path) -> None:
    """They would be pulled, and fail at their start."""
    settings = Settings(root=tmp_path)
    write_archive(settings.archive, "arm64")
    with pytest.raises(AwsError, match="images are for arm64, the nodes are amd64"):
        push.push(runner(said), settings, OUTPUTS, "skopeo")


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "there is no output/images"), (b"no tar", "is no archive"), ("some", "lacks client")],
)
def test_an_archive_that_is_not_whole_is_refused(
    tmp_path: Path, content: bytes | str | None, problem: str
) -> None:
    """And says to build the images."""
    settings = Settings(root=tmp_path)
    if isinstance(content, str):
        write_archive(settings.archive, roles=ROLES[:-1])
    elif content is not None:
        settings.archive.parent.mkdir(parents=True)
        settings.archive.write_bytes(content)
    with pytest.raises(AwsError, match=problem) as failure:
        push.read(settings)
    assert failure.value.remedy == "make images"


@pytest.mark.parametrize(
    ("tool", "commands"),
    [
        ("skopeo", ["skopeo login --authfile", "skopeo copy --authfile"]),
        ("buildah", ["buildah login --authfile", "buildah pull", "buildah push --authfile"]),
        ("docker", ["docker --config", "docker load", "docker tag", "docker --config"]),
    ],
)
def test_each_tool_pushes_with_a_login_of_its_own(
    said: list[str], tmp_path: Path, tool: str, commands: list[str]
) -> None:
    """Nobody's usual logins are touched."""
    settings = Settings(root=tmp_path, dry_run=True)
    write_archive(settings.archive)
    push.push(runner(said, dry_run=True), settings, OUTPUTS, tool)
    text = "\n".join(said)
    for words in commands:
        assert words in text
    assert text.count("registry.example/emporium/catalog:") >= 1


# --- scenarios ---


def test_the_report_is_what_stands_between_the_markers() -> None:
    """Of every round; nothing where the job ended before it."""
    log = f"noise\n{e2e.BEGIN}\n# one\n{e2e.END}\nmore\n{e2e.BEGIN}\n# two\n{e2e.END}\n"
    assert e2e.report(log) == "# one\n# two"
    assert e2e.report("noise\n") == ""
    assert e2e.report(f"{e2e.BEGIN}\ncut off") == ""


def test_the_markers_are_those_of_the_job() -> None:
    """The job's module says them, and the client's labels lead to it."""
    source = (e2e.ROOT / "services" / "emporium" / "client" / "job.py").read_text("utf-8")
    assert f'BEGIN, END = "{e2e.BEGIN}", "{e2e.END}"' in source


def test_places_are_told_by_zone() -> None:
    """Each pod with its node and zone."""
    nodes = [
        {"metadata": {"name": f"n{zone}", "labels": {e2e.ZONE: f"zone-{zone}"}}} for zone in "ab"
    ]
    pods = [
        {
            "metadata": {"name": f"catalog-{zone}", "labels": {e2e.COMPONENT: "catalog"}},
            "spec": {"nodeName": f"n{zone}"},
        }
        for zone in "ab"
    ]
    found = e2e.places(nodes, pods)
    assert found.zones == {"catalog": {"zone-a", "zone-b"}}
    assert found.lines[0].split() == ["catalog-a", "zone-a", "na"]


# --- leftovers ---


def test_what_is_only_remembered_is_no_leftover(said: list[str]) -> None:
    """Terminated machines, deleted gateways and keys that wait for their end are listed by AWS for
    a while; a machine that runs is a leftover, and so is what nobody can ask about."""
    arn = "arn:aws:ec2:us-east-1:123456789012:"
    listed = [
        f"{arn}instance/i-0a",
        f"{arn}natgateway/nat-0b",
        f"{arn}volume/vol-0c",
        "arn:aws:kms:us-east-1:123456789012:key/abc",
        f"{arn}elastic-ip/eipalloc-0d",
    ]
    fake = FakeAws(say=said.append)
    fake.answers = {
        "get-resources": {"ResourceTagMappingList": [{"ResourceARN": each} for each in listed]},
        "describe-instances": {
            "Reservations": [{"Instances": [{"State": {"Name": "terminated"}}]}]
        },
        "describe-nat-gateways": {"NatGateways": [{"State": "deleted"}]},
        "describe-volumes": {"Volumes": []},
        "describe-key": {"KeyMetadata": {"KeyState": "PendingDeletion"}},
        "list-roles": {"Roles": [{"RoleName": "emporium-node", "Arn": "role"}]},
        "list-policies": {"Policies": []},
        "list-role-tags": {
            "Tags": [
                {"Key": "emporium:environment", "Value": "emporium"},
                {"Key": "emporium:region", "Value": "us-east-1"},
            ]
        },
    }
    leftovers = Leftovers(Cloud(fake), Settings())
    assert leftovers.find() == [f"{arn}elastic-ip/eipalloc-0d", "role"]
    running = {"Reservations": [{"Instances": [{"State": {"Name": "running"}}]}]}
    fake.answers["describe-instances"] = running
    assert f"{arn}instance/i-0a" in leftovers.find()
