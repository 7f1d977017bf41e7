"""Which service is meant: the one that was named, else the only one there."""

from __future__ import annotations

from wherry.contract.names import LABEL_INSTANCE, LABEL_NAME, LABEL_TRACK
from wherry.deploy import tracks
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import NAMESPACE, WORKLOADS, Object, is_ours, labels_of, name_of, selector
from wherry.errors import NamespaceMissing, NameUnclear, NothingDeployed, NotPermitted
from wherry.release.tracks import name_in


def services(cluster: Cluster) -> tuple[Object, ...]:
    """The workloads that serve, of the services that wherry made in this namespace, by name; databases are none.

    Raises NamespaceMissing, which a list alone would not tell from an empty one.
    """
    found: list[Object] = []
    for kind in WORKLOADS:
        try:
            found += cluster.list(kind, selector())
        except NotPermitted:
            if kind is WORKLOADS[0]:
                raise  # who may not see StatefulSets has deployed none
    if not found:
        _there(cluster)
    return tuple(sorted((_serving(cluster, one) for one in filter(_is_service, found)), key=name_of))


def _there(cluster: Cluster) -> None:
    """Raises NamespaceMissing where it is known to be missing."""
    try:
        live = cluster.get(NAMESPACE, cluster.namespace)
    except NotPermitted:
        return
    if live is None:
        raise NamespaceMissing(cluster.namespace, cluster.context)


def live_workload(cluster: Cluster, name: str) -> Object | None:
    """What runs the pods of the service called `name`, whoever made it; None when there is nothing."""
    for kind in WORKLOADS:
        try:
            live = cluster.get(kind, name)
        except NotPermitted:
            if kind is WORKLOADS[0]:
                raise
            continue
        if live is not None:
            return {"apiVersion": kind.api_version, "kind": kind.kind, **live}
    return None


def _is_service(made: Object) -> bool:
    has = labels_of(made)
    return has.get(LABEL_NAME) == has.get(LABEL_INSTANCE) and LABEL_TRACK not in has


def _serving(cluster: Cluster, stable: Object) -> Object:
    """What the Service's callers reach: the stable workload, unless the Service was switched to another track."""
    track = tracks.serving(cluster, name_of(stable))
    live = live_workload(cluster, name_in(name_of(stable), track)) if track != tracks.STABLE else None
    return live or stable


def service_of(made: Object) -> str:
    """The name of the service that a workload is of, whatever its track."""
    return labels_of(made).get(LABEL_INSTANCE, name_of(made))


def workload(cluster: Cluster, name: str = "") -> Object:
    """The workload that serves as `name`, or as the only one there. Raises NothingDeployed, NameUnclear."""
    if name:
        live = live_workload(cluster, name)
        if live is None or not is_ours(live):
            known = tuple(map(service_of, services(cluster)))
            raise NothingDeployed(name, cluster.namespace, cluster.context, known)
        return _serving(cluster, live)
    found = services(cluster)
    if not found:
        raise NothingDeployed("", cluster.namespace, cluster.context)
    if len(found) > 1:
        raise NameUnclear(tuple(map(service_of, found)), cluster.namespace)
    return found[0]
