"""The `Cluster` port on Kubernetes, as the scenario job sees it from inside its pod.

Killing is deleting: signal 9 deletes a pod with no grace (its process has at most the kubelet's two
seconds), 15 as `kubectl delete pod` does. The StatefulSet brings every pod back by itself, so
`start` has nothing to do. What a pod may not do goes to the hands outside (`client/hands.py`).

A member runs at its pod's own address: a name may lead to its successor. Clients use the names.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Protocol, TypeVar

from emporium.client import hands
from emporium.client.cluster import (
    CUT,
    KILL,
    LOSE_DISK,
    PAUSE,
    DeadlinePassedError,
    DrillError,
    HttpCluster,
    Member,
    wait_until,
)
from emporium.runtime.settings import ClientSettings

GRACE_S: Final = {9: 0, 15: None}
"""What a pod's deletion says of the time that its processes have; None: as the pod says."""
GONE_S: Final = 60.0
POLL_S: Final = 0.2
"""Asking about the state of all pods costs the API server and nine processes something."""
CONNECT_S: Final = 0.5
SECRETS: Final = "emporium/secrets"
"""The annotation of the store's pods: generation of the group secret, whether the one before is
accepted, generation of the operator token."""
NOT_OPERATIONS: Final = re.compile(r"time=|\[\d{4}-")
"""How lines of the structured log and of gunicorn begin; a pod's log has them all."""


SILENT_S: Final = 30.0
"""So long may the API server be too busy to answer before that counts."""

REFUSALS: Final = (400, 401, 403, 404, 409, 422)
"""HTTP statuses; with others the API server, or a kubelet behind it, is in trouble itself."""

T = TypeVar("T")


class RefusedError(OSError):
    """The API server has answered, and it says no: there is no such pod, or it's another one."""


class PodApi(Protocol):
    """What is asked of the API server. All raise RefusedError when it says no, and OSError when it
    doesn't answer."""

    def pods(self) -> list[dict[str, Any]]:
        """The pods of this namespace, as JSON objects."""

    def delete(self, pod: str, uid: str, grace_s: int | None) -> None:
        """Delete a pod unless it is another one by now; None: with the grace that it asks for."""

    def log(self, pod: str) -> str:
        """What a pod's container has said since it began."""

    def scale(self, statefulset: str, replicas: int) -> None:
        """Say how many pods a StatefulSet shall have."""


