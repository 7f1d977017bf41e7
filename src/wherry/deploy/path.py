"""The way of one release into the cluster: applied, rolled out, switched to where it stands elsewhere, and proven."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

from wherry.contract.events import Note, Step, Tell
from wherry.deploy import applying, passwords, switching, tracks
from wherry.deploy.cluster import Cluster
from wherry.deploy.diagnose import serves
from wherry.deploy.probe import Probe, Proof, Verify, prove
from wherry.deploy.resources import SERVICE, Object, name_of, what
from wherry.deploy.rollout import Rollout
from wherry.deploy.tracks import STABLE
from wherry.deploy.trial import Trial, fit
from wherry.deploy.watching import explained, follow, look
from wherry.errors import ClusterFailed, ProbeFailed
from wherry.release.release import Release
from wherry.release.tracks import Track, placed

# What serves now. deployed: the new version, proven. unchanged: what served before. restored: what served before, after
# the new version had failed. unproven: a first version runs and answers wrongly. partly_serving: some pods of a first
# version. paused: nothing, because `wherry scale 0` was said.
Outcome: TypeAlias = Literal[
    "deployed", "unchanged", "restored", "partly_serving", "unproven", "paused", "nothing_serving"
]


class Path:
    """serving: the track that callers reach now; slot: the one that the release goes to.

    A release goes to the stable track; with `blue_green` to the one that nobody calls.
    """

    def __init__(
        self,
        release: Release,
        cluster: Cluster,
        timeout: float | None,
        verify: Verify,
        blue_green: bool,
        trial: Trial | None,
        tell: Tell,
    ) -> None:
        self.name, self.cluster, self.timeout, self.verify, self.tell = release.name, cluster, timeout, verify, tell
        self.trial = trial
        self.serving = tracks.serving(cluster, release.name)
        alone = self.serving == STABLE and not blue_green
        self.size = 0 if alone else switching.size(cluster, release.name, self.serving)
        self.blue_green = blue_green and self.size > 0  # the first version has nothing to be switched from
        if self.blue_green or trial is not None:
            fit(release, f"--{trial.tracks[0]}" if trial else "--blue-green")
        self.slot: Track = "green" if self.blue_green and self.serving == STABLE else "stable"
        self.service: Object = release.find(SERVICE.kind) or {}

    @property
    def moves(self) -> bool:
        """Whether callers must be switched over."""
        return self.slot != self.serving

    def of(self, release: Release) -> Release:
        """The release as it is applied. What callers are switched to has as many pods as what they leave."""
        if not self.moves:
            return release
        own = release.workload["spec"].get("replicas")
        return placed(release, self.slot, self.size if own is None else own)

    def wanted(self, release: Release, live: Mapping[str, Object | None]) -> tuple[Object, ...]:
        """What is applied: until it is switched, the Service finds whom it found."""
        wanted = applying.plan(release, live, self.tell)
        return switching.held(wanted, self.name, self.serving) if self.moves else wanted

    def made_true(
        self, release: Release, wanted: tuple[Object, ...], live: Mapping[str, Object | None], probe: Probe
    ) -> tuple[Rollout, Proof | None]:
        """Applied, rolled out and proven; without a proof where there are no pods, because it is paused."""
        stay = {self.serving, self.slot} if self.moves else set(self.trial.tracks if self.trial else ())
        tracks.clear(self.cluster, self.name, self.tell, keep=stay)
        applied = self._applied(release, wanted, live)
        rollout = rolled_out(release, applied, self.cluster, self.timeout, self.tell)
        if rollout.wanted() == 0:
            self.tell(Note(f"{self.name} is paused at 0 pods, so nothing was proven", warn=True, hint="wherry scale 2"))
            return rollout, None
        if self.moves:
            switching.switch(release, self.cluster, rollout, probe, self.slot, self.verify, self.tell)
        proof = self._proven(release, rollout, probe)
        self._leave()
        return rollout, proof

    def _leave(self) -> None:
        """What is beside the release goes, but for the way back and for a shadow."""
        if self.moves and self.blue_green:
            switching.let_go(self.cluster, self.name, self.serving, self.tell)
            return
        stays = self.trial.tracks if self.trial is not None and self.trial.stays else ()
        tracks.clear(self.cluster, self.name, self.tell, keep=stays)
        if self.moves:
            self.cluster.apply(self.service)  # there is no track left to tell apart

    def _applied(self, release: Release, wanted: tuple[Object, ...], live: Mapping[str, Object | None]) -> Object:
        """The workload as it is once everything is applied, the passwords that it reads before all."""
        began = time.monotonic()
        passwords.make(release, self.cluster, self.tell)
        deployment: Object = {}
        try:
            for made in applying.apply(wanted, live, self.cluster):
                if what(made) == what(release.workload):
                    deployment = made
            applying.prune_autoscaler(release, self.cluster, self.tell)
        except ClusterFailed as error:
            error.outcome = serving_now(release, self.cluster)
            raise
        self.tell(Step(f"applied {len(wanted)} objects", round(time.monotonic() - began, 2)))
        return deployment

    def _proven(self, release: Release, rollout: Rollout, probe: Probe) -> Proof:
        began = time.monotonic()
        try:
            proof = prove(
                self.cluster,
                name_of(self.service),
                probe,
                service_port=self.service["spec"]["ports"][0].get("name") or release.ports.service,
                pods=rollout.new_pods(),
                port=release.ports.serving,
                digest=release.model_digest,
                verify=self.verify,
                tell=self.tell,
            )
        except ProbeFailed:
            raise
        except ClusterFailed as error:
            error.outcome = "unproven"
            raise
        took = round(time.monotonic() - began, 2)
        self.tell(Step(f"{len(probe.predictions)} golden rows answered right {proof.how}", took))
        return proof


def rolled_out(release: Release, applied: Object, cluster: Cluster, timeout: float | None, tell: Tell) -> Rollout:
    """The rollout of a workload when it is done. Raises RolloutFailed with the reason in words."""
    began, name = time.monotonic(), name_of(applied)
    tell(Step(f"rolling out {name}"))
    startup = float(release.startup_seconds)
    start = Rollout(
        name=name,
        image=release.image,
        startup=startup,
        patience=timeout or max(180.0, startup + 120.0),
        began=began,
        generation=int(applied["metadata"]["generation"]),
    )
    rollout = follow(cluster, start, tell)
    if rollout.cause is not None:
        raise explained(cluster, rollout)
    tell(Step(f"rolled out {name}", round(time.monotonic() - began, 2)))
    return rollout


def serving_now(release: Release, cluster: Cluster) -> Outcome:
    """What serves after an apply that did not get through."""
    try:
        snapshot = look(cluster, release.name)
    except ClusterFailed:
        return "unchanged"
    deployment = snapshot.deployment
    ready = int((deployment.get("status") or {}).get("readyReplicas", 0)) if deployment else 0
    return "unchanged" if serves(ready, 0)[0] == "unchanged" else "nothing_serving"
