"""How the pods are reached, by whom, and what they may call."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from wherry.contract.events import Note
from wherry.contract.project import Project
from wherry.errors import SettingProblem
from wherry.release.objects.identity import Identity
from wherry.release.objects.storage import keeping

HTTP = "http"
ADMIN = "admin"
DNS_PORT = 53
# NodeLocal DNSCache answers here, outside every pod network.
NODE_LOCAL_DNS = "169.254.20.10/32"


def service(who: Identity, project: Project) -> dict[str, Any]:
    """The serving port only: the admin port is nobody's business outside the pod."""
    wanted = project.deploy.service
    port: dict[str, Any] = {
        "name": HTTP,
        "protocol": "TCP",
        "appProtocol": "http",
        "port": wanted.port,
        "targetPort": HTTP,
    }
    if wanted.node_port is not None:
        port["nodePort"] = wanted.node_port
    spec: dict[str, Any] = {"type": wanted.type, "selector": who.selector, "ports": [port]}
    if wanted.allow_from and wanted.type != "ClusterIP":
        # Without Local the nodes hide the caller's address, and the network policy would turn every caller away.
        spec["externalTrafficPolicy"] = "Local"
    if wanted.allow_from and wanted.type == "LoadBalancer":
        spec["loadBalancerSourceRanges"] = [cidr(text) for text in wanted.allow_from]
    return {"apiVersion": "v1", "kind": "Service", "metadata": who.metadata(), "spec": spec}


def network_policy(who: Identity, project: Project) -> dict[str, Any]:
    """Denies all but what the project names, DNS, and the pods of the same namespace."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": who.metadata(),
        "spec": {
            "podSelector": {"matchLabels": who.selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": list(ingress_rules(project)),
            "egress": list(egress_rules(who, project)),
        },
    }


def ingress_rules(project: Project) -> Iterator[dict[str, Any]]:
    wanted = project.deploy.service
    serving = [{"protocol": "TCP", "port": HTTP}]
    if wanted.type != "ClusterIP" and not wanted.allow_from:
        yield {"ports": serving}  # open on purpose: a local cluster, or every request needs a token
    else:
        callers: list[dict[str, Any]] = [{"podSelector": {}}]
        callers += [{"ipBlock": {"cidr": cidr(text)}} for text in wanted.allow_from]
        yield {"from": callers, "ports": serving}
    outside = project.deploy.ingress
    if outside.host:
        caller: dict[str, Any] = in_namespace(outside.controller) if outside.controller else {"namespaceSelector": {}}
        yield {"from": [caller], "ports": serving}
    scraper = project.deploy.metrics.scrape_from
    if scraper:
        yield {"from": [in_namespace(scraper)], "ports": [{"protocol": "TCP", "port": ADMIN}]}


def egress_rules(who: Identity, project: Project) -> Iterator[dict[str, Any]]:
    yield {
        "to": [in_namespace("kube-system"), {"ipBlock": {"cidr": NODE_LOCAL_DNS}}],
        "ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")],
    }
    kept = keeping(project)
    if kept.beside:
        yield {
            "to": [{"podSelector": {"matchLabels": who.database}}],
            "ports": [{"protocol": "TCP", "port": kept.port}],
        }
    elif kept.kind == "database":
        yield reach(kept.host, kept.port)
    for host, port in called(project):
        yield reach(host, port)


def reach(host: str, port: int | None) -> dict[str, Any]:
    """Leave to call `host`. A policy knows no names: where the host is one, its port is open to every address."""
    rule: dict[str, Any] = {}
    if is_address(host):
        rule["to"] = [{"ipBlock": {"cidr": cidr(host)}}]
    if port is not None:
        rule["ports"] = [{"protocol": "TCP", "port": port}]
    return rule


def called(project: Project) -> Iterator[tuple[str, int | None]]:
    """Whom the pods call besides the database: the collector, and what [deploy] egress names."""
    if project.serve.collector:
        yield place(project.serve.collector)
    yield from map(destination, project.deploy.egress)


def place(url: str) -> tuple[str, int]:
    """Host and port of a url. Raises ValueError."""
    found = urlsplit(url)
    return found.hostname or "", found.port or (443 if found.scheme == "https" else 80)


def in_namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def destination(text: str) -> tuple[str, int | None]:
    """CIDR, ADDRESS, HOST:PORT or [ADDRESS]:PORT as host and port. Raises ValueError."""
    if is_address(text):
        return text, None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or not host:
        raise ValueError(text)
    return host.strip("[]"), int(port)


def is_address(text: str) -> bool:
    try:
        cidr(text)
    except ValueError:
        return False
    return True


def cidr(text: str) -> str:
    """An address range as Kubernetes writes it; a single address is a range of one. Raises ValueError."""
    return str(ipaddress.ip_network(text))


def problems(project: Project, *, local: bool) -> Iterator[SettingProblem]:
    """What of [deploy.service] and [deploy] egress cannot work, or would be open to everyone."""
    wanted = project.deploy.service
    for text in wanted.allow_from:
        if not is_address(text):
            yield SettingProblem("deploy.service.allow_from", f"holds {text!r}, no address range", meant(text))
    try:
        place(project.serve.collector)
    except ValueError as error:
        yield SettingProblem("serve.collector", str(error), "write http://collector:4318")
    for text in project.deploy.egress:
        try:
            destination(text)
        except ValueError:
            yield SettingProblem("deploy.egress", f"holds {text!r}, neither a range nor HOST:PORT", meant(text))
    if not local and wanted.type != "ClusterIP" and not wanted.allow_from and not project.serve.token_file:
        yield SettingProblem(
            "deploy.service.type",
            f"is {wanted.type}, which everyone could call",
            'add [deploy.service] allow_from = ["203.0.113.0/24"], or [serve] token_file = "tokens"',
        )


def meant(text: str) -> str:
    """A range whose address has bits beyond its length is the commonest slip."""
    try:
        return f"did you mean {ipaddress.ip_network(text, strict=False)}?"
    except ValueError:
        return "write 203.0.113.0/24"


def notes(project: Project) -> Iterator[Note]:
    """Where a host's name made a rule wider than it reads."""
    kept = keeping(project)
    named = [(kept.host, kept.port)] if kept.kind == "database" and not kept.beside else []
    for host, port in [*named, *called(project)]:
        if not is_address(host):
            yield Note(
                f"network policies know no names: pods may call port {port} of every address, not of {host} alone",
                hint=f'[deploy] egress takes an address too: egress = ["192.0.2.7:{port}"]',
            )
