"""What lies in an image, read from its registry: each path with all that the builders must agree on."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.request
from functools import cache
from typing import Any, NamedTuple

ACCEPT = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.index.v1+json"
)
# What the engine that builds leaves behind in its own way.
SET_ASIDE = ("etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/mtab", ".dockerenv")


class Lies(NamedTuple):
    kind: bytes
    mode: int
    owner: tuple[int, int]
    target: str
    content: str
    head: bytes  # of byte code: the Python and the source that it was made of


@cache
def get(registry: str, path: str) -> bytes:
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return bytes(reply.read())


def manifest(registry: str, repository: str, reference: str) -> dict[str, Any]:
    return dict(json.loads(get(registry, f"{repository}/manifests/{reference}")))


def config(registry: str, repository: str, reference: str) -> dict[str, Any]:
    digest = manifest(registry, repository, reference)["config"]["digest"]
    return dict(json.loads(get(registry, f"{repository}/blobs/{digest}")))


def file_system(registry: str, repository: str, reference: str) -> dict[str, Lies]:
    """Every path of the image, its layers applied in their order."""
    found: dict[str, Lies] = {}
    diff_ids = config(registry, repository, reference)["rootfs"]["diff_ids"]
    for layer, diff_id in zip(manifest(registry, repository, reference)["layers"], diff_ids, strict=True):
        apply(entries_of(registry, f"{repository}/blobs/{layer['digest']}", diff_id), found)
    return {path: lies for path, lies in found.items() if path not in SET_ASIDE}


def layers_of(registry: str, repository: str, reference: str) -> list[tuple[tuple[str, Lies], ...]]:
    """The entries of each layer, the base's first."""
    diff_ids = config(registry, repository, reference)["rootfs"]["diff_ids"]
    blobs = [layer["digest"] for layer in manifest(registry, repository, reference)["layers"]]
    pairs = zip(blobs, diff_ids, strict=True)
    return [entries_of(registry, f"{repository}/blobs/{blob}", diff_id) for blob, diff_id in pairs]


READ: dict[str, tuple[tuple[str, Lies], ...]] = {}


def entries_of(registry: str, blob: str, diff_id: str) -> tuple[tuple[str, Lies], ...]:
    """The entries of a layer; equal contents are read once, however they are compressed."""
    if diff_id not in READ:
        READ[diff_id] = read(get(registry, blob))
    return READ[diff_id]


def read(blob: bytes) -> tuple[tuple[str, Lies], ...]:
    """The entries of a compressed layer."""
    found: dict[str, Lies] = {}
    entries = []
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:*") as archive:
        for info in archive:
            path = info.name.removeprefix("./").strip("/")
            stream = archive.extractfile(info) if info.isreg() else None
            data = stream.read() if stream else b""
            content = hashlib.sha256(data).hexdigest() if stream else ""
            head = data[:16] if path.endswith(".pyc") else b""
            lies = Lies(info.type, info.mode & 0o7777, (info.uid, info.gid), info.linkname, content, head)
            if info.islnk():  # a second name is a file like the first
                lies = found[info.linkname.removeprefix("./").strip("/")]
            found[path] = lies
            entries.append((path, lies))
    return tuple(entries)


def apply(entries: tuple[tuple[str, Lies], ...], found: dict[str, Lies]) -> None:
    """Lay a layer over what is there, with its marks of what is gone."""
    for path, _ in entries:
        folder, _, name = path.rpartition("/")
        if name.startswith(".wh."):
            gone = folder if name == ".wh..wh..opq" else f"{folder}/{name[4:]}".strip("/")
            for known in [one for one in found if one.startswith(f"{gone}/") or (one == gone != folder)]:
                del found[known]
    found.update({path: lies for path, lies in entries if path and not path.rpartition("/")[2].startswith(".wh.")})
