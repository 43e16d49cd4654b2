"""The cluster's own certificate authority, and a kubeconfig for everyone who talks to its API.

They are made anew for each cluster, last a year, and go with it. Keys are of P-256: made at once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from emporium_cluster.layout import API_ADDRESS, API_PORT, DOMAIN, FIRST_SERVICE, Layout
from emporium_cluster.processes import run

DAYS = "365"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
SERVER = f"https://{API_ADDRESS}:{API_PORT}"
API_NAMES = (
    f"IP:{API_ADDRESS}",
    f"IP:{FIRST_SERVICE}",
    "IP:127.0.0.1",
    "DNS:localhost",
    *(f"DNS:kubernetes{end}" for end in ("", ".default", ".default.svc", f".default.svc.{DOMAIN}")),
)
EXTENSIONS = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth,clientAuth",
    "subjectKeyIdentifier=hash",
    "authorityKeyIdentifier=keyid",  # strict clients ask for it
)
# Who talks to the API -> as whom.
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "local-path-provisioner": "/CN=local-path-provisioner",
}


def make_all(layout: Layout, count: int) -> None:
    """Make the authority, every certificate, and the kubeconfigs inside the cluster."""
    keys = layout.keys
    keys.mkdir(mode=0o700)
    run(
        [
            *("openssl", "req", "-x509", *KEY, "-keyout", keys / "ca.key", "-out", keys / "ca.crt"),
            *("-days", DAYS, "-subj", f"/CN={layout.name}-ca"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        ]
    )
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-out", keys / "service-accounts.key"])  # fmt: skip
    public = keys / "service-accounts.pub"
    run(["openssl", "pkey", "-in", keys / "service-accounts.key", "-pubout", "-out", public])
    _sign(keys, "apiserver", "/CN=kube-apiserver", API_NAMES)
    _sign(keys, "kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    for name, subject in CLIENTS.items():
        _sign(keys, name, subject)
        write_kubeconfig(layout, name, layout.keys / f"{name}.kubeconfig", SERVER)
    for index in range(1, count + 1):
        node = layout.node(index)
        names = (f"IP:{node.address}", f"DNS:{node.name}")
        _sign(keys, node.name, f"/O=system:nodes/CN=system:node:{node.name}", names)
        write_kubeconfig(layout, node.name, keys / f"{node.name}.kubeconfig", SERVER)


def write_kubeconfig(layout: Layout, who: str, file: Path, server: str) -> None:
    """Write a kubeconfig (JSON is YAML, too) for the holder of the certificate `who`."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": layout.name,
        "clusters": [
            {
                "name": layout.name,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _encoded(layout.keys / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": who,
                "user": {
                    "client-certificate-data": _encoded(layout.keys / f"{who}.crt"),
                    "client-key-data": _encoded(layout.keys / f"{who}.key"),
                },
            }
        ],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": who}}],
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(config, indent=1), "utf-8")


def _sign(keys: Path, name: str, subject: str, names: Sequence[str] = ()) -> None:
    """Make a key and have its certificate signed, for a client, and a server of these names."""
    request = keys / f"{name}.csr"
    run(["openssl", "req", *KEY, "-keyout", keys / f"{name}.key", "-out", request,
         "-subj", subject])  # fmt: skip
    extensions = keys / f"{name}.ext"
    lines = list(EXTENSIONS)
    lines += [f"subjectAltName={','.join(names)}"] if names else []
    extensions.write_text("\n".join(lines) + "\n", "ascii")
    run(
        [
            *("openssl", "x509", "-req", "-in", request, "-out", keys / f"{name}.crt"),
            *("-CA", keys / "ca.crt", "-CAkey", keys / "ca.key", "-CAcreateserial"),
            *("-days", DAYS, "-extfile", extensions),
        ]
    )
    request.unlink()
    extensions.unlink()


def _encoded(file: Path) -> str:
    """A file's bytes, as kubeconfigs hold them."""
    return base64.b64encode(file.read_bytes()).decode("ascii")
