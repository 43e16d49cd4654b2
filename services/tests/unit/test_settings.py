"""Settings: what is read, worked out and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from emporium.runtime import settings, settings_table
from emporium.runtime.errors import SettingsError

ROLES = ("catalog", "order", "cache", "frontend", "client")
SECRET = "a secret of enough letters"


def read(role: str = "catalog", **given: str) -> settings.Settings:
    """The settings of a role on this machine, with `given` names (without the prefix)."""
    environ = {"EMPORIUM_DATA_DIR": "somewhere"}
    return settings.read(environ | {f"EMPORIUM_{k}": v for k, v in given.items()}, role)


def refusal(role: str = "catalog", **given: str) -> str:
    """The text of the error that these settings give."""
    with pytest.raises(SettingsError) as caught:
        read(role, **given)
    return str(caught.value)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_working_defaults(role: str) -> None:
    """A role needs no setting besides a replica's data folder."""
    made = read(role)
    assert made.role == role
    assert made.heartbeat_interval_ms * 4 <= made.failure_timeout_ms
    assert made.lease_ms * 2 <= made.failure_timeout_ms


def test_each_role_has_a_record_of_its_own() -> None:
    """The type says what may be asked of the settings."""
    names = [type(read(role)).__name__.removesuffix("Settings").lower() for role in ROLES]
    assert names == list(ROLES)


def test_ports_follow_from_role_and_id() -> None:
    """Public, internal and health ports stand as the design lists them."""
    made = read("order", ID="2")
    assert (made.port, made.internal_port, made.health_port) == (8013, 9013, 10013)
    assert read("frontend", ID="1").port == 8010
    assert read("cache").port == 8031


def test_the_own_port_is_the_one_in_the_list() -> None:
    """Who the others dial listens there."""
    made = read(CATALOG="h:7001,h:7002,h:7003", ID="1")
    assert made.port == 7002
    assert str(made.internal("catalog")[2]) == "h:8003"
    assert str(made.health("catalog")[0]) == "h:9001"


def test_an_id_may_be_a_pod_name() -> None:
    """A StatefulSet gives the ordinal at the end of the name."""
    assert read(ID="my-store-catalog-2").replica == 2


def test_a_frontend_may_stand_beside_its_list() -> None:
    """Pods of a Deployment have no ordinal, and nobody dials them by id."""
    assert read("frontend", ID="7").port == 8070


def test_ipv6_addresses_are_read_and_printed_in_brackets() -> None:
    """Their colons are not the port's."""
    made = read(CATALOG="[::1]:8001")
    assert made.catalog[0] == settings.Address("::1", 8001)
    assert str(made.catalog[0]) == "[::1]:8001"


def test_periods_follow_from_the_heartbeat() -> None:
    """A timeout of four heartbeats, a lease of at most half of it."""
    slow = read(HEARTBEAT_INTERVAL_MS="1000")
    assert (slow.failure_timeout_ms, slow.lease_ms) == (4000, 400)
    fast = read(HEARTBEAT_INTERVAL_MS="100")
    assert (fast.failure_timeout_ms, fast.lease_ms) == (400, 200)


def test_an_empty_value_counts_as_not_set() -> None:
    """Templates write empty values where nothing is meant."""
    assert read(HEARTBEAT_INTERVAL_MS=" ", CACHE="").heartbeat_interval_ms == 250


def test_the_core_is_told_what_the_replica_was() -> None:
    """Only the catalog has holders, so only its group has a lease."""
    catalog, order = read(BATCH_ENTRIES="7", ID="2"), read("order")
    assert isinstance(catalog, settings.CatalogSettings)
    assert isinstance(order, settings.OrderSettings)
    core = catalog.core("[]")
    assert (core.role, core.replica, core.members) == ("catalog", 2, (0, 1, 2))
    assert (core.batch_entries, core.lease_ms, core.data) == (7, 400.0, "[]")
    assert order.core().lease_ms == 0.0


@pytest.mark.parametrize(("mode", "caches"), [("server", 1), ("frontend", 0), ("off", 0)])
def test_only_the_server_mode_has_caches_to_dial(mode: str, caches: int) -> None:
    """In the other modes the list of caches is empty."""
    assert len(read("frontend", CACHE_MODE=mode).cache) == caches


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    """A typing error never leaves a default in force."""
    text = refusal(HEARTBEAT_INTERVALL_MS="100")
    assert "EMPORIUM_HEARTBEAT_INTERVALL_MS" in text
    assert "did you mean EMPORIUM_HEARTBEAT_INTERVAL_MS?" in text


