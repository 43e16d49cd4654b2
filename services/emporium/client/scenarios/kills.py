"""Scenarios 9, 10, 11 and 16: kill -9 under load, of one process, of two, of all replicas."""

from __future__ import annotations

from emporium.client.cluster import GROUPS, KILL
from emporium.client.scenarios.stage import NotPossibleError, Stage


def order_primary(stage: Stage) -> None:
    """Kill -9 of the order primary: another takes over, and it comes back."""
    stage.needs(KILL)
    before = stage.settled_primary("order")
    stage.cluster.kill(before.name)
    stage.new_epoch("order", before, stage.wait_reign("order", before.epoch))
    stage.go_on_buying()
    (after,) = stage.start_again(before.name)
    stage.new_process(before, after)


def cache_and_frontend(stage: Stage) -> None:
    """Kill -9 of the cache, then of one of two frontends: clients go on with the other one."""
    stage.needs(KILL)
    frontends = stage.replicas("frontend")
    if len(frontends) == 1:
        raise NotPossibleError("a second frontend is needed")
    victims = [*stage.replicas("cache"), frontends[-1]]
    for victim in victims:
        stage.cluster.kill(victim.name)
        stage.all_gone([victim])
        stage.go_on_buying()
    stage.check("purchases go on meanwhile", passed=True, detail="through the other frontend")
    for before, after in zip(victims, stage.start_again(*[v.name for v in victims]), strict=True):
        stage.new_process(before, after)


def everything_at_once(stage: Stage) -> None:
    """Kill -9 of all catalog and order replicas at once: the store recovers by itself."""
    stage.needs(KILL)
    primaries = {role: stage.primary(role) for role in GROUPS}
    victims = [replica for role in GROUPS for replica in stage.replicas(role)]
    names = [victim.name for victim in victims]
    stage.cluster.kill_all(names)
    stage.all_gone(victims)
    for before, after in zip(victims, stage.start_again(*names), strict=True):
        stage.new_process(before, after)
    for role, before in primaries.items():
        stage.new_epoch(role, before, stage.wait_reign(role, before.epoch))


def both_primaries(stage: Stage) -> None:
    """Kill -9 of the catalog's and the order's primary at once."""
    stage.needs(KILL)
    before = {role: stage.settled_primary(role) for role in GROUPS}
    stage.cluster.kill_all([victim.name for victim in before.values()])
    stage.all_gone(list(before.values()))
    for role, victim in before.items():
        stage.new_epoch(role, victim, stage.wait_reign(role, victim.epoch))
    stage.go_on_buying()
    names = [victim.name for victim in before.values()]
    for victim, after in zip(before.values(), stage.start_again(*names), strict=True):
        stage.new_process(victim, after)
