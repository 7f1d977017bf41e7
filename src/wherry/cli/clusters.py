"""Reaching a cluster as every verb does that touches one: said first, which."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.cli.console import Console
from wherry.contract.names import BUNDLE_DIR, object_name
from wherry.contract.project import Project
from wherry.errors import WherryError

if TYPE_CHECKING:
    from wherry.deploy.cluster import Cluster


@contextmanager
def connected(console: Console, project: Project, kubeconfig: Path | None) -> Iterator[Cluster]:
    """The cluster that flags and settings mean; its context and namespace are told before anything is asked of it."""
    from wherry.deploy.cluster import connect

    wanted = project.deploy
    with connect(wanted.context, wanted.namespace, str(kubeconfig or "")) as cluster:
        console.note(f"context {cluster.context}, namespace {cluster.namespace}")
        yield cluster


def own_name(project: Project) -> str:
    """The name that this folder's project would deploy under; empty when it has no bundle and names none."""
    from wherry.model.bundle import read_manifest

    if project.deploy.name:
        return object_name(project.deploy.name)
    try:
        return object_name(read_manifest(Path(BUNDLE_DIR)).name)
    except (WherryError, ValueError):
        return ""


def cluster_flags(context: str | None, namespace: str | None) -> dict[str, str | None]:
    """The flags of every verb that touches a cluster, as settings."""
    return {"deploy.context": context, "deploy.namespace": namespace}


def flags_again(context: str | None, namespace: str | None, kubeconfig: Path | None) -> str:
    """The flags of this command that the next ones need to reach the same cluster, as they are typed after a verb."""
    given = (("-n", namespace), ("--context", context), ("--kubeconfig", kubeconfig and str(kubeconfig)))
    return "".join(f" {flag} {shlex.quote(value)}" for flag, value in given if value)


@contextmanager
def leaving(console: Console, cluster: Cluster, name: str, flags: str) -> Iterator[None]:
    """Says at Ctrl-C what stands in the cluster then, and which ways back there are."""
    from wherry.deploy.rollback import ways_back

    try:
        yield
    except KeyboardInterrupt:
        console.note(
            "interrupted: what was applied goes on in the cluster; run the same command to finish it, or go back:",
            hint="\n  ".join(f"{command}{flags}" for command in ways_back(cluster, name)),
            warn=True,
        )
        raise
