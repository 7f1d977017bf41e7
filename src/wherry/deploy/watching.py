"""A rollout watched until its verdict.

The state comes from lists, so a cut connection loses nothing; a watch only says when to look again.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from wherry.contract.events import RolloutView, Tell
from wherry.deploy.cluster import Cluster
from wherry.deploy.diagnose import Facts, diagnose, wants_log
from wherry.deploy.names import live_workload
from wherry.deploy.resources import DEPLOYMENT, POD, REPLICA_SET, kind_of, labels_of, match
from wherry.deploy.rollout import Rollout, Snapshot, is_ready
from wherry.errors import ClusterFailed, NoCluster, RolloutFailed

LOOK_AGAIN = 1.0  # what a container waits for shows in no watched field, so look at least this often
BETWEEN_LOOKS = 2 * LOOK_AGAIN  # and more is the API server's doing
BACK_SECONDS = 60.0  # an API server that restarts is back well within this
# The node's own words in the place of a log that it has cleared away.
_NO_LOG = ("unable to retrieve container logs", "failed to try resolving symlinks in path")


def look(cluster: Cluster, name: str) -> Snapshot:
    """The workload called `name`, its ReplicaSets and pods; events only while a pod is not ready."""
    deployment = live_workload(cluster, name)
    if deployment is None:
        return Snapshot(time.monotonic(), None)
    labels = match(deployment["spec"]["selector"]["matchLabels"])
    replica_sets = cluster.list(REPLICA_SET, labels) if deployment["kind"] == DEPLOYMENT.kind else ()
    pods = cluster.list(POD, labels)
    events = cluster.warnings() if not all(map(is_ready, pods)) else ()
    return Snapshot(time.monotonic(), deployment, replica_sets, pods, events)


def follow(cluster: Cluster, rollout: Rollout, tell: Tell) -> Rollout:
    """The rollout once it is done or has failed. Raises NoCluster when the API stays away for a minute.

    The time that the API is away, or takes to answer, counts against no pod: none can be seen to be ready then.
    """
    shown: RolloutView | None = None
    lost, heard = 0.0, time.monotonic()
    while True:
        try:
            snapshot = look(cluster, rollout.name)
            now = time.monotonic()
            lost, heard = lost + max(0.0, now - heard - BETWEEN_LOOKS), now
            rollout = rollout.see(msgspec.structs.replace(snapshot, at=now - lost))
            shown = _show(rollout, shown, tell)
            if rollout.verdict != "going":
                return rollout
            _wait(cluster, rollout)
        except NoCluster:
            if time.monotonic() - heard > BACK_SECONDS:
                raise
            time.sleep(LOOK_AGAIN)


def _show(rollout: Rollout, shown: RolloutView | None, tell: Tell) -> RolloutView:
    """Tells what has changed, or that a second has gone by."""
    view = rollout.view()
    if shown is None or view.pods != shown.pods or view.elapsed - shown.elapsed >= LOOK_AGAIN:
        tell(view)
        return view
    return shown


def _wait(cluster: Cluster, rollout: Rollout) -> None:
    """Until something changes, a second at most: the Deployment while pods lack, then the pods that must still end."""
    snapshot = rollout.snapshot
    if snapshot is None or snapshot.deployment is None:
        return
    kind, labels, known = POD, match(snapshot.deployment["spec"]["selector"]["matchLabels"]), snapshot.pods
    if int((snapshot.deployment.get("status") or {}).get("availableReplicas", 0)) < rollout.wanted():
        kind, labels, known = (
            kind_of(snapshot.deployment),
            match(labels_of(snapshot.deployment)),
            (snapshot.deployment,),
        )
    versions = {made["metadata"]["uid"]: made["metadata"]["resourceVersion"] for made in known}
    for change in cluster.watch(kind, labels, seconds=LOOK_AGAIN):
        made = change.object["metadata"]
        if change.type == "DELETED" or versions.get(made["uid"]) != made["resourceVersion"]:
            return


def explained(cluster: Cluster, rollout: Rollout) -> RolloutFailed:
    """The failure of `rollout` in words, with the end of the pod's log where that says more."""
    cause = rollout.cause
    assert cause is not None, "only a rollout that failed is explained"
    log: tuple[str, ...] = ()
    if cause.pod and wants_log(cause):
        log = _log_of(cluster, cause.pod, cause.container)
    facts = Facts(
        name=rollout.name,
        namespace=cluster.namespace,
        image=rollout.image or _container(rollout).get("image", ""),
        memory=((_container(rollout).get("resources") or {}).get("limits") or {}).get("memory", ""),
        old=rollout.serving_old(),
        new=rollout.serving_new(),
        log=log,
    )
    return diagnose(cause, facts)


def _log_of(cluster: Cluster, pod: str, container: str) -> tuple[str, ...]:
    """The end of the log of the container as it is or last was; of the one before it where that has said nothing."""
    for previous in (False, True):
        try:
            lines = tuple(cluster.logs(pod, container=container, tail=20, previous=previous))
        except ClusterFailed:
            continue  # the container before may be gone, and logs may be forbidden: the cause stands without
        said = tuple(line for line in lines if line.strip() and not line.startswith(_NO_LOG))
        if said:
            return said
    return ()


def _container(rollout: Rollout) -> dict[str, Any]:
    deployment = rollout.snapshot.deployment if rollout.snapshot else None
    return dict(deployment["spec"]["template"]["spec"]["containers"][0]) if deployment else {}
