"""Which processes a store has on this machine, and where each listens. Pure: decides, starts none.

A **plan** is everything that `up` decides before it starts anything; the run file keeps it, so
that `start` brings a replica back with the same settings. A **place** is one process in it.

Ports count from a base, 8000 unless a temporary store is laid out: frontends 8000, 8010, 8020 …;
catalog 8001 to 8009; order 8011 to 8019; cache 8031. Internal port +1000, health +2000. A config
file in the seeds' form (`type,ip:port`) wins over all that. A group of two can't lose either of
its replicas and still have a majority, so a third voter is put beside them, and the plan says so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emporium.local.errors import LocalError

ROLES = ("frontend", "cache", "catalog", "order")
GROUPS = ("catalog", "order")
BASE_PORT = 8000
INTERNAL_OFFSET, HEALTH_OFFSET = 1000, 2000
FIRST = {"frontend": 0, "catalog": 1, "order": 11, "cache": 31}
STEP = {"frontend": 10, "catalog": 1, "order": 1, "cache": 1}
MOST_FRONTENDS = 9
GROUP_SIZES = (1, 3, 5)
TWO = 2  # a group that gets a third voter
LAST_PORT = 65_535 - HEALTH_OFFSET
CACHE_MODES = ("server", "frontend", "off")


@dataclass(frozen=True, slots=True)
class Place:
    """One process: its role, its id and where it listens. `note` is shown in the table."""

    role: str
    replica: int
    host: str
    port: int
    note: str = ""

    @property
    def name(self) -> str:
        """role-id, as in `emporium kill catalog-0`."""
        return f"{self.role}-{self.replica}"

    @property
    def address(self) -> str:
        """The public address."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The public address for HTTP."""
        return f"http://{self.address}"

    @property
    def health_port(self) -> int:
        """Where this process says how it is."""
        return self.port + HEALTH_OFFSET

    @property
    def ports(self) -> tuple[int, int, int]:
        """Public, internal, health."""
        return self.port, self.port + INTERNAL_OFFSET, self.health_port


@dataclass(frozen=True, slots=True)
class Plan:
    """A store on this machine. `settings` are further settings by their short name."""

    edition: str
    cache_mode: str
    places: tuple[Place, ...]
    items_file: str = ""  # absolute; empty: the edition's own items
    faults: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    def of(self, role: str) -> tuple[Place, ...]:
        """The places of one role, in id order."""
        return tuple(place for place in self.places if place.role == role)

    def place(self, name: str) -> Place:
        """The place called role-id. Raises LocalError, with the names that there are."""
        for place in self.places:
            if place.name == name:
                return place
        names = ", ".join(place.name for place in self.places)
        raise LocalError(f"there is no {name!r} in this store", f"there are: {names}")

    def counts(self) -> dict[str, int]:
        """How many of each role."""
        return {role: len(self.of(role)) for role in ROLES}

    def to_json(self) -> dict[str, Any]:
        """For the run file."""
        return asdict(self)

    @staticmethod
    def from_json(content: dict[str, Any]) -> Plan:
        """What `to_json` gave. Raises LocalError for anything else."""
        try:
            places = tuple(Place(**place) for place in content["places"])
            settings = tuple((str(name), str(value)) for name, value in content["settings"])
            return Plan(**{**content, "places": places, "settings": settings})
        except (KeyError, TypeError, ValueError) as error:
            raise LocalError(f"the run file has no valid plan: {error}") from None


def default_places(
    counts: dict[str, int], host: str = "127.0.0.1", base: int = BASE_PORT
) -> tuple[Place, ...]:
    """The places of `counts` processes by role, on the default ports above `base`."""
    return tuple(
        Place(role, replica, host, base + FIRST[role] + STEP[role] * replica)
        for role in ROLES
        for replica in range(counts.get(role, 0))
    )


def offsets(counts: dict[str, int]) -> list[int]:
    """How far above the base the ports of such a store lie, for finding a free block."""
    return [port for place in default_places(counts, base=0) for port in place.ports]


