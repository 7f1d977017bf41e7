"""Passwords of databases beside a service: made once, kept in their Secret, never shown and never rendered."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator

from wherry.contract.events import Note, Tell
from wherry.contract.names import LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME, MANAGER
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import SECRET, is_ours
from wherry.errors import SecretMissing
from wherry.release.release import Release

PASSWORD_BYTES = 24


def make(release: Release, cluster: Cluster, tell: Tell) -> None:
    """Makes what is missing of the release's own Secrets; a password that is there is never changed.

    Raises SecretMissing where a Secret of others has that name, and lacks a key.
    """
    for secret in release.secrets:
        if not secret.random:
            continue
        live = cluster.get(SECRET, secret.name)
        held = dict((live or {}).get("data") or {})
        lacking = [key for key in secret.random if key not in held]
        if not lacking:
            continue
        if live is not None and not is_ours(live, release.name):
            raise SecretMissing(secret.name, lacking[0], cluster.namespace, secret.source)
        labels = {LABEL_NAME: secret.name, LABEL_INSTANCE: release.name, LABEL_MANAGED_BY: MANAGER}
        made = {
            "apiVersion": "v1",
            "kind": SECRET.kind,
            "metadata": {"name": secret.name, "namespace": cluster.namespace, "labels": labels},
            "type": "Opaque",
            "data": held | dict(_random(lacking)),
        }
        cluster.apply(made)
        tell(Note(f"made the Secret {secret.name} with {' and '.join(lacking)}; `wherry down` keeps it"))


def _random(keys: list[str]) -> Iterator[tuple[str, str]]:
    for key in keys:
        yield key, base64.b64encode(secrets.token_urlsafe(PASSWORD_BYTES).encode()).decode()
