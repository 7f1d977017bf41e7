"""What an image in its registry is made of above its base, whoever built it: layers, packages, files of the model."""

from __future__ import annotations

import csv
import tarfile
from functools import partial

import msgspec

from wherry.contract.events import Tell, silent
from wherry.contract.names import IMAGE_BUNDLE
from wherry.deploy import bases, caches, registry
from wherry.deploy.bases import Base, Blob
from wherry.deploy.layers import OURS, Layer, Part
from wherry.deploy.session import patiently
from wherry.release.image import LIBRARIES, OWN, STORE
from wherry.release.reference import Reference

# What lies where, in the order of the layers.
FOLDERS = {"libraries": LIBRARIES, "store": STORE, "wherry": OWN, "model": IMAGE_BUNDLE}


class Published(msgspec.Struct, frozen=True):
    """An image of the registry. same_base: whether it stands on the layers that a build would stand on now."""

    layers: tuple[Layer, ...]
    same_base: bool


def published(reference: Reference, platform: str, base: Base, tell: Tell = silent) -> Published | None:
    """The image under the reference's tag, None where there is none; its layers are pulled where they are not here.

    Raises RegistryFailed, RegistryRefused, BaseMissing where it is for another platform, DiskFull, CacheUnusable.
    """
    digest = patiently(partial(registry.digest, reference))
    if digest is None:
        return None
    image = bases.fetch(reference.pinned(digest), platform)
    found = [layer for blob in above(image, base) for layer in read(image, blob, tell)]
    order = list(FOLDERS)
    same = image.diff_ids[: len(base.layers)] == base.diff_ids  # engines compress in their own ways
    return Published(tuple(sorted(found, key=lambda layer: order.index(layer.name))), same)


def above(image: Base, base: Base) -> tuple[Blob, ...]:
    """The image's layers that are not its base's: by its history where wherry wrote it, else what the base lacks."""
    steps = [step for step in image.config.get("history") or [] if not step.get("empty_layer")]
    if len(steps) == len(image.layers) and any(str(step.get("created_by")).startswith(OURS) for step in steps):
        pairs = zip(steps, image.layers, strict=True)
        return tuple(blob for step, blob in pairs if str(step.get("created_by")).startswith(OURS))
    pairs_of_ids = zip(image.diff_ids, image.layers, strict=True)
    return tuple(blob for diff_id, blob in pairs_of_ids if diff_id not in base.diff_ids)


def read(image: Base, blob: Blob, tell: Tell) -> list[Layer]:
    """What the blob holds in our folders: one layer, or none."""
    bases.pull(image, blob, tell)
    sizes: dict[str, int] = {}
    records: dict[str, str] = {}
    with tarfile.open(caches.blob(blob.digest), mode="r:*") as archive:
        for info in archive:
            path = "/" + info.name.removeprefix("./").strip("/")
            if info.isreg():
                sizes[path] = info.size
                if path.endswith(".dist-info/RECORD"):
                    stream = archive.extractfile(info)
                    records[path] = stream.read().decode() if stream else ""
    layers = []
    for name, folder in FOLDERS.items():
        held = {path.removeprefix(f"{folder}/"): size for path, size in sizes.items() if path.startswith(f"{folder}/")}
        if held:
            own = {path.removeprefix(f"{folder}/"): text for path, text in records.items()}
            parts = by_file(held) if name == "model" else by_distribution(held, own)
            layers.append(Layer(name, blob.digest, blob.size, "", sum(held.values()), parts))
    return layers


def by_file(held: dict[str, int]) -> tuple[Part, ...]:
    return tuple(Part(path, "", size) for path, size in held.items())


def by_distribution(held: dict[str, int], records: dict[str, str]) -> tuple[Part, ...]:
    """The files of a folder under the distributions whose RECORD names them; byte code counts with its source."""
    parts = []
    sources = {source_of(path): size for path, size in held.items() if path.endswith(".pyc")}
    for place, text in records.items():
        name, _, version = place.partition("/")[0].removesuffix(".dist-info").partition("-")
        listed = [row[0] for row in csv.reader(text.splitlines()) if row]
        size = sum(held.get(path, 0) + sources.get(path, 0) for path in listed)
        parts.append(Part(name.lower().replace("_", "-"), version, size))
    return tuple(parts)


def source_of(path: str) -> str:
    """a/b.py for a/__pycache__/b.cpython-311.pyc."""
    folder, _, name = path.rpartition("/")
    return f"{folder.removesuffix('__pycache__')}{name.partition('.')[0]}.py"
