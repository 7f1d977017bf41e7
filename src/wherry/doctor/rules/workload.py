"""A pod: what it asks for, how it is watched, how it stops."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wherry.doctor.documents import Document, dig, line_of
from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule
from wherry.doctor.rules.containers import Container, all_containers, managed

UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "Ki": 2**10,
    "M": 1e6,
    "Mi": 2**20,
    "G": 1e9,
    "Gi": 2**30,
    "T": 1e12,
    "Ti": 2**40,
}
GKE_DEFAULT = 0.94  # what an e2-medium has left for pods


def amount(text: object) -> float | None:
    """A quantity as a number; None for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?", str(text))
    return float(found[1]) * UNITS[found[2] or ""] if found else None


def serving(project: Project) -> Iterator[tuple[Document, Container]]:
    """Containers of Deployments and StatefulSets that listen somewhere."""
    for document, container in all_containers(project):
        if document.kind in ("Deployment", "StatefulSet") and container.node.get("ports"):
            yield document, container


@rule(
    "broken",
    consequence="GKE's default node has 940m for pods: a pod that asks for a whole CPU stays Pending",
    fix="ask for what was measured: cpu: 250m; or take larger nodes: --machine-type",
    source="https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes",
)
def whole_cpu_requested(project: Project) -> Iterator[Place]:
    """a pod asks for more CPU than a default node has"""
    if any(re.search(r"--machine-type|--node-type|node-vm-size", command.text) for command in project.commands):
        return
    for document, container in all_containers(project):
        asked = dig(container.node, "resources", "requests", "cpu") if document.kind else None
        if asked is not None and (amount(asked) or 0) > GKE_DEFAULT:
            yield Place(document.path, line_of(asked), f"cpu: {asked}")


@rule(
    "broken",
    consequence="the API server refuses the pod",
    fix="a limit is at least the request",
    source="https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
)
def request_above_limit(project: Project) -> Iterator[Place]:
    """a pod asks for more than its limit"""
    for document, container in all_containers(project):
        for name in ("cpu", "memory"):
            asked, limit = (dig(container.node, "resources", part, name) for part in ("requests", "limits"))
            if asked is None or limit is None:
                continue
            if (amount(asked) or 0) > (amount(limit) or float("inf")):
                yield Place(document.path, line_of(asked), f"{name}: {asked} asked, limit {limit}")


@rule(
    "misleading",
    consequence="requests are sent to pods that are not up yet, and to those that hang",
    fix="a readinessProbe that asks the service, and a livenessProbe",
    source="https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/",
)
def no_probes(project: Project) -> Iterator[Place]:
    """a service's pods have no readiness probe"""
    for document, container in serving(project):
        if not container.node.get("readinessProbe"):
            yield Place(document.path, container.line, container.name)


@rule(
    "misleading",
    consequence="a pod that is told to stop still gets requests for seconds, and refuses them: each release loses some",
    fix="lifecycle.preStop: sleep 5, and a server that finishes what it has begun",
    source="https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
)
def no_graceful_stop(project: Project) -> Iterator[Place]:
    """pods stop before others know that they do"""
    for document, container in serving(project):
        if document.kind == "Deployment" and not managed(document) and not dig(container.node, "lifecycle", "preStop"):
            yield Place(document.path, container.line, container.name)
