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
WHOLE = 1000  # a Gateway's weights: a share to the tenth of a percent
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


def workload(release: Release, track: Track, replicas: int | None = None, *, apart: bool = False) -> Object:
    """The release's workload in `track`. apart: where the service's own Service does not find its pods."""
    made = copy.deepcopy(release.workload)
    made["metadata"]["name"] = name_in(release.name, track)
    _marked(made, track)
    spec = made["spec"]
    pod = spec["template"]["spec"]
    labelled = [spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]]
    labelled += [one["labelSelector"]["matchLabels"] for one in pod.get("topologySpreadConstraints", ())]
    for labels in labelled:
        labels |= labels_in(release.name, track, apart=apart)
    if replicas is not None:
        spec["replicas"] = replicas
    return made


def labels_in(name: str, track: str, *, apart: bool = False) -> dict[str, str]:
    """The labels that find the pods of `track`. A shadow's pods bear another name: no Service of the service's."""
    shown = name_in(name, track) if apart or track == "shadow" else name
    return {LABEL_NAME: shown, LABEL_INSTANCE: name, LABEL_TRACK: track}


def selecting(service: Object, track: str) -> Object:
    """The Service, for the pods of `track` alone."""
    made = copy.deepcopy(service)
    made["spec"]["selector"] = {**made["spec"]["selector"], LABEL_TRACK: track}
    return made


def preview(release: Release, track: str, called: str = "preview", *, apart: bool = False) -> Object:
    """A Service inside the cluster for the pods of `track`, to ask them before anybody else does."""
    own = release.find("Service") or {}
    port = {key: value for key, value in own["spec"]["ports"][0].items() if key != "nodePort"}
    made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**copy.deepcopy(own["metadata"]), "name": name_in(release.name, called)},
        "spec": {"type": "ClusterIP", "selector": labels_in(release.name, track, apart=apart), "ports": [port]},
    }
    _marked(made, called)
    return made


def support(release: Release) -> tuple[Object, ...]:
    """What a pod of the release needs and another release does not hold: its settings."""
    return tuple(made for made in release.objects if is_settings(made))


def canary(release: Release, replicas: int, *, apart: bool = False) -> tuple[Object, ...]:
    """What a canary adds to what is there: nothing that serves is changed by it.

    apart: behind a Service of its own, for a Gateway to divide the requests between the two.
    """
    made = workload(release, "canary", replicas, apart=apart)
    if not apart:
        return (*support(release), made)
    made["metadata"]["labels"] |= labels_in(release.name, "canary", apart=True)
    service, own = preview(release, "canary", "canary", apart=True), release.find("NetworkPolicy")
    guards = () if own is None else (_guard(own, release.name, "canary"),)
    return (*support(release), *guards, service, made)


def divided(route: Object, name: str, share: float) -> Object:
    """An HTTPRoute that sends `share` of what comes to the canary's Service, as Gateway API's weights do; 0: none."""
    kept = {
        key: route["metadata"][key]
        for key in ("name", "namespace", "labels", "annotations")
        if key in route["metadata"]
    }
    made = {"apiVersion": route["apiVersion"], "kind": route["kind"], "metadata": kept, "spec": route["spec"]}
    made = copy.deepcopy(made)
    canary_of, weight = name_in(name, "canary"), round(WHOLE * share)
    for rule in made["spec"]["rules"]:
        stable = {key: value for key, value in stable_backend(rule, canary_of).items() if key != "weight"}
        rule["backendRefs"] = [stable]
        if weight:
            other = {**stable, "name": canary_of, "weight": weight}
            rule["backendRefs"] = [{**stable, "weight": WHOLE - weight}, other]
    return made


def is_divided(route: Object, name: str) -> bool:
    """Whether a part of what comes goes to the canary's Service."""
    canary_of = name_in(name, "canary")
    return any(one["name"] == canary_of for rule in route["spec"]["rules"] for one in rule.get("backendRefs", ()))


def stable_backend(rule: Mapping[str, Any], canary_of: str) -> dict[str, Any]:
    return next(one for one in rule["backendRefs"] if one["name"] != canary_of)


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
    return (*support(release), made, service, *(_shadow_policies(release, finds)))


def _shadow_policies(release: Release, finds: dict[str, str]) -> tuple[Object, ...]:
    """Leave for the service's pods to call the shadow; the shadow may call what the service may."""
    own = release.find("NetworkPolicy")
    if own is None:
        return ()
    guard, way = _guard(own, release.name, "shadow"), copy.deepcopy(own)
    guard["spec"]["ingress"] = [{"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": HTTP}]}]
    way["metadata"]["name"] = name_in(release.name, "to-shadow")
    to = [{"podSelector": {"matchLabels": finds}}]
    way["spec"] |= {"policyTypes": ["Egress"], "egress": [{"to": to, "ports": [{"protocol": "TCP", "port": HTTP}]}]}
    del way["spec"]["ingress"]
    _marked(way, "shadow")
    return (guard, way)


def _guard(own: Object, name: str, track: str) -> Object:
    """The service's policy, for pods that its own Service does not find."""
    made = copy.deepcopy(own)
    made["metadata"]["name"] = name_in(name, track)
    made["spec"]["podSelector"] = {"matchLabels": labels_in(name, track, apart=True)}
    _marked(made, track)
    return made


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
