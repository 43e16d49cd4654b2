"""Every setting: read once from the environment, checked, and handed on as one frozen record.

House rules. All names begin with `EMPORIUM_`; a name with this prefix that isn't in the
table is refused, with the nearest known name, so that a typing error never leaves a default in
force. An empty value counts as not set. Every role may be given every setting (one environment
serves a whole store) and checks those that it reads. Times are in milliseconds.

`read(environ, role)` answers CatalogSettings, OrderSettings, CacheSettings, FrontendSettings or
ClientSettings, and raises SettingsError, whose text names the setting, its value and what is
allowed. `settings_table` holds the names, defaults and meanings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from emporium.replication.settings import CoreSettings
from emporium.runtime import settings_table as table
from emporium.runtime.errors import SettingsError
from emporium.runtime.settings_table import (
    LAST_PORT,
    PREFIX,
    ROLES,
    Address,
    default_addresses,
    default_port,
)

GROUP_SIZES: Final = (1, 3, 5)
SECRET_LENGTH: Final = 16  # characters at least, so that a secret can't be guessed
WAITERS_KEPT_FREE: Final = 2  # PROTOCOL 5.1: threads that answer while all others wait

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
DIALLED: Final = ("catalog", "order", "cache")  # the roles that others open streams to
T = TypeVar("T")

__all__ = ["Address", "default_addresses", "default_port", "read"]


# --- the records ---


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of the internal port's TLS, PEM."""

    cert_file: str
    key_file: str
    ca_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings:
    """What every role is told. Secrets stay out of the printed form."""

    role: str
    replica: int  # the id
    host: str  # to listen on
    port: int  # public; the internal and the health port are beside it
    internal_offset: int
    health_offset: int
    catalog: tuple[Address, ...]  # public addresses, by id
    order: tuple[Address, ...]
    cache: tuple[Address, ...]  # empty unless the cache mode is server
    frontend: tuple[Address, ...]
    output_dir: str  # empty: standard output
    edition: str
    mode: str
    cache_mode: str
    heartbeat_interval_ms: int
    failure_timeout_ms: int
    lease_ms: int
    request_timeout_ms: int
    threads: int
    faults: bool
    secrets: tuple[str, ...] = field(repr=False)  # newest first; none only on loopback
    operator_token: str = field(repr=False)  # empty: no token is valid
    orders_private: bool
    log_level: str
    max_body_bytes: int
    tls: Tls | None

    @property
    def name(self) -> str:
        """role-id, as in `emporium kill catalog-0`."""
        return f"{self.role}-{self.replica}"

    @property
    def internal_port(self) -> int:
        """Where the replicas talk with each other."""
        return self.port + self.internal_offset

    @property
    def health_port(self) -> int:
        """Where health, metrics and status are served."""
        return self.port + self.health_offset

    @property
    def waiters(self) -> int:
        """How many request threads may wait at the same time (PROTOCOL 5.1)."""
        return self.threads - WAITERS_KEPT_FREE

    def public(self, role: str) -> tuple[Address, ...]:
        """The public addresses of a role, by id."""
        return {
            "catalog": self.catalog,
            "order": self.order,
            "cache": self.cache,
            "frontend": self.frontend,
        }.get(role, ())

    def internal(self, role: str) -> tuple[Address, ...]:
        """The internal addresses of a role, by id."""
        return tuple(address.shifted(self.internal_offset) for address in self.public(role))

    def health(self, role: str) -> tuple[Address, ...]:
        """The addresses of health and metrics of a role, by id."""
        return tuple(address.shifted(self.health_offset) for address in self.public(role))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings(CommonSettings):
    """A replica of a replicated log."""

    data_dir: str
    items_file: str
    lock_wait_ms: int
    batch_entries: int
    snapshot_entries: int
    keep_entries: int
    pending_proposals: int
    step_events: int

    def core(self, data: str = "") -> CoreSettings:
        """What the core is told. `data` is the data set for a genesis (JSON text)."""
        return CoreSettings(
            role=self.role,
            replica=self.replica,
            members=tuple(range(len(self.public(self.role)))),
            mode=self.mode,
            heartbeat_interval_ms=float(self.heartbeat_interval_ms),
            failure_timeout_ms=float(self.failure_timeout_ms),
            lease_ms=float(self.lease_ms) if self.role == "catalog" else 0.0,
            data=data,
            batch_entries=self.batch_entries,
            snapshot_entries=self.snapshot_entries,
            keep_entries=self.keep_entries,
            pending_proposals=self.pending_proposals,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSettings(ReplicaSettings):
    """A replica of the catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSettings(ReplicaSettings):
    """A replica of the order role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderSettings(CommonSettings):
    """A process that may keep copies of items."""

    cache_items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings(HolderSettings):
    """The cache role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSettings(HolderSettings):
    """A frontend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(CommonSettings):
    """A program that makes load, breaks the store and checks it."""


Settings = CatalogSettings | OrderSettings | CacheSettings | FrontendSettings | ClientSettings


# --- reading ---


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """A name with our prefix that we don't know is a typing error, or another version's."""
    known = sorted(table.NAMES)
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in table.NAMES:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name} is not a setting of this version{hint}")


