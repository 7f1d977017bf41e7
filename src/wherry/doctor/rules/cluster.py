"""Kubernetes objects between the pods: how they are reached, scaled and kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wherry.doctor.documents import Document, dig, items, line_of
from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule
from wherry.doctor.rules.compose import documents_of_kind
from wherry.doctor.rules.containers import WORKLOADS, containers, managed


@rule(
    "broken",
    consequence="kubectl refuses the file; what stands behind the line was not looked at",
    fix="mend the line: most often its indentation",
    source="https://yaml.org/spec/1.2.2/",
)
def broken_yaml(project: Project) -> Iterator[Place]:
    """a YAML file does not parse"""
    for document in project.documents:
        if document.problem is not None:
            yield Place(document.path, document.problem[0], document.problem[1])


@rule(
    "dangerous",
    consequence="anyone on the internet can call the model, and read what is sent",
    fix="name who may: loadBalancerSourceRanges; or put an Ingress with TLS and authentication before it",
    source="https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer",
)
def open_load_balancer(project: Project) -> Iterator[Place]:
    """a public load balancer, without TLS, authentication or source ranges"""
    for document in documents_of_kind(project, "Service"):
        spec = dig(document.root, "spec")
        if dig(spec, "type") == "LoadBalancer" and not dig(spec, "loadBalancerSourceRanges"):
            marks = " ".join(dig(document.root, "metadata", "annotations") or {}).lower()
            if "internal" not in marks:
                yield Place(document.path, spec.at["type"], document.name)
    for command in project.commands:
        if re.search(r"kubectl expose\b.*--type[= ]LoadBalancer", command.text):
            yield Place(command.file, command.line, command.text[:100])


@rule(
    "misleading",
    consequence="pods are added at almost no load, and never taken away",
    fix="40 to 70 % of the request is usual",
    source="https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/",
)
def autoscaler_target_low(project: Project) -> Iterator[Place]:
    """the autoscaler aims at a few percent of the request"""
    for document in documents_of_kind(project, "HorizontalPodAutoscaler"):
        targets = [dig(document.root, "spec", "targetCPUUtilizationPercentage")]
        targets += [
            dig(each, "resource", "target", "averageUtilization")
            for each in items(dig(document.root, "spec", "metrics"))
        ]
        for target in targets:
            if target is not None and str(target).isdigit() and int(target) < 10:
                yield Place(document.path, line_of(target), f"{target} %")


def scaled(project: Project, autoscaler: Document) -> Document | None:
    """The workload that an autoscaler scales; the only one where it does not say."""
    wanted = str(dig(autoscaler.root, "spec", "scaleTargetRef", "name") or "")
    found = [document for document in project.documents if document.kind in WORKLOADS]
    named = [document for document in found if document.name == wanted]
    return named[0] if named else found[0] if len(found) == 1 and not wanted else None


@rule(
    "misleading",
    consequence="the autoscaler has nothing to take a percentage of: its target stays <unknown>, and nothing scales",
    fix="resources.requests.cpu in every container of the pod",
    source="https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#support-for-resource-metrics",
)
def autoscaler_without_requests(project: Project) -> Iterator[Place]:
    """an autoscaler by CPU, and pods that request none"""
    for autoscaler in documents_of_kind(project, "HorizontalPodAutoscaler"):
        workload = scaled(project, autoscaler)
        for container in containers(workload) if workload else []:
            if (
                dig(container.node, "resources", "requests", "cpu") is None
                and dig(container.node, "resources", "limits", "cpu") is None
            ):
                yield Place(workload.path if workload else "", container.line, container.name)


@rule(
    "misleading",
    consequence="no node can be drained: upgrades of the cluster hang",
    fix="two replicas, or maxUnavailable: 1",
    source="https://kubernetes.io/docs/tasks/run-application/configure-pdb/",
)
def budget_of_one(project: Project) -> Iterator[Place]:
    """a disruption budget allows nothing, with one replica"""
    for budget in documents_of_kind(project, "PodDisruptionBudget"):
        spec = dig(budget.root, "spec")
        labels = dig(spec, "selector", "matchLabels") or {}
        blocks = str(dig(spec, "minAvailable")) in ("1", "100%") or str(dig(spec, "maxUnavailable")) in ("0", "0%")
        for document in project.documents:
            if document.kind not in ("Deployment", "StatefulSet") or not blocks:
                continue
            of = dig(document.root, "spec", "template", "metadata", "labels") or {}
            alone = str(dig(document.root, "spec", "replicas") or "1") == "1"
            grows = any(
                scaled(project, each) is document for each in documents_of_kind(project, "HorizontalPodAutoscaler")
            )
            if (
                alone
                and not grows
                and not managed(budget)
                and all(of.get(key) == value for key, value in labels.items())
            ):
                yield Place(budget.path, line_of(spec), f"for {document.kind} {document.name}, one replica")
