"""Where the predictions of a cluster go: nowhere, a database, or SQLite on a claim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from wherry.contract.project import Project
from wherry.errors import SettingProblem
from wherry.release.objects.identity import Identity

SQLITE_DIR = "/var/lib/wherry"
SQLITE_SIZE = "1Gi"
DEFAULT_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}


class Keeping(msgspec.Struct, frozen=True):
    """What becomes of predictions. `host`, `port`: the database that the pods must reach."""

    kind: Literal["nothing", "database", "claim"] = "nothing"
    url: str = ""  # what the settings in the cluster say; empty when a Secret says it
    secret: bool = False
    dialect: str = ""
    host: str = ""
    port: int = 0


def keeping(project: Project) -> Keeping:
    """What [store] means in a cluster. A URL with a password is never rendered: it comes from a Secret."""
    url, enabled = project.store.url, project.store.enabled
    if enabled is False or (not url and not enabled):
        return Keeping()
    if not url or url.startswith("sqlite"):
        file = PurePosixPath(urlsplit(url).path).name or "predictions.db"
        return Keeping("claim", f"sqlite:///{SQLITE_DIR}/{file}")
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    secret = parts.password is not None or "password" in parts.query
    port = parts.port or DEFAULT_PORTS.get(scheme, 0)
    return Keeping("database", "" if secret else url, secret, scheme, parts.hostname or "", port)


def problems(project: Project) -> Iterator[SettingProblem]:
    """What of [store] cannot work in a cluster."""
    kept = keeping(project)
    if kept.kind == "nothing":
        return
    if project.store.mode == "strict":
        reason = 'is "strict": a strict store needs a volume a pod, which this wherry does not render yet'
        yield SettingProblem("store.mode", reason, 'set [store] mode = "durable"')
    if kept.kind == "claim" and project.deploy.replicas != 1:
        reason = "is SQLite, which in a cluster serves one replica without an autoscaler"
        hint = 'add [deploy] replicas = 1, or name a database: [store] url = "postgresql://..."'
        yield SettingProblem("store.url", reason, hint)
    if kept.kind == "database" and not (kept.host and kept.port):
        reason = "names no host and port, so the pods cannot be allowed to reach it"
        yield SettingProblem("store.url", reason, "write DIALECT://USER@HOST:PORT/DATABASE")


def claim(who: Identity) -> dict[str, Any]:
    """The claim that holds the SQLite file; `down` keeps it unless told otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": who.metadata("-store"),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": SQLITE_SIZE}}},
    }
