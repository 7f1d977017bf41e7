"""A release beside another one of the same service: the same pods in another track, under a name of their own. Pure.

stable: what serves. canary: a few pods of a new version behind the same Service. baseline: more pods of the old
version, so that the canary's share is small. green: a whole new version that the Service is switched to. shadow: a
version that gets copies of requests, and is behind a Service of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from wherry.contract.names import ENV_PREFIX, LABEL_INSTANCE, LABEL_NAME, LABEL_TRACK
from wherry.release.objects.config import is_settings
from wherry.release.objects.network import HTTP
from wherry.release.release import Object, Release

Track: TypeAlias = Literal["stable", "canary", "baseline", "green", "shadow"]
LONGEST = 63
SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


def name_in(name: str, track: str) -> str:
    """What the workload of the service `name` is called in `track`."""
    if track == "stable":
        return name
    return name[: LONGEST - len(track) - 1].rstrip("-") + f"-{track}"


def track_of(selector: Mapping[str, str]) -> str:
    """The track that a Service's selector finds; stable where it finds those of all."""
    return selector.get(LABEL_TRACK, "stable")


def placed(release: Release, track: Track, replicas: int | None = None) -> Release:
    """The release with its workload, and the autoscaler of that, in `track`; its Service finds only this track.

    replicas: how many pods to begin with; None: as the release says.
    """
    objects = []
    for made in release.objects:
        if made is release.workload:
            made = workload(release, track, replicas)
        elif made["kind"] in SCALERS:
            made = copy.deepcopy(made)
            made["metadata"]["name"] = made["spec"]["scaleTargetRef"]["name"] = name_in(release.name, track)
            _marked(made, track)
        elif made["kind"] == "Service" and made["metadata"]["name"] == release.name:
            made = selecting(made, track)
        objects.append(made)
    return msgspec.structs.replace(release, objects=tuple(objects))


def workload(release: Release, track: Track, replicas: int | None = None) -> Object:
    """The release's workload in `track`."""
    made = copy.deepcopy(release.workload)
    made["metadata"]["name"] = name_in(release.name, track)
    _marked(made, track)
    spec = made["spec"]
    pod = spec["template"]["spec"]
    labelled = [spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]]
    labelled += [one["labelSelector"]["matchLabels"] for one in pod.get("topologySpreadConstraints", ())]
    for labels in labelled:
        labels |= labels_in(release.name, track)
    if replicas is not None:
        spec["replicas"] = replicas
    return made


def labels_in(name: str, track: str) -> dict[str, str]:
    """The labels that find the pods of `track`. A shadow's pods bear another name: no Service of the service's."""
    shown = name_in(name, track) if track == "shadow" else name
    return {LABEL_NAME: shown, LABEL_INSTANCE: name, LABEL_TRACK: track}


def selecting(service: Object, track: str) -> Object:
    """The Service, for the pods of `track` alone."""
    made = copy.deepcopy(service)
    made["spec"]["selector"] = {**made["spec"]["selector"], LABEL_TRACK: track}
    return made


def preview(release: Release, track: str) -> Object:
    """A Service inside the cluster for the pods of `track`, to ask them before anybody else does."""
    own = release.find("Service") or {}
    port = {key: value for key, value in own["spec"]["ports"][0].items() if key != "nodePort"}
    made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**copy.deepcopy(own["metadata"]), "name": name_in(release.name, "preview")},
        "spec": {"type": "ClusterIP", "selector": labels_in(release.name, track), "ports": [port]},
    }
    _marked(made, "preview")
    return made


def support(release: Release) -> tuple[Object, ...]:
    """What a pod of the release needs and another release does not hold: its settings."""
    return tuple(made for made in release.objects if is_settings(made))


def canary(release: Release, replicas: int) -> tuple[Object, ...]:
    """What a canary adds to what is there: nothing that serves is changed by it."""
    return (*support(release), workload(release, "canary", replicas))


def shadow(release: Release, replicas: int) -> tuple[Object, ...]:
    """A version that nobody calls but the pods of the service, and that stores nothing."""
    name, finds = name_in(release.name, "shadow"), labels_in(release.name, "shadow")
    made = workload(release, "shadow", replicas)
    made["metadata"]["labels"] |= finds
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["env"] = with_variables(container["env"], {f"{ENV_PREFIX}STORE_ENABLED": "false"})
    service = preview(release, "shadow")
    service["metadata"]["name"] = name
    _marked(service, "shadow")
    return (*support(release), made, service, *(_shadow_policies(release, name, finds)))


def _shadow_policies(release: Release, name: str, finds: dict[str, str]) -> tuple[Object, ...]:
    """Leave for the service's pods to call the shadow; the shadow may call what the service may."""
    own = release.find("NetworkPolicy")
    if own is None:
        return ()
    guard, way = copy.deepcopy(own), copy.deepcopy(own)
    guard["metadata"]["name"] = name
    guard["spec"]["podSelector"] = {"matchLabels": finds}
    guard["spec"]["ingress"] = [{"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": HTTP}]}]
    way["metadata"]["name"] = name_in(release.name, "to-shadow")
    to = [{"podSelector": {"matchLabels": finds}}]
    way["spec"] |= {"policyTypes": ["Egress"], "egress": [{"to": to, "ports": [{"protocol": "TCP", "port": HTTP}]}]}
    del way["spec"]["ingress"]
    for made in (guard, way):
        _marked(made, "shadow")
    return (guard, way)


def shadowed(release: Release, share: float) -> Release:
    """The release whose pods send a copy of `share` of their requests to the shadow."""
    port = (release.find("Service") or {})["spec"]["ports"][0]["port"]
    url = f"http://{name_in(release.name, 'shadow')}:{port}"
    made = copy.deepcopy(release.workload)
    container = made["spec"]["template"]["spec"]["containers"][0]
    variables = {f"{ENV_PREFIX}SERVE_SHADOW_URL": url, f"{ENV_PREFIX}SERVE_SHADOW_SHARE": f"{share:g}"}
    container["env"] = with_variables(container["env"], variables)
    objects = tuple(made if one is release.workload else one for one in release.objects)
    return msgspec.structs.replace(release, objects=objects)


def with_variables(env: list[dict[str, Any]], values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The environment of a container with these in it."""
    others = [one for one in env if one["name"] not in values]
    return [*others, *({"name": name, "value": value} for name, value in values.items())]


def _marked(made: Object, track: str) -> None:
    """Says by a label which track it belongs to; what is stable bears none."""
    labels = made["metadata"]["labels"] = {**made["metadata"]["labels"], LABEL_TRACK: track}
    if track == "stable":
        del labels[LABEL_TRACK]
