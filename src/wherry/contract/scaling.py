"""How many replicas there are, and what decides it: the tables of [deploy.autoscale]."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Keda(Struct, frozen=True, kw_only=True):
    """A KEDA ScaledObject in place of the HorizontalPodAutoscaler, which also looks at a Prometheus query."""

    enabled: Annotated[bool, Meta(description="let KEDA scale")] = False
    prometheus: Annotated[str, Meta(description="address of the Prometheus server, http://...")] = ""
    query: Annotated[
        str, Meta(description="what is asked of it; empty: requests a second of this service, over the last minute")
    ] = ""
    threshold: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="value of the query that one replica is for")
    ] = None


class Autoscale(Struct, frozen=True, kw_only=True):
    """The HorizontalPodAutoscaler."""

    min: Annotated[int, Meta(ge=1, le=100_000, description="fewest replicas")] = 2
    max: Annotated[int, Meta(ge=1, le=100_000, description="most replicas")] = 10
    cpu: Annotated[int, Meta(ge=1, le=1000, description="CPU target, percent of the request")] = 60
    down_after: Annotated[
        int, Meta(ge=0, le=3600, description="seconds that fewer replicas must have been enough before one is removed")
    ] = 300
    memory: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="memory target, percent of the request")
    ] = None
    pods: Annotated[
        dict[str, str], Meta(description='custom metrics of the pods, each with its target a pod: { in_flight = "5" }')
    ] = {}
    external: Annotated[
        dict[str, str], Meta(description='external metrics, each with its target a pod: { queue_depth = "100" }')
    ] = {}
    keda: Keda = Keda()
