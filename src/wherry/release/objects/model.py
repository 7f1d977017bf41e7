"""Where the pods have the model from: the image, a claim, or a folder of their node; and which one they may load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from wherry.contract.events import Note
from wherry.contract.names import ENV_MODEL_DIGEST, ENV_MODEL_PATH, MODEL_DIR
from wherry.contract.project import Project
from wherry.errors import SettingProblem
from wherry.release.objects.identity import Identity

VOLUME = "model"
DIGEST_DIGITS = 12


def outside(project: Project) -> bool:
    """Whether the bundle is on a volume, and not in the image."""
    return bool(project.deploy.model.claim or project.deploy.model.host_path)


def folder(project: Project, digest: str) -> str:
    """The bundle's folder in the volume. By its digest unless it is named, so that no release overwrites another's."""
    return project.deploy.model.path.strip("/") or digest[:DIGEST_DIGITS]


def path(project: Project, digest: str) -> dict[str, str]:
    """Where the service finds a bundle that is not in the image; a ConfigMap of the user's may say otherwise."""
    return {ENV_MODEL_PATH: f"{MODEL_DIR}/{folder(project, digest)}"} if outside(project) else {}


def expected(who: Identity, project: Project) -> dict[str, str]:
    """The one model that the pods may load, wherever they find it: no ConfigMap overrides it."""
    return {ENV_MODEL_DIGEST: who.digest} if outside(project) or project.deploy.config_map else {}


def sources(project: Project, config: str) -> list[dict[str, Any]]:
    """What the environment is read from: the settings, and after them what the user's own ConfigMap says."""
    return [{"configMapRef": {"name": name}} for name in (config, project.deploy.config_map) if name]


def volumes(project: Project) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The volume and where it is mounted; the pods cannot change the model that others load too."""
    held = project.deploy.model
    mount = {"name": VOLUME, "mountPath": MODEL_DIR, "readOnly": True}
    if held.claim:
        yield {"name": VOLUME, "persistentVolumeClaim": {"claimName": held.claim}}, mount
    elif held.host_path:
        yield {"name": VOLUME, "hostPath": {"path": held.host_path, "type": "Directory"}}, mount


def problems(project: Project, *, local: bool) -> Iterator[SettingProblem]:
    held = project.deploy.model
    if held.claim and held.host_path:
        yield SettingProblem("deploy.model.host_path", "stands beside deploy.model.claim", "give one of them")
    if held.path and not outside(project):
        yield SettingProblem("deploy.model.path", "is a folder of no volume", 'add [deploy.model] claim = "models"')
    if ".." in PurePosixPath(held.path).parts:
        yield SettingProblem("deploy.model.path", f"is {held.path!r}, which leads out of the volume", "name a folder")
    if held.host_path and not local:
        reason = (
            f"is {held.host_path!r}, a folder of whichever node a pod is on: only a cluster of this machine's own has "
            "one and the same there, and elsewhere whoever writes to a node would choose the model"
        )
        yield SettingProblem("deploy.model.host_path", reason, '[deploy.model] claim = "models"')


def notes(who: Identity, project: Project) -> Iterator[Note]:
    held = project.deploy.model
    if held.host_path:
        yield Note(
            f"pods read the model from {held.host_path} of their node, which the Pod Security Standards forbid: "
            f"namespace {who.namespace} is not held to them",
            warn=True,
            hint='[deploy.model] claim = "models" is held to the restricted one',
        )
