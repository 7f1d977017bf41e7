"""A rollout as a pure state machine: Rollout.see(snapshot) -> Rollout, until its verdict is done or failed.

Done means: the controller has seen this generation; updated, ready and available pods are as many as wanted; every
new pod runs the wanted image; every other pod has ended. Failed means: a cause that names itself has held long
enough, or nothing has moved for `patience` seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from wherry.contract.events import PodView, RolloutView
from wherry.deploy.resources import STATEFUL_SET, Object, annotations_of, labels_of, name_of, owned_by
from wherry.deploy.troubles import Cause, Trouble, last_end, of_deployment, of_pod

REVISION = "deployment.kubernetes.io/revision"
SET_REVISION = "controller-revision-hash"  # the label by which a StatefulSet tells its pods' versions apart
ENDED = ("Failed", "Succeeded")
# A pod that was evicted is replaced and stays listed; only when it happens again and again is it the rollout's cause.
EVICTIONS = 3

Verdict: TypeAlias = Literal["going", "done", "failed"]


class Snapshot(msgspec.Struct, frozen=True):
    """What the cluster said at one moment. at: seconds on the observer's own clock, which only goes forward.

    deployment: the workload, of either kind; None: not there. pods: all that its selector matches; events: warnings of
    the namespace.
    """

    at: float
    deployment: Object | None
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()


class Rollout(msgspec.Struct, frozen=True):
    """Where a rollout stands. image: the reference wanted; empty: whatever the Deployment names.

    startup: seconds a pod may run until it is ready. patience: seconds without any progress. began: when, by the
    clock of the snapshots.
    """

    name: str
    image: str
    startup: float
    patience: float
    began: float
    generation: int = 0
    snapshot: Snapshot | None = None
    marks: Mapping[str, float] = {}
    moved: float = 0.0
    cause: Cause | None = None
    verdict: Verdict = "going"

    def see(self, snapshot: Snapshot) -> Rollout:
        """The rollout after this snapshot. A verdict once reached stays."""
        if self.verdict != "going":
            return self
        seen = msgspec.structs.replace(self, snapshot=snapshot)
        moved = self.moved if self.snapshot is not None and self._figures() == seen._figures() else snapshot.at
        troubles = tuple(seen._troubles())
        marks = {trouble.key: self.marks.get(trouble.key, snapshot.at) for trouble in troubles}
        seen = msgspec.structs.replace(seen, marks=marks, moved=moved)
        if seen.is_done():
            return msgspec.structs.replace(seen, verdict="done")
        final = next((one.cause for one in troubles if snapshot.at - marks[one.key] >= one.grace), None)
        if final is None and snapshot.at - moved >= self.patience:
            words = f"nothing has moved for {self.patience:.0f} s"
            final = troubles[0].cause if troubles else Cause("no_progress", words, seconds=self.patience)
        return msgspec.structs.replace(seen, cause=final, verdict="failed") if final else seen

    def is_done(self) -> bool:
        """Whether all of the new version runs and nothing of any other does."""
        deployment = self.snapshot.deployment if self.snapshot else None
        if deployment is None or not self.observed():
            return False
        wanted, status = self.wanted(), deployment.get("status") or {}
        counts = (status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"))
        new = self.new_pods()
        return (
            all(count == wanted for count in counts)
            and len(new) == wanted
            and not self.other_pods()
            and all(self._runs_wanted(pod) for pod in new)
        )

    def observed(self) -> bool:
        """Whether the controller has seen the generation that was applied, so that its figures speak of it."""
        deployment = self.snapshot.deployment if self.snapshot else None
        if deployment is None:
            return False
        generation = max(self.generation, int(deployment["metadata"].get("generation", 0)))
        return int((deployment.get("status") or {}).get("observedGeneration", 0)) >= generation

    def wanted(self) -> int:
        """How many pods the Deployment asks for."""
        deployment = self.snapshot.deployment if self.snapshot else None
        return int(deployment["spec"].get("replicas", 1)) if deployment else 0

    def new_pods(self) -> tuple[Object, ...]:
        """The pods of the newest ReplicaSet that are not on their way out."""
        return tuple(pod for pod in self._of_new() if _alive(pod))

    def failed_pods(self) -> tuple[Object, ...]:
        """The pods of the newest ReplicaSet that have failed for good: evicted, or refused by their node."""
        return tuple(pod for pod in self._of_new() if phase_of(pod) == "Failed")

    def other_pods(self) -> tuple[Object, ...]:
        """The pods that must still end: of older versions, or told to go."""
        if self.snapshot is None:
            return ()
        new = {pod["metadata"]["uid"] for pod in self.new_pods()}
        return tuple(
            pod for pod in self.snapshot.pods if pod["metadata"]["uid"] not in new and phase_of(pod) not in ENDED
        )

    def serving_old(self) -> int:
        """How many pods of an older version are ready and stay."""
        return sum(1 for pod in self.other_pods() if is_ready(pod) and _alive(pod))

    def serving_new(self) -> int:
        """How many pods of the new version are ready."""
        return sum(1 for pod in self.new_pods() if is_ready(pod))

    def events_of(self, pod: Object) -> tuple[Object, ...]:
        """The warnings about this very pod."""
        uid = pod["metadata"]["uid"]
        events = self.snapshot.events if self.snapshot else ()
        return tuple(event for event in events if (event.get("involvedObject") or {}).get("uid") == uid)

    def view(self) -> RolloutView:
        """The rollout as a person wants to see it."""
        at = self.snapshot.at if self.snapshot else self.began
        new, others = self.new_pods(), self.other_pods()
        pods = tuple([_pod_view(pod, new=True) for pod in new] + [_pod_view(pod, new=False) for pod in others])
        return RolloutView(self.name, self.wanted(), self.serving_new(), pods, round(at - self.began, 1))

    def _of_new(self) -> tuple[Object, ...]:
        """The pods of the newest version: of its ReplicaSet, or with a StatefulSet's newest revision."""
        if self.snapshot is None or self.snapshot.deployment is None:
            return ()
        if self.snapshot.deployment.get("kind") == STATEFUL_SET.kind:
            revision = (self.snapshot.deployment.get("status") or {}).get("updateRevision")
            seen = self.snapshot.pods if self.observed() and revision else ()
            return tuple(pod for pod in seen if labels_of(pod).get(SET_REVISION) == revision)
        new = self._new_set()
        return tuple(pod for pod in self.snapshot.pods if owned_by(pod, new)) if new else ()

    def _new_set(self) -> Object | None:
        """The ReplicaSet of the newest version; unknown until the controller has seen the generation."""
        if not self.observed() or self.snapshot is None or self.snapshot.deployment is None:
            return None
        deployment = self.snapshot.deployment
        revision = annotations_of(deployment).get(REVISION)
        own = [made for made in self.snapshot.replica_sets if owned_by(made, deployment)]
        return next((made for made in own if annotations_of(made).get(REVISION) == revision), None)

    def _troubles(self) -> list[Trouble]:
        if self.snapshot is None or self.snapshot.deployment is None:
            return [Trouble("gone", 0, Cause("gone", f"the Deployment {self.name} is not there any more"))]
        if not self.observed():
            return []
        deployment = self.snapshot.deployment
        live = {str(one["image"]) for one in deployment["spec"]["template"]["spec"]["containers"]}
        if self.image and not any(_same_image(self.image, image) for image in live):
            words = f"the Deployment now names {', '.join(sorted(live))}"
            return [Trouble("superseded", 0, Cause("superseded", words))]
        found = list(of_deployment(deployment))
        for pod in self.new_pods():
            found += of_pod(pod, self.events_of(pod), self.startup)
            if not self._runs_wanted(pod):
                words = f"it runs {', '.join(_images(pod))}, not {self.image}"
                found.append(Trouble("image", 0, Cause("wrong_image", words, name_of(pod))))
        if len(failed := self.failed_pods()) >= EVICTIONS:
            status = failed[-1].get("status") or {}
            words = str(status.get("message") or status.get("reason") or "the pod failed")
            found.append(Trouble("evicted", 0, Cause("evicted", words, name_of(failed[-1]))))
        # The controller's own deadline says only that time is up: what names itself comes first.
        return sorted(found, key=lambda trouble: trouble.key == "deadline")

    def _runs_wanted(self, pod: Object) -> bool:
        return not self.image or any(_same_image(self.image, image) for image in _images(pod))

    def _figures(self) -> tuple[object, ...]:
        """What progress shows in: counts, and how far each pod has come."""
        deployment = (self.snapshot.deployment if self.snapshot else None) or {}
        status = deployment.get("status") or {}
        counts = tuple(status.get(key, 0) for key in ("observedGeneration", "updatedReplicas", "availableReplicas"))
        new = frozenset((pod["metadata"]["uid"], is_ready(pod)) for pod in self.new_pods())
        return (*counts, new, frozenset(pod["metadata"]["uid"] for pod in self.other_pods()))


def phase_of(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_ready(pod: Object) -> bool:
    found = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in found)


def _alive(pod: Object) -> bool:
    return phase_of(pod) not in ENDED and not pod["metadata"].get("deletionTimestamp")


def _images(pod: Object) -> list[str]:
    return [str(one["image"]) for one in pod["spec"]["containers"]]


def _same_image(wanted: str, found: str) -> bool:
    """Equal references, or the same digest behind a registry's mirror that an admission rule put in."""
    _, _, digest = wanted.partition("@")
    return found == wanted or bool(digest and found.endswith(f"@{digest}"))


def _pod_view(pod: Object, *, new: bool) -> PodView:
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    waiting: Mapping[str, str] = next(
        (one["state"]["waiting"] for one in containers if "waiting" in (one.get("state") or {})), {}
    )
    ended = next((end for end in map(last_end, containers) if end), {})
    reason = str(waiting.get("reason") or ("" if is_ready(pod) else ended.get("reason", "")))
    phase = "Ending" if pod["metadata"].get("deletionTimestamp") else str(status.get("phase", "Pending"))
    restarts = sum(int(one.get("restartCount", 0)) for one in containers)
    return PodView(name_of(pod), phase, is_ready(pod), new, restarts, reason)
