"""How many pods, and how few at once may be taken away."""

from __future__ import annotations

from typing import Any

from wherry.contract.project import Project
from wherry.release.objects.identity import Identity
from wherry.release.objects.storage import keeping


def autoscaled(project: Project) -> bool:
    """Whether an autoscaler owns the number of pods: unless the project fixes it."""
    return project.deploy.replicas is None


def autoscaler(who: Identity, project: Project) -> dict[str, Any]:
    """Up at once, by the larger of double and two; down after five quiet minutes, a pod a minute."""
    scale = project.deploy.autoscale
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": who.metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": workload_kind(project), "name": who.name},
            "minReplicas": scale.min,
            "maxReplicas": scale.max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": scale.cpu}},
                }
            ],
            "behavior": behavior(project),
        },
    }


def behavior(project: Project) -> dict[str, Any]:
    """How fast the autoscaler may go in either direction."""
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
