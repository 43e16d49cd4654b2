"""The command line: one verb for each make target."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from emporium_aws import cost, e2e, push, store, tools
from emporium_aws.cloud import Cloud
from emporium_aws.commands import Runner
from emporium_aws.down import down
from emporium_aws.errors import AwsError
from emporium_aws.settings import ROOT, Settings, check, is_stand_in, region_of
from emporium_aws.state import State, environment
from emporium_aws.sweep import refuse_another_cluster
from emporium_aws.terraform import Terraform, configure, stage

INTERRUPTED: Final = 130
HEART: Final = re.compile(r"\baws_(vpc|eks_cluster|kms_key|ecr_repository)\.")
"""What an environment can't lose and still be the same."""
NEXT: Final = "next: make images aws-push aws-install, then aws-e2e; make aws-down ends it all"


class Work:
    """One verb on one environment, with all that it needs looked for first."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runner = Runner(settings.dry_run, root=settings.root)
        self.account = tools.SAMPLE_ACCOUNT

    def begin(self, *names: str) -> None:
        """Look for tools and credentials, and say whose account it is. Raises AwsError."""
        runner, settings = self.runner, self.settings
        tools.need(runner, *names)
        if not settings.dry_run:
            settings.folder.mkdir(parents=True, exist_ok=True)
        # One region for everything, and no pager that waits for a key.
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            runner.export(name, settings.region)
        runner.export("AWS_PAGER", "")
        configure(runner, settings.folder)
        caller = tools.caller(runner)
        self.account = caller.account
        self._check_place()
        runner.say(
            f"Environment {settings.name} in {settings.region}, account {caller.account},"
            f" as {caller.arn}"
        )

    @property
    def _place(self) -> dict[str, str]:
        return {"region": self.settings.region, "account": self.account}

    def _check_place(self) -> None:
        """Raises AwsError when aws-up has made the environment elsewhere: asked in the wrong
        region, aws-down would find nothing and say that nothing is left."""
        file = self.settings.place
        if self.settings.dry_run or not file.is_file():
            return
        noted = json.loads(file.read_text("utf-8"))
        if noted != self._place:
            raise AwsError(
                f"{self.settings.name} was made in {noted['region']} of account {noted['account']};"
                f" this is {self.settings.region} of {self.account}",
                f"say REGION={noted['region']}, with credentials of that account; or another NAME\n"
                f"(if it is gone for sure, delete {self.settings.shown(file)})",
            )

    def note_place(self) -> None:
        """Before anything is made, note where."""
        if not self.settings.dry_run:
            self.settings.place.write_text(json.dumps(self._place) + "\n", "utf-8")

    @property
    def state(self) -> State:
        """The bucket of the state."""
        return State(self.runner, self.settings, self.account)

    def connected(self) -> Terraform:
        """The environment's Terraform on its state. Raises AwsError when there is none yet."""
        if not self.state.ready(sample=True):
            raise AwsError(f"there is no environment {self.settings.name} yet", "make aws-up")
        terraform = environment(self.runner, self.settings)
        self.state.connect(terraform)
        if self.settings.unlock:
            terraform.unlock(self.settings.unlock)
        return terraform

    def outputs(self) -> store.Outputs:
        """What the environment is. Raises AwsError when it isn't complete."""
        sample = store.Outputs.sample(self.settings, self.account)
        return store.Outputs.read(self.connected().outputs(sample))

    def planned(self) -> tuple[Terraform, Path]:
        """A plan on the state, or, before there is one, of everything; its cost is printed.
        Raises CommandError."""
        self.runner.step("Plan")
        if self.state.ready(sample=False):
            terraform = self.connected()
        else:
            self.runner.say("There is no state yet: this is a plan of everything")
            source = self.settings.root / "terraform"
            folder = stage(self.runner, source, self.settings.folder / "preview")
            terraform = environment(self.runner, self.settings, folder)
            terraform.init()
        plan = self.settings.folder / "plan"
        found = terraform.plan(plan)
        if not self.settings.dry_run:
            _tell_cost(self.runner, found)
            tell_losses(self.runner, found)
        return terraform, plan

    def tag(self) -> str:
        """Of the pushed images: what was given, else that of the archive. Raises AwsError."""
        return self.settings.tag or push.read(self.settings).tag

    def digests(self, outputs: store.Outputs) -> dict[str, str]:
        """Of the pushed images. Raises AwsError when some aren't."""
        return store.digests(self.runner, outputs.repository, self.tag())


