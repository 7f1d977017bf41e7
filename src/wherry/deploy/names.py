"""Which service is meant: the one that was named, else the only one there."""

from __future__ import annotations

from wherry.contract.names import LABEL_INSTANCE
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import DEPLOYMENT, Object, is_ours, labels_of, name_of, selector
from wherry.errors import NameUnclear, NothingDeployed


def services(cluster: Cluster) -> tuple[Object, ...]:
    """The Deployments that wherry made in this namespace, by name."""
    return tuple(sorted(cluster.list(DEPLOYMENT, selector()), key=name_of))


def workload(cluster: Cluster, name: str = "") -> Object:
    """The Deployment of the service called `name`, or of the only one. Raises NothingDeployed, NameUnclear."""
    if name:
        live = cluster.get(DEPLOYMENT, name)
        if live is None or not is_ours(live):
            raise NothingDeployed(name, cluster.namespace, cluster.context, tuple(map(name_of, services(cluster))))
        return live
    found = services(cluster)
    if not found:
        raise NothingDeployed("", cluster.namespace, cluster.context)
    if len(found) > 1:
        raise NameUnclear(tuple(labels_of(one).get(LABEL_INSTANCE, name_of(one)) for one in found), cluster.namespace)
    return found[0]
