"""A host name in front of the Service: an Ingress, or an HTTPRoute of a Gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wherry.contract.events import Note
from wherry.contract.project import Project
from wherry.errors import SettingProblem
from wherry.release.objects.identity import Identity
from wherry.release.objects.network import HTTP, cidr

# What the commonest controller reads. Others have ways of their own, which a note says.
NGINX_RANGES = "nginx.ingress.kubernetes.io/whitelist-source-range"


def routes(who: Identity, project: Project) -> Iterator[dict[str, Any]]:
    """The Ingress or the HTTPRoute, where the project names a host."""
    wanted = project.deploy.ingress
    if wanted.host:
        yield http_route(who, project) if wanted.gateway else ingress(who, project)


def ingress(who: Identity, project: Project) -> dict[str, Any]:
    wanted = project.deploy.ingress
    ranges = ",".join(cidr(text) for text in project.deploy.service.allow_from)
    backend = {"service": {"name": who.name, "port": {"name": HTTP}}}
    spec: dict[str, Any] = {"ingressClassName": wanted.class_name} if wanted.class_name else {}
    spec["rules"] = [
        {"host": wanted.host, "http": {"paths": [{"path": wanted.path, "pathType": "Prefix", "backend": backend}]}}
    ]
    if wanted.tls_secret:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": who.metadata("", {NGINX_RANGES: ranges} if ranges else None),
        "spec": spec,
    }


def http_route(who: Identity, project: Project) -> dict[str, Any]:
    """The Gateway itself, its listeners and its certificates are the cluster's."""
    wanted = project.deploy.ingress
    namespace, _, name = wanted.gateway.rpartition("/")
    parent = {"name": name} | ({"namespace": namespace} if namespace else {})
    rule: dict[str, Any] = {"matches": [{"path": {"type": "PathPrefix", "value": wanted.path}}]}
    if wanted.path != "/":
        rewritten = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": {"path": rewritten}}]
    rule["backendRefs"] = [{"name": who.name, "port": project.deploy.service.port}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": who.metadata(),
        "spec": {"parentRefs": [parent], "hostnames": [wanted.host], "rules": [rule]},
    }


def problems(project: Project, *, local: bool) -> Iterator[SettingProblem]:
    """What of [deploy.ingress] cannot work, or would be open to everyone."""
    wanted = project.deploy.ingress
    stated = [name for name in ("class_name", "tls_secret", "gateway", "controller") if getattr(wanted, name)]
    if stated and not wanted.host:
        yield SettingProblem(f"deploy.ingress.{stated[0]}", "is there without a host", '[deploy.ingress] host = "..."')
    if wanted.path != "/" and not wanted.gateway:
        reason = "needs a Gateway: an Ingress passes the path on as it is, and the service answers at /predict"
        yield SettingProblem("deploy.ingress.path", reason, 'set gateway = "NAME", or leave path out')
    if wanted.gateway and (wanted.tls_secret or wanted.class_name):
        name = "tls_secret" if wanted.tls_secret else "class_name"
        yield SettingProblem(f"deploy.ingress.{name}", "is the Gateway's own, where there is one", "leave it out")
    if wanted.host and not local and not project.serve.token_file and not allowed(project):
        yield SettingProblem(
            "deploy.ingress.host",
            "is there for everyone to call",
            'add [serve] token_file = "tokens"' + ("" if wanted.gateway else ", or [deploy.service] allow_from"),
        )


def allowed(project: Project) -> bool:
    """Whether who may call is limited where the request comes in."""
    return bool(project.deploy.service.allow_from) and not project.deploy.ingress.gateway


def notes(project: Project) -> Iterator[Note]:
    wanted = project.deploy.ingress
    if wanted.host and allowed(project):
        yield Note(
            "only NGINX's Ingress controller reads the annotation that limits who may call",
            hint='with another one: [serve] token_file = "tokens"',
        )
