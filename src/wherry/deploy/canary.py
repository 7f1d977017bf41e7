"""A few pods of a new version behind the Service, compared with the stable one until it takes its place or goes."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from wherry.contract.events import Note, Progress, Step
from wherry.contract.golden import differences
from wherry.contract.names import LABEL_INSTANCE, LABEL_TRACK
from wherry.contract.project import Canary as Settings
from wherry.contract.wire import METRICS, PREDICT
from wherry.deploy import switching, tracks
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.history import State
from wherry.deploy.measuring import LEAST_TIMED, Counted, Limits, judge, read, since
from wherry.deploy.path import rolled_out
from wherry.deploy.probe import Probe, wrong
from wherry.deploy.resources import CONFIG_MAP, DEPLOYMENT, POD, Object, match, name_of
from wherry.deploy.rollout import is_ready
from wherry.deploy.tracks import STABLE
from wherry.deploy.trial import Stage
from wherry.errors import CanaryAborted, NoCluster, UsageRefused
from wherry.release.tracks import canary, divided, workload

LOOK_SECONDS = 2.0
UNREADY_LOOKS = 5  # in a row, before a canary that lacks a pod goes


class Shares(msgspec.Struct, frozen=True):
    """How many pods: of the canary, and of the stable version beyond those it has.

    route: what divides the requests, where a Gateway does; else callers meet the pods of both by chance.
    """

    canary: int
    baseline: int
    route: Object | None = None


class Canary:
    """share: of the requests, as far as whole pods allow. grow: add pods of the stable version where it has too few."""

    tracks: tuple[str, ...] = ("canary", "baseline")
    stays: bool = False
    state: State = "canary"

    def __init__(self, share: float, settings: Settings, *, grow: bool = False) -> None:
        self.share, self.settings, self.grow = share, settings, grow
        self.limits = Limits(settings.errors, settings.slower, settings.differing)

    def foresee(self, cluster: Cluster, name: str) -> int:
        """How many pods it would take. Raises UsageRefused where the share cannot be had."""
        wanted = self.shares(cluster, name)
        return wanted.canary + wanted.baseline

    def shares(self, cluster: Cluster, name: str) -> Shares:
        stable, route = switching.size(cluster, name, STABLE), tracks.route(cluster, name)
        if route is not None and stable:
            return Shares(max(1, math.ceil(self.share * stable - 1e-9)), 0, route)
        return shares(self.share, stable, grow=self.grow)

    def stand(self, stage: Stage) -> None:
        """Brings the canary up, and watches it. Raises CanaryAborted, or what keeps it from coming up."""
        cluster, release, tell = stage.cluster, stage.release, stage.tell
        wanted = self.shares(cluster, release.name)
        if wanted.baseline:
            more = workload(stage.before.release, "baseline", wanted.baseline)
            rolled_out(stage.before.release, cluster.apply(more), cluster, stage.timeout, tell)
        applied = apply_beside(canary(release, wanted.canary, apart=wanted.route is not None), cluster)
        rolled_out(release, applied, cluster, stage.timeout, tell)
        total = wanted.canary + wanted.baseline + switching.size(cluster, release.name, STABLE)
        if wanted.route is None:
            said = f"{wanted.canary / total:.1%} of new connections"
        else:
            cluster.apply(divided(wanted.route, release.name, self.share), force=True)
            said = f"and {self.share:.1%} of the requests that come through the Gateway"
        tell(Note(f"the canary has {wanted.canary} of {total} pods, {said}"))
        self._watch(stage)

    def _watch(self, stage: Stage) -> None:
        """Returns when the time is over. Raises CanaryAborted at the first sign that it is worse."""
        watch = Watch(stage, self.limits)
        began, seconds = time.monotonic(), self.settings.seconds
        while (elapsed := time.monotonic() - began) < seconds:
            stage.check()
            watch.look()
            stage.tell(Progress("watching the canary", round(elapsed), round(seconds)))
            time.sleep(min(LOOK_SECONDS, max(0.0, seconds - elapsed)))
        watch.look()
        stage.tell(Step("watched the canary", round(time.monotonic() - began, 2)))
        for line in watch.told():
            stage.tell(line)


class Watch:
    """What was seen of a canary and of the stable version from its making on."""

    def __init__(self, stage: Stage, limits: Limits) -> None:
        self.stage, self.limits = stage, limits
        self.began = time.monotonic()
        self.turn = itertools.count()
        self.before = {name: self._counted(name) for name in map(name_of, self._pods(STABLE, "baseline"))}
        self.latest: dict[str, dict[str, Counted]] = {"canary": {}, STABLE: {}}
        self.unready = 0
        self.rows = self.differing = 0

    def look(self) -> None:
        """Everything once. Raises CanaryAborted."""
        new, old = self._pods("canary"), self._pods(STABLE, "baseline")
        self._alive(new)
        if not new or not old:
            return
        turn = next(self.turn)
        self._answers(name_of(new[turn % len(new)]), name_of(old[turn % len(old)]))
        for track, pods in (("canary", new), (STABLE, old)):
            for name in map(name_of, pods):
                counted = self._counted(name)
                if counted.requests:
                    self.latest[track][name] = counted
        cause, words = judge(*self.figures(), self.limits)
        if cause:
            raise self._aborted(cause, words)

    def figures(self) -> tuple[Counted, Counted]:
        """What the canary and the stable version have answered since the beginning."""
        return since(self.latest["canary"], {}), since(self.latest[STABLE], self.before)

    def told(self) -> Iterator[Note]:
        """What was seen, in words."""
        new, old = self.figures()
        for who, one in (("the canary", new), ("stable", old)):
            said = f"{who}: {one.requests:.0f} requests, {one.failed:.0f} failed, p99 {1000 * one.p99:.1f} ms"
            yield Note(said)
        if min(new.requests, old.requests) < LEAST_TIMED:
            yield Note(f"fewer than {LEAST_TIMED} requests say nothing about a p99: latency was not judged", warn=True)
        yield Note(f"{self.differing} of {self.rows} golden rows are answered otherwise than by stable")

    def _alive(self, ready: list[Object]) -> None:
        pods = self._all("canary")
        restarts = {name_of(pod): restarts_of(pod) for pod in pods}
        crashed = next((name for name, count in restarts.items() if count), "")
        if crashed:
            raise self._aborted("crash", f"its pod {crashed} was restarted {restarts[crashed]} times")
        self.unready = self.unready + 1 if len(ready) < max(1, len(pods)) else 0
        if self.unready >= UNREADY_LOOKS:
            raise self._aborted("not_ready", f"{len(ready)} of its {len(pods)} pods are ready")

    def _answers(self, new: str, old: str) -> None:
        """Its own golden rows must be answered as at pack; those of stable nearly as stable answers them."""
        stage = self.stage
        answer = self._ask(new, stage.probe)
        if answer is None:
            return
        reason = wrong(answer, stage.probe, stage.release.model_digest)
        if reason:
            raise self._aborted("answers", reason)
        usual = msgspec.structs.replace(stage.before.probe, token=stage.probe.token)
        right, found = self._ask(old, usual), self._ask(new, usual)
        if right is None or found is None or right.status != 200:
            return
        if found.status != 200:
            said = found.body[:200].decode("utf-8", "replace")
            raise self._aborted("differs", f"it answers HTTP {found.status} to rows that stable answers: {said}")
        off, self.rows = compare(right.body, found.body, usual)
        self.differing = off
        if self.rows and off / self.rows > self.limits.differing:
            allowed = f"{self.limits.differing:.0%} may be ([deploy.canary] differing)"
            words = f"{off} of {self.rows} golden rows are answered otherwise than by stable; {allowed}"
            raise self._aborted("differs", words)

    def _ask(self, pod: str, probe: Probe) -> Answer | None:
        try:
            port = self.stage.release.ports.serving
            return self.stage.cluster.ask_pod(pod, port, PREDICT, probe.body, probe.headers)
        except NoCluster:
            return None  # the way to the pod is ours; what its callers see is in its figures

    def _counted(self, pod: str) -> Counted:
        try:
            answer = self.stage.cluster.ask_pod(pod, self.stage.release.ports.admin, METRICS, None, {})
        except NoCluster:
            return Counted()
        return read(answer.body.decode()) if answer.status == 200 else Counted()

    def _pods(self, *tracks: str) -> list[Object]:
        return [pod for track in tracks for pod in self._all(track) if is_ready(pod)]

    def _all(self, track: str) -> list[Object]:
        """The pods of a track that stay."""
        labels = match({LABEL_INSTANCE: self.stage.release.name, LABEL_TRACK: track})
        found = self.stage.cluster.list(POD, labels)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def _aborted(self, cause: str, words: str) -> CanaryAborted:
        new, _ = self.figures()
        seconds = round(time.monotonic() - self.began, 1)
        return CanaryAborted(self.stage.release.name, cause, words, seconds, int(new.requests), int(new.failed))


def shares(share: float, stable: int, *, grow: bool = False) -> Shares:
    """The pods that give a canary at most `share` beside `stable` pods. Raises UsageRefused where one pod is more."""
    if stable < 1:
        raise UsageRefused("the stable version is paused, so nobody would see a canary", hint="wherry scale 2")
    if share >= 1 / (stable + 1) - 1e-9:
        return Shares(max(1, math.floor(share * stable / (1 - share) + 1e-9)), 0)
    least = 1 / (stable + 1)
    needed = math.ceil((1 - share) / share - 1e-9)
    if grow:
        return Shares(1, needed - stable)
    raise UsageRefused(
        f"a canary of {100 * share:.4g}% of the requests cannot be had: beside {stable} pods of the stable version "
        f"one pod gets 1 in {stable + 1}, {least:.1%}",
        hint=f"--canary {math.ceil(100 * least)}%, or --canary-scale, which adds {needed - stable} pods of the stable "
        "version while it lasts",
    )


def apply_beside(made: tuple[Object, ...], cluster: Cluster) -> Object:
    """The Deployment among the objects, once they are there. Settings that somebody reads already are left alone."""
    applied: Object = {}
    for one in made:
        if one["kind"] == CONFIG_MAP.kind and cluster.get(CONFIG_MAP, name_of(one)) is not None:
            continue  # named by its content
        done = cluster.apply(one, force=True)
        applied = done if one["kind"] == DEPLOYMENT.kind else applied
    return applied


def compare(right: bytes, found: bytes, probe: Probe) -> tuple[int, int]:
    """How many of the predictions differ, and of how many."""
    one, other = predictions(right), predictions(found)
    return len(differences(one, other, rtol=probe.rtol, atol=probe.atol)), len(one)


def predictions(body: bytes) -> list[Any]:
    try:
        reply: Mapping[str, Any] = json.loads(body)
    except ValueError:
        return []
    return list(reply.get("predictions") or ())


def restarts_of(pod: Object) -> int:
    return sum(int(one.get("restartCount", 0)) for one in (pod.get("status") or {}).get("containerStatuses") or ())
