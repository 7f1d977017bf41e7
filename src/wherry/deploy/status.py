"""How the services that wherry made are doing, read from the cluster alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from wherry.contract.names import ANNOTATION_DIGEST, ANNOTATION_MODEL, ANNOTATION_UNMEASURED, LABEL_VERSION
from wherry.deploy.address import Address, address_of
from wherry.deploy.cluster import Cluster
from wherry.deploy.conditions import utilization
from wherry.deploy.names import services, workload
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
from wherry.deploy.watching import look

FIRST_MINUTE = (
    90.0  # metrics come every 15 s and the autoscaler looks every 15 s; a pod's first half minute is left out
)
KUBERNETES_DOWN = 300  # seconds, where an autoscaler says nothing of its own
TOLERANCE = 0.1  # how far off the target an autoscaler leaves things as they are


class Autoscaler(msgspec.Struct, frozen=True):
    """cpu: percent of the request as measured, None while unknown; `why` then says why. target: percent aimed at.

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

    @property
    def too_many(self) -> bool:
        """Whether what is measured needs fewer pods than there are."""
        if self.cpu is None or not self.target:
            return False
        ratio = self.cpu / self.target
        return ratio < 1 - TOLERANCE and max(self.min, math.ceil(self.current * ratio)) < self.current


class Status(msgspec.Struct, frozen=True):
    """One service. problems: what is wrong, in words; healthy: nothing is. unmeasured: resources that are guesses."""

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

    @property
    def healthy(self) -> bool:
        return not self.problems


def status(cluster: Cluster, name: str = "") -> tuple[Status, ...]:
    """The service called `name`, or all in the namespace. Raises NothingDeployed when the named one is not there."""
    found = (workload(cluster, name),) if name else services(cluster)
    now = utc_now()
    return tuple(_status(cluster, deployment, now) for deployment in found)


def _status(cluster: Cluster, deployment: Object, now: datetime) -> Status:
    name = name_of(deployment)
    rollout = Rollout(name, "", startup=0, patience=float("inf"), began=0).see(look(cluster, name))
    live = (rollout.snapshot.deployment if rollout.snapshot else None) or deployment
    state = live.get("status") or {}
    notes = annotations_of(live)
    scalers = cluster.list(AUTOSCALER, selector(name))
    view = rollout.view()
    return Status(
        name=name,
        namespace=cluster.namespace,
        wanted=rollout.wanted(),
        ready=int(state.get("readyReplicas", 0)),
        updated=int(state.get("updatedReplicas", 0)),
        paused=rollout.wanted() == 0,
        image=str(live["spec"]["template"]["spec"]["containers"][0]["image"]),
        model=notes.get(ANNOTATION_MODEL, ""),
        version=labels_of(live).get(LABEL_VERSION, ""),
        digest=notes.get(ANNOTATION_DIGEST, ""),
        address=address_of(cluster, name) if rollout.wanted() else None,
        autoscaler=autoscaler(scalers[0], live, age(scalers[0], now)) if scalers else None,
        unmeasured=tuple(filter(None, notes.get(ANNOTATION_UNMEASURED, "").split(","))),
        age_seconds=age(live, now),
        restarts=sum(pod.restarts for pod in view.pods),
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
    )


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