class KubernetesCluster(HttpCluster):
    """Adapter of `client.cluster.Cluster`. `store` is what the names of its pods begin with."""

    def __init__(
        self,
        api: PodApi,
        settings: ClientSettings,
        store: str,
        mailbox: hands.Mailbox,
        able: Collection[str] = (),
        token: Callable[[], str] | None = None,
    ) -> None:
        """`able`: which of `hands.VERBS` the hands can do; none where nobody holds the other end
        of the mailbox. `token` reads the operator token, which a rotation changes."""
        self._api = api
        self._settings = settings
        self._store = store
        self._mailbox = mailbox
        self._able = frozenset(able)
        self._token = token
        self._last: list[Member] = []
        self._uids: dict[str, str] = {}  # by pod

    def drills(self) -> frozenset[str]:
        """What the API server lets this pod do, cuts by the operator's fault routes, and what the
        hands can."""
        found = {KILL, CUT, hands.SCALE} | self._able
        if {hands.FREEZE, hands.THAW} <= self._able:
            found.add(PAUSE)
        if hands.LOSE_DISK in self._able:
            found.add(LOSE_DISK)
        return frozenset(found)

    def members(self) -> list[Member]:
        """Every pod that the settings name, as it is; as it last was when the API server is
        silent."""
        with contextlib.suppress(OSError):
            pods = {pod["metadata"]["name"]: pod for pod in self._api.pods()}
            self._uids = {name: str(pod["metadata"]["uid"]) for name, pod in pods.items()}
            self._last = [
                _member(role, replica, place, health, pods.get(f"{self._store}-{role}-{replica}"))
                for role, replica, place, health in self._places()
            ]
        return self._last

    def _places(self) -> Iterator[tuple[str, int, str, int]]:
        """Role, id, public `name:port` and the health port of every process of the store."""
        found = self._settings
        for role, places in (
            ("frontend", found.frontend),
            ("cache", found.cache),
            ("catalog", found.catalog),
            ("order", found.order),
        ):
            for replica, place in enumerate(places):
                yield role, replica, str(place), place.port + found.health_offset

    def frontends(self) -> list[str]:
        """By name: it lives longer than a pod's address."""
        return [f"http://{place}" for place in self._settings.frontend]

    def cache_mode(self) -> str:
        """As the store was installed."""
        return str(self._settings.cache_mode)

    def operator_token(self) -> str:
        """From the Secret as the kubelet has mounted it by now: up to a minute late."""
        return self._token() if self._token else self._settings.operator_token

    def secret_generations(self) -> tuple[int, int]:
        """As the store's pods say; the newest while they are being replaced. Raises DrillError."""
        told = [
            pod["metadata"].get("annotations", {}).get(SECRETS, "").split()
            for pod in self._list()
            if pod["metadata"]["name"].startswith(f"{self._store}-")
        ]
        found = [(int(words[0]), int(words[2])) for words in told if len(words) == 3]  # noqa: PLR2004
        if not found:
            raise DrillError(f"no pod of {self._store} has the annotation {SECRETS}")
        return max(found)

    def reachable(self) -> bool:
        """Whether the API server answers."""
        try:
            self._api.pods()
        except OSError:
            return False
        return True

    def kill(self, name: str, signal: int = 9) -> None:
        """Delete the pod and wait until its process is gone."""
        if signal not in GRACE_S:
            raise DrillError(f"a pod's deletion is signal 15 or 9 to its process, never {signal}")
        before = self.member(name)
        if not before.running:
            raise DrillError(f"{name} doesn't run")
        pod = f"{self._store}-{name}"
        self._delete(pod, self._uids[pod], GRACE_S[signal])
        self._wait_gone(before)

    def _delete(self, pod: str, uid: str, grace_s: int | None) -> None:
        """Where it isn't known whether a try was heard, the next one may find its work done."""
        tries = 0

        def delete() -> None:
            nonlocal tries
            tries += 1
            try:
                self._api.delete(pod, uid, grace_s)
            except RefusedError:
                if tries == 1:
                    raise

        self._patiently(delete, f"{pod} isn't deleted")

    def _patiently(self, act: Callable[[], T], trouble: str) -> T:
        """Ask the API server, again while it is silent. Raises DrillError, with the trouble."""
        found: list[T] = []
        silence: list[OSError] = []

        def answered() -> bool:
            try:
                found.append(act())
            except RefusedError:
                raise
            except OSError as error:
                silence[:] = [error]
            return bool(found)

        try:
            wait_until(answered, SILENT_S, "the API server answers", POLL_S)
        except (RefusedError, DeadlinePassedError) as error:
            why = [str(each) for each in (error, *silence)]
            raise DrillError(f"{trouble}: {'; '.join(why)}") from error
        return found[0]

    def _wait_gone(self, before: Member) -> None:
        """A pod deleted by force is gone from the list before its process is."""

        def gone() -> bool:
            now = self.member(before.name)
            if now.process == before.process:
                return False
            inherited = now.running and now.health == before.health  # its successor listens there
            return inherited or not _listens(before.health)

        try:
            wait_until(gone, GONE_S, f"{before.name} is gone")
        except DeadlinePassedError as error:
            raise DrillError(str(error)) from error

    def start(self, name: str) -> None:
        """The StatefulSet does it."""
        self.member(name)

    def pause(self, name: str) -> None:
        """By the hands: all processes of the pod."""
        self._ask(hands.FREEZE, pod=name)

    def resume(self, name: str) -> None:
        """By the hands."""
        self._ask(hands.THAW, pod=name)

    def lose_disk(self, name: str) -> None:
        """By the hands: claim and pod are deleted."""
        before = self.member(name)
        self._ask(hands.LOSE_DISK, pod=name)
        self._wait_gone(before)

    def drill(self, verb: str, **about: str) -> dict[str, Any]:
        """`scale` (role, replicas) by the API server, everything else by the hands."""
        if verb != hands.SCALE:
            return self._ask(verb, **about)
        statefulset, replicas = f"{self._store}-{about['role']}", int(about["replicas"])
        self._patiently(
            lambda: self._api.scale(statefulset, replicas), f"{about['role']} isn't scaled"
        )
        return {"ok": True, **about}

    def pods(self, role: str) -> dict[str, bool]:
        """All pods of a role that there are, whatever the settings name: whether a container of
        each has ever been started, by name. Raises DrillError."""
        pattern = re.compile(re.escape(f"{self._store}-{role}-") + r"\d+")
        found = {str(pod["metadata"]["name"]): _has_started(pod) for pod in self._list()}
        return {name: found[name] for name in sorted(found) if pattern.fullmatch(name)}

    def _list(self) -> list[dict[str, Any]]:
        return self._patiently(self._api.pods, "the pods can't be listed")

    def _ask(self, verb: str, **about: str) -> dict[str, Any]:
        if verb not in self._able:
            raise DrillError(f"this cluster has no drill for: {verb}")
        return self._mailbox.ask(verb, about)

    def logs(self, name: str) -> list[str]:
        """The operation log of the process that runs now; empty when none does. Raises DrillError
        when the API server is silent, which says nothing of the log."""

        def log() -> str:
            try:
                return self._api.log(f"{self._store}-{name}")
            except RefusedError:
                return ""

        text = self._patiently(log, f"the log of {name} can't be read")
        return [line for line in text.splitlines() if not NOT_OPERATIONS.match(line)]

    def wait_until(self, condition: Callable[[], object], deadline_s: float, what: str) -> None:
        """As everywhere, asking less often."""
        wait_until(condition, deadline_s, what, POLL_S)


