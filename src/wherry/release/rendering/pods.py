"""The pods of a release as another project's controller runs them."""

from __future__ import annotations

import copy
from typing import Any

from wherry.contract.wire import LIVEZ
from wherry.errors import SettingProblem, SettingsRefused
from wherry.release.objects.config import is_settings
from wherry.release.objects.network import ADMIN, HTTP
from wherry.release.release import Object, Release

WORKLOADS = ("Deployment", "StatefulSet")


def workload_of(release: Release) -> Object:
    """The object that runs the service's pods; a database beside it has another name."""
    return next(each for each in release.objects if each["kind"] in WORKLOADS and is_own(each, release))


def is_own(made: Object, release: Release) -> bool:
    return bool(made["metadata"]["name"] == release.name)


def pod_of(release: Release, container: str) -> dict[str, Any]:
    """The pod's spec with one container called `container`, asked on the serving port alone.

    These controllers send what they send to one port, so liveness is asked there too, and the admin port is not named.
    How pods spread goes by labels, which such pods carry others of. Raises SettingsRefused for a strict store.
    """
    if workload_of(release)["kind"] == "StatefulSet":
        reason = "is strict: each pod keeps a claim of its own, which only a StatefulSet gives it"
        raise SettingsRefused(
            (SettingProblem("store.mode", reason, 'set [store] mode = "durable"'),), "this cannot be rendered"
        )
    spec: dict[str, Any] = copy.deepcopy(workload_of(release)["spec"]["template"]["spec"])
    del spec["topologySpreadConstraints"]
    (server,) = spec["containers"]
    server["name"] = container
    server["ports"] = [port for port in server["ports"] if port["name"] != ADMIN]
    server["livenessProbe"]["httpGet"] = {"path": LIVEZ, "port": HTTP}
    return spec


def kept(release: Release) -> list[Object]:
    """The objects that the pods need and that no controller makes: the account, the settings, a claim."""
    kinds = ("ServiceAccount", "PersistentVolumeClaim")
    return [made for made in release.objects if made["kind"] in kinds or is_settings(made)]


def bounds(release: Release) -> tuple[int, int, int | None]:
    """Fewest and most replicas, and the CPU target in percent, None where nothing scales them."""
    scaler = release.find("HorizontalPodAutoscaler")
    if scaler is None:
        return release.replicas, release.replicas, None
    spec = scaler["spec"]
    return spec["minReplicas"], spec["maxReplicas"], spec["metrics"][0]["resource"]["target"]["averageUtilization"]
