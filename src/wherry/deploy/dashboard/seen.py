"""What a look at deployed services finds, as values."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from wherry.deploy.status import Status


class PodSeen(msgspec.Struct, frozen=True):
    """One pod. cpu: millicores; memory: bytes; rate, failed: a second. None: not measured, or not known yet.

    new: of the newest version. reason: what it suffers.
    """

    name: str
    phase: str
    ready: bool
    new: bool
    restarts: int
    reason: str
    cpu: float | None = None
    memory: int | None = None
    rate: float | None = None
    failed: float | None = None
    p99_ms: float | None = None


class Traffic(msgspec.Struct, frozen=True):
    """Requests for predictions over the last `seconds`, all pods together; rate, failed and refused are a second.

    failed: answered with 5xx; refused: with 4xx. classes: rows by the class answered, in that time; classes_total:
    since the start of the pods there are.
    """

    seconds: float
    rate: float
    failed: float
    refused: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    in_flight: int
    classes: Mapping[str, float]
    classes_total: Mapping[str, float]


class Seen(msgspec.Struct, frozen=True):
    """One service. cpu, cpu_request, cpu_limit: millicores of all pods; memory, memory_limit: bytes of all pods.

    traffic: None until two readings are there. troubles: what could not be read, and why.
    """

    status: Status
    pods: tuple[PodSeen, ...]
    cpu: float | None
    cpu_request: float | None
    cpu_limit: float | None
    memory: int | None
    memory_limit: int | None
    traffic: Traffic | None
    troubles: tuple[str, ...] = ()


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One moment of a service's course: what its pictures are drawn from."""

    at: float
    rate: float | None
    failed: float | None
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    cpu: float | None
    memory: int | None
    ready: int
    wanted: int


class Change(msgspec.Struct, frozen=True):
    """Something that happened while it was looked at."""

    at: float
    service: str
    text: str


class Look(msgspec.Struct, frozen=True):
    """All that one look found. at: seconds since the epoch. trouble: why there is nothing newer; empty: this is new."""

    at: float
    context: str
    namespace: str
    services: tuple[Seen, ...]
    changes: tuple[Change, ...] = ()
    trouble: str = ""
