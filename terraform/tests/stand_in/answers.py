"""How EKS answers: JSON, the name of an error in a header, times in seconds since 1970."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from werkzeug.wrappers import Request, Response

ACCOUNT: Final = "123456789012"
# Authorization: AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...
SCOPE: Final = re.compile(r"Credential=[^/]+/[0-9]+/([a-z0-9-]+)/")


def region_of(request: Request) -> str:
    """The region that a request was signed for."""
    found = SCOPE.search(request.headers.get("Authorization", ""))
    return found[1] if found else "us-east-1"


def arn(request: Request, kind: str, *parts: str) -> str:
    """The name of something of EKS."""
    return f"arn:aws:eks:{region_of(request)}:{ACCOUNT}:{kind}/{'/'.join(parts)}"


def sent(request: Request) -> dict[str, Any]:
    """The body of a request."""
    body = json.loads(request.get_data(cache=True) or b"{}")
    return body if isinstance(body, dict) else {}


def reply(body: Mapping[str, Any], status: int = 200, error: str = "") -> Response:
    """An answer; `error` is the name by which clients tell errors apart."""
    headers = {"x-amzn-ErrorType": error} if error else {}
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def missing(what: object) -> Response:
    """404, on which waiting for the end of a deletion depends."""
    return reply({"message": f"not found: {what}"}, 404, "ResourceNotFoundException")


def conflict(what: object) -> Response:
    """409: it is there already."""
    return reply({"message": f"already exists: {what}"}, 409, "ResourceInUseException")


def not_allowed(request: Request) -> Response:
    """405, so that a call nobody thought of is seen."""
    message = f"the stand-in has no {request.method} {request.path}"
    return reply({"message": message}, 405, "UnsupportedOperationException")
