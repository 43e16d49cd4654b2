"""One store for the whole session: a cluster, a namespace, an installed chart, one scenario job.

Files run by name, their tests in order: install, scenarios, stuck roll-out, uninstall.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emporium_e2e import interruptions
from emporium_e2e import session as e2e
from emporium_e2e.cluster import Cluster
from emporium_e2e.errors import E2eError
from emporium_e2e.interruptions import undisturbed
from emporium_e2e.session import Found
from emporium_e2e.settings import Settings
from emporium_e2e.steps import Steps, say
from emporium_e2e.workload import Shop

FOUND = pytest.StashKey[Found]()
FAILED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """No test has failed yet."""
    config.stash[FAILED] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what fails, but for the tests that tell a scenario's verdict: the page has those."""
    report = yield
    if report.failed and not (report.when == "call" and item.name.startswith("test_scenario[")):
        when = "" if report.when == "call" else f" ({report.when})"
        item.config.stash[FAILED].append(f"{item.name}{when}")
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The page has the last word on the whole run, once everything is taken away."""
    judged = session.config.stash.get(FOUND, None)
    if judged is not None:
        e2e.finish(judged, session.config.stash[FAILED], int(exitstatus))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every wait has a deadline of its own; a time limit over all would leave things broken."""
    for item in items:
        item.add_marker(pytest.mark.timeout(0))


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """Without a store no test has anything to say: end the session with the reason."""
    try:
        yield
    except E2eError as error:
        pytest.exit(f"e2e: {error}", returncode=1)


@pytest.fixture(scope="session")
def settings() -> Iterator[Settings]:
    """What the environment says, to this run alone."""
    interruptions.unwind()
    with contextlib.ExitStack() as stack:
        with told_once():
            told = e2e.read(os.environ)
            stack.enter_context(e2e.alone())
        yield told


@pytest.fixture(scope="session")
def steps() -> Steps:
    """What took how long."""
    return Steps()


@pytest.fixture(scope="session")
def cluster(settings: Settings, steps: Steps) -> Iterator[Cluster]:
    """A cluster that is up and has the images."""
    with told_once():
        chosen = e2e.choose_cluster(settings)
    try:
        with told_once():
            next_images = e2e.NEXT in e2e.names_of(settings, chosen.kind)
            chosen.prepare(steps, next_images=next_images)
        yield chosen
    finally:
        if settings.keep:
            say("E2E_KEEP=1: the cluster stays")
        else:
            with undisturbed():
                chosen.down()


@pytest.fixture(scope="session")
def shop(cluster: Cluster, settings: Settings, steps: Steps) -> Iterator[Shop]:
    """The store, installed where `restricted` is enforced."""
    made = Shop(cluster, settings.namespace)
    with told_once():
        made.make_namespace()
    try:
        with told_once(), steps.step("helm install, until all is ready"):
            made.install()
        yield made
    finally:
        if settings.keep:
            say(f"E2E_KEEP=1: the store stays, in namespace {settings.namespace}")
        else:
            with undisturbed():
                made.remove_namespace()


@pytest.fixture(scope="session")
def found(shop: Shop, settings: Settings, steps: Steps, pytestconfig: pytest.Config) -> Found:
    """The scenario job has run; its reports are judged, and the page is kept."""
    with told_once():
        judged = e2e.run_scenarios(shop, settings, steps)
    pytestconfig.stash[FOUND] = judged
    return judged
