"""Where the predictions of a cluster go: nowhere, a database, or SQLite on a claim; and where they wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project, StoreSecret
from wherry.errors import SettingProblem
from wherry.release.databases import PASSWORD, beside, database_name
from wherry.release.objects.identity import LONGEST_SET, Identity, beside_name

STORE_KEY = "url"
OWN_SECRET = "store"  # the release's own Secret, whose name follows from the release's: see `settled`
SQLITE_DIR = "/var/lib/wherry"
SQLITE_SIZE = "1Gi"
DEFAULT_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}


class Keeping(msgspec.Struct, frozen=True):
    """What becomes of predictions. `host`, `port`: the database that the pods must reach.

    secret: the Secret that says how, empty when none is needed; url_key, password_key: what it is read for, the one
    that is not is empty. beside: the database is the service's own. strict: pods keep their spool on claims.
    """

    kind: Literal["nothing", "database", "claim"] = "nothing"
    url: str = ""  # what the settings in the cluster say; empty when a Secret says it
    secret: str = ""
    url_key: str = ""
    password_key: str = ""
    dialect: str = ""
    host: str = ""
    port: int = 0
    beside: bool = False
    strict: bool = False


def keeping(project: Project) -> Keeping:
    """What [store] means in a cluster. A URL with a password is never rendered: it comes from a Secret."""
    store, recipe = project.store, beside(project)
    strict = store.mode == "strict"
    if store.enabled is False or not (store.url or store.enabled or recipe):
        return Keeping()
    if recipe and not store.url:  # whose name is not known yet: see `settled`
        return Keeping("database", dialect=recipe.scheme, port=recipe.port, beside=True, strict=strict)
    if not store.url or store.url.startswith("sqlite"):
        file = PurePosixPath(urlsplit(store.url).path).name or "predictions.db"
        return Keeping("claim", f"sqlite:///{SQLITE_DIR}/{file}", strict=strict)
    parts = urlsplit(store.url)
    scheme = parts.scheme.partition("+")[0]
    held = parts.password is not None or "password" in parts.query
    url_key = store.secret.url or (STORE_KEY if held else "")
    return Keeping(
        kind="database",
        url="" if url_key else store.url,
        secret=store.secret.name or (OWN_SECRET if held else ""),
        url_key=url_key,
        password_key=store.secret.password if store.secret.name and not url_key else "",
        dialect=scheme,
        host=parts.hostname or "",
        port=parts.port or DEFAULT_PORTS.get(scheme, 0),
        beside=recipe is not None,
        strict=strict,
    )


def settled(project: Project, manifest: Manifest, name: str) -> Project:
    """`project` with the names that a release called `name` has: of its Secret, and of the database beside it."""
    store, recipe = project.store, beside(project)
    if recipe and store.enabled is not False:
        host = beside_name(name)
        url = recipe.url(host, database_name(project, manifest))
        store = msgspec.structs.replace(store, url=url, secret=StoreSecret(name=host, password=PASSWORD))
    elif keeping(project).secret == OWN_SECRET:
        store = msgspec.structs.replace(store, secret=StoreSecret(name=f"{name}-store", url=STORE_KEY))
    return msgspec.structs.replace(project, store=store)


def problems(project: Project) -> Iterator[SettingProblem]:
    """What of [store] cannot work in a cluster."""
    kept = keeping(project)
    if project.store.secret.name and not project.store.url:
        reason = f"is {project.store.secret.name!r}, and no store.url says whose password that is"
        yield SettingProblem("store.secret.name", reason, 'add [store] url = "postgresql://USER@HOST/DATABASE"')
    if kept.kind == "nothing":
        return
    if beside(project) and project.store.url:
        reason = "is a database beside the service, and store.url names another"
        yield SettingProblem("store.database.kind", reason, "leave one of the two out")
    if kept.kind == "claim" and project.deploy.replicas != 1:
        reason = "is SQLite, which in a cluster serves one replica without an autoscaler"
        hint = 'add [deploy] replicas = 1, or have a database: [store.database] kind = "mariadb"'
        yield SettingProblem("store.url", reason, hint)
    if kept.strict and len(project.deploy.name) > LONGEST_SET:
        reason = f"is longer than the {LONGEST_SET} characters that the pods of a strict store may be called"
        yield SettingProblem("deploy.name", reason, "shorten it")
    if kept.kind == "database" and not (kept.host and kept.port) and not kept.beside:
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


def spool_template(who: Identity, size: str) -> dict[str, Any]:
    """What each pod of a strict store claims for the rows that wait: they outlive it, and find it again."""
    return {
        "metadata": {"name": "spool", "labels": dict(who.labels)},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }
