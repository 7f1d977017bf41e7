"""A compose file for one packed model, its database of choice beside it: by docker-compose 1.29 and by Compose v2.

Like a release a pure function of project and manifest: same input, same text. Passwords are files beside it, which it
names and never holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec
import yaml

from wherry.contract import settings
from wherry.contract.manifest import Manifest
from wherry.contract.names import (
    BUNDLE_DIR,
    ENV_STORE_PASSWORD_FILE,
    ENV_STORE_URL_FILE,
    ENV_TOKEN_FILE,
    IMAGE_BUNDLE,
    IMAGE_USER,
    SPOOL_DIR,
)
from wherry.contract.project import Database, Project, Store
from wherry.contract.wire import READYZ
from wherry.errors import SettingsRefused
from wherry.release.databases import PASSWORD, RECIPES, Recipe, beside, database_name
from wherry.release.objects import storage
from wherry.release.objects.config import contained
from wherry.release.objects.model import outside
from wherry.release.objects.storage import keeping
from wherry.release.objects.workload import CACHES, grace_seconds, memory_mi
from wherry.release.text import Plain

Choice: TypeAlias = Literal["mysql", "mariadb", "postgres", "sqlite", "none"]
MARK = "# Written by `wherry compose`"
HEAD = f"""{MARK}; write it again rather than change it.
# The passwords are in {{secrets}}/, which is not for a repository.
"""
SECRETS_DIR = ".wherry/secrets"  # beside the compose file
MOUNTED = "/run/secrets"
SECRET_PATH = f"{MOUNTED}/database-"  # before a key
STORE_URL = "store-url"
TOKENS = "tokens"
SERVER, DATABASE = "server", "database"
STATE, DATA = "state", "data"
# Of what cannot work in a cluster, what cannot work here either.
STORE_PROBLEMS = ("store.database.kind", "store.secret.name")
MOST_PROCESSES = 256
DATABASE_GRACE = "60s"
# What runs a health check in the image: it holds Python and no curl.
ASK = (
    "import urllib.request as r; r.build_opener(r.ProxyHandler({{}})).open('http://127.0.0.1:{port}{path}', timeout=3)"
)


class SecretOf(msgspec.Struct, frozen=True):
    """A file that the compose file names. source: what to copy into it; empty: it holds a password made for it.

    yours: a password of a database that others run.
    """

    name: str
    source: Literal["", "store.url", "serve.token_file", "yours"] = ""


class ComposeFile(msgspec.Struct, frozen=True):
    """text: the file. secrets: what has to lie beside it. choice: the database in the end."""

    text: str
    secrets: tuple[SecretOf, ...]
    image: str
    choice: Choice | None


def chosen(project: Project) -> Choice | None:
    """The database that the project itself asks for, as on a desk SQLite where it says nothing; None: one elsewhere."""
    if project.store.enabled is False:
        return "none"
    if project.store.database.kind:
        return project.store.database.kind
    return None if keeping(project).kind == "database" else "sqlite"


def with_database(project: Project, choice: Choice | None) -> Project:
    """`project` with the database that was asked for; as it is when none was."""
    if choice is None:
        return project
    replace = msgspec.structs.replace
    plain = replace(project.store, url="", enabled=choice != "none", database=Database(), secret=Store().secret)
    if choice in RECIPES:
        kind = project.store.database
        plain = replace(plain, database=replace(kind, kind=choice, image=kind.image if kind.kind == choice else ""))
    return replace(project, store=plain)


def compose_file(
    project: Project, manifest: Manifest, *, image: str, choice: Choice | None = None, mounted: str = ""
) -> ComposeFile:
    """The compose file of `manifest`. Same input, same text.

    choice: the database; None: what the project says. mounted: a bundle's folder, as seen from the compose file, to
    mount in the place of the image's own; ./bundle where the image has none. Raises SettingsRefused.
    """
    found = tuple(problem for problem in storage.problems(project) if problem.path in STORE_PROBLEMS)
    if found and choice is None:
        raise SettingsRefused(found, "this cannot be composed")
    choice = choice or chosen(project)
    mounted = mounted or (f"./{BUNDLE_DIR}" if outside(project) else "")
    project = with_database(project, choice)
    recipe, secrets = beside(project), tuple(needed(project))
    services = {SERVER: server(project, manifest, image, recipe, secrets, mounted)}
    volumes: dict[str, Any] = {}
    if keeping(project).kind != "nothing":
        volumes[STATE] = {}
    if recipe is not None:
        services[DATABASE] = database(project, manifest, recipe)
        volumes[DATA] = {}
    made: dict[str, Any] = {"services": services}
    if volumes:
        made["volumes"] = volumes
    if secrets:
        made["secrets"] = {one.name: {"file": f"./{SECRETS_DIR}/{one.name}"} for one in secrets}
    text = HEAD.format(secrets=SECRETS_DIR) if secrets else f"{MARK}; write it again rather than change it.\n"
    text += yaml.dump(made, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120)
    return ComposeFile(text, secrets, image, choice)


def needed(project: Project) -> Iterator[SecretOf]:
    """The files that the services read."""
    recipe, kept = beside(project), keeping(project)
    if recipe is not None:
        yield from (SecretOf(f"database-{key}") for key in recipe.keys)
    elif kept.url_key:
        yield SecretOf(STORE_URL, "store.url")
    elif kept.password_key:
        yield SecretOf(f"database-{PASSWORD}", "yours")
    if project.serve.token_file:
        yield SecretOf(TOKENS, "serve.token_file")


def environ(project: Project, manifest: Manifest, recipe: Recipe | None) -> dict[str, str]:
    """The settings of the service, sorted; paths are those inside its container."""
    inside, kept = contained(project), keeping(project)
    files: dict[str, str] = {}
    store = inside.store
    if recipe is not None:
        store = msgspec.structs.replace(store, url=recipe.url(DATABASE, database_name(project, manifest)))
        files[ENV_STORE_PASSWORD_FILE] = f"{MOUNTED}/database-{PASSWORD}"
    elif kept.kind == "claim":
        store = msgspec.structs.replace(store, url="")  # in the state folder, which is a volume
    elif kept.url_key:
        files[ENV_STORE_URL_FILE] = f"{MOUNTED}/{STORE_URL}"
    elif kept.password_key:
        files[ENV_STORE_PASSWORD_FILE] = f"{MOUNTED}/database-{PASSWORD}"
    serve = inside.serve
    if serve.token_file:
        serve = msgspec.structs.replace(serve, token_file="")
        files[ENV_TOKEN_FILE] = f"{MOUNTED}/{TOKENS}"
    inside = msgspec.structs.replace(inside, store=store, serve=serve)
    told = {**CACHES, **settings.to_environ(inside), **files}
    return {name: literal(value) for name, value in sorted(told.items())}


def literal(text: str) -> str:
    """`text` as compose leaves it alone: it takes `$label` for a variable of its own."""
    return text.replace("$", "$$")


def hardened(user: int, writable: tuple[str, ...]) -> dict[str, Any]:
    """What both containers are held to: no root, no rights, nothing to write to but memory and volumes."""
    return {
        "restart": "unless-stopped",
        "user": f"{user}:{user}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": MOST_PROCESSES,
        "tmpfs": list(writable),
    }


def server(
    project: Project,
    manifest: Manifest,
    image: str,
    recipe: Recipe | None,
    secrets: tuple[SecretOf, ...],
    mounted: str,
) -> dict[str, Any]:
    wanted = project.deploy.resources
    serve = project.serve
    made: dict[str, Any] = {"image": literal(image), **hardened(IMAGE_USER, ("/tmp",))}
    made["mem_limit"] = memory_bytes(wanted.memory) if wanted.memory else f"{memory_mi(manifest, serve.workers)}m"
    if wanted.cpu_limit:
        made["cpus"] = settings.quantity(wanted.cpu_limit)
    made["environment"] = environ(project, manifest, recipe)
    made["ports"] = [f"127.0.0.1:{serve.port}:{serve.port}"]
    volumes = [f"{STATE}:{SPOOL_DIR}"] if keeping(project).kind != "nothing" else []
    if mounted:
        volumes.append(f"{literal(mounted)}:{IMAGE_BUNDLE}:ro")
    if volumes:
        made["volumes"] = volumes
    read = [one.name for one in secrets if not one.name.endswith("root-password")]
    if read:
        made["secrets"] = read
    if recipe is not None:
        made["depends_on"] = {DATABASE: {"condition": "service_healthy"}}
    made["healthcheck"] = {
        "test": ["CMD", "python3", "-S", "-c", ASK.format(port=serve.port, path=READYZ)],
        "interval": "5s",
        "timeout": "5s",
        "retries": 3,
        "start_period": "60s",
    }
    made["stop_grace_period"] = f"{grace_seconds(project)}s"
    return made


def database(project: Project, manifest: Manifest, recipe: Recipe) -> dict[str, Any]:
    kind = project.store.database
    made: dict[str, Any] = {
        "image": kind.image or recipe.image,
        **hardened(recipe.uid, recipe.writable),
        "mem_limit": f"{recipe.memory_mi}m",
    }
    if recipe.command:
        made["command"] = list(recipe.command)
    made["environment"] = recipe.environ(database_name(project, manifest), SECRET_PATH)
    made["volumes"] = [f"{DATA}:{recipe.mount}"]
    made["secrets"] = [f"database-{key}" for key in recipe.keys]
    made["healthcheck"] = {
        "test": ["CMD", *map(literal, recipe.probe(SECRET_PATH))],
        "interval": "3s",
        "timeout": "5s",
        "retries": 5,
        "start_period": "120s",
    }
    made["stop_grace_period"] = DATABASE_GRACE
    return made


def memory_bytes(quantity: str) -> str:
    """A quantity of Kubernetes as compose writes it, in bytes."""
    return f"{round(settings.quantity(quantity))}b"
