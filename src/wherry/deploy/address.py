"""Where a service can be called, tried from here before it is printed."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from wherry.contract.events import Step, Tell, silent
from wherry.contract.wire import READYZ
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import NODE, SERVICE, Object, name_of
from wherry.errors import ClusterFailed, NotPermitted

TRY_SECONDS = 2.0
# Cloud load balancers take minutes; a local one without its tunnel never gets an address.
WAIT_LOCAL, WAIT_CLOUD = 20.0, 240.0


class Address(msgspec.Struct, frozen=True):
    """A URL and from where it answers: `here`, `cluster` (only from inside), `unknown` (does not answer from here).

    hint: what to type to reach it, where that takes something.
    """

    url: str
    reach: Literal["here", "cluster", "unknown"]
    hint: str = ""


def find(cluster: Cluster, service: Object, *, wait: bool = True, tell: Tell = silent) -> Address:
    """The address of a Service that answers from here, or the one inside with the line that brings it here.

    wait: for the address of a load balancer, and for it to answer.
    """
    kind = service["spec"].get("type", "ClusterIP")
    if kind == "LoadBalancer":
        return _load_balancer(cluster, service, wait, tell)
    if kind == "NodePort":
        return _node_port(cluster, service, wait)
    return _inside(cluster, service)


def forward_line(cluster: Cluster, service: Object) -> str:
    """The line to type that brings the Service to this machine."""
    return f"wherry forward {name_of(service)}{cluster.kubectl.removeprefix('kubectl')}"


def _inside(cluster: Cluster, service: Object) -> Address:
    port = _port(service)
    inside = f"http://{name_of(service)}.{cluster.namespace}.svc" + ("" if port == 80 else f":{port}")
    own = service["spec"].get("clusterIP", "")
    if cluster.is_local and own not in ("", "None"):
        url = _url(own, port)
        if answers(url):
            return Address(url, "here", f"inside the cluster: {inside}")
    return Address(inside, "cluster", forward_line(cluster, service))


def _node_port(cluster: Cluster, service: Object, wait: bool) -> Address:
    port = int(service["spec"]["ports"][0]["nodePort"])
    urls = [_url(host, port) for host in dict.fromkeys(_hosts(cluster))]
    until = time.monotonic() + (WAIT_LOCAL / 4 if wait else 0)  # the nodes learn of a new port within a second or two
    while True:
        for url in urls:
            if answers(url):
                return Address(url, "here")
        if time.monotonic() >= until:
            break
        time.sleep(0.5)
    url = urls[-1] if urls else f"http://NODE:{port}"
    return Address(url, "unknown", forward_line(cluster, service))


def _hosts(cluster: Cluster) -> Iterator[str]:
    """Where a node's port may answer: this machine, the API server's host, then the nodes' own addresses."""
    if cluster.is_local:
        yield "127.0.0.1"
        yield urlsplit(cluster.server).hostname or "127.0.0.1"
    try:
        nodes = cluster.list(NODE)
    except NotPermitted:
        return
    for kind in ("ExternalIP", "InternalIP"):
        for node in nodes:
            for entry in node["status"].get("addresses") or ():
                if entry["type"] == kind:
                    yield str(entry["address"])


def _load_balancer(cluster: Cluster, service: Object, wait: bool, tell: Tell) -> Address:
    limit = (WAIT_LOCAL if cluster.is_local else WAIT_CLOUD) if wait else 0.0
    until = time.monotonic() + limit
    told = False
    url = ""
    while True:
        entries = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
        if entries:
            url = _url(str(entries[0].get("ip") or entries[0].get("hostname")), _port(service))
            if answers(url):
                return Address(url, "here")
        if time.monotonic() >= until:
            break
        if not told:
            tell(Step("waiting for the load balancer's address to answer"))
            told = True
        time.sleep(1)
        service = cluster.get(SERVICE, name_of(service)) or service
    if url:
        return Address(url, "unknown", "it does not answer from here yet; " + forward_line(cluster, service))
    tunnel = "minikube tunnel (in a terminal of its own), or " if "minikube" in cluster.context else ""
    inside = f"http://{name_of(service)}.{cluster.namespace}.svc:{_port(service)}"
    return Address(inside, "cluster", tunnel + forward_line(cluster, service))


def answers(url: str) -> bool:
    """Whether an HTTP server answers its readiness there with 200, asked directly and not through a proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TRY_SECONDS)
    try:
        connection.request("GET", READYZ)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _port(service: Object) -> int:
    return int(service["spec"]["ports"][0]["port"])


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}" if port == 80 else f"http://{shown}:{port}"


def address_of(cluster: Cluster, name: str) -> Address | None:
    """The address of the Service called `name` as it is now, None when there is none."""
    try:
        service = cluster.get(SERVICE, name)
    except ClusterFailed:
        return None
    return find(cluster, service, wait=False) if service else None