def tell_losses(runner: Runner, plan: Any) -> None:
    """Say what the plan deletes. Raises AwsError when the environment would go with it."""
    gone = [
        str(change["address"])
        for change in plan.get("resource_changes", [])
        if "delete" in change.get("change", {}).get("actions", [])
    ]
    if not gone:
        return
    runner.step("What would be deleted, or replaced by another one")
    for address in gone:
        runner.say(f"  {address}")
    heart = [address for address in gone if HEART.search(address)]
    if heart:
        raise AwsError(
            f"this plan would delete what the environment is made of: {', '.join(heart)}",
            "give the VARS of last time; or `make aws-down` first, or another NAME",
        )


def _tell_cost(runner: Runner, plan: Any) -> None:
    runner.step("What it costs, in US dollars at list prices of us-east-1 (docs/AWS.md has more)")
    runner.say(cost.table(cost.estimate(plan)))
    given = plan.get("variables", {}).get("api_allowed_cidrs", {}).get("value")
    if not given:
        runner.say(
            "  api_allowed_cidrs is empty: kubectl and Helm will reach the cluster from inside the"
            " VPC only"
        )


def aws_plan(work: Work) -> int:
    """Say what aws-up would make, and what that costs."""
    work.begin("terraform", "aws")
    work.planned()
    work.runner.done("aws-plan: nothing was changed")
    return 0


def aws_up(work: Work) -> int:
    """Make or change the environment, after a question."""
    work.begin("terraform", "aws")
    settings = work.settings
    refuse_another_cluster(Cloud(work.runner), settings)
    terraform, plan = work.planned()
    cost.confirm(
        f"\nThis makes AWS charge account {work.account} until `make aws-down`.",
        yes=settings.yes,
        dry_run=settings.dry_run,
        say=work.runner.say,
    )
    work.note_place()
    if not work.state.ready(sample=False):
        work.state.make()
        terraform = environment(work.runner, settings)
        work.state.connect(terraform)
        work.runner.step("Plan on the state")
        terraform.plan(plan)
    work.runner.step("Apply (a new environment takes about 20 minutes)")
    terraform.apply(plan)
    plan.unlink(missing_ok=True)
    work.runner.done(f"aws-up: {settings.name} is there; {NEXT}")
    return 0


def aws_push(work: Work) -> int:
    """Push the images of `make images` to the registry."""
    tool = tools.pusher(work.runner)
    if not work.settings.dry_run:
        push.read(work.settings)  # nothing to push is told before anything else is asked
    work.begin("terraform", "aws", tool)
    tag = push.push(work.runner, work.settings, work.outputs(), tool)
    work.runner.done(f"aws-push: the images are there, with tag {tag}")
    return 0


def aws_install(work: Work) -> int:
    """Install the store, or upgrade it, and test it."""
    work.begin("terraform", "aws", "kubectl", "helm")
    outputs = work.outputs()
    digests = work.digests(outputs)
    found = store.Store(work.runner, work.settings)
    work.runner.step("Install the store")
    found.reach(outputs.cluster_name)
    found.prepare()
    values = store.chart_values(outputs, digests)
    if work.settings.spread:
        values["spread"] = work.settings.spread
    found.install(values)
    e2e.show_places(work.runner, found)
    found.test()
    kubeconfig = work.settings.shown(work.settings.kubeconfig)
    work.runner.done(
        f"aws-install: it sells. export KUBECONFIG={kubeconfig}\n"
        f"  kubectl -n {store.NAMESPACE} port-forward service/{store.RELEASE}-frontend 8000"
    )
    return 0


