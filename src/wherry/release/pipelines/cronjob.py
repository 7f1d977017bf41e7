"""A pipeline inside the cluster: a CronJob whose steps are containers, and an account that may no more than deploy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wherry.contract.cluster import Schedule
from wherry.contract.names import IMAGE_USER, LABEL_NAME
from wherry.errors import AccessRule
from wherry.release.objects import schedule
from wherry.release.pipelines.steps import IMAGE, Delivery, Step

GIT = "alpine/git:v2.45.2"
ROLE_FILE, FILE = "pipeline/role.yaml", "pipeline/cronjob.yaml"
PART_OF = "app.kubernetes.io/part-of"
PYTHON = "/workspace/.python"
SOURCES = "/workspace/sources"
CREDENTIALS = "/credentials"
# The account's token, as pods that may ask the API server have it; here only the steps that do.
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SOURCES = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
        }
    },
]
# To ask the model that serves, for the gate; and to ask the new one, for the deploy's proof. A tunnel is asked for
# by GET, and from Kubernetes 1.35 on takes the right to create, too.
ASKING = (
    *(AccessRule(verb, "", "pods/portforward") for verb in ("get", "create")),
    AccessRule("create", "", "services/proxy"),
)
RBAC = "rbac.authorization.k8s.io"


def metadata(delivery: Delivery) -> dict[str, Any]:
    """Not under the labels of the service, whose end the pipeline outlives: `wherry down` leaves it."""
    labels = {LABEL_NAME: delivery.account, PART_OF: delivery.name}
    return {"name": delivery.account, "namespace": delivery.namespace, "labels": labels}


def role(delivery: Delivery, needed: Iterable[AccessRule]) -> list[dict[str, Any]]:
    """The account, its rights in its namespace, and the binding of both."""
    about = metadata(delivery)
    subject = {"kind": "ServiceAccount", "name": delivery.account, "namespace": delivery.namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about, "automountServiceAccountToken": False},
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": about, "rules": rules([*needed, *ASKING])},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": delivery.account},
            "subjects": [subject],
        },
    ]


def rules(needed: Iterable[AccessRule]) -> list[dict[str, Any]]:
    """One rule for all resources of a group that take the same verbs."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for rule in needed:
        verbs.setdefault((rule.group, rule.resource), set()).add(rule.verb)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), found in sorted(verbs.items()):
        alike.setdefault((group, tuple(sorted(found))), []).append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(found)}
        for (group, found), resources in alike.items()
    ]


def cron_job(delivery: Delivery) -> dict[str, Any]:
    """Each step a container, one after the other; the first that fails ends the job, and what served goes on."""
    clone = f"git clone --depth 1 --branch {delivery.branch} {delivery.repository} {SOURCES}"
    source = container(Step("source", clone, ""), GIT, workdir="/workspace")
    made = [source, *(container(step, IMAGE, workdir=SOURCES) for step in delivery.steps)]
    pod = {
        "serviceAccountName": delivery.account,
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": IMAGE_USER,
            "runAsGroup": IMAGE_USER,
            "fsGroup": IMAGE_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": made[:-1],
        "containers": made[-1:],
        "volumes": [
            {"name": "workspace", "emptyDir": {"sizeLimit": "4Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "credentials", "secret": {"secretName": delivery.account, "optional": True}},
            {"name": "token", "projected": {"sources": TOKEN_SOURCES}},
        ],
    }
    about = metadata(delivery)
    return schedule.cron_job(
        about, about["labels"], Schedule(cron=delivery.schedule, start_within=3600, retries=0), pod
    )


def container(step: Step, image: str, *, workdir: str) -> dict[str, Any]:
    """A container for a step: no root, a read-only root, and only those credentials that the step takes."""
    environ = {"HOME": "/workspace", "PYTHONUSERBASE": PYTHON, "PATH": f"{PYTHON}/bin:/usr/local/bin:/usr/bin:/bin"}
    mounts: list[dict[str, Any]] = [
        {"name": "workspace", "mountPath": "/workspace"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if step.id == "source":
        environ = {"HOME": CREDENTIALS}  # git reads .netrc there
    if step.id in ("source", "build", "deploy"):
        mounts.append({"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True})
    if step.id in ("build", "deploy"):
        environ["DOCKER_CONFIG"] = CREDENTIALS
    if step.id in ("gate", "deploy"):
        mounts.append({"name": "token", "mountPath": TOKEN, "readOnly": True})
    return {
        "name": step.id,
        "image": image,
        "command": ["sh", "-c", step.command],
        "workingDir": workdir,
        "env": [{"name": name, "value": value} for name, value in environ.items()],
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "1Gi"},
            "limits": {"memory": "2Gi", "ephemeral-storage": "5Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
