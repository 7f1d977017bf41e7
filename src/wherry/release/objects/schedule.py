"""Work at set times: a CronJob for each of [deploy.schedule], with the image, settings and rights of the service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from wherry.contract.cluster import Schedule
from wherry.contract.manifest import Manifest
from wherry.contract.names import LABEL_MANAGED_BY, LABEL_SCHEDULE, MANAGER, object_name
from wherry.contract.project import Project
from wherry.errors import SettingProblem
from wherry.release.objects import cron, network
from wherry.release.objects.identity import Identity
from wherry.release.objects.workload import CACHES, EPHEMERAL_MI, mounts, pod, resources

# The controller adds eleven characters to a CronJob's name, and a label holds 63.
LONGEST_NAME = 52
# What a job may need of the service's volumes. Its spool and its database file belong to the pods that serve.
MOUNTED = ("tmp", "store-url", "store-password", "token")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
OVERLAP = {"forbid": "Forbid", "allow": "Allow", "replace": "Replace"}


def objects(who: Identity, project: Project, manifest: Manifest, config: str) -> Iterator[dict[str, Any]]:
    """A policy for all of them, then each, by name. config: the name of the ConfigMap with the settings."""
    wanted = sorted(project.deploy.schedule.items())
    if wanted:
        yield policy(who, project)
    for name, one in wanted:
        labels = {**who.scheduled, LABEL_MANAGED_BY: MANAGER, LABEL_SCHEDULE: name}
        yield cron_job(who.metadata(f"-{name}"), labels, one, job_pod(who, project, manifest, config, one))


def cron_job(metadata: dict[str, Any], labels: dict[str, str], one: Schedule, job: dict[str, Any]) -> dict[str, Any]:
    """Never two runs at once unless that is wished, a bound on each, and few that have ended. job: the pod's spec."""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata,
        "spec": {
            "schedule": one.cron,
            "timeZone": one.time_zone,
            "concurrencyPolicy": OVERLAP[one.overlap],
            "startingDeadlineSeconds": one.start_within,
            "successfulJobsHistoryLimit": one.keep_succeeded,
            "failedJobsHistoryLimit": one.keep_failed,
            "suspend": one.suspended,
            "jobTemplate": {
                "metadata": {"labels": labels},
                "spec": {
                    "backoffLimit": one.retries,
                    "activeDeadlineSeconds": one.run_seconds,
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": job,
                    },
                },
            },
        },
    }


def job_pod(who: Identity, project: Project, manifest: Manifest, config: str, one: Schedule) -> dict[str, Any]:
    """The service's own pod but for what it runs: the same account, security context and settings."""
    served = pod(who, project, manifest, config, 0)
    (server,) = served["containers"]
    volumes = [(volume, mount) for volume, mount in mounts(who, project) if volume["name"] in MOUNTED]
    secret = [{"secretRef": {"name": one.secret}}] if one.secret else []
    memory = one.memory or resources(project, manifest)["limits"]["memory"]
    asked = {"cpu": one.cpu, "memory": memory, "ephemeral-storage": f"{EPHEMERAL_MI}Mi"}
    return {
        "serviceAccountName": served["serviceAccountName"],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": served["securityContext"],
        "containers": [
            {
                "name": "job",
                "image": one.image or who.image,
                "imagePullPolicy": server["imagePullPolicy"],
                "command": list(one.command),
                "envFrom": [*server["envFrom"], *secret],
                "env": [{"name": key, "value": value} for key, value in {**CACHES, **one.env}.items()],
                "resources": {
                    "requests": asked,
                    "limits": {key: asked[key] for key in ("memory", "ephemeral-storage")},
                },
                "securityContext": server["securityContext"],
                "volumeMounts": [mount for _, mount in volumes],
            }
        ],
        "volumes": [volume for volume, _ in volumes],
    }


def policy(who: Identity, project: Project) -> dict[str, Any]:
    """In: nothing. Out: what the service may call, and the service itself."""
    own = {
        "to": [{"podSelector": {"matchLabels": who.selector}}],
        "ports": [{"protocol": "TCP", "port": network.HTTP}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": who.metadata("-schedule"),
        "spec": {
            "podSelector": {"matchLabels": who.scheduled},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [*network.egress_rules(who, project), own],
        },
    }


def problems(project: Project, manifest: Manifest) -> Iterator[SettingProblem]:
    """What of [deploy.schedule] the cluster would refuse, or would never run."""
    try:
        service = object_name(project.deploy.name or manifest.name)
    except ValueError:
        return  # said already, of the name
    for name, one in sorted(project.deploy.schedule.items()):
        path = f"deploy.schedule.{name}"
        if not NAME.fullmatch(name):
            yield SettingProblem(path, "is no name for an object", "small letters, digits and hyphens")
        elif len(service) + 1 + len(name) > LONGEST_NAME:
            longest = LONGEST_NAME - len(service) - 1
            yield SettingProblem(path, f"is too long a name beside {service}", f"{max(longest, 1)} characters at most")
        if not one.command:
            yield SettingProblem(f"{path}.command", "is needed", 'command = ["python3", "-m", "wherry.server.pruning"]')
        if not one.cron:
            yield SettingProblem(f"{path}.cron", "is needed", 'cron = "30 3 * * *"')
        elif wrong := cron.trouble(one.cron):
            yield SettingProblem(f"{path}.cron", wrong, '"30 3 * * *" is each night at half past three')
        if one.time_zone == "Local" or not cron.ZONE.fullmatch(one.time_zone):
            yield SettingProblem(f"{path}.time_zone", f"is {one.time_zone!r}, no time zone", '"Europe/Oslo"')
