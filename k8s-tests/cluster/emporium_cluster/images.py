"""The cluster's own images, and how any image gets into the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emporium_cluster.archives import write_image
from emporium_cluster.control_plane import VOLUME_IMAGE
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import Layout, Node
from emporium_cluster.nodes import PAUSE_IMAGE
from emporium_cluster.processes import run

COREDNS_IMAGE = "localhost/emporium-cluster/coredns:1"
NOBODY = "65532:65532"
IMPORT_S = 300
SIDE_BY_SIDE = 6  # imports at once: each unpacks on one processor, and then waits for the disk


def write_own(layout: Layout) -> list[Path]:
    """Write the images that every cluster needs; their archives."""
    folder = layout.state / "images"
    folder.mkdir()
    wanted = (
        (PAUSE_IMAGE, "pause", "helpers", NOBODY),
        (VOLUME_IMAGE, "volume", "helpers", "0:0"),
        (COREDNS_IMAGE, "coredns", "coredns", NOBODY),
    )
    archives = []
    for image, name, program, user in wanted:
        archive = folder / f"{name}.tar"
        write_image(archive, image, {name: layout.programs / program}, [f"/{name}"], user)
        archives.append(archive)
    return archives


def load(nodes: Sequence[Node], archives: Iterable[Path]) -> None:
    """Put archives (docker or OCI) into nodes, side by side. Raises ClusterError at the end."""
    pairs = [(node, archive) for archive in archives for node in nodes]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        failures = [failure for failure in pool.map(_load_one, pairs) if failure]
    if failures:
        raise ClusterError("\n  ".join(["not every node has every image:", *failures]))


def _load_one(pair: tuple[Node, Path]) -> str:
    """Put one archive into one node; what went wrong, if anything."""
    node, archive = pair
    command = ["ctr", "--address", str(node.containerd), "--namespace", "k8s.io"]
    try:
        run([*command, "images", "import", str(archive)], IMPORT_S)
    except ClusterError as trouble:
        return f"{archive.name} into {node.name}: {trouble.what}"
    return ""
