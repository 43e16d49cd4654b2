"""Which processes a store has, and where."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from emporium.local import cli, inputs, layout
from emporium.local.errors import LocalError
from emporium.local.folder import DataFolder, write_json
from emporium.local.launcher import Launcher
from emporium.local.layout import Place, Plan
from emporium.runtime import settings


def free(_host: str, _port: int) -> bool:
    """Every port is free."""
    return True


def arguments(*words: str) -> argparse.Namespace:
    """What `emporium up WORDS` is given."""
    return cli.build_parser().parse_args(["up", *words])


def wanted(folder: Path, *words: str) -> inputs.Wanted:
    """What `emporium up WORDS` wants."""
    return inputs.wanted_by(arguments(*words), DataFolder(folder))


def ports_of(plan: Plan) -> dict[str, int]:
    """Name and port of every process."""
    return {place.name: place.port for place in plan.places}


def test_default_ports(tmp_path: Path) -> None:
    """The default store is 2 frontends, a cache, 3 catalog and 3 order replicas."""
    assert ports_of(wanted(tmp_path).plan) == {
        "frontend-0": 8000,
        "frontend-1": 8010,
        "cache-0": 8031,
        "catalog-0": 8001,
        "catalog-1": 8002,
        "catalog-2": 8003,
        "order-0": 8011,
        "order-1": 8012,
        "order-2": 8013,
    }


def test_ports_never_collide() -> None:
    """Even the largest store uses every port once."""
    counts = {"frontend": 9, "cache": 1, "catalog": 5, "order": 5}
    ports = layout.offsets(counts)
    assert len(ports) == len(set(ports)) == 3 * 20


def test_internal_and_health_port() -> None:
    """Internal is public + 1000, health is public + 2000."""
    assert Place("catalog", 0, "127.0.0.1", 8001).ports == (8001, 9001, 10001)


def test_cache_modes(tmp_path: Path) -> None:
    """A cache process runs in cache mode server alone."""
    for mode, count in (("server", 1), ("frontend", 0), ("off", 0)):
        plan = wanted(tmp_path, "--cache", mode).plan
        assert len(plan.of("cache")) == count
        assert plan.cache_mode == mode


def test_seed_000(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first seed's config keeps its ports; each pair gets a third voter beside it."""
    monkeypatch.setattr("emporium.local.ports.is_free", free)
    plan = wanted(tmp_path, "--like", "000").plan
    assert ports_of(plan) == {
        "frontend-0": 8000,
        "cache-0": 8005,
        "catalog-0": 8001,
        "catalog-1": 8002,
        "catalog-2": 8006,
        "order-0": 8003,
        "order-1": 8004,
        "order-2": 8007,
    }
    assert "third voter" in plan.place("catalog-2").note
    assert plan.place("catalog-1").note == ""


def test_third_voter_takes_a_free_port() -> None:
    """A port that somebody has, in any of its three uses, is passed over."""
    two = [Place("catalog", n, "127.0.0.1", 8001 + n) for n in range(2)]
    places = layout.with_third_voters(two, lambda _host, port: port not in (8003, 9004, 10005))
    assert places[-1].port == 8006


def test_seed_001(tmp_path: Path) -> None:
    """The second seed has one of each role and no cache, and its own items."""
    found = wanted(tmp_path, "--like", "001")
    assert ports_of(found.plan) == {"frontend-0": 8000, "catalog-0": 8001, "order-0": 8002}
    assert found.plan.cache_mode == "off"
    assert found.items.startswith("init,1,1000,10,distributed systems,")