def aws_e2e(work: Work) -> int:
    """Run the scenarios in the cluster and gather what they say; 1 when one didn't pass."""
    work.begin("terraform", "aws", "kubectl", "helm")
    outputs = work.outputs()
    digests = work.digests(outputs)
    store.Store(work.runner, work.settings).reach(outputs.cluster_name)
    return 0 if e2e.run(work.runner, work.settings, outputs, digests) else 1


def aws_down(work: Work) -> int:
    """Remove everything, data included, after a question."""
    work.begin("terraform", "aws", "kubectl", "helm")
    settings = work.settings
    cost.confirm(
        f"\nThis destroys the environment {settings.name} in {settings.region} of account"
        f" {work.account}:\nthe cluster, every volume with the orders on it, the images, the state."
        "\nThere is no way back.",
        yes=settings.yes,
        dry_run=settings.dry_run,
        say=work.runner.say,
    )
    down(work.runner, settings, work.account)
    if not settings.dry_run and not settings.keep_state:
        settings.place.unlink(missing_ok=True)
    work.runner.done(
        f"aws-down: nothing of {settings.name} is left in {settings.region} of account"
        f" {work.account}"
    )
    return 0


VERBS: Final[dict[str, Callable[[Work], int]]] = {
    "plan": aws_plan,
    "up": aws_up,
    "push": aws_push,
    "install": aws_install,
    "e2e": aws_e2e,
    "down": aws_down,
}


def settings_of(arguments: Sequence[str]) -> tuple[str, Settings]:
    """The verb, and what was asked for. Raises AwsError."""
    parser = argparse.ArgumentParser(prog="terraform/aws.py", description=(__doc__ or ""))
    add = parser.add_argument
    add("verb", choices=VERBS)
    add("--name", default="emporium", help="of the environment (emporium)")
    add("--region", default="", help="AWS region (AWS_REGION, else us-east-1)")
    add("--var-file", action="append", default=[], type=Path, help="values of variables")
    add("--values", action="append", default=[], type=Path, help="values of the chart")
    add("--tag", default="", help="of the images (made of their content)")
    add("--spread", default="", help="none, soft, nodes (as many nodes as there are)")
    add("--args", default="", help="of the scenario job, as one text")
    add("--unlock", default="", metavar="ID", help="break the state's lock of a run that is dead")
    add("--keep-state", action="store_true", help="leave the state's bucket")
    add("--patience", type=int, default=600, metavar="S", help="for what is going to be gone (600)")
    add("--dry-run", action="store_true", help="only print the commands")
    add("--yes", action="store_true", help="ask nothing")
    given = parser.parse_args(arguments)
    settings = Settings(
        name=given.name,
        region=region_of(given.region, os.environ),
        dry_run=given.dry_run,
        yes=given.yes,
        variables=tuple(given.var_file),
        values=tuple(path.resolve() for path in given.values),
        tag=given.tag,
        spread=given.spread,
        arguments=tuple(shlex.split(given.args)),
        unlock=given.unlock,
        keep_state=given.keep_state,
        patience_s=given.patience,
        stand_in=is_stand_in(),
        root=ROOT,
    )
    return given.verb, check(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done; 1: it didn't work, or a scenario didn't pass; 130: interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # also into a pipe
    try:
        verb, settings = settings_of(sys.argv[1:] if arguments is None else arguments)
        work = Work(settings)
        signal.signal(signal.SIGTERM, work.runner.terminate)
        return VERBS[verb](work)
    except AwsError as error:
        print(f"\naws: {error}", file=sys.stderr)
        for line in error.remedy.splitlines():
            print(f"aws:   {line}", file=sys.stderr)
        return 1
    except json.JSONDecodeError as error:
        print(f"\naws: an answer isn't JSON: {error.doc[:200]!r}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\naws: interrupted. The same again goes on; aws-down takes away what there is.",
            file=sys.stderr,
        )
        return INTERRUPTED
