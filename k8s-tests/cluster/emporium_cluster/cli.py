"""The command line: one verb, then what it is about."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from emporium_cluster import build, cluster, drills, machine
from emporium_cluster.errors import ClusterError
from emporium_cluster.layout import MOST_NODES, Layout

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def parser() -> argparse.ArgumentParser:
    """Every verb, with its help."""
    top = argparse.ArgumentParser(prog="cluster.py", description=__doc__)
    top.add_argument("--name", default="", help="the cluster's name (default: emporium)")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text)

    up = verb("up", "start a cluster; does nothing when it is up")
    up.add_argument("nodes", type=int, nargs="?", default=3, help=f"1 to {MOST_NODES} (default: 3)")
    up.add_argument("--keep", action="store_true", help="leave what is there when it fails")
    verb("down", "remove everything of the cluster, whatever state it is in")
    verb("status", "say what runs; fails unless everything does")
    verb("kubeconfig", "print the path of a kubeconfig for kubectl and helm on this machine")
    verb("load", "put images into every node").add_argument("archives", nargs="+", metavar="TAR")
    logs = verb("logs", "copy the logs of all components into a folder")
    logs.add_argument("folder")
    kubectl = verb("kubectl", "run the cluster's own kubectl")
    kubectl.add_argument("words", nargs=argparse.REMAINDER)
    tool = verb("tool", "build tools, if they aren't yet, and print their paths")
    tool.add_argument("names", nargs="+", metavar="NAME", help=", ".join(sorted(build.TOOLS)))
    verb("able", "say whether this machine can hold a cluster at all; changes nothing")
    verb("build", "build what a cluster needs, if it isn't yet")
    verb("packages", "install the Debian packages for clusters and for building images")
    for name, text in drills.NODE_DRILLS.items():
        verb(name, text).add_argument("node")
    for name, text in drills.POD_DRILLS.items():
        pod = verb(name, text)
        pod.add_argument("pod")
        pod.add_argument("-n", "--namespace", default="default")
        pod.add_argument("-c", "--container", default="", help="default: the first one")
    for name, text in drills.API_DRILLS.items():
        verb(name, text)
    return top


def obey(asked: argparse.Namespace) -> int:
    """Do what was asked; the exit code. Raises ClusterError."""
    layout = Layout.chosen(asked.name)
    match asked.verb:
        case "tool":
            for name in asked.names:
                print(build.provide(name))
        case "able":
            machine.require_kernel()
        case "build":
            build.provide_cluster()
        case "packages":
            machine.require_linux()
            machine.install_packages(images=True)
        case "up":
            cluster.up(layout, asked.nodes, keep=asked.keep)
        case "down":
            cluster.down(layout)
        case "status":
            return cluster.status(layout)
        case "kubeconfig":
            print(cluster.kubeconfig(layout))
        case "load":
            cluster.load(layout, asked.archives)
        case "logs":
            cluster.copy_logs(layout, asked.folder)
        case "kubectl":
            cluster.become_kubectl(layout, asked.words)
        case name if name in drills.NODE_DRILLS:
            drills.on_node(layout, name, asked.node)
        case name if name in drills.POD_DRILLS:
            drills.on_pod(layout, name, asked.namespace, asked.pod, asked.container)
        case name:
            drills.on_api(layout, name)
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 not done, 2 not understood, 130 interrupted."""
    for number in ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return obey(parser().parse_args(words))
    except ClusterError as trouble:
        print(f"cluster: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cluster: interrupted", file=sys.stderr)
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Every signal that ends us unwinds like Ctrl-C, so that `up` can clean."""
    raise KeyboardInterrupt
