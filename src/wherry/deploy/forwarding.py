"""A port of this machine that leads to a service's pods, through the API server: for trying a service, not for load."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from wherry.contract.events import Note, Tell, silent
from wherry.deploy.cluster import Cluster
from wherry.deploy.names import workload
from wherry.deploy.resources import POD, Object, match, name_of
from wherry.deploy.rollout import is_ready
from wherry.errors import ClusterFailed, NothingReady, PortTaken

HERE = "127.0.0.1"
DEFAULT_PORT = 8080
CHUNK = 65536
LOOK_SECONDS = 0.2


def forward(
    cluster: Cluster,
    name: str = "",
    *,
    port: int = DEFAULT_PORT,
    tell: Tell = silent,
    stop: threading.Event | None = None,
    listening: Callable[[int], None] = lambda port: None,
) -> None:
    """Takes connections on `port` of 127.0.0.1 (0: any) and carries each to a ready pod, until `stop` is set.

    Each connection finds its pod anew, so that it outlives rollouts. listening: told the port. Raises NothingDeployed,
    NothingReady where no pod is ready at the start, PortTaken.
    """
    ended = stop or threading.Event()
    labels = match(workload(cluster, name)["spec"]["selector"]["matchLabels"])
    ready_pod(cluster, labels)
    with listener(port) as door:
        listening(door.getsockname()[1])
        door.settimeout(LOOK_SECONDS)
        while not ended.is_set():
            try:
                caller, _ = door.accept()
            except TimeoutError:
                continue
            threading.Thread(target=carry, args=(cluster, labels, caller, tell), daemon=True).start()


def listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HERE, port))
    except OSError as error:
        raise PortTaken(HERE, port) from error


def ready_pod(cluster: Cluster, labels: str) -> Object:
    """The youngest pod that is ready. Raises NothingReady."""
    pods = [pod for pod in cluster.list(POD, labels) if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    if not pods:
        raise NothingReady(labels, cluster.namespace)
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def carry(cluster: Cluster, labels: str, caller: socket.socket, tell: Tell) -> None:
    """One connection, to its end."""
    with caller:
        try:
            pod = ready_pod(cluster, labels)
            far = cluster.tunnel(name_of(pod), serving_port(pod))
        except ClusterFailed as error:
            tell(Note(str(error), hint=error.hint, warn=True))
            return
        with contextlib.closing(far):
            back = threading.Thread(target=pump, args=(far, caller), daemon=True)
            back.start()
            pump(caller, far)
            back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """What `source` says, to `sink`, until it has said everything; then `sink` is told so."""
    with contextlib.suppress(OSError):  # either end may go at any time, which ends the connection
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def serving_port(pod: Object) -> int:
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports", ()))
    return int(next(port["containerPort"] for port in ports if port.get("name") == "http"))
