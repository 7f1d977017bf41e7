"""The workload: what runs, when it counts as alive and ready, how it is replaced, what it may touch.

A Deployment, or where the store is strict a StatefulSet, each of whose pods finds its spool again.
"""

from __future__ import annotations

import math
from typing import Any

from wherry.contract.cluster import Resources
from wherry.contract.manifest import Manifest
from wherry.contract.names import ANNOTATION_UNMEASURED, ENV_SPOOL_ENDS, IMAGE_USER, SPOOL_DIR
from wherry.contract.project import Project
from wherry.contract.wire import LIVEZ, READYZ
from wherry.release.objects import model
from wherry.release.objects.config import STORE_DIR, STORE_PASSWORD, STORE_URL, TOKEN_DIR, TOKEN_KEY
from wherry.release.objects.identity import Identity
from wherry.release.objects.network import ADMIN, HTTP
from wherry.release.objects.scaling import autoscaled, workload_kind
from wherry.release.objects.storage import SQLITE_DIR, keeping, spool_template

CONTAINER = "server"
PRE_STOP_SECONDS = 5  # how long endpoint lists may lag behind a pod that is to end
FLUSH_SECONDS = 10
SPARE_SECONDS = 10
HUNG_SECONDS = 15  # a process that failed its liveness probe has nothing left to drain
MI = 2**20
LEAST_MEMORY_MI = 256
EPHEMERAL_MI = 256
SURGE_BY_SHARE_FROM = 8
# Libraries write caches in their home, and the root is read-only.
CACHES = {"HOME": "/tmp", "MPLCONFIGDIR": "/tmp", "NUMBA_CACHE_DIR": "/tmp"}


def workload(
    who: Identity, project: Project, manifest: Manifest, *, config: str, startup_seconds: int, progress_seconds: int
) -> dict[str, Any]:
    """The pods of the stable track. `config`: the ConfigMap's name. Without `replicas` where an autoscaler counts."""
    strict = keeping(project).strict
    annotations = dict(who.annotations)
    guessed = unmeasured(project)
    if guessed:
        annotations[ANNOTATION_UNMEASURED] = ",".join(guessed)
    spec: dict[str, Any] = {} if autoscaled(project) else {"replicas": project.deploy.replicas}
    spec |= {
        "minReadySeconds": 5,
        **({} if strict else {"progressDeadlineSeconds": progress_seconds}),
        "revisionHistoryLimit": 10,
        **(claiming(who, project) if strict else {"strategy": strategy(project)}),
        "selector": {"matchLabels": who.stable},
        "template": {
            "metadata": {"labels": {**who.labels, **who.stable}, "annotations": who.annotations},
            "spec": pod(who, project, manifest, config, startup_seconds),
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": workload_kind(project),
        "metadata": who.metadata("", annotations),
        "spec": spec,
    }


def claiming(who: Identity, project: Project) -> dict[str, Any]:
    """What a StatefulSet says beyond a Deployment: a spool a pod, which outlives the pod and also the StatefulSet."""
    return {
        "serviceName": who.name,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimTemplates": [spool_template(who, f"{spool_mi(project)}Mi")],
    }


def strategy(project: Project) -> dict[str, Any]:
    """Never below what serves now; a claim that one node may hold is freed before it is taken again."""
    if keeping(project).kind == "claim":
        return {"type": "Recreate"}
    fewest = project.deploy.autoscale.min if project.deploy.replicas is None else project.deploy.replicas
    surge: int | str = "25%" if fewest >= SURGE_BY_SHARE_FROM else 1
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": surge}}


def pod(who: Identity, project: Project, manifest: Manifest, config: str, startup_seconds: int) -> dict[str, Any]:
    return {
        "serviceAccountName": who.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds(project),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": IMAGE_USER,
            "runAsGroup": IMAGE_USER,
            "fsGroup": IMAGE_USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            spread(who, project, key) for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
        "containers": [container(who, project, manifest, config, startup_seconds)],
        "volumes": [volume for volume, _ in mounts(who, project) if len(volume) > 1],
    }


def container(who: Identity, project: Project, manifest: Manifest, config: str, startup_seconds: int) -> dict[str, Any]:
    ready = {"path": READYZ, "port": HTTP}
    return {
        "name": CONTAINER,
        "image": who.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"name": HTTP, "containerPort": project.serve.port, "protocol": "TCP"},
            {"name": ADMIN, "containerPort": project.serve.admin_port, "protocol": "TCP"},
        ],
        "envFrom": model.sources(project, config),
        "env": [
            {"name": name, "value": value}
            for name, value in {**CACHES, **spooled(project), **model.expected(who, project)}.items()
        ],
        "resources": resources(project, manifest),
        "startupProbe": {
            "httpGet": ready,
            "periodSeconds": 1,  # a pod that an autoscaler waits for is used within a second of being there
            "timeoutSeconds": 2,
            "failureThreshold": startup_seconds,
        },
        "readinessProbe": {
            "httpGet": ready,
            "periodSeconds": 3,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
            "successThreshold": 1,
        },
        "livenessProbe": {
            "httpGet": {"path": LIVEZ, "port": ADMIN},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": HUNG_SECONDS,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount for _, mount in mounts(who, project)],
    }


