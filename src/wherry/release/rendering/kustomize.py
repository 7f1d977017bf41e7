"""A Kustomize base with two overlays: one that gives the plain rendering again, one that fits a small cluster."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.release.reference import Reference
from wherry.release.release import Object, Release
from wherry.release.rendering.pods import workload_of
from wherry.release.text import Plain, files_of, to_yaml

KUSTOMIZATION = "kustomization.yaml"
SMALL_CPU = "50m"


def base_with_overlays(release: Release, project: Project, manifest: Manifest) -> dict[str, str]:
    """The files by their path. `kubectl apply -k DIR/overlays/production` makes what the plain rendering makes."""
    objects = files_of(placeless(release.objects))
    return {
        **{f"base/{name}": text for name, text in objects.items()},
        f"base/{KUSTOMIZATION}": kustomization({"resources": list(objects)}),
        f"overlays/production/{KUSTOMIZATION}": kustomization(overlay(release)),
        f"overlays/small/{KUSTOMIZATION}": kustomization({**overlay(release), "patches": list(small(release))}),
    }


def placeless(objects: tuple[Object, ...]) -> list[Object]:
    """The objects without a namespace, which an overlay adds; the namespace itself is nobody's to make here."""
    made = [copy.deepcopy(each) for each in objects if each["kind"] != "Namespace"]
    for each in made:
        each["metadata"].pop("namespace", None)
    return made


def overlay(release: Release) -> dict[str, Any]:
    """What differs from one place to the next: the namespace and the image."""
    image = Reference.parse(release.image)
    parts = {"newTag": image.tag, "digest": image.digest}
    named = {"name": image.written, "newName": image.written, **{key: text for key, text in parts.items() if text}}
    return {"resources": ["../../base"], "namespace": release.namespace, "images": [named]}


def small(release: Release) -> list[dict[str, Any]]:
    """One pod to begin with, and little CPU asked for: a desk's cluster, or one for tests."""
    made = workload_of(release)
    cpu = {"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": SMALL_CPU}
    patches = [patch(made, [cpu])]
    scaler = release.find("HorizontalPodAutoscaler")
    if scaler is not None:
        bounds = {"/spec/minReplicas": 1, "/spec/maxReplicas": min(2, scaler["spec"]["maxReplicas"])}
        patches.append(patch(scaler, [{"op": "replace", "path": path, "value": n} for path, n in bounds.items()]))
    return patches


def patch(made: Object, operations: list[dict[str, Any]]) -> dict[str, Any]:
    text = yaml.dump(operations, Dumper=Plain, sort_keys=False)
    return {"target": {"kind": made["kind"], "name": made["metadata"]["name"]}, "patch": text}


def kustomization(content: dict[str, Any]) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return to_yaml([{**head, **content}]).removeprefix("---\n")
