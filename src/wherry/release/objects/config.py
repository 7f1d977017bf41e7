"""The project's settings as the pods read them: a ConfigMap whose name follows from its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from wherry.contract import settings
from wherry.contract.names import ENV_PREFIX, ENV_STORE_PASSWORD_FILE, ENV_STORE_URL_FILE
from wherry.contract.project import Database, Project, StoreSecret
from wherry.errors import SettingProblem
from wherry.release.objects import model
from wherry.release.objects.identity import Identity
from wherry.release.objects.storage import keeping

ALL_ADDRESSES = "0.0.0.0"
TOKEN_DIR = "/var/run/wherry/token"
TOKEN_KEY = "tokens"
STORE_DIR = "/var/run/wherry/store"
STORE_URL, STORE_PASSWORD = "url", "password"  # the files in it
# Linux refuses to start a program with a longer string in its environment.
LONGEST_VARIABLE = 128 * 1024 - 1


def contained(project: Project, *, host: str = ALL_ADDRESSES) -> Project:
    """`project` as it holds in a container: reached from outside, the desk's paths and passwords left behind."""
    tokens = f"{TOKEN_DIR}/{TOKEN_KEY}" if project.serve.token_file else ""
    serve = msgspec.structs.replace(project.serve, host=host, token_file=tokens, tls_cert="", tls_key="", bundles=())
    kept = keeping(project)
    enabled = None if project.store.enabled is None and kept.kind == "nothing" else kept.kind != "nothing"
    store = msgspec.structs.replace(
        project.store, url=kept.url, enabled=enabled, secret=StoreSecret(), database=Database()
    )
    return msgspec.structs.replace(project, serve=serve, store=store)


def environ(project: Project) -> dict[str, str]:
    """The settings in a cluster as environment variables, sorted."""
    made, kept = settings.to_environ(contained(project)), keeping(project)
    if kept.url_key:
        made[ENV_STORE_URL_FILE] = f"{STORE_DIR}/{STORE_URL}"
    if kept.password_key:
        made[ENV_STORE_PASSWORD_FILE] = f"{STORE_DIR}/{STORE_PASSWORD}"
    return dict(sorted(made.items()))


def problems(project: Project) -> Iterator[SettingProblem]:
    """Settings that no environment can hold."""
    for name, value in environ(project).items():
        if len(f"{name}={value}".encode()) > LONGEST_VARIABLE:
            path = name.removeprefix(ENV_PREFIX).lower().replace("_", ".", 1)
            yield SettingProblem(path, "is longer than the 128 KiB that a program's environment may hold", "shorten it")


def is_settings(made: dict[str, Any]) -> bool:
    """Whether an object of a release is what `config_map` makes."""
    return bool(made["kind"] == "ConfigMap" and made.get("immutable"))


def config_map(who: Identity, project: Project) -> dict[str, Any]:
    """Immutable, and named by its content: changed settings are a new rollout, and a rollback finds the old ones."""
    data = dict(sorted({**environ(project), **model.path(project, who.digest)}.items()))
    # The bytes are those of Go's encoding/json, so that a Helm chart can name its ConfigMap alike.
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": who.metadata(f"-{digest}"),
        "immutable": True,
        "data": data,
    }