def grace_seconds(project: Project) -> int:
    """Time to end well: endpoints lag, lame duck, the longest request, the spool's flush, and some to spare."""
    serve = project.serve
    return math.ceil(PRE_STOP_SECONDS + serve.drain_seconds + serve.request_seconds + FLUSH_SECONDS + SPARE_SECONDS)


def spread(who: Identity, project: Project, key: str) -> dict[str, Any]:
    """Over nodes and zones as far as there are any; old and new pods of a rollout counted apart."""
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": who.stable},
        "matchLabelKeys": ["controller-revision-hash" if keeping(project).strict else "pod-template-hash"],
    }


def unmeasured(project: Project) -> tuple[str, ...]:
    """The resources that nobody has stated: guesses until they are measured."""
    wanted = project.deploy.resources
    stated = {"cpu": wanted.cpu != Resources().cpu, "memory": bool(wanted.memory)}
    return tuple(name for name, known in stated.items() if not known)


def resources(project: Project, manifest: Manifest) -> dict[str, Any]:
    """Memory is asked for in full, so that no neighbour can take it; CPU has no limit unless one is set."""
    wanted = project.deploy.resources
    memory = wanted.memory or f"{memory_mi(manifest, project.serve.workers)}Mi"
    kept = keeping(project)
    spool = 0 if kept.kind == "nothing" or kept.strict else spool_mi(project)
    limits = {"memory": memory, "ephemeral-storage": f"{EPHEMERAL_MI + spool}Mi"}
    if wanted.cpu_limit:
        limits = {"cpu": wanted.cpu_limit, **limits}
    return {
        "requests": {"cpu": wanted.cpu, "memory": memory, "ephemeral-storage": f"{EPHEMERAL_MI}Mi"},
        "limits": limits,
    }


def memory_mi(manifest: Manifest, workers: int) -> int:
    """1.5 times the peak seen at pack, a worker each; at least 256 MiB."""
    return max(LEAST_MEMORY_MI, math.ceil(1.5 * manifest.measured.peak_bytes * workers / MI))


def spool_mi(project: Project) -> int:
    """The volume of the rows that wait for the database: a pod that overfills it is evicted, so none may."""
    return math.ceil(project.store.spool_limit / MI)


def mounts(who: Identity, project: Project) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume with the place it is mounted at: the only paths that can be written, and the files of Secrets.

    A volume that is only named is a claim that the StatefulSet makes for each pod.
    """
    made = [({"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}, {"name": "tmp", "mountPath": "/tmp"})]
    kept = keeping(project)
    if kept.kind != "nothing":
        ephemeral = {} if kept.strict else {"emptyDir": {"sizeLimit": f"{spool_mi(project)}Mi"}}
        made.append(({"name": "spool", **ephemeral}, {"name": "spool", "mountPath": SPOOL_DIR}))
    if kept.kind == "claim":
        claim = {"name": "store", "persistentVolumeClaim": {"claimName": f"{who.name}-store"}}
        made.append((claim, {"name": "store", "mountPath": SQLITE_DIR}))
    if kept.url_key:
        made.append(secret("store-url", kept.secret, kept.url_key, STORE_DIR, STORE_URL))
    if kept.password_key:
        made.append(secret("store-password", kept.secret, kept.password_key, STORE_DIR, STORE_PASSWORD))
    made += model.volumes(project)
    if project.serve.token_file:
        made.append(secret("token", f"{who.name}-token", TOKEN_KEY, TOKEN_DIR))
    return made


def spooled(project: Project) -> dict[str, str]:
    """Told to the service so that it can say at its end what becomes of rows that no database has taken."""
    kept = keeping(project)
    return {ENV_SPOOL_ENDS: "pod"} if kept.kind != "nothing" and not kept.strict else {}


def secret(volume: str, name: str, key: str, folder: str, file: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """A file of a Secret, readable by the service alone; it follows the Secret when that changes."""
    held = {"secretName": name, "defaultMode": 0o400, "items": [{"key": key, "path": file or key}]}
    return {"name": volume, "secret": held}, {"name": volume, "mountPath": folder, "readOnly": True}
