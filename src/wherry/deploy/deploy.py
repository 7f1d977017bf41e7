"""A release made true and proven. Nothing is applied that the cluster would refuse; a verdict is never a guess."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import msgspec

from wherry.contract import wire
from wherry.contract.events import Note, Step, Tell, silent
from wherry.deploy import address, applying, history, lease, passwords, preflight
from wherry.deploy.address import Address
from wherry.deploy.applying import Planned
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.diagnose import serves
from wherry.deploy.history import Record
from wherry.deploy.probe import Probe, Proof, Way, prove
from wherry.deploy.resources import NAMESPACE, SERVICE, Object, name_of, what
from wherry.deploy.rollout import Rollout
from wherry.deploy.steady import Steady
from wherry.deploy.watching import explained, follow, look
from wherry.errors import ClusterFailed, NoCluster, ProbeFailed
from wherry.release.release import Release

# What serves now. deployed: the new version, proven. unchanged: what served before. restored: what served before, after
# the new version had failed. unproven: a first version runs and answers wrongly. partly_serving: some pods of a first
# version. paused: nothing, because `wherry scale 0` was said.
Outcome: TypeAlias = Literal[
    "deployed", "unchanged", "restored", "partly_serving", "unproven", "paused", "nothing_serving"
]
# Failures that are others' doing, which nothing of ours may overwrite.
OTHERS = ("superseded", "gone", "paused")
Verify: TypeAlias = Literal["auto", "proxy", "forward"]


class Verdict(msgspec.Struct, frozen=True):
    """How a deploy ended. ok: proven to answer. way: how it was proven, empty when it was not.

    requests, failed, p99_ms: of the proof, and of what was asked all through an update. release: its number; undo: what
    to type to have the one before again. rollout_seconds: from the apply until every old pod had ended; seconds: all.
    """

    outcome: Outcome
    name: str
    namespace: str
    context: str
    image: str
    release: int
    undo: str
    address: Address | None
    way: Way | Literal[""]
    requests: int
    failed: int
    worst_ms: float
    p99_ms: float
    rollout_seconds: float
    seconds: float
    changes: tuple[Planned, ...]

    @property
    def ok(self) -> bool:
        return self.outcome == "deployed" and self.requests > 0


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
    because: str = "",
    tell: Tell = silent,
) -> Verdict:
    """Makes `release` true and proves it. Returns when the new version answers as the model did at pack.

    timeout: seconds that the rollout may go without progress. because: what its record says of where it came from.
    When it does not come up, or answers wrongly, the last good release is brought back; then, and whenever else it
    fails, raises ClusterFailed whose `outcome` says what serves. Raises DeployHeld while somebody else is at it.
    """
    began = time.monotonic()
    preflight.checked(release, cluster)
    made_now = _space_made(release, cluster)
    with lease.hold(cluster, release.name, tell) as lock:
        live = preflight.existing(release, cluster)
        if made_now:
            live[f"namespace/{release.namespace}"] = None
        records = history.read(cluster, release.name)
        record = history.begin(records, release, probe, because)
        before = history.last_good(records, record.number)
        release = history.stamped(record)
        wanted = applying.plan(release, live, tell)
        try:
            changes = _rehearsed(wanted, live, cluster, tell)
        except ClusterFailed:
            if made_now:
                cluster.delete(NAMESPACE, release.namespace)  # made a moment ago for this alone, and empty
            raise
        lock.check()
        history.keep(cluster, record, records, tell)
        with Steady(_steady_ask(release, cluster, probe, before, live)) as steady:
            try:
                rollout, proof = _made_true(release, wanted, live, cluster, probe, timeout, verify, tell)
            except NoCluster:
                raise
            except ClusterFailed as error:
                lock.check()
                history.mark(cluster, record, "failed", str(getattr(error, "cause", "")) or type(error).__name__)
                if before is not None and getattr(error, "cause", "") not in OTHERS:
                    _bring_back(before, error, cluster, probe.token, timeout, steady, tell)
                raise
        lock.check()
        history.mark(cluster, record, "deployed" if proof else "unproven", record.cause)
        if proof is not None:
            history.trim(cluster, release.name, tell)
            applying.prune(release, cluster, tell)
    where = _address(release, cluster, tell) if proof else None
    seen = steady.seen
    return Verdict(
        outcome="deployed" if proof else "paused",
        name=release.name,
        namespace=cluster.namespace,
        context=cluster.context,
        image=release.image,
        release=record.number,
        undo=f"wherry rollback {before.number}" if before else "wherry down",
        address=where,
        way=proof.way if proof else "",
        requests=(proof.requests if proof else 0) + seen.requests,
        failed=seen.failed,
        worst_ms=proof.worst_ms if proof else 0.0,
        p99_ms=max(seen.p99_ms, proof.worst_ms if proof else 0.0),
        rollout_seconds=round((rollout.snapshot.at if rollout.snapshot else rollout.began) - rollout.began, 2),
        seconds=round(time.monotonic() - began, 2),
        changes=changes,
    )


def _made_true(
    release: Release,
    wanted: tuple[Object, ...],
    live: Mapping[str, Object | None],
    cluster: Cluster,
    probe: Probe,
    timeout: float | None,
    verify: Verify,
    tell: Tell,
) -> tuple[Rollout, Proof | None]:
    """Applied, rolled out and proven; without a proof where there are no pods, because it is paused."""
    applied = _applied(release, wanted, live, cluster, tell)
    rollout = _rolled_out(release, applied, cluster, timeout, tell)
    if rollout.wanted() == 0:
        tell(Note(f"{release.name} is paused at 0 pods, so nothing was proven", warn=True, hint="wherry scale 2"))
        return rollout, None
    return rollout, _proven(release, cluster, rollout, probe, verify, tell)


def _bring_back(
    before: Record,
    error: ClusterFailed,
    cluster: Cluster,
    token: str,
    timeout: float | None,
    steady: Steady,
    tell: Tell,
) -> None:
    """Makes the release before true again, proves it, and has `error` say so."""
    tell(Step(f"bringing release {before.number} back"))
    began = time.monotonic()
    release = history.stamped(before)
    probe = msgspec.structs.replace(before.probe, token=token)
    try:
        live = preflight.existing(release, cluster)
        wanted = applying.plan(release, live, silent)
        _made_true(release, wanted, live, cluster, probe, timeout, "auto", tell)
        applying.prune(release, cluster, tell)
    except ClusterFailed as second:
        first_line = str(second).split("\n", 1)[0]
        error.now_serving(
            _serving_now(release, cluster), f"release {before.number} could not be brought back: {first_line}"
        )
        return
    seen = steady.seen
    meanwhile = f"; {seen.requests} requests meanwhile, {seen.failed} failed" if seen.requests else ""
    error.now_serving("restored", f"release {before.number} is back and serves{meanwhile}")
    tell(Step(f"bringing release {before.number} back", round(time.monotonic() - began, 2)))


def _steady_ask(
    release: Release, cluster: Cluster, probe: Probe, before: Record | None, live: Mapping[str, Object | None]
) -> Callable[[], Answer] | None:
    """How to ask the service all through the update; None where there is nothing to ask yet."""
    deployment, service = live.get(what(release.workload)), release.find(SERVICE.kind)
    if service is None or deployment is None or not (deployment.get("status") or {}).get("readyReplicas"):
        return None
    body = probe.body
    if before is None or before.probe.body != body:
        # What is no golden row of the version that serves would be stored as a prediction: ask without rows.
        body = json.dumps({"columns": [], "rows": []}).encode()
    port = service["spec"]["ports"][0].get("name") or release.ports.service
    return lambda: cluster.ask_service(name_of(service), port, wire.PREDICT, body, probe.headers, seconds=10.0)


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
    """The workload as it is once everything is applied, the passwords that it reads before all."""
    began = time.monotonic()
    passwords.make(release, cluster, tell)
    deployment: Object = {}
    try:
        for made in applying.apply(wanted, live, cluster):
            if what(made) == what(release.workload):
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


def _serving_now(release: Release, cluster: Cluster) -> Outcome:
    """What serves after an apply that did not get through."""
    try:
        snapshot = look(cluster, release.name)
    except ClusterFailed:
        return "unchanged"
    deployment = snapshot.deployment
    ready = int((deployment.get("status") or {}).get("readyReplicas", 0)) if deployment else 0
    return "unchanged" if serves(ready, 0)[0] == "unchanged" else "nothing_serving"
