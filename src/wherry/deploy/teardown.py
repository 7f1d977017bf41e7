"""What deploy made, found by its labels alone, taken away; what stays is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from wherry.contract.events import Note, Progress, Step, Tell, silent
from wherry.contract.names import ANNOTATION_CREATED_NAMESPACE, LABEL_INSTANCE
from wherry.deploy import lease
from wherry.deploy.cluster import Cluster
from wherry.deploy.preflight import namespace_of
from wherry.deploy.resources import (
    KEEPS_DATA,
    NAMESPACE,
    POD,
    WORKLOADS,
    Kind,
    Object,
    annotations_of,
    labels_of,
    name_of,
    selector,
    what,
)
from wherry.errors import ClusterFailed, NameUnclear, NothingDeployed, NotPermitted, StillThere

LOOK_AGAIN = 0.3
# What every namespace has, and what only shadows other objects.
ALWAYS_THERE = frozenset({"configmap/kube-root-ca.crt", "configmap/openshift-service-ca.crt", "serviceaccount/default"})
CLUSTERS_OWN = frozenset({"foregroundDeletion", "orphan"})  # finalizers that end by themselves
SHADOWS = frozenset({"Event", "Endpoints", "EndpointSlice", "PodMetrics", "Lease"})


class Removal(msgspec.Struct, frozen=True):
    """What goes, as kubectl names it, and what stays. namespace_goes: when it is empty then, which only then shows."""

    name: str
    namespace: str
    objects: tuple[str, ...]
    stays: tuple[str, ...]
    namespace_goes: bool = False
    done: bool = False
    seconds: float = 0.0


class _Found(msgspec.Struct, frozen=True):
    kind: Kind
    made: Object

    @property
    def what(self) -> str:
        return what(self.made, self.kind)

    @property
    def holders(self) -> list[str]:
        """The finalizers of others, for which an object that was deleted stays."""
        return [one for one in self.made["metadata"].get("finalizers", ()) if one not in CLUSTERS_OWN]

    @property
    def said(self) -> str:
        return f" (held by its finalizer {', '.join(self.holders)})" if self.holders else ""


def down(
    cluster: Cluster,
    name: str = "",
    *,
    dry_run: bool = False,
    delete_data: bool = False,
    confirm: Callable[[Removal], bool] | None = None,
    timeout: float = 180.0,
    tell: Tell = silent,
) -> Removal:
    """Removes the service called `name` (or the only one) from the namespace and waits until it is gone.

    confirm: asked with the list before anything goes. Claims and Secrets stay unless `delete_data`. The namespace
    goes when wherry made it and nothing is left in it. When there is nothing to remove, the removal has no objects.
    """
    began = time.monotonic()
    found = _find(cluster, name)
    own = _created_by_wherry(cluster)
    if not found:
        if own and not dry_run and not name and not _left(cluster, ()):
            return _last(cluster, Removal("", cluster.namespace, (), ()), began, timeout, tell)
        missing = "" if namespace_of(cluster) else ", which does not exist"
        named = f" named {name}" if name else ""
        tell(Note(f"there is nothing{named} to remove in namespace {cluster.namespace}{missing}"))
        return Removal(name, cluster.namespace, (), ())
    name = _only_name(found, cluster)
    going = tuple(one for one in found if delete_data or one.kind not in KEEPS_DATA)
    gone = {one.what for one in going}
    also = (named for named in _also_stay(found) if named not in gone)
    stays = tuple(dict.fromkeys((*(one.what for one in found if one not in going), *also)))
    goes = own and not _left(cluster, going)
    removal = Removal(name, cluster.namespace, tuple(one.what for one in going), stays, goes)
    if dry_run or (confirm is not None and not confirm(removal)):
        return removal
    with lease.hold(cluster, name, tell):
        _delete(cluster, going, name, timeout, tell)
    if own:
        return _last(cluster, removal, began, timeout, tell)
    return msgspec.structs.replace(removal, done=True, seconds=round(time.monotonic() - began, 2))


def _find(cluster: Cluster, name: str) -> tuple[_Found, ...]:
    """Everything of this name that somebody made, whatever its kind; what the cluster derives from it goes with it."""
    found = []
    for kind, verbs in cluster.kinds():
        if not {"list", "delete"} <= verbs or kind.kind in SHADOWS:
            continue
        try:
            listed = cluster.list(kind, selector(name))
        except NotPermitted:
            continue  # deploy needed no right to it either, so it made none
        found += [_Found(kind, made) for made in listed if not made["metadata"].get("ownerReferences")]
    # Workloads first: their pods drain while the Service still stands.
    return tuple(sorted(found, key=lambda one: (one.kind not in WORKLOADS, one.what)))


def _only_name(found: Iterable[_Found], cluster: Cluster) -> str:
    names = sorted({labels_of(one.made).get(LABEL_INSTANCE, "") for one in found} - {""})
    if len(names) > 1:
        raise NameUnclear(tuple(names), cluster.namespace)
    if not names:
        raise NothingDeployed("", cluster.namespace, cluster.context)
    return names[0]


def _delete(cluster: Cluster, going: tuple[_Found, ...], name: str, timeout: float, tell: Tell) -> None:
    """Deletes and waits until objects and pods are gone. Raises StillThere."""
    for done, one in enumerate(going):
        tell(Progress(f"removing {one.what}", done, len(going), "objects"))
        cluster.delete(one.kind, name_of(one.made), "Foreground")
    tell(Step("waiting for the pods to end"))
    until = time.monotonic() + timeout
    left = list(going)
    while True:
        left = [
            _Found(one.kind, made) for one in left if (made := cluster.get(one.kind, name_of(one.made))) is not None
        ]
        pods = [] if left else [f"pod/{name_of(pod)}" for pod in cluster.list(POD, selector(name))]
        if not left and not pods:
            return
        if time.monotonic() > until:
            held = [one for one in left if one.holders]
            raise StillThere(
                ", ".join([one.what + one.said for one in left] or pods),
                cluster.namespace,
                timeout,
                hint=f"if nobody is there to let it go: {released(held[0].what, cluster)}" if held else "",
            )
        time.sleep(LOOK_AGAIN)


def released(what: str, cluster: Cluster) -> str:
    """What to type for an object that goes without what its finalizers wait for."""
    change = '[{"op":"remove","path":"/metadata/finalizers"}]'
    return f"kubectl -n {cluster.namespace} patch {what} --type=json -p '{change}'"


def _also_stay(found: Iterable[_Found]) -> Iterable[str]:
    """What a service used and wherry does not hold: images in their registry, Secrets that others made."""
    for one in found:
        if one.kind in WORKLOADS:
            spec = one.made["spec"]["template"]["spec"]
            for container in spec["containers"]:
                yield f"image {container['image']}"
                values = (entry.get("valueFrom") or {} for entry in container.get("env", ()))
                yield from (f"secret/{value['secretKeyRef']['name']}" for value in values if "secretKeyRef" in value)
            for volume in spec.get("volumes", ()):
                if "secret" in volume:
                    yield f"secret/{volume['secret']['secretName']}"


def _created_by_wherry(cluster: Cluster) -> bool:
    live = namespace_of(cluster)
    return live is not None and ANNOTATION_CREATED_NAMESPACE in annotations_of(live)


def _left(cluster: Cluster, going: tuple[_Found, ...]) -> tuple[str, ...]:
    """What would be in the namespace without `going`; one entry that says so where not all may be seen.

    With nothing going any more, what other objects own counts too: their owners may be outside the namespace.
    """
    without = {one.what for one in going}
    found: list[str] = []
    for kind, verbs in cluster.kinds():
        if "list" not in verbs or kind.kind in SHADOWS:
            continue
        try:
            listed = cluster.list(kind)
        except ClusterFailed:
            return (f"{kind.plural}, which cannot be listed",)
        ours = [made for made in listed if what(made, kind) not in without | ALWAYS_THERE]
        found += [what(made, kind) for made in ours if not going or not made["metadata"].get("ownerReferences")]
    return tuple(found)


def _last(cluster: Cluster, removal: Removal, began: float, timeout: float, tell: Tell) -> Removal:
    """Removes the namespace if nothing is left in it, and waits until it is gone."""
    left = _left(cluster, ())
    if left:
        tell(Note(f"namespace {cluster.namespace} stays: it still holds {', '.join(left[:5])}"))
    else:
        tell(Step(f"removing namespace {cluster.namespace}"))
        cluster.delete(NAMESPACE, cluster.namespace)
        until = time.monotonic() + timeout
        while cluster.get(NAMESPACE, cluster.namespace) is not None:
            if time.monotonic() > until:
                raise StillThere(f"namespace/{cluster.namespace}", cluster.namespace, timeout)
            time.sleep(LOOK_AGAIN)
    took = round(time.monotonic() - began, 2)
    return msgspec.structs.replace(removal, namespace_goes=not left, done=True, seconds=took)
