"""What a version may have to stand before it takes the place of the one that serves, while that goes on serving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from wherry.contract.events import Tell
from wherry.deploy.cluster import Cluster
from wherry.deploy.history import Record, State
from wherry.deploy.probe import Probe, Verify
from wherry.deploy.resources import DEPLOYMENT
from wherry.errors import UsageRefused
from wherry.release.release import Release


class Stage(msgspec.Struct, frozen=True):
    """What a trial has to do with. release: as it will be deployed; before: what serves, as it is kept.

    check: raises DeployHeld once somebody else has taken the lock.
    """

    release: Release
    before: Record
    probe: Probe
    cluster: Cluster
    timeout: float | None
    verify: Verify
    check: Callable[[], None]
    tell: Tell


class Trial(Protocol):
    """tracks: that it makes; what an interrupted run left of them is gone on with. stays: whether they outlive it.

    state: what is kept of the release while the trial lasts.
    """

    tracks: tuple[str, ...]
    stays: bool
    state: State

    def foresee(self, cluster: Cluster, name: str) -> int:
        """How many pods it takes beside what serves now. Raises UsageRefused where it cannot be held."""
        ...

    def stand(self, stage: Stage) -> None:
        """Returns when it was stood. Raises ClusterFailed with the reason; nothing that serves was touched then."""
        ...


def fit(release: Release, how: str) -> None:
    """Raises UsageRefused where two versions cannot run side by side."""
    if release.workload["kind"] != DEPLOYMENT.kind:
        reason = f"{how} needs a second set of pods, and those of a strict store are bound to their volumes"
        raise UsageRefused(reason, hint='wherry deploy, or [store] mode = "durable"')
    if release.workload["spec"]["strategy"]["type"] == "Recreate":
        reason = f"{how} needs two versions at once, and the SQLite file's volume takes one pod alone"
        raise UsageRefused(reason, hint="wherry deploy, or [store] url of a database")
