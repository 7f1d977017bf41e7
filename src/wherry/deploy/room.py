"""Whether the cluster has room for what a deploy starts, asked before anything is built: nodes, quota, storage.

What may not be read is passed over: the rollout would name it. Nodes that are full are a refusal on a cluster of this
machine's own, and elsewhere a warning, since more nodes may come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from wherry.contract.events import Note, Tell
from wherry.contract.names import ANNOTATION_DIGEST
from wherry.contract.settings import quantity
from wherry.deploy.cluster import Cluster
from wherry.deploy.names import live_workload
from wherry.deploy.resources import (
    CLAIM,
    LIMIT_RANGE,
    NODE,
    QUOTA,
    STATEFUL_SET,
    STORAGE_CLASS,
    Kind,
    Object,
    annotations_of,
    condition,
    name_of,
)
from wherry.errors import ClusterFailed, NamespaceMissing, NoCluster, RoomLacking
from wherry.release.release import Release

EVERYWHERE = Kind("Pod", "pods", namespaced=False)  # the pods of all namespaces
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
OVER = ("Succeeded", "Failed")
PODS = 110  # that a node takes where it does not say


class Pods(msgspec.Struct, frozen=True):
    """What a deploy starts beside what runs: so many pods, each with these requests and limits."""

    count: int
    requests: Mapping[str, float]
    limits: Mapping[str, float]

    @property
    def words(self) -> str:
        return f"{self.count} {'pod' if self.count == 1 else 'pods'}"


def check(release: Release, cluster: Cluster, tell: Tell, *, whole: bool = False, beside: int = 0) -> None:
    """Returns when there is room, or when it cannot be known. Raises RoomLacking with what there is and what it takes.

    whole: all of the new version is started beside the old one, not one pod after the other. beside: pods that stand
    beside both meanwhile, as a canary's or a shadow's.
    """
    try:
        live = live_workload(cluster, release.name)
    except NamespaceMissing:
        live = None  # without a namespace there is no quota either, but there are nodes
    needed = starting(release, live, whole=whole, beside=beside)
    for reason, hint in (*in_quotas(needed, cluster), *in_storage(release, cluster)):
        raise RoomLacking(release.name, reason, hint)
    found = on_nodes(needed, cluster)
    if found:
        hint = "ask for less ([deploy.resources] in wherry.toml), or see who uses it: kubectl describe nodes"
        if cluster.is_local:
            raise RoomLacking(release.name, found, hint)
        tell(Note(f"{found}; unless nodes are added, the new version waits for room", warn=True, hint=hint))


def starting(release: Release, live: Object | None, *, whole: bool = False, beside: int = 0) -> Pods:
    """The pods that run beside what serves now, until that has ended; none where nothing of them changes."""
    container = release.workload["spec"]["template"]["spec"]["containers"][0]
    resources = container.get("resources") or {}
    asked = {key: quantity(value) for key, value in (resources.get("requests") or {}).items()}
    limits = {key: quantity(value) for key, value in (resources.get("limits") or {}).items()}
    return Pods(count(release, live, whole=whole) + beside, asked, limits)


def count(release: Release, live: Object | None, *, whole: bool) -> int:
    if live is None:
        return release.replicas
    runs = int(live["spec"].get("replicas", 1))
    if whole:
        return runs
    spec = release.workload["spec"]
    template = live["spec"]["template"]
    same = (
        annotations_of(template).get(ANNOTATION_DIGEST) == release.model_digest
        and template["spec"]["containers"][0].get("resources") == spec["template"]["spec"]["containers"][0]["resources"]
    )
    strategy = spec.get("strategy") or {}
    if same or release.workload["kind"] == STATEFUL_SET.kind or strategy.get("type") == "Recreate":
        return 0  # nothing new, or the old pod's place is taken
    surge = (strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
    if isinstance(surge, int):
        return min(surge, runs)
    return math.ceil(runs * int(str(surge).rstrip("%")) / 100)


def on_nodes(needed: Pods, cluster: Cluster) -> str:
    """Why the nodes have no room, empty where they have or where that may not be asked."""
    if not needed.count:
        return ""
    try:
        nodes, pods = cluster.list(NODE), cluster.list(EVERYWHERE)
    except NoCluster:
        raise
    except ClusterFailed:
        return ""
    if not nodes:
        return ""  # somebody else's to know, as on a cluster that makes a node when a pod comes
    open_nodes = [node for node in nodes if takes_pods(node)]
    fit, best = 0, {"cpu": 0.0, "memory": 0.0}
    for node in open_nodes:
        free = left(node, pods)
        best = {key: max(best[key], free[key]) for key in best}
        fit += room(free, needed.requests)
    if fit >= needed.count:
        return ""
    cpu, memory = needed.requests.get("cpu", 0.0), needed.requests.get("memory", 0.0)
    return (
        f"the nodes have room for {fit} of the {needed.words} that this starts "
        f"({round(1000 * cpu)}m CPU and {round(memory / 2**20)}Mi memory each; the most that is free on one of the "
        f"{len(open_nodes)} nodes that take pods is {round(1000 * best['cpu'])}m and {round(best['memory'] / 2**20)}Mi)"
    )


def takes_pods(node: Object) -> bool:
    """Whether a node is ready, and open to pods that tolerate nothing."""
    spec = node.get("spec") or {}
    closed = any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or ())
    return condition(node, "Ready").get("status") == "True" and not spec.get("unschedulable") and not closed


def left(node: Object, pods: Iterable[Object]) -> dict[str, float]:
    """What nobody has asked for yet of a node's CPU, memory and places."""
    has = node["status"].get("allocatable") or {}
    free = {"cpu": quantity(has.get("cpu", "0")), "memory": quantity(has.get("memory", "0"))}
    free["pods"] = quantity(str(has.get("pods", PODS)))
    for pod in pods:
        if pod["spec"].get("nodeName") == name_of(node) and (pod.get("status") or {}).get("phase") not in OVER:
            free["pods"] -= 1
            for container in pod["spec"]["containers"]:
                for key, value in ((container.get("resources") or {}).get("requests") or {}).items():
                    if key in free:
                        free[key] -= quantity(str(value))
    return free


