"""One store for the whole session: a cluster, a namespace, an installed chart, one scenario job.

Files run by name, their tests in order: install, scenarios, uninstall.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emporium_e2e import session
from emporium_e2e.cluster import Cluster
from emporium_e2e.errors import E2eError
from emporium_e2e.session import Found
from emporium_e2e.settings import Settings
from emporium_e2e.steps import Steps, say
from emporium_e2e.workload import Shop


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


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Every signal that ends us unwinds like Ctrl-C, so that what is broken is mended."""
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def settings() -> Settings:
    """What the environment says."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with told_once():
        return session.read(os.environ)


@pytest.fixture(scope="session")
def steps() -> Steps:
    """What took how long."""
    return Steps()


@pytest.fixture(scope="session")
def cluster(settings: Settings, steps: Steps) -> Iterator[Cluster]:
    """A cluster that is up and has the images."""
    with told_once():
        chosen = session.choose_cluster(settings)
    try:
        with told_once():
            next_images = session.NEXT in session.names_of(settings, chosen.kind)
            chosen.prepare(steps, next_images=next_images)
        yield chosen
    finally:
        if settings.keep:
            say("E2E_KEEP=1: the cluster stays")
        else:
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
            made.remove_namespace()


@pytest.fixture(scope="session")
def found(shop: Shop, settings: Settings, steps: Steps) -> Found:
    """The scenario job has run; its reports are judged, and the page is kept."""
    with told_once():
        return session.run_scenarios(shop, settings, steps)
