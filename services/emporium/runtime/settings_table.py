"""The table of all settings: name, allowed values, default and meaning.

`settings` reads the environment by it, and the documentation and the chart are checked by it. A
new setting is one line here, one field of a record there and a line in docs/OPERATIONS.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PREFIX: Final = "EMPORIUM_"
ROLES: Final = ("frontend", "cache", "catalog", "order", "client")
LAST_PORT: Final = 65_535

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a replica's public port is. Printed as host:port."""

    host: str
    port: int

    def shifted(self, offset: int) -> Address:
        """The same host, `offset` ports further."""
        return Address(self.host, self.port + offset)

    def __str__(self) -> str:
        """host:port, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def default_port(role: str, replica: int) -> int:
    """The public port of a replica where nothing else is set (DESIGN 4, Data)."""
    first, step = {
        "frontend": (8000, 10),
        "catalog": (8001, 1),
        "order": (8011, 1),
        "cache": (8031, 1),
        "client": (8041, 1),
    }[role]
    return first + step * replica


def default_addresses(role: str, count: int, host: str = "127.0.0.1") -> tuple[Address, ...]:
    """The addresses of `count` replicas on one machine."""
    return tuple(Address(host, default_port(role, replica)) for replica in range(count))


# --- kinds of values: how a text is read, and what is allowed, in words ---


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """`parse` raises ValueError for a text that isn't allowed."""

    parse: Callable[[str], T]
    allowed: str


