"""The hands do each verb as it is meant, refuse what isn't possible, and mend what they broke."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from emporium.client import hands
from emporium_e2e import interruptions, nemesis
from emporium_e2e.client import ASK_S, Helm, Kubectl
from emporium_e2e.cluster import BY_API, CONTEXT, Cluster
from emporium_e2e.errors import E2eError
from emporium_e2e.nemesis import Nemesis
from emporium_e2e.pretended import PretendedCluster, World
from emporium_e2e.settings import Settings

CATALOG_0 = {"pod": "catalog-0"}
EVICT = "kubectl create --raw=/api/v1/namespaces/e2e/pods/shop-catalog-0/eviction"
DRILLS = [
    (hands.KILL_PROCESS, CATALOG_0, {"pid": 4711}, "kill e2e/shop-catalog-0"),
    (hands.FREEZE, CATALOG_0, {}, "freeze e2e/shop-catalog-0"),
    (hands.THAW, CATALOG_0, {}, "thaw e2e/shop-catalog-0"),
    (hands.CUT_NODE, CATALOG_0, {"node": "node-1"}, "cut node-1"),
    (hands.CRASH_NODE, CATALOG_0, {"node": "node-1"}, "crash node-1"),
    (hands.CRASH_NODE, {"node": "node-2"}, {"node": "node-2"}, "crash node-2"),
]


@pytest.mark.parametrize(("verb", "about", "fields", "done"), DRILLS)
def test_a_drill_is_done_and_answered(
    hand: Nemesis, world: World, verb: str, about: dict[str, str], fields: object, done: str
) -> None:
    """By the pod's name in the release, or the node where it runs."""
    assert hand.obey(verb, about) == {"ok": True, **fields}  # type: ignore[dict-item]
    assert done in world.done


def test_what_was_broken_is_mended_in_the_reverse_order(hand: Nemesis, world: World) -> None:
    """Whatever ends the run."""
    with pytest.raises(KeyboardInterrupt), hand:  # noqa: PT012 (what happens before counts)
        for verb in (hands.FREEZE, hands.CUT_NODE, hands.DRAIN_NODE, hands.CRASH_NODE):
            assert hand.obey(verb, CATALOG_0)["ok"]
        world.done.clear()
        raise KeyboardInterrupt
    mended = ["restart node-1", "kubectl uncordon node-1", "heal node-1", "thaw e2e/shop-catalog-0"]
    assert world.done == mended


def test_what_was_mended_is_left_alone(hand: Nemesis, world: World) -> None:
    """Each end that the job asks for is done once."""
    with hand:
        for begin, end in (
            (hands.FREEZE, hands.THAW),
            (hands.CUT_NODE, hands.HEAL_NODE),
            (hands.DRAIN_NODE, hands.UNCORDON_NODE),
            (hands.CRASH_NODE, hands.RESTART_NODE),
        ):
            assert hand.obey(begin, CATALOG_0)["ok"]
            assert hand.obey(end, CATALOG_0)["ok"]
        assert hand.obey(hands.API_OUTAGE, {"seconds": "20"}) == {"ok": True, "seconds": 20.0}
        world.done.clear()
    assert world.done == []


def test_a_drill_that_failed_half_way_is_mended_too(hand: Nemesis, world: World) -> None:
    """Nobody knows what a failed cut has done."""
    world.broken = {"cut", "api-stop"}
    with hand:
        assert hand.obey(hands.CUT_NODE, CATALOG_0) == {"ok": False, "reason": "cut node-1 failed"}
        assert not hand.obey(hands.API_OUTAGE, {"seconds": "5"})["ok"]
    assert world.done[-2:] == ["api-start", "heal node-1"]


def test_one_thing_that_cant_be_mended_hides_no_other(hand: Nemesis, world: World) -> None:
    """All are tried; what failed is told."""
    world.broken = {"heal"}
    for verb in (hands.FREEZE, hands.CUT_NODE):
        hand.obey(verb, CATALOG_0)
    with pytest.raises(E2eError, match=r"not everything could be mended\n.*heal node-1"), hand:
        pass
    assert world.done[-2:] == ["heal node-1", "thaw e2e/shop-catalog-0"]


