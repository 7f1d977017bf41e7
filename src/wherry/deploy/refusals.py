"""What the API server's refusals mean: an HTTP status and its Status object become one error with its facts. Pure."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from wherry.deploy.resources import NAMESPACE, Kind
from wherry.errors import (
    AccessRule,
    ClusterFailed,
    Conflict,
    CredentialsRefused,
    FieldConflict,
    NamespaceMissing,
    NotPermitted,
    ObjectChanged,
    ObjectMissing,
    ObjectRefused,
)


class Asked(msgspec.Struct, frozen=True):
    """What was asked for when the refusal came."""

    server: str
    context: str
    verb: str
    kind: Kind
    namespace: str
    name: str = ""
    subresource: str = ""

    @property
    def what(self) -> str:
        return f"{self.kind.kind.lower()}/{self.name}" if self.name else self.kind.plural

    @property
    def rule(self) -> AccessRule:
        resource = f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural
        return AccessRule(self.verb, self.kind.group, resource)


# The API server's own authorizer speaks like this; quota, Pod Security and admission webhooks do not.
_RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
)
_MANAGER = re.compile(r'conflict with "(?P<manager>[^"]+)"')


def explain(status: int, reply: Mapping[str, Any], asked: Asked) -> ClusterFailed:
    """The error for a refusal with this HTTP status and this Status object."""
    message = str(reply.get("message") or f"HTTP {status}")
    details = reply.get("details") or {}
    if status == 401:
        return CredentialsRefused(asked.server, asked.context, message)
    if status == 403:
        return _forbidden(message, asked)
    if status == 404 and details.get("kind") == NAMESPACE.plural and asked.kind.namespaced:
        return NamespaceMissing(asked.namespace, asked.context)
    if status == 404:
        if not details.get("name"):
            return ObjectRefused(
                asked.what, asked.namespace, f"it does not know {asked.kind.resource} {asked.kind.version}"
            )
        return ObjectMissing(asked.what, asked.namespace)
    if status == 409 and (fields := _conflicts(details)):
        return Conflict(asked.what, asked.namespace, fields)
    if status == 409:
        return ObjectChanged(asked.what, asked.namespace, message)
    return ObjectRefused(asked.what, asked.namespace, _readable(message, details))


def _forbidden(message: str, asked: Asked) -> ClusterFailed:
    found = _RBAC.search(message)
    if found:
        rule = AccessRule(found["verb"], found["group"], found["resource"])
        return NotPermitted((rule,), asked.namespace if asked.kind.namespaced else "", found["user"])
    if "forbidden:" not in message:
        return NotPermitted((asked.rule,), asked.namespace if asked.kind.namespaced else "")
    reason = message.split("forbidden:", 1)[1].strip()
    hint = ""
    if "exceeded quota" in reason:
        hint = f"kubectl -n {asked.namespace} describe resourcequota"
    elif "violates PodSecurity" in reason:
        hint = f"kubectl get namespace {asked.namespace} -o yaml shows what it enforces"
    elif "being terminated" in reason:
        hint = f"wait until it is gone: kubectl wait --for=delete namespace/{asked.namespace}"
    return ObjectRefused(asked.what, asked.namespace, reason, hint)


def _conflicts(details: Mapping[str, Any]) -> tuple[FieldConflict, ...]:
    found = []
    for cause in details.get("causes") or ():
        if cause.get("reason") == "FieldManagerConflict":
            manager = _MANAGER.search(str(cause.get("message", "")))
            found.append(FieldConflict(str(cause.get("field", "")), manager["manager"] if manager else "another tool"))
    return tuple(found)


def _readable(message: str, details: Mapping[str, Any]) -> str:
    """The causes field by field where the server lists them, else its sentence."""
    causes = [cause for cause in details.get("causes") or () if cause.get("field")]
    if causes:
        return "; ".join(f"{cause['field']}: {cause.get('message', '')}" for cause in causes)
    return message


def status_of(data: bytes) -> dict[str, Any]:
    """The Status object of a refusal; a proxy before the API server may answer anything."""
    with contextlib.suppress(ValueError):
        found = json.loads(data)
        if isinstance(found, dict):
            return found
    return {"message": data.decode("utf-8", "replace").strip()[:500]}


def is_busy(status: int, data: bytes) -> bool:
    """Whether the API server has no time, or its store none: the same may be taken a moment later."""
    return is_status(data) and (status in (429, 503) or (status in (500, 504) and b"etcdserver" in data))


def is_status(data: bytes) -> bool:
    """Whether the API server itself says this."""
    return bool(status_of(data).get("kind") == "Status")


def reason(error: BaseException) -> str:
    """Why there is no answer, in the fewest words of the innermost cause."""
    cause = getattr(error, "reason", None) or error
    text = str(cause)
    for words, short in (
        ("Connection refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("Name or service not known", "its name is unknown"),
        ("nodename nor servname", "its name is unknown"),
        ("No route to host", "no route to it"),
        ("certificate is not yet valid", "its certificate is not valid yet by this machine's clock, which may be slow"),
        ("certificate has expired", "its certificate has expired, by this machine's clock"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by the authority in the kubeconfig"),
    ):
        if words in text:
            return short
    return text.rsplit(": ", 1)[-1]
