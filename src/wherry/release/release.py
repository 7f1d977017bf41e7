"""Everything that will exist in a cluster for one packed model, as one frozen value made by a pure function."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import msgspec

from wherry.contract.events import Note
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project

# A Kubernetes object as plain data, ready for the API or for YAML.
Object: TypeAlias = dict[str, Any]


class Ports(msgspec.Struct, frozen=True):
    """Where it listens: in the pod, and in front of the pods. `node` is None when the cluster chooses, or none is."""

    serving: int
    admin: int
    service: int
    node: int | None = None


class SecretFile(msgspec.Struct, frozen=True):
    """A Secret that the objects mount and that is never rendered. `source`: the file or setting it may be made from."""

    name: str
    key: str
    source: str


class Release(msgspec.Struct, frozen=True):
    """What `render` prints, `deploy` makes true and `down` makes untrue.

    objects: in the order to apply them. startup_seconds: what a pod may take until it is ready.
    replicas: how many pods a finished rollout has at least. autoscaled: whether an autoscaler owns their number.
    warnings: what the user should know, each with what to type about it.
    """

    name: str
    namespace: str
    image: str
    model_digest: str
    objects: tuple[Object, ...]
    ports: Ports
    startup_seconds: int
    replicas: int
    autoscaled: bool
    secrets: tuple[SecretFile, ...] = ()
    warnings: tuple[Note, ...] = ()

    def find(self, kind: str) -> Object | None:
        """The first object of this kind, None when there is none."""
        return next((made for made in self.objects if made["kind"] == kind), None)


def startup_seconds(manifest: Manifest) -> int:
    """The start-up budget: five times the load time measured at pack, 30 to 300 seconds."""
    return min(300, max(30, math.ceil(5 * manifest.measured.load_seconds)))


def compose(
    project: Project,
    manifest: Manifest,
    *,
    image: str,
    namespace: str,
    local: bool,
    create_namespace: bool = False,
) -> Release:
    """The release of `manifest` as `project` declares it. Same input, same release.

    image: the reference as it will be applied. local: whether the cluster is one of this machine's own, where a
    service may be open without a token. Raises SettingsRefused with every setting that cannot work in a cluster.
    """
    raise NotImplementedError
