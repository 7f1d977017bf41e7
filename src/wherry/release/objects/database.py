"""A database beside the service, for trials: one pod, one claim, reached by the service's pods and by nobody else.

Its passwords are in a Secret that `deploy` makes where it is missing, and that is never rendered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wherry.contract.manifest import Manifest
from wherry.contract.names import LABEL_MANAGED_BY, MANAGER
from wherry.contract.project import Project
from wherry.release.databases import Recipe, database_name
from wherry.release.objects.identity import Identity, beside_name

SECRETS_DIR = "/var/run/wherry/database"
PORT = "sql"
CPU = "100m"
START_SECONDS = 300  # a first start writes its system tables, on a slow volume for minutes
STOP_SECONDS = 60


def objects(who: Identity, project: Project, manifest: Manifest, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """What to apply before the service, which waits for nothing: its rows wait in the spool."""
    name = beside_name(who.name)
    yield policy(who, name, project, recipe)
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(who, name),
        "spec": {
            "clusterIP": "None",
            "selector": who.database,
            "ports": [{"name": PORT, "protocol": "TCP", "port": recipe.port, "targetPort": PORT}],
        },
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(who, name),
        "spec": {
            "serviceName": name,
            "replicas": 1,
            "selector": {"matchLabels": who.database},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": {
                "metadata": {"labels": {**who.database, LABEL_MANAGED_BY: MANAGER}},
                "spec": pod(who, name, project, manifest, recipe),
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data", "labels": {**who.database, LABEL_MANAGED_BY: MANAGER}},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": project.store.database.size}},
                    },
                }
            ],
        },
    }


def metadata(who: Identity, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": who.namespace, "labels": {**who.database, LABEL_MANAGED_BY: MANAGER}}


def policy(who: Identity, name: str, project: Project, recipe: Recipe) -> dict[str, Any]:
    """In: the service's pods and its scheduled work, to its port. Out: nothing at all."""
    callers = [{"podSelector": {"matchLabels": who.selector}}]
    if project.deploy.schedule:
        callers.append({"podSelector": {"matchLabels": who.scheduled}})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(who, name),
        "spec": {
            "podSelector": {"matchLabels": who.database},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": callers, "ports": [{"protocol": "TCP", "port": recipe.port}]}],
            "egress": [],
        },
    }


def pod(who: Identity, name: str, project: Project, manifest: Manifest, recipe: Recipe) -> dict[str, Any]:
    """One container as the official image's own user: the restricted Pod Security Standard holds for it too."""
    environ = recipe.environ(database_name(project, manifest), f"{SECRETS_DIR}/")
    memory = f"{recipe.memory_mi}Mi"
    ready = {"exec": {"command": recipe.probe(f"{SECRETS_DIR}/")}, "timeoutSeconds": 5}
    container: dict[str, Any] = {
        "name": "database",
        "image": project.store.database.image or recipe.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": PORT, "containerPort": recipe.port, "protocol": "TCP"}],
        "env": [{"name": key, "value": value} for key, value in environ.items()],
        "resources": {"requests": {"cpu": CPU, "memory": memory}, "limits": {"memory": memory}},
        "startupProbe": {**ready, "periodSeconds": 2, "failureThreshold": START_SECONDS // 2},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 3},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": recipe.mount},
            {"name": "secrets", "mountPath": SECRETS_DIR, "readOnly": True},
            *({"name": f"writable-{place}", "mountPath": path} for place, path in enumerate(recipe.writable)),
        ],
    }
    if recipe.command:
        container["args"] = list(recipe.command)
    return {
        "serviceAccountName": who.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": recipe.uid,
            "runAsGroup": recipe.uid,
            "fsGroup": recipe.uid,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {
                "name": "secrets",
                "secret": {
                    "secretName": name,
                    "defaultMode": 0o400,
                    "items": [{"key": key, "path": key} for key in recipe.keys],
                },
            },
            *(
                {"name": f"writable-{place}", "emptyDir": {"sizeLimit": "64Mi"}}
                for place in range(len(recipe.writable))
            ),
        ],
    }