def check_counts(counts: dict[str, int]) -> None:
    """Refuse numbers of replicas that can't work. Raises LocalError."""
    for role in GROUPS:
        if counts[role] not in (TWO, *GROUP_SIZES):
            raise LocalError(
                f"--{role} {counts[role]}: a group has 1, 3 or 5 replicas",
                "2 get a third voter beside them; an even number makes no better majority",
            )
    if not 1 <= counts["frontend"] <= MOST_FRONTENDS:
        raise LocalError(f"--frontend {counts['frontend']}: from 1 to {MOST_FRONTENDS} are allowed")


def with_third_voters(
    places: Sequence[Place], is_free: Callable[[str, int], bool]
) -> tuple[Place, ...]:
    """Put a third voter beside two of a group, on the next port that is free in all three uses."""
    result = list(places)
    for role in GROUPS:
        group = [place for place in result if place.role == role]
        if len(group) == TWO:
            result.append(beside(result, role, is_free, note="third voter, beside two"))
    return in_order(result)


def beside(
    places: Sequence[Place], role: str, is_free: Callable[[str, int], bool], note: str = ""
) -> Place:
    """A further place of `role` on the next free port above its group's, or above all others."""
    host = places[0].host
    taken = {port for place in places for port in place.ports}
    group = [place for place in places if place.role == role]
    last = max(place.port for place in group or places)
    for port in range(last + 1, LAST_PORT + 1):
        place = Place(role, len(group), host, port, note)
        if not taken & set(place.ports) and all(is_free(host, each) for each in place.ports):
            return place
    raise LocalError(f"no free port above {last} for {role}-{len(group)}")


def in_order(places: Sequence[Place]) -> tuple[Place, ...]:
    """By role, then by id: the order of every table."""
    return tuple(sorted(places, key=lambda place: (ROLES.index(place.role), place.replica)))


def config_places(lines: Sequence[tuple[str, str, int, str]]) -> tuple[Place, ...]:
    """The places of a config file: (role, host, port, file:line) in the file's order. Ids count
    from 0 in that order. Raises LocalError with the line."""
    places: list[Place] = []
    users: dict[int, str] = {}
    for role, host, port, where in lines:
        if role not in ROLES:
            raise LocalError(f"{where}: unknown type {role!r}", f"known: {', '.join(ROLES)}")
        check_host(host, where)
        if not 1 <= port <= LAST_PORT:
            raise LocalError(f"{where}: port {port} isn't between 1 and {LAST_PORT}")
        place = Place(role, sum(each.role == role for each in places), host, port)
        for each in place.ports:
            if each in users:
                raise LocalError(f"{where}: port {each} of {place.name} is {users[each]}'s already")
            users[each] = place.name
        places.append(place)
    return in_order(places)


def check_config(places: Sequence[Place], name: str) -> None:
    """Refuse a config file that names no whole store. Raises LocalError."""
    for role in ("frontend", *GROUPS):
        if not any(place.role == role for place in places):
            raise LocalError(f"{name}: names no {role}")
    for role in GROUPS:
        count = sum(place.role == role for place in places)
        if count not in (TWO, *GROUP_SIZES):
            raise LocalError(f"{name}: names {count} of {role}; 1, 2, 3 or 5 are possible")
    if sum(place.role == "cache" for place in places) > 1:
        raise LocalError(f"{name}: names more than one cache")


def check_host(host: str, where: str) -> None:
    """`up` runs everything here: an address of another machine can't be meant."""
    if host == "localhost":
        return
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise LocalError(f"{where}: {host!r} is no IP address") from None
    if not (address.is_loopback and isinstance(address, ipaddress.IPv4Address)):
        raise LocalError(
            f"{where}: {host} isn't an address of this machine's loopback",
            "`emporium up` runs every role here, on 127.0.0.1; elsewhere use the Helm chart",
        )


def with_cache(
    places: Sequence[Place], cache_mode: str, is_free: Callable[[str, int], bool]
) -> tuple[Place, ...]:
    """The same places with a cache process in cache mode `server`, without one in the others."""
    if cache_mode != "server":
        return tuple(place for place in places if place.role != "cache")
    if any(place.role == "cache" for place in places):
        return tuple(places)
    return in_order([*places, beside(places, "cache", is_free)])
