"""What an autoscaler works under, read from the objects that say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wherry.contract.recording import Conditions
from wherry.contract.settings import quantity


def conditions_of(name: str, deployment: Mapping[str, Any], autoscaler: Mapping[str, Any]) -> Conditions:
    """The replica's resources and the autoscaler's bounds, target and behavior."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    resources, spec = container.get("resources") or {}, autoscaler["spec"]
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    _, target = utilization(autoscaler)
    return Conditions(
        name=name,
        cpu_request=millicores(requests["cpu"]) if "cpu" in requests else 0.0,
        cpu_limit=millicores(limits["cpu"]) if "cpu" in limits else None,
        memory=int(quantity(limits["memory"])) if "memory" in limits else None,
        min_replicas=int(spec.get("minReplicas", 1)),
        max_replicas=int(spec["maxReplicas"]),
        cpu_target=int(target or 0),
        behavior=dict(spec.get("behavior") or {}),
    )


def utilization(autoscaler: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """What an autoscaler sees and aims at, in percent of the CPU request; None for what is not known."""
    spec, state = autoscaler["spec"], autoscaler.get("status") or {}
    aims = [one["resource"] for one in spec.get("metrics") or () if one["type"] == "Resource"]
    seen = [one["resource"] for one in state.get("currentMetrics") or () if one.get("type") == "Resource"]
    return (
        next((one["current"].get("averageUtilization") for one in seen if one["name"] == "cpu"), None),
        next((one["target"].get("averageUtilization") for one in aims if one["name"] == "cpu"), None),
    )


def millicores(text: str) -> float:
    """A quantity of CPU."""
    return round(1000 * quantity(text), 4)
