"""Which part answers a request: ours for what moto lacks of EKS, moto for all the rest."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.wrappers import Request, Response

from stand_in.eks_memory import OK, Memory
from stand_in.eks_parts import Parts

PARTS: Final = re.compile(
    r"/clusters/([^/]+)/(addons|access-entries|pod-identity-associations)(?:/(.+))?"
)
CLUSTER: Final = re.compile(r"/clusters/([^/]+)")


class StandIn:
    """The WSGI application."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._parts = Parts()
        self._memory = Memory()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        # Not PATH_INFO: names of principals and policies have slashes in them, sent as %2F.
        raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]
        path, _, query = raw.partition("?")
        if path == "/addons/supported-versions":
            asked = parse_qs(query)
            version = asked.get("kubernetesVersion", ["1.34"])[0]
            return self._parts.supported(asked.get("addonName", []), version)(environ, start)
        if found := PARTS.fullmatch(path):
            rest = [unquote(part) for part in found[3].split("/")] if found[3] else []
            answer = self._parts.kinds[found[2]](Request(environ), found[1], rest)
            return answer(environ, start)
        if path.startswith("/clusters"):
            return self._mended(environ, path)(environ, start)
        return self._moto(environ, start)

    def _mended(self, environ: dict[str, Any], path: str) -> Response:
        """moto's answer about clusters and node groups, put right."""
        request = Request(environ)
        environ["wsgi.input"] = io.BytesIO(request.get_data(cache=True))
        answer = self._memory.mend(request, Response.from_app(self._moto, environ))
        gone = CLUSTER.fullmatch(path)
        if gone and request.method == "DELETE" and answer.status_code == OK:
            self._parts.forget(gone[1])
        return answer
