"""Containers of Kubernetes objects and services of a compose file, seen alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from wherry.doctor.documents import Document, Mapping, dig, items, line_of
from wherry.doctor.project import Project

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")


class Container(msgspec.Struct, frozen=True):
    """name, image, the mapping that declares it, and the line where that begins."""

    name: str
    image: str
    node: Any
    line: int


def pod(document: Document) -> Any:
    """The pod's spec in an object that has one."""
    if document.kind == "Pod":
        return dig(document.root, "spec")
    if document.kind == "CronJob":
        return dig(document.root, "spec", "jobTemplate", "spec", "template", "spec")
    return dig(document.root, "spec", "template", "spec") if document.kind in WORKLOADS else None


def containers(document: Document) -> list[Container]:
    """The containers that a document declares: of its pod, or the services of its compose file."""
    if document.is_compose:
        services = dig(document.root, "services")
        return [
            Container(name, str(node.get("image") or ""), node, services.at[name])
            for name, node in services.items()
            if isinstance(node, dict)
        ]
    found = items(dig(pod(document), "containers"))
    return [
        Container(str(node.get("name") or ""), str(node.get("image") or ""), node, line_of(node))
        for node in found
        if isinstance(node, dict)
    ]


def environment(container: Container) -> Iterator[tuple[str, str, int]]:
    """Each variable with a value in the file: its name, the value, its line."""
    given = container.node.get("environment", container.node.get("env"))
    if isinstance(given, Mapping):
        for key, value in given.items():
            yield key, str(value if value is not None else ""), given.at.get(key, container.line)
    for each in items(given):
        if isinstance(each, dict):
            value = each.get("value")
            yield str(each.get("name")), str(value or ""), line_of(each)
        elif isinstance(each, str):
            key, _, value = each.partition("=")
            yield key, value, line_of(each)


def managed(document: Document) -> bool:
    """Whether wherry made the object; what it leaves out, the service does itself."""
    return bool(dig(document.root, "metadata", "labels", "app.kubernetes.io/managed-by") == "wherry")


def all_containers(project: Project) -> Iterator[tuple[Document, Container]]:
    for document in project.documents:
        for container in containers(document):
            yield document, container
