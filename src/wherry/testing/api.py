"""The API's state and what becomes of it: apply, list, watch, delete, and a Deployment controller without waiting."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wherry.testing.fields import (
    Key,
    Leaf,
    Object,
    drop,
    gone_with,
    leaves,
    managed,
    matches,
    read,
    said_of,
    uid,
    write,
)

# What the API knows: plural to group/version, kind, namespaced.
KINDS = {
    "namespaces": ("v1", "Namespace", False),
    "nodes": ("v1", "Node", False),
    "pods": ("v1", "Pod", True),
    "events": ("v1", "Event", True),
    "services": ("v1", "Service", True),
    "configmaps": ("v1", "ConfigMap", True),
    "secrets": ("v1", "Secret", True),
    "serviceaccounts": ("v1", "ServiceAccount", True),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim", True),
    "deployments": ("apps/v1", "Deployment", True),
    "statefulsets": ("apps/v1", "StatefulSet", True),
    "daemonsets": ("apps/v1", "DaemonSet", True),
    "replicasets": ("apps/v1", "ReplicaSet", True),
    "horizontalpodautoscalers": ("autoscaling/v2", "HorizontalPodAutoscaler", True),
    "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget", True),
    "leases": ("coordination.k8s.io/v1", "Lease", True),
    "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy", True),
    "jobs": ("batch/v1", "Job", True),
    "resourcequotas": ("v1", "ResourceQuota", True),
    "limitranges": ("v1", "LimitRange", True),
    "storageclasses": ("storage.k8s.io/v1", "StorageClass", False),
    "cronjobs": ("batch/v1", "CronJob", True),
    "httproutes": ("gateway.networking.k8s.io/v1", "HTTPRoute", True),
}
# Top-level fields of the kinds that tests misspell; other kinds take any.
FIELDS = {"ConfigMap": {"data", "binaryData", "immutable"}, "Deployment": {"spec"}, "Service": {"spec"}}
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
REVISION = "deployment.kubernetes.io/revision"
KEPT = frozenset({"name", "namespace", "managedFields"})
READY: Object = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"name": "server", "ready": True, "restartCount": 0, "state": {"running": {}}}],
}


class Refused(Exception):
    """The HTTP status and the Status object of a refusal."""

    def __init__(self, code: int, message: str, details: Mapping[str, Any] | None = None) -> None:
        self.code = code
        self.status = {"kind": "Status", "code": code, "message": message, "details": details or {}}


class FakeApi:
    """The API's state. fate: a new pod's status, from its Deployment. answer: what a Service behind the proxy replies,
    from its name and the request's body, as status, headers and body. denied: (verb, plural) that are forbidden.
    usage: CPU and memory by pod, as metrics-server has them; None: there is no metrics-server. job: the status of a
    Job's pod, and what it logs.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.owners: dict[Key, dict[Leaf, set[str]]] = {}
        self.log: list[tuple[int, str, str, Object]] = []
        self.oldest = 0  # watches from before this version are answered 410
        self.fate: Callable[[Object], Object] = lambda deployment: READY
        self.answer: Callable[[str, bytes], tuple[int, dict[str, str], bytes]] = lambda name, body: (200, {}, b"{}")
        self.logs: dict[str, str] = {}
        self.denied: set[tuple[str, str]] = set()
        self.job: Callable[[Object], tuple[Object, str]] = lambda job: ({"phase": "Succeeded"}, "")
        self.usage: dict[str, tuple[str, str]] | None = None
        self.requests: list[tuple[str, str]] = []
        self.changed = threading.Condition(threading.RLock())
        self._versions = itertools.count(1)
        self.put("namespaces", {"metadata": {"name": "default"}})

    # --- what tests call --------------------------------------------------------------------------------------------

    def put(self, plural: str, made: Object, namespace: str = "") -> Object:
        """Has an object exist as it is, whoever made it."""
        api, kind, _ = KINDS[plural]
        meta = {"namespace": namespace} if namespace else {}
        made = {"apiVersion": api, "kind": kind, **made, "metadata": {**meta, **made["metadata"]}}
        with self.changed:
            return self._store((plural, namespace, made["metadata"]["name"]), made)

    def remove(self, plural: str, name: str, namespace: str = "") -> None:
        with self.changed:
            self._delete((plural, namespace, name))

    def all(self, plural: str, namespace: str = "") -> list[Object]:
        with self.changed:
            return [made for (what, space, _), made in self.objects.items() if (what, space) == (plural, namespace)]

    # --- what the API does ------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Object:
        if key not in self.objects:
            raise Refused(404, f'{key[0]} "{key[2]}" not found', {"name": key[2], "kind": key[0]})
        return self.objects[key]

    def list(self, plural: str, namespace: str, labels: str, fields: str) -> Object:
        api, kind, _ = KINDS[plural]
        with self.changed:
            places = {space for what, space, _ in self.objects if what == plural and namespace in ("", space)}
            everywhere = [made for place in sorted(places) for made in self.all(plural, place)]
            found = [made for made in everywhere if matches(made, labels, fields)]
            return {"kind": f"{kind}List", "apiVersion": api, "metadata": self._version(), "items": found}

    def measured(self, namespace: str, labels: str) -> Object:
        """What metrics-server answers. Raises Refused where there is none."""
        if self.usage is None:
            raise Refused(404, "the server could not find the requested resource")
        found = [pod for pod in self.all("pods", namespace) if matches(pod, labels, "")]
        used = {pod["metadata"]["name"]: self.usage.get(pod["metadata"]["name"]) for pod in found}
        items = [
            {"metadata": {"name": name}, "containers": [{"usage": {"cpu": given[0], "memory": given[1]}}]}
            for name, given in used.items()
            if given is not None
        ]
        return {"kind": "PodMetricsList", "metadata": {}, "items": items}

    def apply(self, key: Key, wish: Object, manager: str, force: bool, dry: bool) -> Object:
        plural, namespace, name = key
        if namespace and ("namespaces", "", namespace) not in self.objects:
            raise Refused(404, f'namespaces "{namespace}" not found', {"name": namespace, "kind": "namespaces"})
        self._strict(key, wish)
        live = copy.deepcopy(self.objects.get(key) or {"apiVersion": wish["apiVersion"], "kind": wish["kind"]})
        live.setdefault("metadata", {}).update({"name": name} | ({"namespace": namespace} if namespace else {}))
        owners = {path: set(who) for path, who in self.owners.get(key, {}).items()}
        wanted = dict(leaves({part: wish[part] for part in wish if part not in ("apiVersion", "kind", "metadata")}))
        wanted |= {("metadata", *path): value for path, value in leaves(wish["metadata"]) if path[0] not in KEPT}
        clash = {
            path: owners[path] - {manager}
            for path, value in wanted.items()
            if owners.get(path, set()) - {manager} and read(live, path) != value
        }
        if clash and not force:
            causes = [
                {
                    "reason": "FieldManagerConflict",
                    "message": f'conflict with "{min(who)}"',
                    "field": f".{'.'.join(path)}",
                }
                for path, who in clash.items()
            ]
            raise Refused(409, f"Apply failed with {len(causes)} conflicts", {"causes": causes})
        for path in [path for path, who in owners.items() if manager in who and path not in wanted]:
            owners[path].discard(manager)
            if not owners[path]:
                del owners[path]
                drop(live, path)
        for path, value in wanted.items():
            write(live, path, value)
            owners[path] = {manager} if path in clash else owners.get(path, set()) | {manager}
        if plural == "deployments":
            live["spec"].setdefault("replicas", 1)
        live["metadata"]["managedFields"] = managed(owners)
        if dry:
            return live
        self.owners[key] = owners
        before = self.objects.get(key, {}).get("metadata", {}).get("generation")
        made = self._store(key, live)
        if plural == "deployments" and made["metadata"]["generation"] != before:
            self.control(made)
        return self.objects[key]

    def create(self, plural: str, namespace: str, made: Object) -> Object:
        """A new object, 409 where there is one of that name."""
        key = (plural, namespace, made["metadata"]["name"])
        if ("namespaces", "", namespace) not in self.objects:
            raise Refused(404, f'namespaces "{namespace}" not found', {"name": namespace, "kind": "namespaces"})
        if key in self.objects:
            raise Refused(409, f'{plural} "{key[2]}" already exists', {"name": key[2], "kind": plural})
        stored = self._store(key, {**made, "metadata": {**made["metadata"], "namespace": namespace}})
        if plural == "jobs":
            self.run(stored)
        return stored

    def run(self, job: Object) -> None:
        """What the Job controller and the kubelet do, at once: one pod, and what it says."""
        name, template = job["metadata"]["name"], job["spec"]["template"]
        status, self.logs[f"{name}-0"] = self.job(job)
        labels = {**template["metadata"].get("labels", {}), "job-name": name}
        meta = {"name": f"{name}-0", "labels": labels, "ownerReferences": [{"uid": uid(job)}]}
        self.put("pods", {"metadata": meta, "spec": template["spec"], "status": status}, job["metadata"]["namespace"])

    def replace(self, key: Key, made: Object) -> Object:
        """The object in the place of the version that it names, 409 where that is past."""
        before = self.get(key)["metadata"]
        self._meets(key, {"resourceVersion": made["metadata"].get("resourceVersion", before["resourceVersion"])})
        kept = {field: before[field] for field in ("uid", "creationTimestamp", "namespace")}
        return self._store(key, {**made, "metadata": {**made["metadata"], **kept}})

    def _meets(self, key: Key, wanted: Mapping[str, str]) -> None:
        has = self.get(key)["metadata"]
        if any(has[field] != value for field, value in wanted.items()):
            words = f'Operation cannot be fulfilled on {key[0]} "{key[2]}": the object has been modified'
            raise Refused(409, words, {"name": key[2], "kind": key[0]})

    def delete(self, key: Key, only: Mapping[str, str] | None = None) -> Object:
        owners = {one["uid"] for one in self.get(key)["metadata"].get("ownerReferences") or ()}
        self._meets(key, only or {})
        self._delete(key)
        while gone := [one for one, made in self.objects.items() if gone_with(made, one, key, self.objects)]:
            for other in gone:
                self._delete(other)
        for own in [made for made in self.all("replicasets", key[1]) if key[0] == "pods" and uid(made) in owners]:
            for deployment in self.all("deployments", key[1]):  # which has another pod in its place
                if uid(deployment) == own["metadata"]["ownerReferences"][0]["uid"]:
                    self.control(deployment)
        return {"kind": "Status", "status": "Success"}

    def control(self, deployment: Object) -> None:
        """What the Deployment controller and the kubelet do, at once. Old pods go when all new ones are ready."""
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        template, wanted = deployment["spec"]["template"], deployment["spec"]["replicas"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        sets = {
            made["metadata"]["name"]: made
            for made in self.all("replicasets", namespace)
            if made["metadata"]["ownerReferences"][0]["uid"] == uid(deployment)
        }
        own = sets.get(f"{name}-{digest}")
        if own is None:
            meta = {"name": f"{name}-{digest}", "labels": template["metadata"]["labels"]}
            meta |= {"annotations": {REVISION: str(len(sets) + 1)}, "ownerReferences": [{"uid": uid(deployment)}]}
            own = self.put("replicasets", {"metadata": meta, "spec": {"template": template}}, namespace)
        status = self.fate(deployment)
        for pod in self.all("pods", namespace):
            if pod["metadata"]["ownerReferences"][0]["uid"] == uid(own):
                self._delete(("pods", namespace, pod["metadata"]["name"]))
        for number in range(wanted):
            meta = {"name": f"{name}-{digest}-{number}", "labels": template["metadata"]["labels"]}
            meta["ownerReferences"] = [{"uid": uid(own)}]
            self.put("pods", {"metadata": meta, "spec": template["spec"], "status": status}, namespace)
        ready = wanted if status is READY else 0
        owners = {uid(made) for made in sets.values()} | {uid(own)}
        pods = [pod for pod in self.all("pods", namespace) if pod["metadata"]["ownerReferences"][0]["uid"] in owners]
        old = [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["uid"] != uid(own)]
        if ready == wanted:
            for pod in old:
                self._delete(("pods", namespace, pod["metadata"]["name"]))
            old = []
        deployment["metadata"].setdefault("annotations", {})[REVISION] = own["metadata"]["annotations"][REVISION]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": wanted + len(old),
            "updatedReplicas": wanted,
            "readyReplicas": ready + len(old),
            "availableReplicas": ready + len(old),
        }

    def watch(self, plural: str, namespace: str, since: int, labels: str, seconds: float) -> Iterator[Object]:
        until = time.monotonic() + seconds
        if since < self.oldest:
            yield {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
            return
        while True:
            with self.changed:
                news = [one for one in self.log if one[0] > since]
                if not news and not self.changed.wait(max(0.0, until - time.monotonic())):
                    return
            for version, kind, what, made in news:
                since = version
                meta = made["metadata"]
                if what == plural and meta.get("namespace", "") == namespace and matches(made, labels, ""):
                    yield {"type": kind, "object": made}
            if time.monotonic() >= until:
                return

    def _strict(self, key: Key, wish: Object) -> None:
        allowed = FIELDS.get(wish["kind"])
        unknown = set(wish) - {"apiVersion", "kind", "metadata"} - (allowed or set(wish))
        if unknown:
            raise Refused(500, f"failed to create typed patch object: .{min(unknown)}: field not declared in schema")

    def _store(self, key: Key, made: Object) -> Object:
        before = self.objects.get(key)
        meta = made["metadata"]
        if before is None:
            meta |= {"uid": f"uid-{next(self._versions)}", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
        elif {**before, "metadata": None} != {**made, "metadata": None} or said_of(before) != said_of(made):
            meta["generation"] = before["metadata"]["generation"] + (before.get("spec") != made.get("spec"))
        else:
            before["metadata"]["managedFields"] = meta.get("managedFields", [])
            return before
        meta["resourceVersion"] = str(next(self._versions))
        self.objects[key] = made
        self._tell("ADDED" if before is None else "MODIFIED", key, made)
        return made

    def _delete(self, key: Key) -> None:
        made = copy.deepcopy(self.objects.pop(key))
        self.owners.pop(key, None)
        made["metadata"]["resourceVersion"] = str(next(self._versions))
        self._tell("DELETED", key, made)

    def _tell(self, kind: str, key: Key, made: Object) -> None:
        self.log.append((int(made["metadata"]["resourceVersion"]), kind, key[0], copy.deepcopy(made)))
        self.changed.notify_all()

    def _version(self) -> Object:
        return {"resourceVersion": str(self.log[-1][0] if self.log else 0)}
