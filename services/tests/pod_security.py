"""Pod Security "restricted", as Kubernetes defines it, over the spec of a pod.

The checks that an API server makes of a pod in a namespace that enforces the standard: those of
"baseline" and of "restricted", for Linux pods, as of Kubernetes 1.34.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

VOLUMES: Final = frozenset(
    "configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret".split()
)
SYSCTLS: Final = frozenset(
    "kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.ip_unprivileged_port_start"
    " net.ipv4.tcp_syncookies net.ipv4.ping_group_range".split()
)
PROFILES: Final = ("RuntimeDefault", "Localhost")
CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")

Spec = Mapping[str, Any]


def violations(pod: Spec) -> list[str]:
    """What "restricted" forbids in the spec of a pod, a sentence each; empty when it is let in."""
    return [*_of_pod(pod), *_of_containers(pod)]


def _of_pod(pod: Spec) -> Iterator[str]:
    context = pod.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes", []):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is of kind {', '.join(sorted(kinds))}"
    if unsafe := {each["name"] for each in context.get("sysctls", [])} - SYSCTLS:
        yield f"sysctls {', '.join(sorted(unsafe))}"
    yield from _of_context("the pod", context)


def _of_containers(pod: Spec) -> Iterator[str]:
    common = pod.get("securityContext", {})
    for container in (each for kind in CONTAINERS for each in pod.get(kind, [])):
        name, own = container["name"], container.get("securityContext", {})
        yield from _of_context(name, own)
        if own.get("privileged") or own.get("procMount", "Default") != "Default":
            yield f"{name} is privileged, or sees all of /proc"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} may escalate its privileges"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            yield f"{name} doesn't drop all capabilities"
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name} adds capabilities"
        if own.get("runAsNonRoot", common.get("runAsNonRoot")) is not True:
            yield f"{name} may run as root"
        profile = own.get("seccompProfile", common.get("seccompProfile", {}))
        if profile.get("type") not in PROFILES:
            yield f"{name} has the seccomp profile {profile.get('type')}"
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield f"{name} opens a port of its node"
        handlers = [value for key, value in container.items() if key.endswith("Probe")]
        handlers += container.get("lifecycle", {}).values()
        if any(
            handler.get(kind, {}).get("host")
            for handler in handlers
            for kind in ("httpGet", "tcpSocket")
        ):
            yield f"{name} has a probe of another host"


def _of_context(name: str, context: Spec) -> Iterator[str]:
    """What holds of a pod's securityContext and of a container's."""
    if context.get("runAsUser") == 0:
        yield f"{name} runs as user 0"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{name} is a process of its host"
    if {"user", "role"} & set(context.get("seLinuxOptions", {})):
        yield f"{name} has an SELinux user or role"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield f"{name} is unconfined by AppArmor"
