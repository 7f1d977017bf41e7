"""How many pods, and how few at once may be taken away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from wherry.contract.names import METRIC_REQUESTS
from wherry.contract.project import Project
from wherry.errors import SettingProblem
from wherry.release.objects.identity import Identity
from wherry.release.objects.storage import keeping

QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")


def autoscaled(project: Project) -> bool:
    """Whether an autoscaler owns the number of pods: unless the project fixes it."""
    return project.deploy.replicas is None


def autoscaler(who: Identity, project: Project) -> dict[str, Any]:
    """Between two bounds, by what `metrics` say, as fast as `behavior` lets it."""
    scale = project.deploy.autoscale
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": who.metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": workload_kind(project), "name": who.name},
            "minReplicas": scale.min,
            "maxReplicas": scale.max,
            "metrics": list(metrics(project)),
            "behavior": behavior(project),
        },
    }


def metrics(project: Project) -> Iterator[dict[str, Any]]:
    """What is looked at: the one that asks for the most replicas decides."""
    scale = project.deploy.autoscale
    for name, percent in (("cpu", scale.cpu), ("memory", scale.memory)):
        if percent is not None:
            target = {"type": "Utilization", "averageUtilization": percent}
            yield {"type": "Resource", "resource": {"name": name, "target": target}}
    for kind, wanted in (("Pods", scale.pods), ("External", scale.external)):
        for name, value in wanted.items():
            target = {"type": "AverageValue", "averageValue": value}
            yield {"type": kind, kind.lower(): {"metric": {"name": name}, "target": target}}


def scaled_object(who: Identity, project: Project) -> dict[str, Any]:
    """The same bounds and the same pace, kept by KEDA, which makes an autoscaler of its own from this."""
    scale = project.deploy.autoscale
    triggers = [
        {"type": name, "metricType": "Utilization", "metadata": {"value": str(percent)}}
        for name, percent in (("cpu", scale.cpu), ("memory", scale.memory))
        if percent is not None
    ]
    if scale.keda.prometheus:
        asked = {
            "serverAddress": scale.keda.prometheus,
            "query": scale.keda.query or requests_a_second(who),
            "threshold": f"{scale.keda.threshold:g}",
        }
        triggers.append({"type": "prometheus", "metricType": "AverageValue", "metadata": asked})
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": who.metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": workload_kind(project), "name": who.name},
            "minReplicaCount": scale.min,
            "maxReplicaCount": scale.max,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(project)}},
            "triggers": triggers,
        },
    }


def requests_a_second(who: Identity) -> str:
    return f'sum(rate({METRIC_REQUESTS}{{namespace="{who.namespace}",pod=~"{who.name}-.+"}}[1m]))'


def problems(project: Project) -> Iterator[SettingProblem]:
    """What of [deploy.autoscale] cannot work in a cluster."""
    scale = project.deploy.autoscale
    for table, wanted in (("pods", scale.pods), ("external", scale.external)):
        for name, value in wanted.items():
            if not QUANTITY.fullmatch(value):
                yield SettingProblem(
                    f"deploy.autoscale.{table}.{name}", f"is {value!r}", 'write a quantity: "5", "500m"'
                )
    keda = scale.keda
    if keda.enabled and (scale.pods or scale.external):
        reason = "are metrics of the HorizontalPodAutoscaler, which KEDA takes the place of"
        yield SettingProblem("deploy.autoscale.pods", reason, "ask Prometheus: [deploy.autoscale.keda] query")
    if keda.enabled and bool(keda.prometheus) != (keda.threshold is not None):
        reason = "go together: where Prometheus is, and what value one replica is for"
        yield SettingProblem("deploy.autoscale.keda.prometheus and threshold", reason, "give both, or neither")
    if not keda.enabled and (keda.prometheus or keda.query or keda.threshold is not None):
        yield SettingProblem("deploy.autoscale.keda", "is filled in and off", "set enabled = true")


def behavior(project: Project) -> dict[str, Any]:
    """Up at once, by the larger of double and two; down after five quiet minutes, a pod a minute."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 2, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": project.deploy.autoscale.down_after,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
        },
    }


def workload_kind(project: Project) -> str:
    """A strict store's pods each keep a claim, which only a StatefulSet gives them."""
    return "StatefulSet" if keeping(project).strict else "Deployment"


def protected(project: Project) -> bool:
    """Whether a disruption budget makes sense: with one pod it could only hold up the drain of a node."""
    return project.deploy.replicas is None or project.deploy.replicas > 1


def disruption_budget(who: Identity) -> dict[str, Any]:
    """One pod at a time; a pod that is not healthy protects nothing and never blocks a drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": who.metadata(),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": who.selector},
        },
    }
