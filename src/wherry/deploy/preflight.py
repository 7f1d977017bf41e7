"""What can be known before anything is changed: namespace, permissions, Secrets, and whose the names are."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from wherry.contract.events import Note, Tell
from wherry.contract.names import ANNOTATION_CREATED_NAMESPACE, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGER
from wherry.deploy.cluster import Cluster
from wherry.deploy.names import live_workload
from wherry.deploy.resources import (
    CLAIM,
    CONFIG_MAP,
    DAEMON_SET,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    SECRET,
    Kind,
    Object,
    annotations_of,
    is_ours,
    kind_of,
    labels_of,
    name_of,
    what,
)
from wherry.errors import (
    AccessRule,
    ClaimMissing,
    ClaimUnfit,
    ConfigMapMissing,
    NamespaceMissing,
    NotPermitted,
    ObjectForeign,
    ObjectRefused,
    SecretMissing,
    WorkloadDiffers,
)
from wherry.release.reference import Reference
from wherry.release.release import Release

# Reading what a rollout does, whatever the release holds.
WATCHING = (
    AccessRule("list", "", "pods"),
    AccessRule("watch", "", "pods"),
    AccessRule("list", "", "events"),
    AccessRule("list", "apps", "replicasets"),
    AccessRule("list", "apps", "deployments"),
    AccessRule("watch", "apps", "deployments"),
)
# Past releases are found among the ConfigMaps.
KEEPING = (AccessRule("list", "", "configmaps"),)
# The Lease that keeps two deploys of one service apart.
LOCKING = tuple(AccessRule(verb, LEASE.group, LEASE.plural) for verb in ("get", "create", "update", "delete"))

# Two versions at once: one goes again, its pods are asked each for itself, and sent away where they must let go.
BESIDE = (
    AccessRule("delete", "apps", "deployments"),
    AccessRule("create", "", "pods/portforward"),
    AccessRule("delete", "", "pods"),
    AccessRule("delete", "", "services"),
)

# A Job asks the Service, where --verify says so; without that word another way is found where these lack.
ASKING = (
    AccessRule("create", "batch", "jobs"),
    AccessRule("delete", "batch", "jobs"),
    AccessRule("get", "", "pods/log"),
)

# In the names of what runs on the nodes of clusters whose network enforces policies.
ENFORCERS = re.compile("anetd|antrea|azure-npm|calico|canal|cilium|kindnet|kube-ovn|kube-router|ovn|romana|weave")


def must_create_namespace(cluster: Cluster, allowed: bool) -> bool:
    """Whether the release has to hold the namespace: it is missing and may be made, or wherry made it before.

    allowed: --create-namespace; on a local cluster it is not needed. Raises NamespaceMissing.
    """
    live = namespace_of(cluster)
    if live is not None:
        return ANNOTATION_CREATED_NAMESPACE in annotations_of(live)
    if cluster.is_local or allowed:
        return True
    raise NamespaceMissing(cluster.namespace, cluster.context)


def namespace_of(cluster: Cluster) -> Object | None:
    """The namespace as it is. Where that may not be asked it is taken to exist: applying will tell."""
    try:
        return cluster.get(NAMESPACE, cluster.namespace)
    except NotPermitted:
        return {"metadata": {"name": cluster.namespace}}


def checked(
    release: Release, cluster: Cluster, *, beside: bool = False, by_job: bool = False
) -> dict[str, Object | None]:
    """What exists under each name of the release, by `what`, once it is known that the deploy may go on.

    beside: whether two versions are to run at once. by_job: whether nothing but a Job may prove it.
    Raises NotPermitted, ObjectForeign, SecretMissing, ImageNameRefused: nothing has been changed then.
    """
    Reference.parse(release.image)
    check_permissions(release, cluster, (*(BESIDE if beside else ()), *(ASKING if by_job else ())))
    live = existing(release, cluster)
    for made in release.objects:
        if made["kind"] != NAMESPACE.kind:
            check_owner(made, live[what(made)], release.name, cluster.namespace)
    check_workload(release, cluster)
    if live.get(f"namespace/{release.namespace}") is not None or release.find(NAMESPACE.kind) is None:
        check_secrets(release, cluster)
        check_model(release, cluster)
    return live


def check_permissions(release: Release, cluster: Cluster, more: tuple[AccessRule, ...] = ()) -> None:
    """Asks the cluster about every right that this deploy takes. Raises NotPermitted with all that lack."""
    if cluster.may("*", "*", "*"):
        return
    lacking = tuple(rule for rule in (*needed(release), *more) if not cluster.may(rule.verb, rule.group, rule.resource))
    if lacking:
        raise NotPermitted(lacking, cluster.namespace)


def needed(release: Release) -> Iterator[AccessRule]:
    """Every right in its namespace that deploying this release takes."""
    for made in release.objects:
        kind = kind_of(made)
        if kind.namespaced:
            for verb in ("get", "create", "patch"):
                yield AccessRule(verb, kind.group, kind.plural)
    if any(secret.random for secret in release.secrets):
        yield from (AccessRule(verb, "", "secrets") for verb in ("get", "create", "patch"))
    yield from KEEPING
    yield from LOCKING
    yield from WATCHING


def check_owner(wanted: Object, live: Object | None, name: str, namespace: str) -> None:
    """An object of that name is only changed when wherry made it for this service. Raises ObjectForeign."""
    if live is None or is_ours(live, name):
        return
    has = labels_of(live)
    owner = has.get(LABEL_MANAGED_BY, "")
    if owner == MANAGER:
        owner = f"wherry for {has.get(LABEL_INSTANCE, 'another service')}"
    raise ObjectForeign(what(wanted), namespace, owner)


def check_workload(release: Release, cluster: Cluster) -> None:
    """Pods of two workloads would share one Service, and neither would ever end. Raises WorkloadDiffers."""
    try:
        live = live_workload(cluster, release.name)
    except NamespaceMissing:
        return
    wanted = release.workload["kind"]
    if live is not None and live["kind"] != wanted and is_ours(live, release.name):
        raise WorkloadDiffers(release.name, live["kind"], wanted, cluster.namespace)


def check_model(release: Release, cluster: Cluster, *, copied: bool = False) -> None:
    """What the pods read the model and their last settings from is there; `copied`: the claim is made on the way.

    Raises ClaimMissing, ClaimUnfit, ConfigMapMissing. What may not be asked would name itself in the rollout.
    """
    claim, config_map = release.model.claim, release.model.config_map
    with contextlib.suppress(NotPermitted):
        if config_map and live_or_none(cluster, CONFIG_MAP, config_map) is None:
            raise ConfigMapMissing(config_map, cluster.namespace)
    with contextlib.suppress(NotPermitted):
        live = live_or_none(cluster, CLAIM, claim) if claim else None
        if live is not None:
            check_modes(release, live["spec"].get("accessModes") or (), cluster)
        elif claim and not copied:
            raise ClaimMissing(claim, cluster.namespace)


def live_or_none(cluster: Cluster, kind: Kind, name: str) -> Object | None:
    """An object; None too where its namespace is not there yet."""
    try:
        return cluster.get(kind, name)
    except NamespaceMissing:
        return None


def check_modes(release: Release, modes: Sequence[str], cluster: Cluster) -> None:
    """All of the pods can mount the claim, those of an update beside the old ones too. Raises ClaimUnfit."""
    several = release.replicas > 1 or release.autoscaled
    if set(modes) <= {"ReadWriteOncePod"}:
        raise ClaimUnfit(release.model.claim, "for one pod alone (ReadWriteOncePod)", "the old pods and the new")
    if set(modes) <= {"ReadWriteOnce", "ReadWriteOncePod"} and several and len(cluster.list(NODE)) > 1:
        raise ClaimUnfit(release.model.claim, "for one node alone (ReadWriteOnce)", "pods on several nodes")


def check_secrets(release: Release, cluster: Cluster) -> None:
    """Pods without their Secret would hang for minutes: better known now. Raises SecretMissing."""
    for secret in release.secrets:
        if secret.random:
            continue  # made by `passwords.make`, once it is known that the deploy goes on
        try:
            live = cluster.get(SECRET, secret.name)
        except NotPermitted:
            continue  # whoever deploys need not read Secrets; a missing one will name itself in the rollout
        if live is None or secret.key not in (live.get("data") or {}):
            raise SecretMissing(secret.name, secret.key, cluster.namespace, secret.source)


def note_policies(live: dict[str, Object | None], cluster: Cluster, tell: Tell) -> None:
    """Tells, before a network policy is first made, that nothing was found that would enforce it."""
    first = any(there is None for made, there in live.items() if made.startswith(f"{NETWORK_POLICY.kind.lower()}/"))
    try:
        on_nodes = cluster.list(DAEMON_SET) if first else ()
    except (NotPermitted, ObjectRefused):
        return
    if first and not any(ENFORCERS.search(name_of(made)) for made in on_nodes):
        told = "no network plugin that is known to enforce network policies runs on the nodes: this one may do nothing"
        tell(Note(told, hint="kubectl get daemonsets -A"))


def existing(release: Release, cluster: Cluster) -> dict[str, Object | None]:
    """What exists under each name of the release, by `what`."""
    return {
        what(made): namespace_of(cluster)
        if made["kind"] == NAMESPACE.kind
        else live_or_none(cluster, kind_of(made), name_of(made))
        for made in release.objects
    }
