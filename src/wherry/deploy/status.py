"""How the services that wherry made are doing, read from the cluster alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from wherry.contract.names import (
    ADMIN_PORT,
    ANNOTATION_DIGEST,
    ANNOTATION_MODEL,
    ANNOTATION_UNMEASURED,
    LABEL_TRACK,
    LABEL_VERSION,
)
from wherry.contract.wire import METRICS
from wherry.deploy import tracks
from wherry.deploy.address import Address, address_of
from wherry.deploy.cluster import Cluster
from wherry.deploy.conditions import utilization
from wherry.deploy.measuring import copies
from wherry.deploy.names import service_of, services, workload
from wherry.deploy.resources import (
    AUTOSCALER,
    Object,
    age,
    annotations_of,
    condition,
    labels_of,
    name_of,
    selector,
    utc_now,
)
from wherry.deploy.rollout import Rollout
from wherry.deploy.scheduled import Scheduled, scheduled
from wherry.deploy.tracks import Beside
from wherry.deploy.watching import look
from wherry.errors import ClusterFailed

FIRST_MINUTE = (
    90.0  # metrics come every 15 s and the autoscaler looks every 15 s; a pod's first half minute is left out
)
KUBERNETES_DOWN = 300  # seconds, where an autoscaler says nothing of its own
TOLERANCE = 0.1  # how far off the target an autoscaler leaves things as they are


class Autoscaler(msgspec.Struct, frozen=True):
    """cpu: percent of the request as measured, None while unknown; `why` then says why. target: percent aimed at.
    limited: that it would have more pods than it may.

    down_after: seconds that fewer pods must have been enough before one is taken away; down_every: between two of them.
    """

    min: int
    max: int
    current: int
    wanted: int
    target: int | None
    cpu: int | None
    why: str = ""
    down_after: int = KUBERNETES_DOWN
    down_every: int = 0
    limited: str = ""

    @property
    def words(self) -> str:
        """What it sees, aims at and is about to do, a sentence a line."""
        seen = f"CPU {self.cpu} % of the request" if self.cpu is not None else f"CPU unknown: {self.why}"
        target = f", aiming at {self.target} %" if self.target is not None else ""
        lines = [f"{self.min} to {self.max} pods, {seen}{target}", self.limited, self.waiting if self.too_many else ""]
        return "\n".join(filter(None, lines))

    @property
    def waiting(self) -> str:
        """How long until there are fewer pods, as far as can be known: when the load fell is kept nowhere."""
        then = f", then again each {self.down_every} s" if self.down_every else ""
        return f"fewer pods would do: one goes {self.down_after} s after more were last needed{then}"

    @property
    def too_many(self) -> bool:
        """Whether what is measured needs fewer pods than there are."""
        if self.cpu is None or not self.target:
            return False
        ratio = self.cpu / self.target
        return ratio < 1 - TOLERANCE and max(self.min, math.ceil(self.current * ratio)) < self.current


class Status(msgspec.Struct, frozen=True):
    """One service. problems: what is wrong, in words; healthy: nothing is. unmeasured: resources that are guesses.

    beside: the versions that run beside the one that serves. schedule: its work at set times.
    """

    name: str
    namespace: str
    wanted: int
    ready: int
    updated: int
    paused: bool
    image: str
    model: str
    version: str
    digest: str
    address: Address | None
    autoscaler: Autoscaler | None
    unmeasured: tuple[str, ...]
    age_seconds: float
    restarts: int
    problems: tuple[str, ...]
    beside: tuple[Beside, ...] = ()
    schedule: tuple[Scheduled, ...] = ()

    @property
    def healthy(self) -> bool:
        return not self.problems


def status(cluster: Cluster, name: str = "") -> tuple[Status, ...]:
    """The service called `name`, or all in the namespace. Raises NothingDeployed when the named one is not there."""
    found = (workload(cluster, name),) if name else services(cluster)
    now = utc_now()
    made = []
    for deployment in found:
        called = service_of(deployment)
        rollout = rollout_of(cluster, name_of(deployment))
        live = (rollout.snapshot.deployment if rollout.snapshot else None) or deployment
        scalers = cluster.list(AUTOSCALER, selector(called))
        own = (one for one in scalers if one["spec"]["scaleTargetRef"]["name"] == name_of(deployment))
        address = address_of(cluster, called) if rollout.wanted() else None
        beside = tuple(tracks.beside(cluster, called, labels_of(live).get(LABEL_TRACK, tracks.STABLE)))
        if any(one.track == "shadow" for one in beside):
            beside = compared(cluster, rollout.new_pods(), beside)
        one = status_of(cluster, rollout, live, next(own, None), address, now)
        made.append(msgspec.structs.replace(one, beside=beside, schedule=scheduled(cluster, called, now)))
    return tuple(made)


def compared(cluster: Cluster, pods: tuple[Object, ...], beside: tuple[Beside, ...]) -> tuple[Beside, ...]:
    """The versions beside, the shadow with what the pods that serve counted of it as far as they may be asked."""
    counted: Counter[str] = Counter()
    for pod in pods:
        ports = {one.get("name"): one["containerPort"] for one in pod["spec"]["containers"][0].get("ports") or ()}
        try:
            answer = cluster.ask_pod(name_of(pod), ports.get("admin", ADMIN_PORT), METRICS, None, {})
        except ClusterFailed:
            continue  # the status stands without
        counted.update(copies(answer.body.decode()))
    return tuple(msgspec.structs.replace(one, copies=dict(counted)) if one.track == "shadow" else one for one in beside)


def rollout_of(cluster: Cluster, name: str) -> Rollout:
    """Where the service called `name` stands, as a rollout that is never given up."""
    return Rollout(name, "", startup=0, patience=float("inf"), began=0).see(look(cluster, name))


def status_of(
    cluster: Cluster, rollout: Rollout, live: Object, scaler: Object | None, address: Address | None, now: datetime
) -> Status:
    """One service from what was read of it: its workload, its autoscaler if it has one, its address."""
    state = live.get("status") or {}
    notes = annotations_of(live)
    return Status(
        name=service_of(live),
        namespace=cluster.namespace,
        wanted=rollout.wanted(),
        ready=int(state.get("readyReplicas", 0)),
        updated=int(state.get("updatedReplicas", 0)),
        paused=rollout.wanted() == 0,
        image=str(live["spec"]["template"]["spec"]["containers"][0]["image"]),
        model=notes.get(ANNOTATION_MODEL, ""),
        version=labels_of(live).get(LABEL_VERSION, ""),
        digest=notes.get(ANNOTATION_DIGEST, ""),
        address=address,
        autoscaler=autoscaler(scaler, live, age(scaler, now)) if scaler else None,
        unmeasured=tuple(filter(None, notes.get(ANNOTATION_UNMEASURED, "").split(","))),
        age_seconds=age(live, now),
        restarts=sum(pod.restarts for pod in rollout.view().pods),
        problems=tuple(problems(rollout)),
    )


def problems(rollout: Rollout) -> list[str]:
    """What keeps a service from being well: pods that lack, an update that is not through, what each pod suffers."""
    deployment = rollout.snapshot.deployment if rollout.snapshot else None
    if deployment is None:
        return ["it was deleted a moment ago"]
    state = deployment.get("status") or {}
    wanted, found = rollout.wanted(), []
    if int(state.get("readyReplicas", 0)) < wanted:
        found.append(f"{state.get('readyReplicas', 0)} of {wanted} pods are ready")
    if not rollout.observed():
        found.append("the cluster has not acted on the last change yet")
    elif int(state.get("updatedReplicas", 0)) < wanted:
        found.append(f"{state.get('updatedReplicas', 0)} of {wanted} pods run the newest version")
    for pod in rollout.view().pods:
        if pod.reason and not pod.ready and pod.phase != "Ending":
            found.append(f"pod {pod.name}: {pod.reason}")
    refused = condition(deployment, "ReplicaFailure")
    if refused.get("status") == "True":
        found.append(f"the cluster refuses pods: {refused.get('message', '')}")
    return found


def autoscaler(made: Object, deployment: Object, seconds: float) -> Autoscaler:
    """What an autoscaler aims at and sees. seconds: its age, by which an unknown figure may be merely new."""
    spec, state = made["spec"], made.get("status") or {}
    cpu, target = utilization(made)
    down = (spec.get("behavior") or {}).get("scaleDown") or {}
    return Autoscaler(
        min=int(spec.get("minReplicas", 1)),
        max=int(spec["maxReplicas"]),
        current=int(state.get("currentReplicas", 0)),
        wanted=int(state.get("desiredReplicas", 0)),
        target=target,
        cpu=cpu,
        down_after=int(down.get("stabilizationWindowSeconds", KUBERNETES_DOWN)),
        down_every=max((int(one["periodSeconds"]) for one in down.get("policies") or ()), default=0),
        why="" if cpu is not None else why_unknown(made, deployment, seconds),
        limited=limited(made),
    )


def limited(made: Object) -> str:
    """That an autoscaler would have more pods than it may, empty where it would not."""
    found = condition(made, "ScalingLimited")
    if found.get("status") != "True" or found.get("reason") != "TooManyReplicas":
        return ""
    return f"it would have more pods than its {made['spec']['maxReplicas']}: [deploy.autoscale] max"


def why_unknown(made: Object, deployment: Object, seconds: float) -> str:
    """Why an autoscaler shows no figure, and what to do about it."""
    active: Mapping[str, Any] = condition(made, "ScalingActive")
    message = str(active.get("message", ""))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    if active.get("reason") == "ScalingDisabled" or deployment["spec"].get("replicas") == 0:
        return "it is paused at 0 pods; wherry scale N resumes"
    if "cpu" not in ((container.get("resources") or {}).get("requests") or {}) or "missing request for cpu" in message:
        return 'the pods have no CPU request to take a share of: [deploy.resources] cpu = "250m"'
    if "could not find the requested resource" in message or "unable to handle the request" in message:
        return "the cluster has no metrics-server, or it does not answer: kubectl top pods"
    if seconds < FIRST_MINUTE or not active:
        return "it has not been measured yet, which takes about a minute"
    if "no metrics returned" in message or "did not receive metrics" in message:
        return "no ready pod has been measured yet, which takes about a minute after its start"
    return message or "unknown"
