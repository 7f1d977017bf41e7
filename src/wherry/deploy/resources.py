"""Kinds of Kubernetes objects, where the API keeps them, and how to read the facts that every object carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec

from wherry.contract.names import LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGER

Object: TypeAlias = dict[str, Any]


class Kind(msgspec.Struct, frozen=True):
    """A kind of object. group: empty for the core."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As kubectl and RBAC write it: deployments.apps."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Where the API keeps one object, or all of the kind in `namespace`."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace)}")
        parts.extend(filter(None, (self.plural, quote(name, safe=":"), subresource)))
        return "/".join(parts)


NAMESPACE = Kind("Namespace", "namespaces", namespaced=False)
NODE = Kind("Node", "nodes", namespaced=False)
POD = Kind("Pod", "pods")
QUOTA = Kind("ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("LimitRange", "limitranges")
STORAGE_CLASS = Kind("StorageClass", "storageclasses", "storage.k8s.io", namespaced=False)
EVENT = Kind("Event", "events")
SERVICE = Kind("Service", "services")
CONFIG_MAP = Kind("ConfigMap", "configmaps")
SECRET = Kind("Secret", "secrets")
SERVICE_ACCOUNT = Kind("ServiceAccount", "serviceaccounts")
CLAIM = Kind("PersistentVolumeClaim", "persistentvolumeclaims")
DEPLOYMENT = Kind("Deployment", "deployments", "apps")
REPLICA_SET = Kind("ReplicaSet", "replicasets", "apps")
DAEMON_SET = Kind("DaemonSet", "daemonsets", "apps", namespaced=False)  # of the nodes, wherever it was put
STATEFUL_SET = Kind("StatefulSet", "statefulsets", "apps")
# What runs a service's pods; the second where a strict store has each pod keep its spool.
WORKLOADS = (DEPLOYMENT, STATEFUL_SET)
AUTOSCALER = Kind("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2")
BUDGET = Kind("PodDisruptionBudget", "poddisruptionbudgets", "policy")
NETWORK_POLICY = Kind("NetworkPolicy", "networkpolicies", "networking.k8s.io")
INGRESS = Kind("Ingress", "ingresses", "networking.k8s.io")
ROLE = Kind("Role", "roles", "rbac.authorization.k8s.io")
ROLE_BINDING = Kind("RoleBinding", "rolebindings", "rbac.authorization.k8s.io")
JOB = Kind("Job", "jobs", "batch")
CRON_JOB = Kind("CronJob", "cronjobs", "batch")
HTTP_ROUTE = Kind("HTTPRoute", "httproutes", "gateway.networking.k8s.io")
SCALED_OBJECT = Kind("ScaledObject", "scaledobjects", "keda.sh", "v1alpha1")
POD_MONITOR = Kind("PodMonitor", "podmonitors", "monitoring.coreos.com")
PROMETHEUS_RULE = Kind("PrometheusRule", "prometheusrules", "monitoring.coreos.com")
POD_METRICS = Kind("PodMetrics", "pods", "metrics.k8s.io", "v1beta1")
LEASE = Kind("Lease", "leases", "coordination.k8s.io")
ACCESS_REVIEW = Kind("SelfSubjectAccessReview", "selfsubjectaccessreviews", "authorization.k8s.io", namespaced=False)

# What a deploy may have made before and no longer wants. Claims and Secrets are never pruned: they hold data.
PRUNABLE = (
    *(STATEFUL_SET, CRON_JOB, AUTOSCALER, SCALED_OBJECT, BUDGET, INGRESS, HTTP_ROUTE, POD_MONITOR, PROMETHEUS_RULE),
    *(NETWORK_POLICY, SERVICE, CONFIG_MAP, SERVICE_ACCOUNT),
)
# What keeps data, and outlives `down` unless it is told otherwise.
KEEPS_DATA = (CLAIM, SECRET)

_CLUSTER_WIDE = frozenset(
    {"Namespace", "Node", "PersistentVolume", "StorageClass", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
)


def kind_of(made: Mapping[str, Any]) -> Kind:
    """The kind of an object that carries its apiVersion, as every rendered object does."""
    group, _, version = str(made["apiVersion"]).rpartition("/")
    kind = str(made["kind"])
    return Kind(kind, plural(kind), group, version, kind not in _CLUSTER_WIDE)


def plural(kind: str) -> str:
    """How the API's paths spell a kind."""
    low = kind.lower()
    if re.search(r"[^aeiou]y$", low):
        return low[:-1] + "ies"
    return low + ("es" if re.search(r"(s|x|ch|sh)$", low) else "s")


def name_of(made: Mapping[str, Any]) -> str:
    return str(made["metadata"]["name"])


def what(made: Mapping[str, Any], kind: Kind | None = None) -> str:
    """An object as kubectl names it: deployment/breast."""
    return f"{(kind.kind if kind else str(made['kind'])).lower()}/{name_of(made)}"


def labels_of(made: Mapping[str, Any]) -> Mapping[str, str]:
    return made.get("metadata", {}).get("labels") or {}


def annotations_of(made: Mapping[str, Any]) -> Mapping[str, str]:
    return made.get("metadata", {}).get("annotations") or {}


def is_ours(made: Mapping[str, Any], name: str = "") -> bool:
    """Whether wherry made it, for the service called `name` if one is given."""
    has = labels_of(made)
    return has.get(LABEL_MANAGED_BY) == MANAGER and (not name or has.get(LABEL_INSTANCE) == name)


def selector(name: str = "") -> str:
    """The label selector for what wherry made, for one service or for all."""
    ours = f"{LABEL_MANAGED_BY}={MANAGER}"
    return f"{ours},{LABEL_INSTANCE}={name}" if name else ours


def match(wanted: Mapping[str, str]) -> str:
    """A label selector that matches all of `wanted`."""
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def condition(made: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The status condition of this type, empty when there is none."""
    found = (made.get("status") or {}).get("conditions") or ()
    return next((entry for entry in found if entry.get("type") == kind), {})


def owned_by(made: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    uid = owner.get("metadata", {}).get("uid")
    references = made.get("metadata", {}).get("ownerReferences") or ()
    return any(reference.get("uid") == uid for reference in references)


def age(made: Mapping[str, Any], now: datetime) -> float:
    """Seconds since the object was created, by the cluster's clock against ours."""
    created = made.get("metadata", {}).get("creationTimestamp")
    if not created:
        return 0.0
    return max(0.0, (now - datetime.fromisoformat(created)).total_seconds())


def utc_now() -> datetime:
    return datetime.now(UTC)