def test_names_of_others_are_left_alone() -> None:
    """Only our prefix is ours."""
    assert settings.read({"PATH": "/bin", "EMPORIO": "x"}, "client").role == "client"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ID", "two", "0 to 9999"),
        ("ID", "3", "0 to 2"),
        ("PORT", "0", "1 to 65535"),
        ("PORT", "8_001", "1 to 65535"),
        ("PORT", "65000", "at most 63535"),
        ("HEALTH_OFFSET", "1000", "another than 1000"),
        ("THREADS", "2", "4 to 512"),
        ("CATALOG", "a:1,b", "host:port"),
        ("CATALOG", "a:1,b:2,a:1", "different"),
        ("CATALOG", "a:1,b:2", "1, 3 or 5"),
        ("ORDER", "a:1,b:2,c:3,d:4", "1, 3 or 5"),
        ("ORDER", "a:70000", "host:port"),
        ("EDITION", "bookshop", "bookstore or stocks or toys"),
        ("MODE", "raft", "not in this version; allowed: primary-backup"),
        ("MODE", "leader", "not in this version; allowed: primary-backup"),
        ("MODE", "paxos", "primary-backup or leader or raft"),
        ("CACHE_MODE", "on", "server or frontend or off"),
        ("FAULTS", "perhaps", "true or false"),
        ("LOG_LEVEL", "loud", "debug or info"),
        ("FAILURE_TIMEOUT_MS", "900", "at most 225, a quarter of EMPORIUM_FAILURE_TIMEOUT_MS"),
        ("LEASE_MS", "501", "at most 500, half of EMPORIUM_FAILURE_TIMEOUT_MS 1000"),
        ("LEASE_MS", "-5", "1 to 3600000"),
        ("SECRET_FILE", "no-such-file", "readable file of 1 to 2 lines"),
        ("OPERATOR_TOKEN_FILE", "no-such-file", "readable file of 1 to 1 lines"),
        ("ITEMS_FILE", "no-such-file", "a file"),
        ("TLS_CERT_FILE", "no-such-file", "all three"),
        ("HOST", "0.0.0.0", "EMPORIUM_SECRET_FILE is not set"),
        ("ROLE", "order", "catalog, the role of this process"),
        ("DATA_DIR", "", "EMPORIUM_DATA_DIR is not set"),
    ],
)
def test_a_bad_value_is_refused_in_words(name: str, value: str, allowed: str) -> None:
    """The text names the setting, the value and what is allowed."""
    text = refusal(**{name: value})
    assert "EMPORIUM_" in text
    assert value in text
    assert allowed in text


def test_roles_are_checked() -> None:
    """A role comes from the caller or from the environment, and is one of five."""
    assert settings.read({"EMPORIUM_ROLE": "cache"}).role == "cache"
    with pytest.raises(SettingsError, match="'baker' is not a role"):
        settings.read({}, "baker")
    with pytest.raises(SettingsError, match="EMPORIUM_ROLE is not set"):
        settings.read({})


def test_two_secrets_are_read_newest_first(tmp_path: Path) -> None:
    """While a secret is exchanged, both are valid; neither is ever printed."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET} 2\n{SECRET} 1\n")
    made = read(SECRET_FILE=str(file), HOST="0.0.0.0")
    assert made.secrets == (f"{SECRET} 2", f"{SECRET} 1")
    assert SECRET not in repr(made)


@pytest.mark.parametrize("text", ["", "short\n", f"{SECRET}\n{SECRET}\n{SECRET}\n"])
def test_a_weak_secret_is_refused(tmp_path: Path, text: str) -> None:
    """None, a short one, or more than two."""
    file = tmp_path / "secret"
    file.write_text(text)
    assert "at least 16 characters" in refusal(SECRET_FILE=str(file))


def test_the_operator_token_is_read_from_its_file(tmp_path: Path) -> None:
    """One line; no file: no token is valid."""
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    assert read("frontend", OPERATOR_TOKEN_FILE=str(file)).operator_token == SECRET
    assert read("frontend").operator_token == ""


def test_tls_takes_all_three_files_or_none(tmp_path: Path) -> None:
    """Half a configuration would be no protection."""
    files = {}
    for name in ("TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CA_FILE"):
        files[name] = str(tmp_path / name)
        (tmp_path / name).touch()
    assert read(**files).tls == settings_table_tls(files)
    del files["TLS_KEY_FILE"]
    assert "EMPORIUM_TLS_KEY_FILE is not set" in refusal(**files)


def settings_table_tls(files: dict[str, str]) -> settings.Tls:
    """The record for these files."""
    return settings.Tls(files["TLS_CERT_FILE"], files["TLS_KEY_FILE"], files["TLS_CA_FILE"])


def test_every_default_is_an_allowed_value() -> None:
    """The table can't contradict itself, and names every setting once."""
    for setting in settings_table.TABLE:
        if setting.default:
            setting.kind.parse(setting.default)
    assert len(settings_table.NAMES) == len(settings_table.TABLE)
