"""Which cluster is used and why, and what a run is told by its environment."""

from __future__ import annotations

import pytest

from emporium.client import hands
from emporium_e2e import cluster, session, settings
from emporium_e2e.cluster import CONTEXT, KIND, OWN, Machine
from emporium_e2e.errors import E2eError
from emporium_e2e.settings import Settings

BARE = Machine("Linux", root=True, docker=False, kind=False)
LAPTOP = Machine("Darwin", root=False, docker=True, kind=True)


def test_a_named_context_is_used_before_all_else() -> None:
    """Somebody has said so."""
    kind, why = cluster.choose(Settings(context="mine"), LAPTOP)
    assert (kind, why) == (CONTEXT, "E2E_CONTEXT=mine")


def test_kind_is_used_where_docker_and_kind_are() -> None:
    """On any system, without root."""
    assert cluster.choose(Settings(), LAPTOP)[0] == KIND


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (BARE, "no Docker answers"),
        (Machine("Linux", root=True, docker=True, kind=False), "there is Docker, but no kind"),
        (Machine("Linux", root=True, docker=False, kind=True), "no Docker answers"),
    ],
)
def test_else_it_is_the_projects_own(machine: Machine, why: str) -> None:
    """And it says why it isn't kind."""
    assert cluster.choose(Settings(), machine) == (OWN, why)


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (Machine("Linux", root=False, docker=False, kind=False), r"needs root\n.*sudo make e2e"),
        (Machine("Darwin", root=True, docker=False, kind=True), "needs Linux; this is Darwin"),
    ],
)
def test_where_none_is_possible_it_says_what_to_do(machine: Machine, why: str) -> None:
    """No Linux, or no root."""
    with pytest.raises(E2eError, match=why):
        cluster.choose(Settings(), machine)


def test_the_drills_of_each_kind() -> None:
    """The own one can do all, kind what a Docker container lets, a context what the API has."""
    verbs = {kind: made.verbs for kind, made in cluster.KINDS.items()}
    assert verbs[OWN] == set(hands.VERBS)
    assert verbs[CONTEXT] < verbs[KIND] < verbs[OWN]
    assert verbs[OWN] - verbs[KIND] == {hands.CRASH_NODE, hands.RESTART_NODE}


@pytest.mark.parametrize("kind", [CONTEXT, KIND, OWN])
def test_each_verb_that_is_offered_is_there(kind: str) -> None:
    """A kind that offers a verb has replaced the method that only says no."""
    methods = {
        hands.KILL_PROCESS: ("kill_process",),
        hands.FREEZE: ("freeze",),
        hands.CUT_NODE: ("cut", "heal"),
        hands.CRASH_NODE: ("crash", "restart"),
        hands.API_OUTAGE: ("api_stop", "api_start"),
    }
    made = cluster.KINDS[kind]
    for verb, names in methods.items():
        own = all(getattr(made, name) is not getattr(cluster.Cluster, name) for name in names)
        assert own is (verb in made.verbs), verb


# --- settings ---


def test_nothing_said_is_the_run_of_ci() -> None:
    """Variables of other programs, and empty ones, don't matter."""
    assert settings.read({"HOME": "/", "E2E_NAMES": " "}) == Settings()


def test_everything_can_be_said() -> None:
    """By name."""
    told = {
        "E2E_CONTEXT": "mine",
        "E2E_REGISTRY": "registry.example/shop/",
        "E2E_TAG": "v2",
        "E2E_NAMESPACE": "lab",
        "E2E_KEEP": "1",
        "E2E_NAMES": "9-11 node-cut",
        "E2E_REPEATS": "7",
        "E2E_ROUNDS": "2",
        "E2E_PURCHASES": "100",
    }
    assert settings.read(told) == Settings(
        "mine",
        "registry.example/shop",
        "v2",
        "lab",
        keep=True,
        names=("9-11", "node-cut"),
        repeats=7,
        rounds=2,
        purchases=100,
    )


