"""Where an image lies: its own registry, and the mirrors that registries.conf names for it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from wherry.release.reference import DOCKER_HUB, Reference

HUB_API = "registry-1.docker.io"
LOOPBACK = ("localhost", "127.", "[::1]")


class Endpoint(NamedTuple):
    """A place to ask: the registry's host, the base of its URLs, the repository's path there."""

    host: str
    base: str
    path: str


def endpoints(reference: Reference) -> list[Endpoint]:
    """Where the image may lie, in the order to ask: the mirrors of registries.conf, then its own registry."""
    found: list[Endpoint] = []
    for entry in registries():
        prefix = entry.get("prefix") or entry.get("location", "")
        rest = beneath(f"{reference.host}/{reference.path}", prefix)
        if rest is None:
            continue
        for place in [*entry.get("mirror", ()), {"location": entry.get("location", prefix), **entry}]:
            host, _, path = f"{place.get('location', prefix)}{rest}".partition("/")
            found.append(endpoint(host, path, insecure=bool(place.get("insecure"))))
        return found
    return [endpoint(reference.host, reference.path, insecure=False)]


def endpoint(host: str, path: str, *, insecure: bool) -> Endpoint:
    plain = insecure or host.startswith(LOOPBACK)
    host = HUB_API if host == DOCKER_HUB else host
    return Endpoint(host, f"{'http' if plain else 'https'}://{host}", path)


def beneath(name: str, prefix: str) -> str | None:
    """What follows `prefix` in `name`, None when the name is not beneath it."""
    if prefix and name.startswith(prefix) and name[len(prefix) : len(prefix) + 1] in ("", "/"):
        return name[len(prefix) :]
    return None


def registries() -> list[dict[str, Any]]:
    """The [[registry]] tables of registries.conf, where there is one that can be read; longest prefix first."""
    for path in config_files():
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError):
            continue
        entries = [entry for entry in table.get("registry", ()) if isinstance(entry, dict)]
        return sorted(entries, key=lambda entry: -len(entry.get("prefix") or entry.get("location", "")))
    return []


def config_files() -> list[Path]:
    named = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        return [Path(named)]
    return [Path.home() / ".config/containers/registries.conf", Path("/etc/containers/registries.conf")]
