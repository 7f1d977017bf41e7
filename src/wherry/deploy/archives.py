"""An image as one tar file that is an OCI layout and a docker-archive at once: what `--output` writes, `--load` loads.

Docker, containerd, podman, skopeo, kind and minikube all read it.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import msgspec

from wherry.contract.events import Step, Tell, silent
from wherry.deploy import caches, engines, layers
from wherry.deploy.bases import Blob
from wherry.deploy.engines import Engine
from wherry.release.reference import Reference

INDEX = "application/vnd.oci.image.index.v1+json"
NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


class Content(msgspec.Struct, frozen=True):
    """An image in all its parts. layers: each with what brings its file."""

    manifest: bytes
    manifest_blob: Blob
    config: bytes
    config_blob: Blob
    layers: tuple[tuple[Blob, Callable[[], Path]], ...]
    base: str


def save(content: Content, reference: Reference, output: Path, tell: Tell = silent) -> None:
    """Write the image into a tar file, whole or not at all. Equal images, equal bytes. Raises DiskFull."""
    files = [(blob, bring()) for blob, bring in content.layers]
    text = f"writing {output}"
    started = time.monotonic()
    tell(Step(text))
    with caches.writing(output) as file:
        pack(content, reference, files, file)
    tell(Step(text, time.monotonic() - started))


def load(content: Content, reference: Reference, engine: Engine, tell: Tell = silent) -> None:
    """Put the image among those of the engine. Raises BuildFailed and its kinds, DiskFull."""
    with tempfile.TemporaryDirectory(prefix="wherry-") as folder:
        file = Path(folder) / "image.tar"
        save(content, reference, file)
        engines.load(engine, file, reference, content.base, tell)


def pack(content: Content, reference: Reference, files: list[tuple[Blob, Path]], file: IO[bytes]) -> None:
    """The archive itself."""
    name = str(reference)
    registry = name if name.startswith(reference.host) else f"{reference.host}/{reference.path}:{reference.tag}"
    entry: dict[str, Any] = {
        "mediaType": content.manifest_blob.media,
        "digest": content.manifest_blob.digest,
        "size": content.manifest_blob.size,
        "annotations": {CONTAINERD_NAME: registry, NAME: reference.tag},
    }
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    of_docker = {
        "Config": place(content.config_blob.digest),
        "RepoTags": [name],
        "Layers": [place(blob.digest) for blob, _ in files],
    }
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        put(archive, "oci-layout", as_json({"imageLayoutVersion": "1.0.0"}))
        put(archive, "index.json", as_json(index))
        put(archive, "manifest.json", as_json([of_docker]))
        held = {content.manifest_blob.digest: content.manifest, content.config_blob.digest: content.config}
        for digest, text in held.items():
            put(archive, place(digest), text)
        for digest, path in {blob.digest: path for blob, path in files}.items():
            put(archive, place(digest), path)


def place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def put(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    layers.add(archive, layers.Entry(name, 0o644, content))