def _value(environ: Mapping[str, str], setting: table.Setting[T]) -> T:
    """The setting's value; its text, or its default's, must be allowed."""
    text = environ.get(setting.variable, "").strip() or setting.default
    try:
        return setting.kind.parse(text)
    except (ValueError, KeyError) as problem:
        raise _refused(environ, setting, setting.kind.allowed) from problem


def _given(environ: Mapping[str, str], setting: table.Setting[T], otherwise: T) -> T:
    """The setting's value, or `otherwise` where it isn't set."""
    return _value(environ, setting) if environ.get(setting.variable, "").strip() else otherwise


def _refused(environ: Mapping[str, str], setting: table.Setting[T], allowed: str) -> SettingsError:
    """The error for a value: which setting, which value, what is allowed."""
    value = environ.get(setting.variable, "").strip()
    unset = f"not set, so {setting.default}" if setting.default else "not set"
    said = f"{setting.variable} is {repr(value) if value else unset}"
    return SettingsError(f"{said}; allowed: {allowed}")


def _lines(environ: Mapping[str, str], setting: table.Setting[str], most: int) -> tuple[str, ...]:
    """The lines of a secret's file, none when the setting is empty."""
    path = _value(environ, setting)
    if not path:
        return ()
    allowed = f"a readable file of 1 to {most} lines of at least {SECRET_LENGTH} characters each"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise _refused(environ, setting, allowed) from problem
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not 1 <= len(lines) <= most or any(len(line) < SECRET_LENGTH for line in lines):
        raise _refused(environ, setting, allowed)
    return lines


def _tls(environ: Mapping[str, str]) -> Tls | None:
    """The three TLS files, or none."""
    settings = (table.TLS_CERT_FILE, table.TLS_KEY_FILE, table.TLS_CA_FILE)
    paths = [_value(environ, setting) for setting in settings]
    if not any(paths):
        return None
    for setting, path in zip(settings, paths, strict=True):
        if not Path(path or "/").is_file():
            raise _refused(environ, setting, "a file, for all three TLS settings or for none")
    return Tls(*paths)


def _only_this_version(environ: Mapping[str, str]) -> None:
    """Modes that have a name and aren't built yet are refused by that name."""
    mode = _value(environ, table.MODE)
    if mode != "primary-backup":
        raise SettingsError(
            f"{table.MODE.variable} is {mode!r}, which is not in this version;"
            " allowed: primary-backup"
        )


def _addresses(environ: Mapping[str, str]) -> dict[str, tuple[Address, ...]]:
    """The lists of all roles; groups have a size that can have a majority."""
    lists = {
        "catalog": _given(environ, table.CATALOG, default_addresses("catalog", 3)),
        "order": _given(environ, table.ORDER, default_addresses("order", 3)),
        "cache": _given(environ, table.CACHE, default_addresses("cache", 1)),
        "frontend": _given(environ, table.FRONTEND, default_addresses("frontend", 1)),
    }
    for setting in (table.CATALOG, table.ORDER):
        if len(lists[setting.name.lower()]) not in GROUP_SIZES:
            raise _refused(environ, setting, "1, 3 or 5 addresses, so that there is a majority")
    if _value(environ, table.CACHE_MODE) != "server":
        lists["cache"] = ()
    return lists


def _place(
    environ: Mapping[str, str], role: str, addresses: tuple[Address, ...]
) -> tuple[int, int]:
    """The id and the public port. A frontend or client may stand beside its list (a pod of a
    Deployment has no ordinal); a member of a list that the others dial may not."""
    replica = _value(environ, table.ID)
    if replica < len(addresses):
        return replica, _given(environ, table.PORT, addresses[replica].port)
    if role in DIALLED:
        raise _refused(
            environ, table.ID, f"0 to {len(addresses) - 1}, an id in {PREFIX}{role.upper()}"
        )
    return replica, _given(environ, table.PORT, default_port(role, replica))


def _check_ports(environ: Mapping[str, str], port: int, offsets: tuple[int, int]) -> None:
    """Public, internal and health port are three ports that exist."""
    if offsets[0] == offsets[1]:
        raise _refused(environ, table.HEALTH_OFFSET, f"another than {offsets[0]}, the internal")
    if port + max(offsets) > LAST_PORT:
        raise SettingsError(
            f"{table.PORT.variable} is {port}; allowed: at most {LAST_PORT - max(offsets)},"
            " so that the internal and the health port fit above it"
        )


