"""A release made true and proven. Nothing is applied that the cluster would refuse; a verdict is never a guess."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.deploy import address, applying, lease, preflight
from wherry.deploy.address import Address
from wherry.deploy.applying import Planned
from wherry.deploy.cluster import Cluster
from wherry.deploy.diagnose import serves
from wherry.deploy.probe import Probe, Proof, Way, prove
from wherry.deploy.resources import DEPLOYMENT, NAMESPACE, SERVICE, Object, name_of
from wherry.deploy.rollout import Rollout
from wherry.deploy.watching import explained, follow, look
from wherry.errors import ClusterFailed, ProbeFailed
from wherry.release.release import Release

# What serves now. deployed: the new version, proven. unchanged: what served before. unproven: the new version runs and
# answers wrongly. partly_serving: some pods of a first version. paused: nothing, because `wherry scale 0` was said.
# restored (the version before was brought back) is for later.
Outcome: TypeAlias = Literal[
    "deployed", "unchanged", "restored", "partly_serving", "unproven", "paused", "nothing_serving"
]
Verify: TypeAlias = Literal["auto", "proxy", "forward"]


class Verdict(msgspec.Struct, frozen=True):
    """How a deploy ended. ok: proven to answer. way: how it was proven, empty when it was not.

    rollout_seconds: from the apply until every old pod had ended; seconds: all of it.
    """

    outcome: Outcome
    name: str
    namespace: str
    context: str
    image: str
    address: Address | None
    way: Way | Literal[""]
    requests: int
    failed: int
    worst_ms: float
    rollout_seconds: float
    seconds: float
    changes: tuple[Planned, ...]

    @property
    def ok(self) -> bool:
        return self.outcome == "deployed" and self.failed == 0 and self.requests > 0


def rehearse(release: Release, cluster: Cluster, tell: Tell = silent) -> tuple[Planned, ...]:
    """What a deploy would change, as the cluster itself says; nothing is. Raises what a deploy would raise."""
    live = preflight.checked(release, cluster)
    return applying.rehearse(applying.plan(release, live, tell), live, cluster)


def deploy(
    release: Release,
    cluster: Cluster,
    probe: Probe,
    *,
    timeout: float | None = None,
    verify: Verify = "auto",
    tell: Tell = silent,
) -> Verdict:
    """Makes `release` true and proves it. Returns when the new version answers as the model did at pack.

    timeout: seconds that the rollout may go without progress. Raises ClusterFailed, whose `outcome` says what serves:
    RolloutFailed when the new version does not come up, ProbeFailed when it answers wrongly.
    """
    began = time.monotonic()
    preflight.checked(release, cluster)
    made_now = _space_made(release, cluster)
    with lease.hold(cluster, release.name, tell) as lock:
        live = preflight.existing(release, cluster)
        if made_now:
            live[f"namespace/{release.namespace}"] = None
        wanted = applying.plan(release, live, tell)
        try:
            changes = _rehearsed(wanted, live, cluster, tell)
        except ClusterFailed:
            if made_now:
                cluster.delete(NAMESPACE, release.namespace)  # made a moment ago for this alone, and empty
            raise
        lock.check()
        applied = _applied(release, wanted, live, cluster, tell)
        rollout = _rolled_out(release, applied, cluster, timeout, tell)
        if rollout.wanted() == 0:
            return _paused(release, cluster, rollout, changes, began, tell)
        proof = _proven(release, cluster, rollout, probe, verify, tell)
        lock.check()
        applying.prune(release, cluster, tell)
    where = _address(release, cluster, tell)
    return _verdict("deployed", release, cluster, rollout, where, proof, changes, began)


def _space_made(release: Release, cluster: Cluster) -> bool:
    """Whether the namespace had to be made: it comes before all else, since even the lock lies in it."""
    space = release.find(NAMESPACE.kind)
    if space is None or preflight.namespace_of(cluster) is not None:
        return False
    cluster.apply(space)
    return True


def _rehearsed(
    wanted: tuple[Object, ...], live: Mapping[str, Object | None], cluster: Cluster, tell: Tell
) -> tuple[Planned, ...]:
    """Every object shown to the server first, so that one that is refused stops all."""
    began = time.monotonic()
    changes = applying.rehearse(wanted, live, cluster)
    tell(Step(f"the cluster accepts all {len(wanted)} objects", round(time.monotonic() - began, 2)))
    return changes


def _applied(
    release: Release, wanted: tuple[Object, ...], live: Mapping[str, Object | None], cluster: Cluster, tell: Tell
) -> Object:
    """The Deployment as it is once everything is applied."""
    began = time.monotonic()
    deployment: Object = {}
    try:
        for made in applying.apply(wanted, live, cluster):
            if made["kind"] == DEPLOYMENT.kind:
                deployment = made
        applying.prune_autoscaler(release, cluster, tell)
    except ClusterFailed as error:
        error.outcome = _serving_now(release, cluster)
        raise
    tell(Step(f"applied {len(wanted)} objects", round(time.monotonic() - began, 2)))
    return deployment


def _rolled_out(release: Release, applied: Object, cluster: Cluster, timeout: float | None, tell: Tell) -> Rollout:
    """The rollout when it is done. Raises RolloutFailed with the reason in words."""
    began = time.monotonic()
    tell(Step(f"rolling out {release.name}"))
    startup = float(release.startup_seconds)
    start = Rollout(
        name=release.name,
        image=release.image,
        startup=startup,
        patience=timeout or max(180.0, startup + 120.0),
        began=began,
        generation=int(applied["metadata"]["generation"]),
    )
    rollout = follow(cluster, start, tell)
    if rollout.cause is not None:
        raise explained(cluster, rollout)
    tell(Step(f"rolled out {release.name}", round(time.monotonic() - began, 2)))
    return rollout


def _proven(release: Release, cluster: Cluster, rollout: Rollout, probe: Probe, verify: Verify, tell: Tell) -> Proof:
    began = time.monotonic()
    service = release.find(SERVICE.kind) or {}
    try:
        proof = prove(
            cluster,
            name_of(service),
            probe,
            service_port=service["spec"]["ports"][0].get("name") or release.ports.service,
            pods=rollout.new_pods(),
            port=release.ports.serving,
            digest=release.model_digest,
            verify=verify,
            tell=tell,
        )
    except ProbeFailed:
        raise
    except ClusterFailed as error:
        error.outcome = "unproven"
        raise
    how = "through the Service" if proof.way == "proxy" else "at each pod, not through the Service"
    tell(Step(f"{len(probe.predictions)} golden rows answered right {how}", round(time.monotonic() - began, 2)))
    return proof


def _address(release: Release, cluster: Cluster, tell: Tell) -> Address | None:
    service = cluster.get(SERVICE, name_of(release.find(SERVICE.kind) or {}))
    return address.find(cluster, service, tell=tell) if service else None


def _paused(
    release: Release, cluster: Cluster, rollout: Rollout, changes: tuple[Planned, ...], began: float, tell: Tell
) -> Verdict:
    tell(Note(f"{release.name} is paused at 0 pods, so nothing was proven", warn=True, hint="wherry scale 2"))
    return _verdict("paused", release, cluster, rollout, None, None, changes, began)


def _serving_now(release: Release, cluster: Cluster) -> Outcome:
    """What serves after an apply that did not get through."""
    try:
        snapshot = look(cluster, release.name)
    except ClusterFailed:
        return "unchanged"
    deployment = snapshot.deployment
    ready = int((deployment.get("status") or {}).get("readyReplicas", 0)) if deployment else 0
    return "unchanged" if serves(ready, 0)[0] == "unchanged" else "nothing_serving"


def _verdict(
    outcome: Outcome,
    release: Release,
    cluster: Cluster,
    rollout: Rollout,
    where: Address | None,
    proof: Proof | None,
    changes: tuple[Planned, ...],
    began: float,
) -> Verdict:
    ended = rollout.snapshot.at if rollout.snapshot else rollout.began
    return Verdict(
        outcome=outcome,
        name=release.name,
        namespace=cluster.namespace,
        context=cluster.context,
        image=release.image,
        address=where,
        way=proof.way if proof else "",
        requests=proof.requests if proof else 0,
        failed=proof.failed if proof else 0,
        worst_ms=proof.worst_ms if proof else 0.0,
        rollout_seconds=round(ended - rollout.began, 2),
        seconds=round(time.monotonic() - began, 2),
        changes=changes,
    )