def _member(
    role: str, replica: int, place: str, health_port: int, pod: dict[str, Any] | None
) -> Member:
    """A member as its pod is; its process is the beginning of the pod's uid and of its
    container's."""
    name, port = f"{role}-{replica}", place.rpartition(":")[2]
    status = pod.get("status", {}) if pod else {}
    states = status.get("containerStatuses") or [{}]
    address = str(status.get("podIP") or "")
    if pod is None or not address or "running" not in states[0].get("state", {}):
        return Member(name, role, replica, place, place, pid=0)
    container = str(states[0].get("containerID", "")).rpartition("/")[2]
    host = f"[{address}]" if ":" in address else address
    process = f"{pod['metadata']['uid'][:8]}/{container[:8]}"
    return Member(name, role, replica, f"{host}:{port}", f"{host}:{health_port}", 0, process)


def _has_started(pod: dict[str, Any]) -> bool:
    """Whether a container of the pod runs or has ended before."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        states = {**status.get("state", {}), **status.get("lastState", {})}
        if status.get("restartCount", 0) or states.keys() & {"running", "terminated"}:
            return True
    return False


def _listens(address: str) -> bool:
    """Whether anything accepts connections there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S):
            return True
    except OSError:
        return False


class InPodApi:
    """The API server as a pod with a ServiceAccount reaches it, by the Kubernetes client."""

    TIMEOUT_S: Final = 5.0

    def __init__(self, namespace: str) -> None:
        """Raises OSError outside of a pod."""
        # Only the client image has this package, and only a pod can use it.
        from kubernetes import client, config  # noqa: PLC0415

        try:
            config.load_incluster_config()
        except config.ConfigException as error:
            raise OSError(f"this is no pod with a ServiceAccount: {error}") from error
        configuration = client.Configuration.get_default_copy()
        configuration.retries = False  # the callers ask again, and know until when
        connection = client.ApiClient(configuration)
        self._core = client.CoreV1Api(connection)
        self._apps = client.AppsV1Api(connection)
        self._namespace = namespace

    def pods(self) -> list[dict[str, Any]]:
        """Read as plain JSON: the client's own objects cost ten times as much."""
        with _as_os_error():
            answer = self._core.list_namespaced_pod(
                self._namespace, _preload_content=False, _request_timeout=self.TIMEOUT_S
            )
            found: list[dict[str, Any]] = json.loads(answer.data)["items"]
            return found

    def delete(self, pod: str, uid: str, grace_s: int | None) -> None:
        """With the pod's uid as a precondition."""
        body: dict[str, Any] = {"preconditions": {"uid": uid}}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        with _as_os_error():
            self._core.delete_namespaced_pod(
                pod,
                self._namespace,
                body=body,
                _preload_content=False,
                _request_timeout=self.TIMEOUT_S,
            )

    def log(self, pod: str) -> str:
        """As text."""
        with _as_os_error():
            answer = self._core.read_namespaced_pod_log(
                pod, self._namespace, _preload_content=False, _request_timeout=self.TIMEOUT_S
            )
            return bytes(answer.data).decode("utf-8", "replace")

    def scale(self, statefulset: str, replicas: int) -> None:
        """The scale alone; nothing else of a StatefulSet may be changed."""
        with _as_os_error():
            self._apps.patch_namespaced_stateful_set_scale(
                statefulset,
                self._namespace,
                {"spec": {"replicas": replicas}},
                _request_timeout=self.TIMEOUT_S,
            )


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """The client has its own errors for refusals, and urllib3's for silence."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except ApiException as error:
        told = f"the API server says {error.status} {error.reason}"
        raise (RefusedError if error.status in REFUSALS else OSError)(told) from error
    except HTTPError as error:
        raise OSError(f"the API server doesn't answer: {error}") from error
    except (ValueError, KeyError) as error:
        raise OSError(f"the API server's answer is cut off: {error!r}") from error
