"""A release made true and proven. Nothing is applied that the cluster would refuse; a verdict is never a guess."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from wherry.contract import wire
from wherry.contract.events import Note, Step, Tell, silent
from wherry.deploy import address, applying, history, lease, preflight, tracks
from wherry.deploy.address import Address
from wherry.deploy.applying import Planned
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.history import Record
from wherry.deploy.path import Outcome, Path, serving_now
from wherry.deploy.probe import Probe, Verify, Way
from wherry.deploy.resources import DEPLOYMENT, NAMESPACE, SERVICE, Object, name_of, what
from wherry.deploy.steady import Steady
from wherry.deploy.tracks import STABLE
from wherry.deploy.trial import Stage, Trial
from wherry.errors import ClusterFailed, NoCluster, UsageRefused
from wherry.release.release import Release

# Failures that are others' doing, which nothing of ours may overwrite.
OTHERS = ("superseded", "gone", "paused")


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
    trial: Trial | None = None,
    blue_green: bool = False,
    tell: Tell = silent,
) -> Verdict:
    """Makes `release` true and proves it. Returns when the new version answers as the model did at pack.

    timeout: seconds that the rollout may go without progress. because: what its record says of where it came from.
    trial: what it must stand beside the version that serves. blue_green: brought up whole beside that, then switched
    to in one change; what served stays for the way back. When it does not come up, or answers wrongly, the last good
    release is brought back; then, and whenever else it fails, raises ClusterFailed whose `outcome` says what serves.
    Raises DeployHeld while somebody else is at it.
    """
    began = time.monotonic()
    there = preflight.checked(release, cluster, beside=blue_green or trial is not None, by_job=verify == "job")
    preflight.note_policies(there, cluster, tell)
    made_now = _space_made(release, cluster)
    with lease.hold(cluster, release.name, tell) as lock:
        records = history.read(cluster, release.name)
        record = history.begin(records, release, probe, because)
        before = history.last_good(records, record.number)
        path = Path(release, cluster, timeout, verify, blue_green, trial, tell)
        if trial is not None and not trial.stays and record.state == "deployed":
            tell(Note(f"release {record.number} serves already, so it needs no trial"))
            path.trial = None
        if path.trial is not None:
            path.serving = _ready_for_trial(before, path, path.trial, probe.token)
        release = path.of(history.stamped(record))
        live = preflight.existing(release, cluster)
        if made_now:
            live[f"namespace/{release.namespace}"] = None
        wanted = path.wanted(release, live)
        try:
            changes = _rehearsed(wanted, live, cluster, tell)
        except ClusterFailed:
            if made_now:
                cluster.delete(NAMESPACE, release.namespace)  # made a moment ago for this alone, and empty
            raise
        lock.check()
        history.keep(cluster, record, records, tell)
        history.interrupted(cluster, records, record)
        with Steady(_steady_ask(path, release, probe, before, live)) as steady:
            if path.trial is not None and before is not None:
                stage = Stage(history.stamped(record), before, probe, cluster, timeout, verify, lock.check, tell)
                _stood(path.trial, stage, record)
            try:
                rollout, proof = path.made_true(release, wanted, live, probe)
            except NoCluster:
                raise
            except ClusterFailed as error:
                lock.check()
                history.mark(cluster, record, "failed", _cause(error))
                if before is not None and getattr(error, "cause", "") not in OTHERS:
                    _bring_back(before, error, path, probe.token, steady)
                raise
        lock.check()
        history.mark(cluster, record, "deployed" if proof else "unproven", record.cause)
        if proof is not None:
            history.trim(cluster, release.name, tell)
            applying.prune(record.release, cluster, tell)
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


def _ready_for_trial(before: Record | None, path: Path, trial: Trial, token: str) -> str:
    """The track that serves: the stable one, found by a Service that finds all. Raises UsageRefused where none does."""
    cluster, name = path.cluster, path.name
    if before is None or cluster.get(DEPLOYMENT, name) is None:
        reason = f"there is no version of {name} in namespace {cluster.namespace} to compare with"
        raise UsageRefused(reason, hint="wherry deploy")
    trial.foresee(cluster, name)
    if tracks.narrowed(cluster, name):
        path.tell(Note(f"release {before.number} becomes the stable version first, since the Service was switched"))
        _again(before, path, token)
    return STABLE


def _stood(trial: Trial, stage: Stage, record: Record) -> None:
    """Marks what becomes of a trial, and takes what it made away where it was not stood."""
    cluster, name = stage.cluster, stage.release.name
    new = record.state != "deployed"  # what serves already is only given something beside it
    if new:
        history.mark(cluster, record, trial.state, record.cause)
    try:
        trial.stand(stage)
    except NoCluster:
        raise
    except ClusterFailed as error:
        stage.check()
        if new:
            history.mark(cluster, record, "aborted", _cause(error))
        tracks.clear(cluster, name, stage.tell)
        applying.prune(stage.before.release, cluster, stage.tell)
        error.now_serving("unchanged", f"release {stage.before.number} serves, untouched")
        raise


def _cause(error: ClusterFailed) -> str:
    return str(getattr(error, "cause", "")) or type(error).__name__


def _again(before: Record, path: Path, token: str) -> None:
    """Makes a release that was good the stable one again, proven, with nothing beside it."""
    plain = Path(before.release, path.cluster, path.timeout, "auto", False, None, path.tell)
    release = plain.of(history.stamped(before))
    live = preflight.existing(release, path.cluster)
    plain.made_true(release, plain.wanted(release, live), live, msgspec.structs.replace(before.probe, token=token))
    applying.prune(release, path.cluster, path.tell)


def _bring_back(before: Record, error: ClusterFailed, path: Path, token: str, steady: Steady) -> None:
    """Makes the release before true again, proves it, and has `error` say so."""
    tell = path.tell
    tell(Step(f"bringing release {before.number} back"))
    began = time.monotonic()
    try:
        _again(before, path, token)
    except ClusterFailed as second:
        first_line = str(second).split("\n", 1)[0]
        error.now_serving(
            serving_now(history.stamped(before), path.cluster),
            f"release {before.number} could not be brought back: {first_line}",
        )
        return
    seen = steady.seen
    meanwhile = f"; {seen.requests} requests meanwhile, {seen.failed} failed" if seen.requests else ""
    error.now_serving("restored", f"release {before.number} is back and serves{meanwhile}")
    tell(Step(f"bringing release {before.number} back", round(time.monotonic() - began, 2)))


def _steady_ask(
    path: Path, release: Release, probe: Probe, before: Record | None, live: Mapping[str, Object | None]
) -> Callable[[], Answer] | None:
    """How to ask the service all through the update; None where there is nothing to ask yet."""
    deployment, service = live.get(what(release.workload)), release.find(SERVICE.kind)
    ready = deployment is not None and (deployment.get("status") or {}).get("readyReplicas")
    if service is None or not (ready or path.size):
        return None
    body = probe.body
    if before is None or before.probe.body != body:
        # What is no golden row of the version that serves would be stored as a prediction: ask without rows.
        body = json.dumps({"columns": [], "rows": []}).encode()
    port = service["spec"]["ports"][0].get("name") or release.ports.service
    cluster = path.cluster
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


def _address(release: Release, cluster: Cluster, tell: Tell) -> Address | None:
    service = cluster.get(SERVICE, name_of(release.find(SERVICE.kind) or {}))
    return address.find(cluster, service, tell=tell) if service else None
