"""How many pods, set by hand: under a field manager of its own, so that the next deploy keeps it."""

from __future__ import annotations

import time

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.contract.names import LABEL_TRACK
from wherry.deploy import tracks
from wherry.deploy.cluster import SCALE_MANAGER, Cluster
from wherry.deploy.names import service_of, workload
from wherry.deploy.ownership import HANDOVER_MANAGER, LET_GO_MANAGER, REPLICAS, only_replicas, owns
from wherry.deploy.resources import AUTOSCALER, Object, is_ours, labels_of, name_of
from wherry.deploy.rollout import Rollout
from wherry.deploy.watching import explained, follow
from wherry.errors import UsageRefused


class Scaled(msgspec.Struct, frozen=True):
    """min, max: the autoscaler's bounds as they are now, None where there is none."""

    name: str
    replicas: int
    min: int | None
    max: int | None
    paused: bool
    seconds: float


def scale(cluster: Cluster, replicas: int, name: str = "", *, timeout: float = 180.0, tell: Tell = silent) -> Scaled:
    """Has at least `replicas` pods run (0: none), and waits until it is so.

    Sets the autoscaler's minimum, and its maximum if lower; the Deployment's own number where there is no autoscaler,
    at 0, and back from 0. Raises RolloutFailed when the pods do not come up.
    """
    if replicas < 0:
        raise UsageRefused(f"there cannot be {replicas} pods", hint="wherry scale 0 pauses")
    began = time.monotonic()
    live = workload(cluster, name)
    scaler = cluster.get(AUTOSCALER, name_of(live))
    if scaler is not None and not is_ours(scaler):
        scaler = None
    bounds: tuple[int | None, int | None] = (None, None)
    if scaler is not None and replicas > 0:
        bounds = _set_bounds(cluster, scaler, replicas)
    now = int(live["spec"].get("replicas", 1))
    # An autoscaler may want more than the minimum: only it takes pods away.
    if scaler is None or replicas == 0 or now < replicas:
        live = cluster.apply(only_replicas(live, replicas), manager=SCALE_MANAGER, force=True)
    if scaler is not None and replicas == 0:
        tell(Note("the autoscaler rests while there are no pods", hint="wherry scale N resumes"))
    if replicas == 0 or now == 0:
        _pause_beside(cluster, live, replicas)
    tell(Step(f"waiting for {replicas} pods of {name_of(live)}" if replicas else f"pausing {name_of(live)}"))
    rollout = follow(cluster, _rollout(live, timeout), tell)
    if rollout.cause is not None:
        raise explained(cluster, rollout)
    took = round(time.monotonic() - began, 2)
    return Scaled(service_of(live), rollout.wanted(), *bounds, paused=replicas == 0, seconds=took)


def _pause_beside(cluster: Cluster, live: Object, replicas: int) -> None:
    """What stands beside the version that serves pauses and resumes with it: the way back of a switch, a shadow."""
    serving = labels_of(live).get(LABEL_TRACK, tracks.STABLE)
    for track, made in tracks.others(cluster, service_of(live), serving).items():
        asleep = not made["spec"].get("replicas", 1)
        if asleep and owns(made, LET_GO_MANAGER, REPLICAS):
            continue
        if replicas == 0 or asleep:
            number = min(replicas, 1) if track == "shadow" else replicas
            cluster.apply(only_replicas(made, number), manager=HANDOVER_MANAGER, force=True)


def _set_bounds(cluster: Cluster, scaler: Object, replicas: int) -> tuple[int, int]:
    highest = max(int(scaler["spec"]["maxReplicas"]), replicas)
    spec = {"minReplicas": replicas}
    # What this manager has set once it must go on saying: a field it leaves out would be taken away.
    if highest != scaler["spec"]["maxReplicas"] or owns(scaler, SCALE_MANAGER, "spec.maxReplicas"):
        spec["maxReplicas"] = highest
    wish = {
        "apiVersion": AUTOSCALER.api_version,
        "kind": AUTOSCALER.kind,
        "metadata": {"name": name_of(scaler), "namespace": cluster.namespace},
        "spec": spec,
    }
    cluster.apply(wish, manager=SCALE_MANAGER, force=True)
    return replicas, highest


def _rollout(live: Object, timeout: float) -> Rollout:
    return Rollout(
        name=name_of(live),
        image="",
        startup=_startup(live),
        patience=timeout,
        began=time.monotonic(),
        generation=int(live["metadata"]["generation"]),
    )


def _startup(live: Object) -> float:
    """What the start-up probe allows; a minute where there is none."""
    probe = live["spec"]["template"]["spec"]["containers"][0].get("startupProbe") or {}
    return float(probe.get("periodSeconds", 10) * probe.get("failureThreshold", 6))
