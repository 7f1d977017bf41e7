"""What a lower room tells while it works. The terminal, JSON and tests each show it in their own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec


class Step(msgspec.Struct, frozen=True, tag=True):
    """A stage has begun, or (`seconds` given) has ended."""

    text: str
    seconds: float | None = None


class Progress(msgspec.Struct, frozen=True, tag=True):
    """`done` of `total` units of something that takes longer than a second; `total` 0 when unknown."""

    text: str
    done: int
    total: int
    unit: Literal["bytes", "rows", "pods", "objects", ""] = ""


class Note(msgspec.Struct, frozen=True, tag=True):
    """Something the user should know; `warn` when it may hurt. `hint` is what to type about it."""

    text: str
    warn: bool = False
    hint: str = ""


class Output(msgspec.Struct, frozen=True, tag=True):
    """A line that another program printed (a builder, a pod's log)."""

    source: str
    text: str


class PodView(msgspec.Struct, frozen=True):
    """One pod of a rollout as a person wants to see it."""

    name: str
    phase: str
    ready: bool
    new: bool
    restarts: int = 0
    reason: str = ""


class RolloutView(msgspec.Struct, frozen=True, tag=True):
    """Where a rollout stands; shown in place."""

    name: str
    wanted: int
    ready: int
    pods: tuple[PodView, ...]
    elapsed: float


class ClusterView(msgspec.Struct, frozen=True, tag=True):
    """How a deployment under load stands. cpu: millicores of all pods; current, target: percent of the CPU request.

    most: replicas at most, None without an autoscaler. What is not known is None.
    """

    name: str
    wanted: int = 0
    ready: int = 0
    most: int | None = None
    cpu: int | None = None
    current: int | None = None
    target: int | None = None


class StressView(msgspec.Struct, frozen=True, tag=True):
    """How a run of load stands; shown in place. Rates a second and latencies in seconds are since the view before.

    offered: requests that came due; rate: right answers; sent, failed: from the start; lag: the generator's own, p99.
    cluster: the deployment under it, None for an address.
    """

    elapsed: float
    seconds: float
    offered: float
    rate: float
    p50: float | None
    p90: float | None
    p99: float | None
    sent: int
    failed: int
    in_flight: int
    lag: float
    cluster: ClusterView | None = None


class Served(msgspec.Struct, frozen=True):
    """A model that a service answers with."""

    name: str
    version: str
    digest: str


class Ready(msgspec.Struct, frozen=True):
    """A service answers from now on. address, admin: of its serving and its admin port, as clients write them."""

    address: str
    admin: str
    models: tuple[Served, ...]
    pid: int


Event: TypeAlias = Step | Progress | Note | Output | RolloutView | StressView | Ready
Tell: TypeAlias = Callable[[Event], None]


def silent(event: Event) -> None:
    """Tell nobody."""
