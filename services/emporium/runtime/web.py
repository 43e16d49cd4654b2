"""What the HTTP adapters of all roles share: reading requests strictly and answering in one form.

Every input is checked, and an error names the field: query parameters and JSON fields that a route
doesn't know are refused, as are repeated ones. Errors are problem documents (RFC 9457) with a
stable `type`, `definite` (did this request surely do nothing?), its `scope`, and the members of the
error. Every answer has an `X-Request-Id`: the caller's, when it sent one of the allowed form, or a
new one. It is the trace through the logs and has nothing to do with the request id of a purchase.

A route takes at most: 2,048 characters of query, `max_body_bytes` of body, 16 parameters.
"""

from __future__ import annotations

import hmac
import itertools
import json
import logging
import math
import re
import secrets
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

from flask import Flask, Response, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from emporium.runtime import errors, logs
from emporium.runtime.clock import SYSTEM

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LONGEST_QUERY: Final = 2_048
MOST_PARAMETERS: Final = 16
LONGEST_ID: Final = 128
REMEMBERED_QUERIES: Final = 4_096
PROBLEM_TYPE: Final = "urn:emporium:problem:"
SCOPE: Final = "this request"
"""What `definite` speaks of: an earlier request under the same request id may still be open."""
TRACE: Final = "emporium.trace"
ROUTE: Final = "emporium.route"
_TRACE_FORM: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ID_FORM: Final = re.compile(r"[A-Za-z0-9._:-]{16,128}")
ID_RULE: Final = "needs 16 to 128 characters out of A-Z a-z 0-9 . _ : -"
_SLUGS: Final = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    414: "too-large",
    415: "unsupported-media-type",
}
_SERVER_ERROR: Final = 500
_log = logs.logger("web")
_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Counted(Protocol):
    """The one thing that is wanted of the metrics."""

    def request(self, route: str, status: int, seconds: float) -> None:
        """One answered request."""


@dataclass(frozen=True, slots=True)
class Quick:
    """An answer that was ready before the request was looked at closely."""

    route: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


Shortcut = Callable[["WSGIEnvironment"], Quick | None]
"""Answers requests that it knows, before Flask sees them; None for all others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an app may be asked, and by whom. `faults` opens the operators' routes to everybody."""

    max_body_bytes: int = 65_536
    operator_token: str = ""
    faults: bool = False


# --- the app ---


def make_app(
    name: str,
    limits: Limits,
    metrics: Counted | None = None,
    shortcut: Shortcut = lambda _: None,
) -> Flask:
    """An app without routes that answers every error with a problem document."""
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.max_body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = limits.max_body_bytes
    app.register_error_handler(Exception, _answer_error)
    app.url_value_preprocessor(_name_route)
    app.wsgi_app = Traced(app.wsgi_app, metrics, shortcut)  # type: ignore[method-assign]
    return app