def room(free: Mapping[str, float], asked: Mapping[str, float]) -> int:
    """How many such pods fit."""
    bounds = [free["pods"], *(free[key] / asked[key] for key in ("cpu", "memory") if asked.get(key))]
    return max(0, math.floor(min(bounds) + 1e-9))


def in_quotas(needed: Pods, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """What the namespace's quotas would refuse, with what to type about it."""
    if not needed.count:
        return
    quotas = listed(cluster, QUOTA)
    takes: dict[str, float] = {"pods": 1, "count/pods": 1, **needed.requests}
    takes |= {f"requests.{key}": value for key, value in needed.requests.items()}
    takes |= {f"limits.{key}": value for key, value in needed.limits.items()}
    for one in quotas:
        if one["spec"].get("scopes") or one["spec"].get("scopeSelector"):
            continue  # of other pods, perhaps
        state = one.get("status") or {}
        for key, bound in (state.get("hard") or {}).items():
            if key == "limits.cpu" and key not in takes and not listed(cluster, LIMIT_RANGE):
                yield (
                    f"quota {name_of(one)} takes only pods with a CPU limit, and these have none",
                    '[deploy.resources] cpu_limit = "1"',
                )
            used, asked = str((state.get("used") or {}).get(key, "0")), needed.count * takes.get(key, 0.0)
            if asked and quantity(used) + asked > quantity(str(bound)) + 1e-9:
                reason = (
                    f"quota {name_of(one)} allows {bound} of {key}, {used} are used, "
                    f"and this starts {needed.words} more that take {takes[key]:g} each"
                )
                yield reason, f"{cluster.kubectl} describe resourcequota; ask for less in [deploy.resources]"


def in_storage(release: Release, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Claims that nobody would provide for."""
    wanted = list(claims(release))
    try:
        classes = cluster.list(STORAGE_CLASS) if wanted else ()
        for name, class_name in wanted:
            if class_name == "" or (name and cluster.get(CLAIM, name) is not None):
                continue  # by hand, or there already
            if class_name is None and not any(annotations_of(one).get(DEFAULT_CLASS) == "true" for one in classes):
                yield "the cluster has no default StorageClass to make its volume", "kubectl get storageclass"
            elif class_name is not None and class_name not in map(name_of, classes):
                yield f"the cluster has no StorageClass {class_name}", "kubectl get storageclass"
    except NoCluster:
        raise
    except ClusterFailed:
        return  # whoever deploys may not read them


def claims(release: Release) -> Iterator[tuple[str, Any]]:
    """Name and class of every claim; no name where a StatefulSet makes one for each pod."""
    for made in release.objects:
        if made["kind"] == CLAIM.kind:
            yield name_of(made), made["spec"].get("storageClassName")
        for template in made.get("spec", {}).get("volumeClaimTemplates") or ():
            yield "", template["spec"].get("storageClassName")


def listed(cluster: Cluster, kind: Kind) -> tuple[Object, ...]:
    """What there is of a kind; nothing where it may not be read."""
    try:
        return cluster.list(kind)
    except NoCluster:
        raise
    except ClusterFailed:
        return ()