def test_what_cant_be_mended_for_any_reason_hides_no_other(
    hand: Nemesis, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is no JSON, say."""

    def broken(node: str) -> None:
        raise ValueError(node)

    monkeypatch.setattr(hand._cluster, "heal", broken)
    for verb in (hands.FREEZE, hands.CUT_NODE):
        hand.obey(verb, CATALOG_0)
    assert hand.mend() == ["heal node-1: node-1"]
    assert world.done[-1] == "thaw e2e/shop-catalog-0"


@pytest.fixture
def _handlers() -> Iterator[None]:
    """The process's own handlers of signals come back."""
    before = {number: signal.getsignal(number) for number in interruptions.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", interruptions.SIGNALS)
def test_a_signal_doesnt_stop_the_mending(
    hand: Nemesis, world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Neither the first one, at the end of a run, nor the second one of an interrupted run."""
    interruptions.unwind()

    def heal(node: str) -> None:
        signal.raise_signal(number)
        world.done.append(f"heal {node}")

    monkeypatch.setattr(hand._cluster, "heal", heal)
    with hand:
        hand.obey(hands.CUT_NODE, CATALOG_0)
    assert world.done[-1] == "heal node-1"
    with pytest.raises(KeyboardInterrupt), hand:  # noqa: PT012 (what happens before counts)
        hand.obey(hands.CUT_NODE, CATALOG_0)
        world.done.clear()
        signal.raise_signal(number)
    assert world.done == ["heal node-1"]
    signal.raise_signal(number)  # nor what is taken away after it


def test_the_job_waits_longer_than_any_roll_out() -> None:
    """Else the next scenario would run into it. Helm's limit, the call's own, the revision."""
    assert nemesis.ROLL_S + 2 * ASK_S < hands.ANSWER_S
    assert nemesis.NODE_S + 2 * ASK_S < hands.ANSWER_S


# --- drains ---

DRAIN = "kubectl drain node-1 --ignore-daemonsets --delete-emptydir-data"
OURS = "app.kubernetes.io/instance=shop"


class Somebodys(PretendedCluster):
    """A context."""

    kind = CONTEXT
    verbs = BY_API


@pytest.fixture
def guest(world: World, kubectl: Kubectl) -> Nemesis:
    """Hands on a cluster that others use too; no pods of theirs are on the node."""
    world.answers["kubectl get pods --all-namespaces"] = {
        "items": [{"metadata": {"name": "shop-catalog-0", "namespace": "e2e"}}]
    }
    return Nemesis(
        Somebodys(world), kubectl, Helm(kubectl.program, kubectl, "shop", Path("c")), "shop"
    )


def test_a_drain_of_our_own_cluster_is_a_whole_one(hand: Nemesis, world: World) -> None:
    """As an administrator does it."""
    assert hand.obey(hands.DRAIN_NODE, CATALOG_0) == {"ok": True, "node": "node-1"}
    assert f"{DRAIN} --timeout=300s" in world.done


def test_a_drain_of_somebodys_cluster_leaves_others_alone(guest: Nemesis, world: World) -> None:
    """Only pods of the release go."""
    assert guest.obey(hands.DRAIN_NODE, CATALOG_0) == {"ok": True, "node": "node-1"}
    assert f"{DRAIN} --pod-selector={OURS} --timeout=300s" in world.done
    listed = next(done for done in world.done if "--all-namespaces" in done)
    assert f"--selector={OURS} --field-selector=spec.nodeName=node-1" in listed


def test_a_drain_that_would_hit_another_release_is_refused(guest: Nemesis, world: World) -> None:
    """Of the same name, in another namespace: the label is the same."""
    world.answers["kubectl get pods --all-namespaces"] = {
        "items": [{"metadata": {"name": "shop-cache-0", "namespace": "theirs"}}]
    }
    answer = guest.obey(hands.DRAIN_NODE, CATALOG_0)
    assert answer["reason"] == "node-1 has pods of another release shop too: theirs"
    assert not any("drain" in done for done in world.done)


def test_a_cordoned_node_isnt_drained(hand: Nemesis, world: World) -> None:
    """At the end it would be uncordoned, which nobody wants."""
    world.answers["kubectl get node node-1"] = {"spec": {"unschedulable": True}}
    with hand:
        answer = hand.obey(hands.DRAIN_NODE, CATALOG_0)
    assert answer["reason"] == "node-1 is cordoned already, and not by these tests"
    assert not any("drain" in done or "uncordon" in done for done in world.done)


def test_a_drain_that_failed_half_way_may_be_tried_again(hand: Nemesis, world: World) -> None:
    """It is we who have cordoned the node."""
    world.answers["kubectl drain"] = E2eError("not done within 330 s")
    with hand:
        assert not hand.obey(hands.DRAIN_NODE, CATALOG_0)["ok"]
        world.answers["kubectl get node node-1"] = {"spec": {"unschedulable": True}}
        world.answers["kubectl drain"] = ""
        assert hand.obey(hands.DRAIN_NODE, CATALOG_0)["ok"]
    assert world.done[-1] == "kubectl uncordon node-1"


def test_the_end_of_what_never_began_is_refused(hand: Nemesis) -> None:
    """A job that mixes up its nodes hears of it."""
    answer = hand.obey(hands.HEAL_NODE, {"node": "node-2"})
    assert answer == {"ok": False, "reason": "there is nothing to heal on node-2"}


@pytest.mark.parametrize("verb", [hands.CUT_NODE, hands.CRASH_NODE, hands.DRAIN_NODE])
def test_the_jobs_own_node_is_spared(hand: Nemesis, world: World, verb: str) -> None:
    """order-1 is on it."""
    answer = hand.obey(verb, {"pod": "order-1"})
    assert "node-3 is the scenario job's own node" in answer["reason"]
    assert not any(done.startswith(("cut", "crash", "kubectl drain")) for done in world.done)


def test_an_eviction_is_allowed(hand: Nemesis, world: World) -> None:
    """The API's eviction, not a deletion."""
    assert hand.obey(hands.EVICT_POD, CATALOG_0) == {"ok": True, "refused": False, "reason": ""}
    assert '"kind": "Eviction"' in world.done[-1]


def test_an_eviction_is_refused(hand: Nemesis, world: World) -> None:
    """By the disruption budget; any other trouble is none of its."""
    told = "Error from server (TooManyRequests): Cannot evict pod as it would violate the budget."
    world.answers[EVICT] = E2eError(f"failed (1): kubectl create\n    {told}")
    assert hand.obey(hands.EVICT_POD, CATALOG_0) == {"ok": True, "refused": True, "reason": told}
    world.answers[EVICT] = E2eError("failed (1): kubectl create\n    (NotFound)")
    assert not hand.obey(hands.EVICT_POD, CATALOG_0)["ok"]


def test_a_lost_disk_is_another_claim(
    hand: Nemesis, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claim and pod are deleted; the pod once more when it waits for a claim that is gone."""
    monkeypatch.setattr(nemesis, "STUCK_S", 0.0)
    old, new = {"metadata": {"uid": "a"}}, {"metadata": {"uid": "b"}}
    world.answers["kubectl get pvc"] = [old, old, "", "", new]
    assert hand.obey(hands.LOSE_DISK, CATALOG_0)["ok"]
    deletions = [done for done in world.done if "delete" in done]
    assert deletions[0] == "kubectl delete pvc data-shop-catalog-0 --wait=false"
    assert len([done for done in deletions if "delete pod shop-catalog-0" in done]) >= 2


def test_a_disk_that_doesnt_go_is_no_success(
    hand: Nemesis, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job must not take the old disk for a new one."""
    monkeypatch.setattr(nemesis, "DISK_S", 0.05)
    world.answers["kubectl get pvc"] = {"metadata": {"uid": "a"}}
    assert not hand.obey(hands.LOSE_DISK, CATALOG_0)["ok"]


def test_upgrade_and_rollback(hand: Nemesis, world: World) -> None:
    """With the values of before; the answer has the new revision."""
    answer = hand.obey(hands.UPGRADE, {"set": "image.tags.catalog=v2,logLevel=debug"})
    assert answer == {"ok": True, "revision": 3}
    assert any(
        "upgrade shop chart --reuse-values --set=image.tags.catalog=v2,logLevel=debug --wait" in d
        for d in world.done
    )
    assert hand.obey(hands.ROLLBACK, {})["ok"]
    assert any("helm rollback shop --wait" in done for done in world.done)


def test_a_rollback_never_removes_the_job(hand: Nemesis, world: World) -> None:
    """The revision before the one that started it has none."""
    world.answers["helm history"] = [[{"revision": 1}, {"revision": 2}]]
    reason = hand.obey(hands.ROLLBACK, {})["reason"]
    assert "has no job" in reason
    assert "run the scenario upgrade before" in reason
    assert not any("rollback" in done for done in world.done)


@pytest.mark.parametrize(
    ("verb", "about", "why"),
    [
        (hands.UPGRADE, {"set": "a b"}, "'a b' is no list of values"),
        (hands.API_OUTAGE, {"seconds": "many"}, "could not convert"),
        (hands.API_OUTAGE, {"seconds": "3600"}, "allowed: up to 60"),
        (hands.CUT_NODE, {}, "cut-node needs to know: pod"),
        (hands.DRAIN_NODE, {"node": "--all"}, "there is no node '--all'\n  there are: node-1"),
        ("dance", {}, "this cluster (own) has no dance"),
    ],
)
def test_what_cant_be_meant_is_answered_with_the_reason(
    hand: Nemesis, verb: str, about: dict[str, str], why: str
) -> None:
    """Never with an exception: the job waits for an answer."""
    answer = hand.obey(verb, about)
    assert not answer["ok"]
    assert why in answer["reason"]


def test_a_plain_context_has_what_the_api_offers(world: World, kubectl: Kubectl) -> None:
    """The job is told of nothing else, and anything else is refused."""
    helm = Helm(kubectl.program, kubectl, "shop", kubectl.program)
    hand = Nemesis(Cluster(Settings(context="mine"), "asked for"), kubectl, helm, "shop")
    assert hand.able() == [
        *(hands.LOSE_DISK, hands.DRAIN_NODE, hands.UNCORDON_NODE, hands.EVICT_POD),
        *(hands.UPGRADE, hands.ROLLBACK, hands.COLLECT),
    ]
    assert not hand.obey(hands.CUT_NODE, {"node": "node-1"})["ok"]
    assert world.done == []
