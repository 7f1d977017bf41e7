"""Which service is meant: the one that was named, else the only one there."""

from __future__ import annotations

from wherry.contract.names import LABEL_INSTANCE, LABEL_NAME
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import WORKLOADS, Object, is_ours, labels_of, name_of, selector
from wherry.errors import NameUnclear, NothingDeployed, NotPermitted


def services(cluster: Cluster) -> tuple[Object, ...]:
    """The workloads of the services that wherry made in this namespace, by name; databases beside them are none."""
    found: list[Object] = []
    for kind in WORKLOADS:
        try:
            found += cluster.list(kind, selector())
        except NotPermitted:
            if kind is WORKLOADS[0]:
                raise  # who may not see StatefulSets has deployed none
    return tuple(sorted(filter(_is_service, found), key=name_of))


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
    return has.get(LABEL_NAME) == has.get(LABEL_INSTANCE)


def workload(cluster: Cluster, name: str = "") -> Object:
    """The workload of the service called `name`, or of the only one. Raises NothingDeployed, NameUnclear."""
    if name:
        live = live_workload(cluster, name)
        if live is None or not is_ours(live):
            raise NothingDeployed(name, cluster.namespace, cluster.context, tuple(map(name_of, services(cluster))))
        return live
    found = services(cluster)
    if not found:
        raise NothingDeployed("", cluster.namespace, cluster.context)
    if len(found) > 1:
        raise NameUnclear(tuple(labels_of(one).get(LABEL_INSTANCE, name_of(one)) for one in found), cluster.namespace)
    return found[0]
