"""Who owns which field: what `wherry scale` set stays, and what the autoscaler counts is not set back. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from wherry.contract.names import ANNOTATION_RELEASE, MANAGER
from wherry.deploy.cluster import SCALE_MANAGER
from wherry.deploy.resources import WORKLOADS, Object, annotations_of, name_of, what
from wherry.errors import FieldConflict

# Holds `replicas` between the deploy that gives it up and the autoscaler's first decision.
HANDOVER_MANAGER = "wherry-handover"
# Holds the 0 of a version that was the way back for as long as it was to be: a pause that ends does not wake it.
LET_GO_MANAGER = "wherry-let-go"
# What may have to give way where the project says `replicas`: our own handover, and the autoscaler that goes.
GIVE_WAY = frozenset({HANDOVER_MANAGER, LET_GO_MANAGER, "kube-controller-manager"})
REPLICAS = "spec.replicas"
RUNS_PODS = tuple(kind.kind for kind in WORKLOADS)
SCALED = {
    "Deployment": (REPLICAS,),
    "StatefulSet": (REPLICAS,),
    "HorizontalPodAutoscaler": ("spec.minReplicas", "spec.maxReplicas"),
}


def owns(made: Mapping[str, Any], manager: str, path: str) -> bool:
    """Whether this field manager owns the field at `path`."""
    for entry in made.get("metadata", {}).get("managedFields") or ():
        if entry.get("manager") == manager:
            here: Any = entry.get("fieldsV1") or {}
            for part in path.split("."):
                here = here.get(f"f:{part}")
                if here is None:
                    break
            else:
                return True
    return False


def keep_scaled(wanted: Object, live: Object | None) -> tuple[Object, tuple[str, ...]]:
    """What to apply so that what `wherry scale` set stays, and a line for each field that stays."""
    kept = []
    for path in SCALED.get(str(wanted["kind"]), ()) if live else ():
        table, field = path.split(".")
        if live is None or not owns(live, SCALE_MANAGER, path) or field not in wanted[table]:
            continue
        if wanted[table][field] != live[table][field]:
            kept.append(f"{field} stays {live[table][field]}, as `wherry scale` set it, not {wanted[table][field]}")
        wanted = copy.deepcopy(wanted)
        del wanted[table][field]
    return wanted, tuple(kept)


def handover(wanted: Object, live: Object | None) -> Object | None:
    """What to apply first as HANDOVER_MANAGER when `replicas` goes from the project to the autoscaler.

    A field that nobody owns any more falls back to its default: without this the pods would drop to one.
    """
    if live is None or wanted["kind"] not in RUNS_PODS or "replicas" in wanted["spec"]:
        return None
    if not owns(live, MANAGER, REPLICAS) or owns(live, SCALE_MANAGER, REPLICAS):
        return None
    return only_replicas(live, int(live["spec"].get("replicas", 1)))


def below_minimum(applied: Object, wanted: tuple[Object, ...], live: Mapping[str, Object | None]) -> int | None:
    """How many pods an autoscaled Deployment should have at once, None where it has enough or is paused.

    A new Deployment begins with one pod and the autoscaler looks every 15 s: what is proven would not be what was
    asked for.
    """
    scaler = next((made for made in wanted if made["kind"] == "HorizontalPodAutoscaler"), None)
    if scaler is None:
        return None
    target = scaler["spec"]["scaleTargetRef"]
    if (applied["kind"], name_of(applied)) != (target["kind"], target["name"]):
        return None
    there = live.get(what(scaler)) or {"spec": {}}
    minimum = scaler["spec"].get("minReplicas", there["spec"].get("minReplicas", 1))
    return int(minimum) if 0 < applied["spec"]["replicas"] < minimum else None


def only_replicas(live: Object, replicas: int) -> Object:
    """A Deployment that says nothing but how many."""
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": live["metadata"]["name"], "namespace": live["metadata"]["namespace"]},
        "spec": {"replicas": replicas},
    }


def may_give_way(fields: tuple[FieldConflict, ...]) -> bool:
    """Whether only the number of pods is in dispute, and only with who is to give it up."""
    return bool(fields) and all(one.field == f".{REPLICAS}" and one.manager in GIVE_WAY for one in fields)


class Changed(msgspec.Struct, frozen=True):
    """One field as it is and as it would be; None: it is not there."""

    path: str
    before: Any
    after: Any


def differing(live: Object, after: Object) -> tuple[str, ...]:
    """The paths at which two versions of an object differ, but for what the server keeps for itself."""
    return tuple(one.path for one in changed(live, after))


def changed(live: Object, after: Object) -> tuple[Changed, ...]:
    """Each field at which two versions of an object differ, but for what the server keeps for itself."""
    return tuple(_changed(_bare(live), _bare(after), ""))


def _bare(made: Object) -> Object:
    meta = {key: made["metadata"][key] for key in ("name", "labels") if key in made["metadata"]}
    meta["annotations"] = {
        key: value
        for key, value in annotations_of(made).items()
        if not key.startswith("deployment.kubernetes.io/") and key != ANNOTATION_RELEASE
    }
    rest = {key: value for key, value in made.items() if key not in ("metadata", "status", "kind", "apiVersion")}
    return {"metadata": meta, **rest}


def _changed(a: Any, b: Any, at: str) -> list[Changed]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [one for key in sorted({*a, *b}) for one in _changed(a.get(key), b.get(key), f"{at}.{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [one for place, (x, y) in pairs for one in _changed(x, y, f"{at}[{place}]")]
    return [] if a == b else [Changed(at, a, b)]
