"""Kubernetes' own scenarios, first part: pods are deleted and processes killed."""

from __future__ import annotations

from emporium.client import hands
from emporium.client.cluster import KILL, Replica
from emporium.client.scenarios.blows import Bar, promptness, repeat
from emporium.client.scenarios.stage import Stage

GRACEFUL, FORCED = 15, 9
GRACEFUL_BAR, SIGKILL_BAR = Bar(0.5, 2.0), Bar(1.5, 5.0)
ROLLING_SHARE = 0.999
ROLLING_LOAD_S = 900.0


def graceful_deletion(stage: Stage) -> None:
    """Delete the reigning pod as `kubectl delete pod` does: it hands the reign over."""
    stage.needs(KILL)
    repeat(stage, lambda name: stage.cluster.kill(name, GRACEFUL), GRACEFUL_BAR)


def forced_deletion(stage: Stage) -> None:
    """Delete the reigning pod with no grace: its successor waits for the same volume."""
    stage.needs(KILL)
    repeat(stage, lambda name: stage.cluster.kill(name, FORCED))


def process_killed(stage: Stage) -> None:
    """SIGKILL of the reigning pod's process: the pod stays, its container starts again."""
    stage.needs(hands.KILL_PROCESS)

    def strike(name: str) -> None:
        stage.cluster.drill(hands.KILL_PROCESS, pod=name)

    repeat(stage, strike, SIGKILL_BAR, proof=("the same pods, other containers", _began_anew))


def _began_anew(before: Replica, after: Replica) -> bool:
    """Whether another container runs in the same pod."""
    (pod, _, container), (now, _, another) = (r.process.partition("/") for r in (before, after))
    return bool(pod) and now == pod and another not in ("", container)


def role_deleted(stage: Stage) -> None:
    """Delete all pods of a role at once, role after role: each comes back by itself."""
    stage.needs(KILL)
    for role in ("cache", "catalog", "order", "frontend"):
        victims = stage.replicas(role)
        if not victims:
            continue
        names = [victim.name for victim in victims]
        stage.cluster.kill_all(names, FORCED)
        stage.all_gone(victims)
        for before, after in zip(victims, stage.start_again(*names), strict=True):
            stage.new_process(before, after)
        stage.go_on_buying()


def release_restarted(stage: Stage) -> None:
    """Delete every pod of the store at once: all of it comes back, with all it knew."""
    stage.needs(KILL)
    victims = stage.cluster.replicas()
    names = [victim.name for victim in victims]
    stage.cluster.kill_all(names, GRACEFUL)
    stage.all_gone(victims)
    for before, after in zip(victims, stage.start_again(*names), strict=True):
        stage.new_process(before, after)


def rolling_deletion(stage: Stage) -> None:
    """Delete every pod, one after the other, under thousands of purchases: they end in time."""
    stage.needs(KILL)
    if stage.load is None:
        return
    wanted = stage.options.rolling_purchases
    start = stage.load.counts().acknowledged
    pods = [replica.name for replica in stage.cluster.replicas()]
    share = wanted // len(pods) + 1
    for number, name in enumerate(pods, 1):
        before = stage.replica(name)
        stage.cluster.kill(name, GRACEFUL)
        (after,) = stage.start_again(name)
        stage.new_process(before, after)
        stage.wait_healthy()
        stage.say(f"   {number}/{len(pods)} {name}")
        stage.load.wait_acknowledged(number * share, ROLLING_LOAD_S, since=start)
    found = promptness(stage.recorder.operations())
    stage.evidence(f"{wanted} purchases", found.count >= wanted, f"{found.count}")
    word = "met" if found.share >= ROLLING_SHARE else "MISSED"
    stage.result.figures["bar"] = f"{word}: {found} (bar {ROLLING_SHARE:.1%})"
