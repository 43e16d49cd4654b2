"""The way back to nothing. Each step may be interrupted, and all of it be run again.

1. what Kubernetes holds in AWS is given back by Kubernetes itself: releases, volumes, balancers;
2. what it didn't get round to is deleted by its tags (see `sweep`), and so are the images;
3. Terraform destroys what it made, after what it made and doesn't know (see `strays`); when
   something was still in its way, once more after a sweep;
4. what of this could only be found now is deleted; what carries the environment's tag after that is
   a failure that names it;
5. the bucket of the state goes last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from emporium_aws.cloud import Cloud
from emporium_aws.commands import Runner
from emporium_aws.e2e import NAMESPACE as E2E
from emporium_aws.errors import AwsError, CommandError
from emporium_aws.leftovers import Leftovers
from emporium_aws.settings import Settings
from emporium_aws.state import TAG as STATE_TAG
from emporium_aws.state import State, environment
from emporium_aws.store import NAMESPACE, Store
from emporium_aws.strays import Strays
from emporium_aws.sweep import Sweep, refuse_another_cluster
from emporium_aws.terraform import Terraform

GONE_S: Final = 300
"""How long Kubernetes may take to give a kind of thing back to AWS."""
ACTIVE: Final = "ACTIVE"
AGAIN: Final = (
    "make aws-down again; what it lists twice delete by hand (the console's Tag Editor finds it)"
)
ANOTHER: Final = "wait for its end; make aws-down again if that is to go, too"


@dataclass(frozen=True, slots=True)
class Down:
    """Takes one environment down."""

    runner: Runner
    settings: Settings
    state: State
    cloud: Cloud
    leftovers: Leftovers
    strays: Strays

    def run(self) -> None:
        """Take everything down. Raises AwsError that says what is left, and CommandError."""
        refuse_another_cluster(self.cloud, self.settings)
        bucket = self.state.exists(sample=True)
        with_state = bucket and self.state.ready(sample=True)
        cluster = self._empty_cluster()
        sweep = Sweep.begin(self.cloud, self.settings, known=bucket or cluster)
        self.runner.step("Delete what Kubernetes left in AWS, and the images")
        sweep.run()
        sweep.images()
        if with_state:
            self._destroy(sweep)
        self._verify()
        if self.settings.keep_state:
            self.runner.say("KEEP_STATE=1: the bucket of the state stays")
        elif bucket or self.state.begun():
            self._remove_state(bucket=bucket)

    def remove_strays(self, terraform: Terraform, sweep: Sweep) -> None:
        """What there is, but for what is then in the state, which isn't another run's to write.
        Raises CommandError."""
        found = self.strays.find()
        known = terraform.known()  # after what was found: see there
        if self.strays.remove_cluster(found.cluster - known):
            sweep.run()  # of the nodes' interfaces
        self.strays.remove_of_ec2(found.of_ec2 - known)

    def _empty_cluster(self) -> bool:
        """Have Kubernetes give back what it holds; whether there is a cluster. Nothing here is
        fatal: one that is broken has to be destroyed just the same, and the sweep finds what it
        holds."""
        words = ("eks", "describe-cluster", "--name", self.settings.name)
        found: Any = self.cloud.find(*words, sample={"cluster": {"status": ACTIVE}})
        if found is None or found["cluster"]["status"] != ACTIVE:
            self.runner.say("There is no cluster that could be asked to give anything back")
            return found is not None
        self.runner.step("Have Kubernetes give back volumes and load balancers")
        try:
            Store(self.runner, self.settings).reach(self.settings.name)
        except AwsError as error:
            self.runner.say(f"{error}\nGoing on without it; volumes and balancers by their tags")
            return True
        for namespace in (E2E, NAMESPACE):
            self._try_to(Store(self.runner, self.settings, namespace).uninstall)
        # Balancers before the controllers' nodes go; every namespace, for each would block the VPC.
        everywhere = ("--all-namespaces", f"--timeout={GONE_S}s")
        balancers = ("--field-selector", "spec.type=LoadBalancer")
        self._kubectl("delete", "ingresses.networking.k8s.io", "--all", *everywhere)
        self._kubectl("delete", "services", *balancers, *everywhere)
        self._kubectl("delete", "persistentvolumeclaims", "--all", *everywhere)
        # The claims are gone before their volumes are: the driver needs its pods for those.
        self._kubectl("delete", "persistentvolumes", "--all", f"--timeout={GONE_S}s")
        return True

    def _kubectl(self, *words: str) -> None:
        self._try_to(lambda: self.runner.work("kubectl", *words, timeout_s=2 * GONE_S))

    def _try_to(self, action: Callable[[], object]) -> None:
        """Do it, or say why it didn't work and go on."""
        try:
            action()
        except CommandError as error:
            self.runner.say(f"{error}\nGoing on without it")

    def _destroy(self, sweep: Sweep) -> None:
        """Terraform's part. Raises CommandError."""
        self.runner.step("Destroy what Terraform made")
        terraform = environment(self.runner, self.settings)
        self.state.connect(terraform)
        if self.settings.unlock:
            terraform.unlock(self.settings.unlock)
        self.remove_strays(terraform, sweep)
        try:
            terraform.destroy()
        except CommandError as error:
            if error.remedy:  # a lock: more of the same doesn't help
                raise
            self.runner.say(f"{error}\nSweeping again, and once more")
            sweep.run()
            sweep.images()
            self.remove_strays(terraform, sweep)
            terraform.destroy()
        if left := terraform.resources():
            raise AwsError(_told("still in Terraform's state:", left), AGAIN)
        self.runner.step("Once more, after Terraform")
        sweep.run()
        if left := self.leftovers.find():
            if terraform.known():
                raise AwsError("meanwhile another run has made something anew", ANOTHER)
            self.strays.remove_named(left)
        self.strays.remove_alias(f"alias/{self.settings.name}")

    def _remove_state(self, *, bucket: bool) -> None:
        """The bucket of the state, and what belongs to it. Raises AwsError that lists what stays,
        and CommandError."""
        self.state.remove(bucket=bucket)
        if left := self.leftovers.find(STATE_TAG):
            self.strays.remove_named(left)
        self.strays.remove_alias(f"alias/{self.settings.name}-state", STATE_TAG)
        if left and (left := self.leftovers.wait(STATE_TAG)):
            raise AwsError(_told("of the state's bucket, these are left:", left), AGAIN)
        self.state.forget()

    def _verify(self) -> None:
        """Nothing may carry the tag any more. Raises AwsError that lists what does."""
        self.runner.step("Is anything left?")
        if left := self.leftovers.wait():
            raise AwsError(_told("these still carry the environment's tag:", left), AGAIN)


def _told(what: str, left: list[str]) -> str:
    return "\n".join([f"{len(left)} left, {what}", *(f"  {each}" for each in left)])


def down(runner: Runner, settings: Settings, account: str) -> None:
    """Take an environment down, whatever state it is in. Raises AwsError and CommandError."""
    cloud = Cloud(runner)
    state = State(runner, settings, account)
    leftovers, strays = Leftovers(cloud, settings), Strays(cloud, settings)
    Down(runner, settings, state, cloud, leftovers, strays).run()
