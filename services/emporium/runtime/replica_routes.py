"""The routes that the replicas of both groups have in common.

| route | who | what |
|---|---|---|
| `GET /v1/status` | public | what the replica says of itself |
| `GET /v1/digest` | operator | count and digest of its state, to compare replicas |
| `GET /v1/faults` | operator | the faults of its streams |
| `POST /v1/faults` | operator | one rule for the table, or `{"cut": [name, ...]}` |
| `DELETE /v1/faults` | operator | no faults any more |

While a fault hook has shut the replica down, only `recover` and the fault routes do anything.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from flask import Blueprint, Response

from emporium.runtime import errors, web

MOST_CUTS: Final = 16
_NAME: Final = re.compile(r"(frontend|cache|catalog|order)-[0-9]{1,4}|\*")
_NAME_RULE: Final = "must be a name such as catalog-1, or *"
_FAULT_FIELDS: Final = ("to", "loss", "delay_ms", "duplicate", "cut")


class Faults(Protocol):
    """What is wanted of the fault table."""

    def set_from_json(self, document: object) -> None:
        """Take a rule. Raises ValueError, naming the field."""

    def clear(self) -> None:
        """Forget all rules."""

    def describe(self) -> list[dict[str, object]]:
        """The rules that hold."""


class Replica(Protocol):
    """What HTTP wants of a replica."""

    @property
    def up(self) -> bool:
        """Whether it runs: no fault hook has shut it down."""

    @property
    def faults(self) -> Faults:
        """The faults of its streams."""

    def ask(
        self, payload: object, timeout_ms: float, request_id: str = ""
    ) -> tuple[object, dict[str, float]]:
        """The desk's answer and the ms by tier. Raises EmporiumError."""

    def status(self) -> Mapping[str, Any]:
        """What it says of itself."""

    def operation(self, line: str) -> None:
        """A line of the operation log."""

    def shutdown(self) -> None:
        """Fault hook: crash."""

    def recover(self, timeout_ms: float) -> None:
        """Fault hook: come back. Raises NotServing."""


def require_up(replica: Replica) -> None:
    """Raises NotServing while the replica is shut down."""
    if not replica.up:
        raise errors.NotServing("this replica is shut down")


def blueprint(
    replica: Replica, limits: web.Limits, ask_digest: object, timeout_ms: float
) -> Blueprint:
    """The routes; `ask_digest` is the group's question for its digest."""
    routes = Blueprint("replica", __name__)

    @routes.get("/v1/status")
    def show_status() -> Response:
        web.parameters()
        require_up(replica)
        return web.answer(dict(replica.status()), 200, {"Cache-Control": "no-store"})

    @routes.get("/v1/digest")
    def show_digest() -> Response:
        web.require_operator(limits)
        web.parameters()
        digest, _ = replica.ask(ask_digest, timeout_ms)
        if not dataclasses.is_dataclass(digest) or isinstance(digest, type):
            raise errors.NotServing("the replica gave no digest")
        return web.answer(dataclasses.asdict(digest), 200, {"Cache-Control": "no-store"})

    @routes.get("/v1/faults")
    def show_faults() -> Response:
        web.require_operator(limits)
        web.parameters()
        return _faults(replica)

    @routes.post("/v1/faults")
    def set_fault() -> Response:
        web.require_operator(limits)
        web.parameters()
        for rule in _rules(web.json_body(*_FAULT_FIELDS)):
            try:
                replica.faults.set_from_json(rule)
            except ValueError as error:
                raise errors.BadRequest(str(error).partition(":")[0], str(error)) from None
        return _faults(replica)

    @routes.delete("/v1/faults")
    def clear_faults() -> Response:
        web.require_operator(limits)
        web.parameters()
        web.no_body()
        replica.faults.clear()
        return _faults(replica)

    return routes


def fault_hooks(replica: Replica, limits: web.Limits, recover_ms: float) -> Blueprint:
    """`shutdown` and `recover`, the seeds' simulated crash; GET as there, or POST."""
    routes = Blueprint("hooks", __name__)

    @routes.route("/shutdown", methods=["GET", "POST"])
    def shut_down() -> Response:
        _allow_hook(limits)
        if replica.up:  # asked again, nothing happens and nothing is logged
            replica.operation("shutdown")
        replica.shutdown()
        return web.answer({"result": "Succeed"}, 200, {"Cache-Control": "no-store"})

    @routes.route("/recover", methods=["GET", "POST"])
    def recover() -> Response:
        _allow_hook(limits)
        if not replica.up:
            replica.operation("recover")
        replica.recover(recover_ms)
        return web.answer({"result": "Succeed"}, 200, {"Cache-Control": "no-store"})

    return routes


def _allow_hook(limits: web.Limits) -> None:
    web.refuse_head()
    web.require_operator(limits)
    web.parameters()
    web.no_body()


def _faults(replica: Replica) -> Response:
    return web.answer({"faults": replica.faults.describe()}, 200, {"Cache-Control": "no-store"})


def _rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    """One rule for the table, or one for each name in a list of cuts."""
    cut = document.get("cut")
    if isinstance(cut, list):
        if len(document) > 1:
            raise errors.BadRequest("cut", "a list of cuts stands alone")
        if not 0 < len(cut) <= MOST_CUTS:
            raise errors.BadRequest("cut", f"cut needs 1 to {MOST_CUTS} names")
        return [{"to": web.formed("cut", name, _NAME, _NAME_RULE), "cut": True} for name in cut]
    web.formed("to", document.get("to"), _NAME, _NAME_RULE)
    return [document]


def timing_headers(timings: Mapping[str, float]) -> dict[str, str]:
    """The headers of an answer that was asked of the replica."""
    parts = [f"{tier};dur={took:.3f}" for tier, took in timings.items()]
    headers = {"Cache-Control": "no-store"}
    return {**headers, "Server-Timing": ", ".join(parts)} if parts else headers
