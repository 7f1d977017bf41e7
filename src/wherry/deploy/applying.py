"""The release made true: rehearsed as a whole, applied in order, and what it no longer holds taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from wherry.contract.events import Note, Tell
from wherry.contract.names import ANNOTATION_CREATED_NAMESPACE, ANNOTATION_RELEASE, LABEL_TRACK
from wherry.deploy.cluster import Cluster
from wherry.deploy.ownership import (
    HANDOVER_MANAGER,
    Changed,
    below_minimum,
    changed,
    handover,
    keep_scaled,
    may_give_way,
    only_replicas,
)
from wherry.deploy.resources import (
    AUTOSCALER,
    CONFIG_MAP,
    NAMESPACE,
    PRUNABLE,
    REPLICA_SET,
    SCALED_OBJECT,
    Kind,
    Object,
    annotations_of,
    kind_of,
    labels_of,
    name_of,
    selector,
    what,
)
from wherry.errors import Conflict, NamespaceMissing, NotPermitted, ObjectRefused
from wherry.release.release import Release


class Planned(msgspec.Struct, frozen=True):
    """What would become of one object, field by field."""

    what: str
    action: Literal["create", "change", "keep"]
    changes: tuple[Changed, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Where it would change."""
        return tuple(one.path for one in self.changes)


def plan(release: Release, live: Mapping[str, Object | None], tell: Tell) -> tuple[Object, ...]:
    """What is really applied: the release, less what `wherry scale` set and less a namespace that others made."""
    wanted = []
    for made in release.objects:
        there = live.get(what(made))
        if made["kind"] == NAMESPACE.kind and there and ANNOTATION_CREATED_NAMESPACE not in annotations_of(there):
            continue
        kept, lines = keep_scaled(made, there)
        for line in lines:
            tell(Note(f"{what(made)}: {line}", hint="wherry scale N changes it"))
        wanted.append(kept)
    return tuple(wanted)


def rehearse(wanted: tuple[Object, ...], live: Mapping[str, Object | None], cluster: Cluster) -> tuple[Planned, ...]:
    """What would change, as the server itself says. Nothing does. Raises what applying would raise."""
    found = []
    for made in wanted:
        there = live.get(what(made))
        try:
            after = _apply(made, cluster, dry_run=True)
        except NamespaceMissing:
            if not any(other["kind"] == NAMESPACE.kind for other in wanted):
                raise
            found.append(Planned(what(made), "create"))  # a namespace that is yet to be made checks nothing in it
            continue
        changes = changed(there, after) if there else ()
        found.append(Planned(what(made), "create" if there is None else "change" if changes else "keep", changes))
    return tuple(found)


def apply(wanted: tuple[Object, ...], live: Mapping[str, Object | None], cluster: Cluster) -> Iterator[Object]:
    """Applies in order and gives each object as the server has it then."""
    for made in wanted:
        before = handover(made, live.get(what(made)))
        if before is not None:
            cluster.apply(before, manager=HANDOVER_MANAGER)
        applied = _apply(made, cluster)
        short = below_minimum(applied, wanted, live)
        if short is not None:
            applied = cluster.apply(only_replicas(applied, short), manager=HANDOVER_MANAGER, force=True)
        yield applied


def _apply(made: Object, cluster: Cluster, *, dry_run: bool = False) -> Object:
    try:
        return cluster.apply(made, dry_run=dry_run)
    except Conflict as conflict:
        if not may_give_way(conflict.fields):
            raise
        return cluster.apply(made, dry_run=dry_run, force=True)


def prune_autoscaler(release: Release, cluster: Cluster, tell: Tell) -> None:
    """An autoscaler that is no longer wanted goes before the rollout: it would count against what comes after it."""
    for kind in (AUTOSCALER, SCALED_OBJECT):
        if release.find(kind.kind) is None:
            _prune(release, cluster, kind, frozenset(), tell)


def prune(release: Release, cluster: Cluster, tell: Tell) -> None:
    """Takes away what earlier deploys of this name made and this one no longer holds.

    A ConfigMap stays as long as a ReplicaSet names it, so that an older version can come back with its settings;
    Kubernetes keeps as many of those as `revisionHistoryLimit` says. Claims and Secrets always stay.
    """
    for kind in PRUNABLE:
        keep = _named_config_maps(release, cluster) if kind is CONFIG_MAP else frozenset()
        _prune(release, cluster, kind, keep, tell)


def _prune(release: Release, cluster: Cluster, kind: Kind, keep: frozenset[str], tell: Tell) -> None:
    wanted = {name_of(made) for made in release.objects if kind_of(made) == kind} | keep
    try:
        for made in cluster.list(kind, selector(release.name)):
            if ANNOTATION_RELEASE in labels_of(made) or LABEL_TRACK in labels_of(made):
                continue  # a past release, or part of a track: `history` and `tracks` know how long they are kept
            if name_of(made) not in wanted and cluster.delete(kind, name_of(made)):
                tell(Note(f"removed {what(made)}, which this version no longer has"))
    except (NotPermitted, ObjectRefused) as error:
        # Least privilege has no right to kinds that this release does not hold; then it is unlikely to have made any.
        if any(kind_of(made) == kind for made in release.objects):
            tell(Note(f"what earlier deploys left of {kind.plural} stays: {error}", warn=True, hint=error.hint))


def _named_config_maps(release: Release, cluster: Cluster) -> frozenset[str]:
    """The ConfigMaps that the pod templates of this name's ReplicaSets read."""
    found = set()
    for made in cluster.list(REPLICA_SET, selector(release.name)):
        spec = made["spec"]["template"]["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            found |= {one["configMapRef"]["name"] for one in container.get("envFrom", ()) if "configMapRef" in one}
            values = (one.get("valueFrom") or {} for one in container.get("env", ()))
            found |= {one["configMapKeyRef"]["name"] for one in values if "configMapKeyRef" in one}
        found |= {volume["configMap"]["name"] for volume in spec.get("volumes", ()) if "configMap" in volume}
    return frozenset(found)
