"""Every scenario by its name: passed, failed, or not run with a reason that is written down."""

from __future__ import annotations

import json

import pytest

from emporium_e2e import checker
from emporium_e2e.session import SCENARIOS, Found
from emporium_e2e.workload import STORE, Shop

ROLES = ("frontend", "cache", "catalog", "order")
ALLOWED = {
    *((verb, "", "pods", "") for verb in ("get", "list", "delete")),
    ("get", "", "pods/log", ""),
    *(("patch", "apps", "statefulsets/scale", f"{STORE}-{role}") for role in ROLES),
}
"""Verb, API group, resource and name: all that the job may do in its namespace."""
EVERYBODY = {"authorization.k8s.io", "authentication.k8s.io"}
"""Where every account may ask about itself."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(found: Found, name: str) -> None:
    """The scenario passes: nothing lost, doubled, oversold or stale, its fault shown, no long
    gap."""
    verdict = found.verdicts[name]
    if verdict.word == checker.NOT_RUN:
        pytest.skip(f"not run: {verdict.why}")
    assert verdict.word == checker.PASSED, verdict.why


def test_the_job_agrees(found: Found) -> None:
    """The job came to its end, and its own exit code says what the verdicts say."""
    assert found.outcome.trouble == ""
    failed = [name for name, verdict in found.verdicts.items() if verdict.word == checker.FAILED]
    assert (found.outcome.exit_code == 0) is not bool(failed)


def test_the_job_may_do_no_more_than_it_needs(found: Found, shop: Shop) -> None:
    """Its account may get, list and delete pods, read their logs and scale this release."""
    assert found.verdicts
    account = f"system:serviceaccount:{shop.namespace}:{STORE}-client"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": shop.namespace},
    }
    told = shop.kubectl.raw(
        *("create", f"--as={account}", "--filename=-", "--validate=false", "--output=json"),
        stdin=json.dumps(review).encode(),
    )
    may = {
        (verb, group, resource, name)
        for rule in json.loads(told)["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
        if group not in EVERYBODY
    }
    assert may == ALLOWED
