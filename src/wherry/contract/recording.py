"""A run against a deployment as it happened, second by second: what load offers and answers, what the cluster did.

Whoever replays load writes it; `forecast` is held against it. On disk it is this value as JSON. Times are seconds since
`start`, CPU is in millicores, latency in milliseconds. What was not seen is None, never a guess.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

RECORDING_FORMAT = 1


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What was in force while the run was recorded.

    cpu_limit, memory: None for no limit. cpu_target: percent of the request. behavior: the autoscaler's own, as the API
    server has it, {} for Kubernetes' defaults. knee: highest rate that one replica sustains, None when not measured.
    start_seconds: from the creation of a pod to its readiness, as measured. workers, connections: of the service and of
    the load. machine: in words.
    """

    name: str
    cpu_request: float
    cpu_limit: float | None = None
    memory: int | None = None
    workers: int = 1
    min_replicas: int
    max_replicas: int
    cpu_target: int
    behavior: dict[str, Any] = {}
    sync_seconds: float = 15.0
    tolerance: float = 0.1
    initial_readiness_seconds: float = 30.0
    cpu_initialization_seconds: float = 300.0
    scrape_seconds: float = 15.0
    knee: float | None = None
    start_seconds: float | None = None
    connections: int | None = None
    kubernetes: str = ""
    machine: str = ""


class Second(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One second of the run, `at` its beginning. Rates are requests in that second, by when they were due.

    desired, created, ready: replicas the Deployment asks for, has pods for, has ready. hpa_current: the autoscaler's
    own view of utilization in percent; hpa_desired: the replicas it wants.
    """

    at: float
    offered: float = 0.0
    sent: int = 0
    ok: int = 0
    failed: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None
    desired: int | None = None
    created: int | None = None
    ready: int | None = None
    hpa_current: float | None = None
    hpa_desired: int | None = None


class PodCpu(msgspec.Struct, frozen=True, kw_only=True):
    """What metrics-server said of a pod: `at` we read it, `scraped` is its own time stamp, `window` what it covers."""

    at: float
    scraped: float
    pod: str
    millicores: float
    window: float = 15.0


class Happening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened at a moment. who: the pod or the autoscaler. value: replicas after a rescale.

    synced: the autoscaler wrote its status, which it does at the end of a turn of its loop; that gives its phase.
    """

    at: float
    kind: Literal["pod_created", "pod_scheduled", "pod_started", "pod_ready", "pod_ended", "rescaled", "synced"]
    who: str = ""
    value: float | None = None
    text: str = ""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. start: seconds since the epoch. load: the shape of the load, in words."""

    format: int = RECORDING_FORMAT
    start: float
    load: str
    conditions: Conditions
    seconds: tuple[Second, ...]
    cpu: tuple[PodCpu, ...] = ()
    happenings: tuple[Happening, ...] = ()


def encode(recording: Recording) -> bytes:
    """The file's bytes: JSON on one line."""
    return msgspec.json.encode(recording) + b"\n"


def decode(content: bytes) -> Recording:
    """The recording in a file's bytes. Raises ValueError (msgspec.DecodeError is one) when it is none."""
    recording = msgspec.json.decode(content, type=Recording)
    if recording.format != RECORDING_FORMAT:
        raise ValueError(f"it has format {recording.format}; this version reads format {RECORDING_FORMAT}")
    return recording
