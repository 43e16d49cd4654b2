"""What a run is told by its environment. Unknown names are refused, as everywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from emporium_e2e.errors import E2eError

PREFIX: Final = "E2E_"
CI_REPEATS, FULL_REPEATS = 3, 20
NAMESPACE: Final = "emporium-e2e"
PURCHASES: Final = 500
MOST: Final = 100_000
NAMES: Final = (
    *("CONTEXT", "REGISTRY", "TAG", "NAMESPACE"),
    *("KEEP", "FULL", "NAMES", "REPEATS", "ROUNDS", "PURCHASES"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """One run. `context`, `registry` and `tag` are empty unless a cluster was named."""

    context: str = ""  # of the kubeconfig: an existing cluster
    registry: str = ""  # where that one finds the images
    tag: str = ""
    namespace: str = NAMESPACE
    keep: bool = False  # leave cluster and store as they are at the end
    full: bool = False  # every scenario, not only those of CI
    names: tuple[str, ...] = ()  # chosen scenarios; empty: the set
    repeats: int = CI_REPEATS  # of each timed blow
    rounds: int = 1  # of the whole set
    purchases: int = PURCHASES  # under load, in each scenario


def read(environ: Mapping[str, str]) -> Settings:
    """The settings of a run. Raises E2eError, which names what is wrong and what is allowed."""
    given = {
        name.removeprefix(PREFIX): value.strip()
        for name, value in environ.items()
        if name.startswith(PREFIX) and value.strip()
    }
    unknown = sorted(set(given) - set(NAMES))
    if unknown:
        known = " ".join(PREFIX + name for name in NAMES)
        raise E2eError(f"there is no {', '.join(PREFIX + u for u in unknown)}", f"allowed: {known}")
    if given.get("CONTEXT") and not given.get("REGISTRY"):
        raise E2eError(
            f"E2E_CONTEXT={given['CONTEXT']}: that cluster has to get the images from somewhere",
            "push the images of `make images` and set E2E_REGISTRY: they are"
            " E2E_REGISTRY/emporium/ROLE:E2E_TAG; without E2E_TAG the tag is the chart's version",
        )
    if not given.get("CONTEXT") and (given.get("REGISTRY") or given.get("TAG")):
        raise E2eError(
            "E2E_REGISTRY and E2E_TAG are for a cluster that is there already",
            "set E2E_CONTEXT too, or leave them out: the images of this checkout are built",
        )
    full = _flag(given, "FULL")
    return Settings(
        context=given.get("CONTEXT", ""),
        registry=given.get("REGISTRY", "").rstrip("/"),
        tag=given.get("TAG", ""),
        namespace=_namespace(given.get("NAMESPACE", NAMESPACE)),
        keep=_flag(given, "KEEP"),
        full=full,
        names=tuple(given.get("NAMES", "").split()),
        repeats=_number(given, "REPEATS", FULL_REPEATS if full else CI_REPEATS),
        rounds=_number(given, "ROUNDS", 1),
        purchases=_number(given, "PURCHASES", PURCHASES),
    )


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "0")
    if value not in {"0", "1"}:
        raise E2eError(f"{PREFIX}{name}={value}", "allowed: 1 and 0")
    return value == "1"


def _number(given: Mapping[str, str], name: str, usual: int) -> int:
    value = given.get(name, str(usual))
    if not (value.isdecimal() and 1 <= int(value) <= MOST):
        raise E2eError(f"{PREFIX}{name}={value}", f"allowed: 1 to {MOST}")
    return int(value)


def _namespace(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", name) or name.startswith("kube-"):
        raise E2eError(
            f"{PREFIX}NAMESPACE={name}",
            "allowed: up to 42 small letters, digits and -, not kube-...; it is deleted at the end",
        )
    return name