def test_like_with_numbers(tmp_path: Path) -> None:
    """Numbers beside --like move the store to the usual ports and keep the items."""
    found = wanted(tmp_path, "--like", "001", "--catalog", "3")
    assert found.plan.counts() == {"frontend": 1, "cache": 0, "catalog": 3, "order": 1}
    assert found.items


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("catalog,127.0.0.1:8001\nnonsense\n", "config:2"),
        ("frontend,127.0.0.1:8000\ncatalog,10.1.2.3:8001\norder,127.0.0.1:8002\n", "config:2"),
        ("frontend,127.0.0.1:8000\ncatalog,127.0.0.1:8001\n", "names no order"),
        ("frontend,127.0.0.1:8000\ncatalog,127.0.0.1:9000\norder,127.0.0.1:8002\n", "config:2"),
        ("frontend,127.0.0.1:8000\ncatalog,127.0.0.1:65000\norder,127.0.0.1:8002\n", "config:2"),
    ],
)
def test_bad_config(tmp_path: Path, text: str, error: str) -> None:
    """A bad line in a config file is named with its number."""
    config = tmp_path / "config"
    config.write_text(text)
    with pytest.raises(LocalError, match=error):
        wanted(tmp_path / "data", "--config", str(config))


def test_bad_items(tmp_path: Path) -> None:
    """A bad line in an items file is named with its number, a missing file by its name."""
    items = tmp_path / "items"
    items.write_text("init,1,3,10,topic,title\n\ninit,2,many,10,topic,title\n")
    with pytest.raises(LocalError, match="items:3"):
        wanted(tmp_path / "data", "--items", str(items))
    with pytest.raises(LocalError, match="nowhere: No such file"):
        wanted(tmp_path / "data", "--config", "nowhere")


def test_numbers_of_replicas(tmp_path: Path) -> None:
    """Four replicas are refused, two get a third."""
    with pytest.raises(LocalError, match="--catalog 4"):
        wanted(tmp_path, "--catalog", "4")
    assert wanted(tmp_path, "--order", "2").plan.place("order-2").port == 8013


def old_data(folder: DataFolder, edition: str = "bookstore", catalog: int = 3) -> None:
    """Make a folder that a store has used."""
    folder.make()
    journal = folder.replica("catalog-0") / "journal"
    journal.parent.mkdir()
    journal.write_text("")
    write_json(
        folder.store_file,
        {"edition": edition, "catalog": catalog, "order": 3, "made": "2026-01-01"},
    )


def test_old_data(tmp_path: Path) -> None:
    """`up` goes on from old data and says so; other numbers than its own are refused."""
    folder = DataFolder(tmp_path)
    old_data(folder, catalog=5)
    found = inputs.wanted_by(arguments(), folder)
    assert found.plan.counts()["catalog"] == 5
    assert "2026-01-01" in inputs.claim(folder, found)[0]
    with pytest.raises(LocalError, match="it has catalog 5, and catalog 3 is asked for"):
        inputs.wanted_by(arguments("--catalog", "3"), folder)


def test_old_data_without_description(tmp_path: Path) -> None:
    """Data that nothing describes isn't touched."""
    folder = DataFolder(tmp_path)
    old_data(folder)
    folder.store_file.unlink()
    with pytest.raises(LocalError, match=r"no store\.json"):
        inputs.wanted_by(arguments(), folder)


def test_plan_survives_the_run_file(tmp_path: Path) -> None:
    """A plan read back from JSON is the same plan."""
    plan = wanted(tmp_path, "--heartbeat-ms", "100", "--faults").plan
    assert Plan.from_json(plan.to_json()) == plan


def test_environment_is_accepted_by_the_roles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process's environment passes the roles' own check; ours doesn't leak into it."""
    monkeypatch.setenv("EMPORIUM_NONSENSE", "1")
    folder = DataFolder(tmp_path)
    folder.make()
    folder.make_secrets()
    plan = wanted(tmp_path, "--heartbeat-ms", "100", "--faults").plan
    launcher = Launcher(folder, plan)
    for place in plan.places:
        read = settings.read(launcher.environment(place))
        assert (read.role, read.replica, read.port) == (place.role, place.replica, place.port)
        assert read.heartbeat_interval_ms == 100
        assert read.faults
        assert read.internal("catalog")[0].port == 9001
