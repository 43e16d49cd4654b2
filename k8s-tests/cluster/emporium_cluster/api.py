"""Asks the cluster's API, by the way that users take: 127.0.0.1 and a client certificate."""

from __future__ import annotations

import functools
import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout

TIMEOUT_S = 5.0


def read(layout: Layout, path: str) -> bytes:
    """The body of GET `path`. Raises ClusterError when the answer isn't 200, or there is none."""
    host, port = exposed(layout)
    connection = http.client.HTTPSConnection(
        host, port, timeout=TIMEOUT_S, context=_context(layout.keys)
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as trouble:
        raise ClusterError(f"the API server doesn't answer: {trouble}") from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise ClusterError(f"the API server answers {answer.status} to GET {path}")
    return body


def get(layout: Layout, path: str) -> dict[str, Any]:
    """The object or list at `path`. Raises ClusterError."""
    value = json.loads(read(layout, path))
    if not isinstance(value, dict):
        raise ClusterError(f"the API server answers GET {path} with something else than an object")
    return value


def ready(layout: Layout) -> bool:
    """Whether the API server has started in full, its own roles made."""
    try:
        return read(layout, "/readyz") == b"ok"
    except ClusterError:
        return False


def exposed(layout: Layout) -> tuple[str, int]:
    """Where the API is on this machine. Raises ClusterError when no cluster is up."""
    try:
        config = json.loads(layout.kubeconfig.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        raise ClusterError("no cluster is up", "start one: make cluster-up") from None
    except PermissionError:
        raise ClusterError(f"{layout.kubeconfig} is not yours to read", "run it as root") from None
    url = urlsplit(config["clusters"][0]["cluster"]["server"])
    return url.hostname or "", url.port or 0


@functools.cache
def _context(keys: Path) -> ssl.SSLContext:
    """The administrator's certificate, and trust in the cluster's authority alone."""
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    return context