def _name_route(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    if request.url_rule is not None:
        request.environ[ROUTE] = request.url_rule.rule


class Traced:
    """Gives every request its trace, in the log lines and in the answer, and counts it."""

    def __init__(self, app: WSGIApplication, metrics: Counted | None, shortcut: Shortcut) -> None:
        """Around `app`."""
        self._app = app
        self._metrics = metrics
        self._shortcut = shortcut
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        trace = environ.get("HTTP_X_REQUEST_ID", "")
        if not _TRACE_FORM.fullmatch(trace):
            trace = f"{self._prefix}-{next(self._numbers)}"
        started = SYSTEM.now_ms()
        quick = self._shortcut(environ)
        if quick is not None:
            start_response("200 OK", [*quick.headers, ("X-Request-Id", trace)])
            self._count(quick.route, 200, started)
            return (quick.body,)
        environ[TRACE] = trace
        status, purchase = 0, environ.get("HTTP_IDEMPOTENCY_KEY", "")[:LONGEST_ID]

        def start(line: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            nonlocal status, purchase
            status = int(line[:3])
            purchase = next((v for name, v in headers if name == "Idempotency-Key"), purchase)
            headers.append(("X-Request-Id", trace))
            return start_response(line, headers, *rest)

        with logs.request(trace):
            answer = self._app(environ, start)
            self._tell(environ, status, purchase, started)
        self._count(environ.get(ROUTE, "other"), status, started)
        return answer

    def _tell(self, environ: WSGIEnvironment, status: int, purchase: str, started: float) -> None:
        """A line for each write and each failure; for reads only where all is logged."""
        method = environ.get("REQUEST_METHOD", "")
        matters = status >= HTTPStatus.INTERNAL_SERVER_ERROR or purchase or method != "GET"
        level = logging.INFO if matters else logging.DEBUG
        if _log.isEnabledFor(level):
            took = round(SYSTEM.now_ms() - started, 1)
            told = {"method": method, "route": environ.get(ROUTE, "other"), "status": status}
            _log.log(level, "answered", extra=logs.fields(**told, ms=took, purchase=purchase))

    def _count(self, route: str, status: int, started: float) -> None:
        if self._metrics is not None:
            self._metrics.request(route, status, (SYSTEM.now_ms() - started) / 1000)


def trace() -> str:
    """The trace of the request in hand."""
    return str(request.environ.get(TRACE, ""))


def new_request_id() -> str:
    """A request id for a purchase whose client gave none; nobody can guess it."""
    return secrets.token_hex(16)


# --- answers ---


def encode(value: object) -> bytes:
    """Compact JSON."""
    return _dump(value).encode()


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return raw_answer(encode(value), status, headers)


def raw_answer(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer whose JSON is encoded already."""
    return Response(body, status, headers, content_type="application/json")


def problem(error: errors.EmporiumError) -> Response:
    """The error as a problem document."""
    document: dict[str, object] = {
        "type": PROBLEM_TYPE + error.slug,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "definite": error.definite,
        "scope": SCOPE,
        **error.members(),
    }
    reply = Response(encode(document), error.status, content_type="application/problem+json")
    retry_after_ms = getattr(error, "retry_after_ms", 0)
    if retry_after_ms:
        reply.headers["Retry-After"] = str(max(1, math.ceil(retry_after_ms / 1000)))
    if isinstance(error, errors.Unauthorized):
        reply.headers["WWW-Authenticate"] = 'Bearer realm="emporium"'
    return reply


def _answer_error(error: Exception) -> Response:
    if isinstance(error, errors.EmporiumError):
        if error.status == _SERVER_ERROR:
            _log.error("a request failed", exc_info=error)
        return problem(error)
    if isinstance(error, HTTPException):
        return _http_problem(error)
    _log.error("a request failed", exc_info=error)
    return problem(errors.EmporiumError("something here is broken; the log has more"))


def _http_problem(error: HTTPException) -> Response:
    """What Flask refused by itself, in our form."""
    status = error.code or _SERVER_ERROR
    document = {
        "type": PROBLEM_TYPE + _SLUGS.get(status, "request"),
        "title": error.name,
        "status": status,
        "detail": error.description or error.name,
        "definite": status < _SERVER_ERROR,
        "scope": SCOPE,
    }
    reply = Response(encode(document), status, content_type="application/problem+json")
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        reply.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return reply


# --- reading requests ---


def parameters(*known: str) -> dict[str, str]:
    """The query's parameters; others than `known` and repeated ones are refused. Raises
    BadRequest, TooLarge."""
    query = request.query_string
    if not query:
        return {}
    if len(query) > LONGEST_QUERY:
        raise errors.TooLarge(f"the query has more than {LONGEST_QUERY} characters")
    pairs = _pairs(query)
    found = dict(pairs)
    for name in found:
        if name not in known:
            allowed = ", ".join(known) or "none here"
            raise errors.BadRequest(name[:64], f"no such parameter; there are: {allowed}")
    if len(found) != len(pairs):
        twice = next(n for n in found if sum(name == n for name, _ in pairs) > 1)
        raise errors.BadRequest(twice, f"{twice} is there more than once")
    return found


@lru_cache(REMEMBERED_QUERIES)
def _pairs(query: bytes) -> tuple[tuple[str, str], ...]:
    try:
        pairs = urllib.parse.parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError:
        raise errors.BadRequest("query", "the query isn't name=value&... in UTF-8") from None
    return tuple(pairs)


def path_after(prefix: str, decoded: str) -> str:
    """The rest of the path after `prefix`, read as a query is: + is a space, %2B a plus sign.
    `decoded` is what the server made of it, for servers that don't keep the original."""
    raw = str(request.environ.get("RAW_URI", "")).partition("?")[0]
    _, found, rest = raw.partition(prefix)
    return urllib.parse.unquote_plus(rest) if found else decoded.replace("+", " ")


def json_body(*known: str) -> dict[str, Any]:
    """The body's JSON object; other fields than `known` and repeated ones are refused. Raises
    BadRequest, and the errors for 413 and 415."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("the body must be application/json")
    try:
        document = json.loads(_body(), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, _Repeated):
            raise errors.BadRequest(str(error), f"{error} is there more than once") from None
        raise errors.BadRequest("body", "the body isn't valid JSON") from None
    if not isinstance(document, dict):
        raise errors.BadRequest("body", "the body must be a JSON object")
    for name in document:
        if name not in known:
            raise errors.BadRequest(name[:64], f"no such field; there are: {', '.join(known)}")
    return document


def _body() -> bytes:
    """The whole body. Raises the error for 413 also where no length was announced: such a body
    would otherwise be cut without a word."""
    limit = request.max_content_length
    if request.content_length is not None or limit is None:
        return request.get_data(cache=False)
    body: bytes = request.environ["wsgi.input"].read(limit + 1)
    if len(body) > limit:
        raise RequestEntityTooLarge(f"a body has at most {limit} bytes")
    return body


def refuse_head() -> None:
    """Flask lets HEAD through to GET; a route that does something must refuse it. Raises
    MethodNotAllowed."""
    if request.method == "HEAD":
        rule = request.url_rule
        methods = set() if rule is None else set(rule.methods or ())
        raise MethodNotAllowed(valid_methods=sorted(methods - {"HEAD"}))


def no_body() -> None:
    """Refuse a body where a route has no use for one. Raises BadRequest."""
    if request.content_length or request.headers.get("Transfer-Encoding"):
        raise errors.BadRequest("body", "this route takes no body")


class _Repeated(ValueError):
    """A field that is there twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for name in names if names.count(name) > 1)[:64])
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# --- fields ---


def whole_number(field: str, text: str, low: int, high: int) -> int:
    """The number in `text`: digits, with a minus sign where `low` allows it. Raises BadRequest."""
    if re.fullmatch(r"-?[0-9]{1,16}", text) and low <= int(text) <= high:
        return int(text)
    raise errors.BadRequest(field, f"{field} must be a whole number from {low} to {high}")


def json_number(field: str, value: object, low: int, high: int) -> int:
    """A JSON number without a fraction. Raises BadRequest."""
    if type(value) is int and low <= value <= high:
        return value
    raise errors.BadRequest(field, f"{field} must be a whole number from {low} to {high}")


def words(field: str, value: object, longest: int) -> str:
    """1 to `longest` printable characters. Raises BadRequest."""
    if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable():
        return value
    raise errors.BadRequest(field, f"{field} needs 1 to {longest} printable characters")


def formed(field: str, value: object, form: re.Pattern[str], rule: str) -> str:
    """A text of a stated form. Raises BadRequest."""
    if isinstance(value, str) and form.fullmatch(value):
        return value
    raise errors.BadRequest(field, f"{field} {rule}")


def request_id(field: str, value: object) -> str:
    """The request id of a purchase. Raises BadRequest."""
    return formed(field, value, _ID_FORM, ID_RULE)


def choice(field: str, value: object, allowed: tuple[str, ...]) -> str:
    """One of a few words. Raises BadRequest."""
    if isinstance(value, str) and value in allowed:
        return value
    raise errors.BadRequest(field, f"{field} must be one of {', '.join(allowed)}")


# --- who may ---


def is_operator(limits: Limits) -> bool:
    """Whether the caller has shown the operators' token, or needs none."""
    if limits.faults:
        return True
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not limits.operator_token:
        return False
    return hmac.compare_digest(token.strip().encode(), limits.operator_token.encode())


def require_operator(limits: Limits) -> None:
    """Raises Unauthorized for anybody else."""
    if not is_operator(limits):
        raise errors.Unauthorized("this route needs an operator's bearer token")


class Gate:
    """How many requests may wait for other processes at the same time; one more is refused at
    once, so that some threads stay free to answer (PROTOCOL 5.1)."""

    def __init__(self, places: int, retry_after_ms: int = 1_000) -> None:
        """All places are free."""
        self._places = threading.BoundedSemaphore(places)
        self._retry_after_ms = retry_after_ms

    def __enter__(self) -> None:
        """Take a place. Raises Overloaded."""
        if not self._places.acquire(blocking=False):
            raise errors.Overloaded(self._retry_after_ms, "all waiting places are taken")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._places.release()


Handler = Callable[..., Response]