def _whole(low: int, high: int) -> Kind[int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        """Digits alone: no sign, no underscore, no space."""
        if not re.fullmatch(r"[0-9]{1,15}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return Kind(parse, f"a whole number from {low} to {high}")


def _choice(*words: str) -> Kind[str]:
    """One of a few words."""

    def parse(text: str) -> str:
        """The word as it is."""
        if text not in words:
            raise ValueError(text)
        return text

    return Kind(parse, " or ".join(words))


def _parse_flag(text: str) -> bool:
    """A switch."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
        text.lower()
    ]


def _parse_ordinal(text: str) -> int:
    """A number, or a pod's name that ends in one: catalog-2 is 2."""
    match = re.fullmatch(r"(?:[a-z0-9.-]*-)?([0-9]{1,4})", text)
    if match is None:
        raise ValueError(text)
    return int(match.group(1))


def _parse_address(text: str) -> Address:
    """host:port, an IPv6 host in brackets."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
    if match is None or not 1 <= int(match.group(3)) <= LAST_PORT:
        raise ValueError(text)
    return Address(match.group(1) or match.group(2), int(match.group(3)))


def _parse_addresses(text: str) -> tuple[Address, ...]:
    """Addresses with a comma between."""
    addresses = tuple(_parse_address(part.strip()) for part in text.split(","))
    if len(set(addresses)) != len(addresses):
        raise ValueError(text)
    return addresses


_TEXT: Final = Kind(str, "any text")
_FLAG: Final = Kind(_parse_flag, "true or false")
_ORDINAL: Final = Kind(_parse_ordinal, "a number from 0 to 9999, or a pod name that ends in one")
_ADDRESSES: Final = Kind(
    _parse_addresses, "different host:port pairs with commas between, in the order of ids"
)
_PORT: Final = _whole(1, LAST_PORT)
_TIME: Final = _whole(1, 3_600_000)
_COUNT: Final = _whole(1, 10_000_000)


# --- the table ---


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One line of the table. `default` is the text that stands in for a missing value; empty:
    worked out from the others, as `meaning` says, or none."""

    name: str
    kind: Kind[T]
    default: str
    meaning: str

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return PREFIX + self.name


ROLE = Setting("ROLE", _choice(*ROLES), "", "what this process is")
ID = Setting("ID", _ORDINAL, "0", "its id among those of its role: the StatefulSet ordinal")
HOST = Setting("HOST", _TEXT, "127.0.0.1", "the address to listen on")
PORT = Setting("PORT", _PORT, "", "the public port; default: as listed for role and id")
INTERNAL_OFFSET = Setting(
    "INTERNAL_OFFSET", _whole(1, 50_000), "1000", "the internal port's distance"
)
HEALTH_OFFSET = Setting("HEALTH_OFFSET", _whole(1, 50_000), "2000", "the health port's distance")
CATALOG = Setting("CATALOG", _ADDRESSES, "", "public addresses of the catalog replicas")
ORDER = Setting("ORDER", _ADDRESSES, "", "public addresses of the order replicas")
CACHE = Setting("CACHE", _ADDRESSES, "", "public addresses of the caches (cache mode server)")
FRONTEND = Setting("FRONTEND", _ADDRESSES, "", "public addresses of the frontends")
DATA_DIR = Setting("DATA_DIR", _TEXT, "", "the data folder of this one replica; needed")
OUTPUT_DIR = Setting("OUTPUT_DIR", _TEXT, "", "folder of the operation log; empty: stdout")
EDITION = Setting("EDITION", _choice("bookstore", "stocks", "toys"), "bookstore", "what is sold")
MODE = Setting(
    "MODE", _choice("primary-backup", "leader", "raft"), "primary-backup", "who comes to reign"
)
CACHE_MODE = Setting(
    "CACHE_MODE", _choice("server", "frontend", "off"), "server", "where copies of items are kept"
)
CACHE_ITEMS = Setting("CACHE_ITEMS", _COUNT, "1024", "copies kept by one holder (LRU)")
ITEMS_FILE = Setting("ITEMS_FILE", _TEXT, "", "the first stock; empty: the edition's own")
HEARTBEAT_INTERVAL_MS = Setting("HEARTBEAT_INTERVAL_MS", _TIME, "250", "between two heartbeats")
FAILURE_TIMEOUT_MS = Setting(
    "FAILURE_TIMEOUT_MS", _TIME, "", "silence after which a replica counts as failed; 4 heartbeats"
)
LEASE_MS = Setting("LEASE_MS", _TIME, "", "a holder's lease; min(400, failure timeout / 2)")
REQUEST_TIMEOUT_MS = Setting("REQUEST_TIMEOUT_MS", _TIME, "5000", "deadline of a public request")
THREADS = Setting("THREADS", _whole(4, 512), "16", "request threads of the one gunicorn worker")
FAULTS = Setting("FAULTS", _FLAG, "false", "open fault and operator routes to all")
SECRET_FILE = Setting("SECRET_FILE", _TEXT, "", "the internal secret, newest first")
OPERATOR_TOKEN_FILE = Setting("OPERATOR_TOKEN_FILE", _TEXT, "", "the operators' token")
ORDERS_PRIVATE = Setting("ORDERS_PRIVATE", _FLAG, "false", "orders need their id to be read")
LOCK_WAIT_MS = Setting(
    "LOCK_WAIT_MS", _whole(0, 600_000), "10000", "wait for a data folder that is in use"
)
LOG_LEVEL = Setting(
    "LOG_LEVEL", _choice("debug", "info", "warning", "error"), "info", "lines below it are dropped"
)
BATCH_ENTRIES = Setting("BATCH_ENTRIES", _whole(1, 10_000), "256", "entries in one message at most")
SNAPSHOT_ENTRIES = Setting("SNAPSHOT_ENTRIES", _COUNT, "10000", "entries between two snapshots")
KEEP_ENTRIES = Setting("KEEP_ENTRIES", _whole(0, 10_000_000), "2000", "entries kept before one")
PENDING_PROPOSALS = Setting(
    "PENDING_PROPOSALS", _whole(1, 1_000_000), "1024", "writes in flight, then: overloaded"
)
STEP_EVENTS = Setting(
    "STEP_EVENTS",
    _whole(1, 10_000),
    "1024",
    "events that share one step and sync; 1: no group commit",
)
MAX_BODY_BYTES = Setting(
    "MAX_BODY_BYTES", _whole(256, 16_777_216), "65536", "longer ones are refused"
)
TLS_CERT_FILE = Setting("TLS_CERT_FILE", _TEXT, "", "internal TLS: certificate; all three or none")
TLS_KEY_FILE = Setting("TLS_KEY_FILE", _TEXT, "", "internal TLS: its key; all three or none")
TLS_CA_FILE = Setting("TLS_CA_FILE", _TEXT, "", "internal TLS: who signs peers; all three or none")

TABLE: Final[tuple[Setting[object], ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Setting)
)
NAMES: Final = frozenset(setting.variable for setting in TABLE)