def test_the_full_set_repeats_each_blow_twenty_times() -> None:
    """Unless another number is given."""
    assert settings.read({"E2E_FULL": "1"}).repeats == 20
    assert settings.read({"E2E_FULL": "1", "E2E_REPEATS": "2"}).repeats == 2


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("E2E_KEPP", "1", r"there is no E2E_KEPP\n  allowed: E2E_CONTEXT"),
        ("E2E_KEEP", "yes", "allowed: 1 and 0"),
        ("E2E_REPEATS", "0", "E2E_REPEATS=0\n  allowed: 1 to"),
        ("E2E_ROUNDS", "many", "allowed: 1 to"),
        ("E2E_NAMESPACE", "kube-system", "E2E_NAMESPACE=kube-system"),
        ("E2E_NAMESPACE", "A_b", "small letters"),
        ("E2E_CONTEXT", "mine", "E2E_REGISTRY"),
        ("E2E_TAG", "v2", "set E2E_CONTEXT too"),
        ("E2E_NAMES", "nodecut", "there is no scenario 'nodecut'; there are"),
        ("E2E_NAMES", "1 rollback", "rollback undoes what upgrade did.*\n  choose both: 27 28"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(name: str, value: str, why: str) -> None:
    """Before anything is touched."""
    with pytest.raises(E2eError, match=why):
        session.read({name: value})


# --- which scenarios ---


def test_ci_runs_1_to_16_and_21_to_28() -> None:
    """On the project's own cluster, where nothing else is left out."""
    names = session.names_of(Settings(), OWN)
    assert [session.SCENARIOS[name].number for name in names] == [*range(1, 17), *range(21, 29)]


def test_the_full_set_is_all() -> None:
    """On the project's own cluster."""
    assert session.names_of(Settings(full=True), OWN) == list(session.SCENARIOS)


def test_names_choose_from_all() -> None:
    """Also those that CI leaves out; not those that the cluster can't show."""
    chosen = Settings(names=("21", "node-crashed"))
    assert session.names_of(chosen, OWN) == ["graceful-deletion", "node-crashed"]
    assert session.names_of(chosen, KIND) == ["graceful-deletion"]


@pytest.mark.parametrize("kind", [CONTEXT, KIND])
def test_where_nothing_is_left_to_run_nothing_is_run(kind: str) -> None:
    """A job without names runs all."""
    with pytest.raises(E2eError, match=r"nothing is left to run on .*: node-crashed: [a-zA-Z]"):
        session.names_of(Settings(names=("node-crashed",)), kind)


def test_what_was_chosen_and_isnt_run_is_told() -> None:
    """With its reason; what nobody has chosen isn't."""
    chosen = Settings(names=("21", "node-cut"))
    assert list(session.cant(chosen, CONTEXT)) == ["node-cut"]
    assert session.cant(chosen, OWN) == {}
    assert session.cant(Settings(), CONTEXT) == {}


def test_the_job_has_time_for_what_it_is_asked() -> None:
    """20 minutes for the set of CI; more for more blows, and for each round."""
    ci = session.job_deadline_s(Settings())
    assert ci == 20 * 60
    assert session.job_deadline_s(Settings(repeats=1)) == ci
    assert session.job_deadline_s(Settings(rounds=3)) == 3 * ci
    assert session.job_deadline_s(Settings(repeats=20)) >= ci + 17 * 60
    full = session.job_deadline_s(Settings(full=True, repeats=20))
    assert full == 4 * 3600
    assert session.job_deadline_s(Settings(full=True, repeats=40)) > full


@pytest.mark.parametrize(
    ("told", "up"),
    [("ready", True), (E2eError("failed (1): x"), False), (E2eError("failed (3): x"), False)],
)
def test_only_a_whole_cluster_was_there_before(
    monkeypatch: pytest.MonkeyPatch, told: str | E2eError, up: object
) -> None:
    """What isn't whole is made anew, and so taken away at the end."""

    def status(*_words: str) -> str:
        if isinstance(told, E2eError):
            raise told
        return told

    monkeypatch.setattr(cluster, "_cluster", status)
    assert cluster._is_up() is up
