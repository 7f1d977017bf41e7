"""Who the objects are: names, labels, the namespace that holds them and the account that the pods run as."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.names import (
    ANNOTATION_CREATED_NAMESPACE,
    ANNOTATION_DIGEST,
    ANNOTATION_IMAGE,
    ANNOTATION_MODEL,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_TRACK,
    LABEL_VERSION,
    MANAGER,
    object_name,
)
from wherry.contract.project import Project

# The Pod Security Standard that the pods meet, at a version that every supported cluster knows.
POD_SECURITY_VERSION = "v1.30"


# A StatefulSet labels its pods with its name and eleven characters more, and a label holds 63.
LONGEST_SET = 52


class Identity(msgspec.Struct, frozen=True):
    """What every object of one release carries."""

    name: str
    namespace: str
    version: str  # as a label may hold it
    model: str  # NAME:VERSION as packed
    digest: str
    image: str

    @property
    def selector(self) -> dict[str, str]:
        """The labels that find the pods of every track. Never changes: selectors of a Deployment are immutable."""
        return {LABEL_NAME: self.name, LABEL_INSTANCE: self.name}

    @property
    def stable(self) -> dict[str, str]:
        """The labels that find the pods of the stable track, and leave a canary's alone."""
        return {**self.selector, LABEL_TRACK: "stable"}

    @property
    def database(self) -> dict[str, str]:
        """The labels that find the pod of the database beside the service: by another name, so never as one of it."""
        return {LABEL_NAME: beside_name(self.name), LABEL_INSTANCE: self.name}

    @property
    def scheduled(self) -> dict[str, str]:
        """The labels that find the pods of scheduled work, which neither the Service nor the Deployment takes."""
        suffix = "-schedule"
        return {LABEL_NAME: self.name[: 63 - len(suffix)].rstrip("-") + suffix, LABEL_INSTANCE: self.name}

    @property
    def labels(self) -> dict[str, str]:
        return {**self.selector, LABEL_VERSION: self.version, LABEL_MANAGED_BY: MANAGER}

    @property
    def annotations(self) -> dict[str, str]:
        """What labels cannot hold, on the workload and its pods: a new model is a new pod even under an old tag."""
        return {ANNOTATION_MODEL: self.model, ANNOTATION_DIGEST: self.digest, ANNOTATION_IMAGE: self.image}

    def metadata(self, suffix: str = "", annotations: dict[str, str] | None = None) -> dict[str, Any]:
        """An object's metadata: its name with `suffix`, the namespace, the labels."""
        made: dict[str, Any] = {
            "name": f"{self.name}{suffix}",
            "namespace": self.namespace,
            "labels": dict(self.labels),
        }
        if annotations:
            made["annotations"] = dict(annotations)
        return made


def identity(project: Project, manifest: Manifest, image: str, namespace: str) -> Identity:
    """The identity of a release. Raises ValueError when no Kubernetes name can be made of the model's."""
    return Identity(
        name=object_name(project.deploy.name or manifest.name),
        namespace=namespace,
        version=label_value(manifest.version),
        model=f"{manifest.name}:{manifest.version}",
        digest=manifest.digest,
        image=image,
    )


def beside_name(name: str) -> str:
    """What the database beside the service called `name` is called, and its Secret."""
    suffix = "-database"
    return name[: LONGEST_SET - len(suffix)].rstrip("-") + suffix


def label_value(text: str) -> str:
    """`text` as a label may hold it: letters, digits, `-`, `_` and `.`, 63 at most, no sign at either end."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-._")


def namespace_object(who: Identity, *, enforced: bool = True) -> dict[str, Any]:
    """The namespace, for one that wherry creates: it admits only pods that meet the restricted standard.

    enforced: False where the release's own pods do not meet it; then the cluster warns of each pod that does not.
    """
    levels = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in (*(("enforce",) if enforced else ()), "audit", "warn")
        for suffix, value in (("", "restricted"), ("-version", POD_SECURITY_VERSION))
    }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": who.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGER, **levels},
            "annotations": {ANNOTATION_CREATED_NAMESPACE: MANAGER},
        },
    }


def service_account(who: Identity) -> dict[str, Any]:
    """An account without a token and without rights: the service asks nothing of the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": who.metadata(),
        "automountServiceAccountToken": False,
    }