def _times(environ: Mapping[str, str]) -> tuple[int, int, int]:
    """Heartbeat interval, failure timeout and lease, which depend on each other."""
    heartbeat = _value(environ, table.HEARTBEAT_INTERVAL_MS)
    timeout = _given(environ, table.FAILURE_TIMEOUT_MS, 4 * heartbeat)
    if heartbeat * 4 > timeout:
        raise _refused(
            environ,
            table.HEARTBEAT_INTERVAL_MS,
            f"at most {timeout // 4}, a quarter of {table.FAILURE_TIMEOUT_MS.variable} {timeout}",
        )
    lease = _given(environ, table.LEASE_MS, min(400, timeout // 2))
    if lease * 2 > timeout:
        raise _refused(
            environ,
            table.LEASE_MS,
            f"at most {timeout // 2}, half of {table.FAILURE_TIMEOUT_MS.variable} {timeout}",
        )
    return heartbeat, timeout, lease


def _secrets(environ: Mapping[str, str], host: str) -> tuple[str, ...]:
    """The internal port's secrets, newest first. Without any, only loopback may listen."""
    secrets = _lines(environ, table.SECRET_FILE, 2)
    if not secrets and host not in LOOPBACK:
        raise _refused(
            environ, table.SECRET_FILE, f"a file with a secret, because the host is {host}"
        )
    return secrets


def _common(environ: Mapping[str, str], role: str) -> CommonSettings:
    """What every role reads."""
    lists = _addresses(environ)
    replica, port = _place(environ, role, lists.get(role, ()))
    offsets = (_value(environ, table.INTERNAL_OFFSET), _value(environ, table.HEALTH_OFFSET))
    _check_ports(environ, port, offsets)
    heartbeat, timeout, lease = _times(environ)
    host = _value(environ, table.HOST)
    return CommonSettings(
        role=role,
        replica=replica,
        host=host,
        port=port,
        internal_offset=offsets[0],
        health_offset=offsets[1],
        catalog=lists["catalog"],
        order=lists["order"],
        cache=lists["cache"],
        frontend=lists["frontend"],
        output_dir=_value(environ, table.OUTPUT_DIR),
        edition=_value(environ, table.EDITION),
        mode=_value(environ, table.MODE),
        cache_mode=_value(environ, table.CACHE_MODE),
        heartbeat_interval_ms=heartbeat,
        failure_timeout_ms=timeout,
        lease_ms=lease,
        request_timeout_ms=_value(environ, table.REQUEST_TIMEOUT_MS),
        threads=_value(environ, table.THREADS),
        faults=_value(environ, table.FAULTS),
        secrets=_secrets(environ, host),
        operator_token="".join(_lines(environ, table.OPERATOR_TOKEN_FILE, 1)),
        orders_private=_value(environ, table.ORDERS_PRIVATE),
        log_level=_value(environ, table.LOG_LEVEL),
        max_body_bytes=_value(environ, table.MAX_BODY_BYTES),
        tls=_tls(environ),
    )


def _fields(common: CommonSettings) -> dict[str, Any]:
    """The fields of the common record by name, to build a role's own record from."""
    return {part.name: getattr(common, part.name) for part in fields(common)}


def _replica(environ: Mapping[str, str], common: CommonSettings) -> ReplicaSettings:
    """The record of a replica of a replicated log."""
    data_dir = _value(environ, table.DATA_DIR)
    if not data_dir:
        raise _refused(environ, table.DATA_DIR, "the folder where this replica keeps its data")
    items_file = _value(environ, table.ITEMS_FILE)
    if items_file and not Path(items_file).is_file():
        raise _refused(environ, table.ITEMS_FILE, "a file with the first stock, or nothing")
    return ReplicaSettings(
        **_fields(common),
        data_dir=data_dir,
        items_file=items_file,
        lock_wait_ms=_value(environ, table.LOCK_WAIT_MS),
        batch_entries=_value(environ, table.BATCH_ENTRIES),
        snapshot_entries=_value(environ, table.SNAPSHOT_ENTRIES),
        keep_entries=_value(environ, table.KEEP_ENTRIES),
        pending_proposals=_value(environ, table.PENDING_PROPOSALS),
        step_events=_value(environ, table.STEP_EVENTS),
    )


def read(environ: Mapping[str, str], role: str = "") -> Settings:
    """The settings of a role; without `role`, of the one that EMPORIUM_ROLE names.

    Raises SettingsError, naming the setting, its value and what is allowed."""
    _refuse_unknown(environ)
    role = role or _value(environ, table.ROLE)
    if _given(environ, table.ROLE, role) != role:
        raise _refused(environ, table.ROLE, f"{role}, the role of this process")
    if role not in ROLES:
        raise SettingsError(f"{role!r} is not a role; allowed: {', '.join(ROLES)}")
    _only_this_version(environ)
    common = _common(environ, role)
    match role:
        case "catalog":
            return CatalogSettings(**_fields(_replica(environ, common)))
        case "order":
            return OrderSettings(**_fields(_replica(environ, common)))
        case "cache":
            return CacheSettings(**_fields(common), cache_items=_value(environ, table.CACHE_ITEMS))
        case "frontend":
            return FrontendSettings(
                **_fields(common), cache_items=_value(environ, table.CACHE_ITEMS)
            )
        case _:
            return ClientSettings(**_fields(common))
