"""wherry as a builder: no daemon, no root. Layers are computed here and pushed straight to the registry."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.contract.names import IMAGE_BUNDLE, IMAGE_USER, SPOOL_DIR
from wherry.deploy import archives, bases, caches, explain, layers, unpack, uploads, wheels
from wherry.deploy.bases import Base, Blob
from wherry.deploy.endpoints import endpoints
from wherry.deploy.engines import Engine
from wherry.deploy.layers import Entry, Layer
from wherry.deploy.order import Order
from wherry.deploy.programs import present
from wherry.deploy.wheels import Wheel
from wherry.errors import BaseUnfit, BuildFailed, FileMissing
from wherry.release.image import LIBRARIES, OWN, REQUIREMENTS_FILE, STORE, STORE_FILE, UNPACK_FILE, ImagePlan

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"


class Image(msgspec.Struct, frozen=True):
    """An image computed: what its registry will hold. config and manifest are the bytes themselves."""

    base: Base
    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes
    media: str

    @property
    def config_blob(self) -> Blob:
        media = f"{DOCKER}.container.image.v1+json" if self.base.of_docker else f"{OCI}.config.v1+json"
        return Blob(named(self.config), len(self.config), media)

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """The layers, the base's first."""
        media = f"{DOCKER}.image.rootfs.diff.tar.gzip" if self.base.of_docker else f"{OCI}.layer.v1.tar+gzip"
        return (*self.base.layers, *(Blob(layer.digest, layer.size, media) for layer in self.layers))

    @property
    def digest(self) -> str:
        return named(self.manifest)


class Direct:
    """Builds from the registry's manifest of the base, without its layers."""

    name = "direct"

    def trouble(self, order: Order) -> str:
        """Why it cannot be used; empty when it can. Raises BaseMissing, RegistryFailed where the base cannot be had."""
        if not (order.push or order.output or order.load) and not present("docker"):
            return "the image would be nowhere: no --push, no --output FILE, and no Docker to load it into"
        bases.fetch(order.base, order.platform)
        return ""

    def make(self, order: Order, tell: Tell = silent) -> str:
        """The image computed, and brought where the order says. Raises BuildFailed and its kinds, DiskFull."""
        image = compute(order, tell)
        if order.output:
            archives.save(content(image, tell), order.reference, order.output, tell)
        if order.load or not (order.push or order.output):
            archives.load(content(image, tell), order.reference, order.load or Engine("docker"), tell)
        if order.push:
            started = time.monotonic()
            text = f"pushing {order.reference}"
            tell(Step(text))
            sent = push(image, order, tell)
            tell(Step(text, time.monotonic() - started))
            tell(Note(f"sent {sent.sent:,} bytes; {sent.held} blobs were there, {sent.mounted} were taken over"))
        explain.remember(order, image.layers)
        caches.tidy()
        return image.digest if order.push else image.config_blob.digest


def compute(order: Order, tell: Tell = silent) -> Image:
    """The image of an order, its layers in the cache. Equal for equal plans, bundles and SOURCE_DATE_EPOCH."""
    base = bases.fetch(order.base, order.platform)
    started = time.monotonic()
    text = f"computing the layers of {order.plan.model}"
    tell(Step(text))
    found = compute_layers(order, base, tell)
    tell(Step(text, time.monotonic() - started))
    config = configured(order.plan, base, found)
    made = Image(base, found, config, b"", "")
    media = f"{DOCKER}.distribution.manifest.v2+json" if base.of_docker else f"{OCI}.manifest.v1+json"
    return msgspec.structs.replace(made, manifest=manifest(made, media), media=media)


def compute_layers(order: Order, base: Base, tell: Tell) -> tuple[Layer, ...]:
    """Libraries, what the store needs if there is one, wherry, the model: in the order in which they change."""
    plan = order.plan
    compiled = byte_code(plan, base, tell)
    program = hashlib.sha256(plan.context[UNPACK_FILE]).hexdigest()
    by = sys.version if compiled else ""
    laid = [("libraries", REQUIREMENTS_FILE, LIBRARIES), ("store", STORE_FILE, STORE)]
    fetched = [
        (name, listed, target, wheels.fetch(plan.context[listed].decode(), plan.python, order.platform, tell))
        for name, listed, target in laid
        if listed in plan.context
    ]
    libraries = [
        layers.made(
            name,
            f"the wheels of {listed} in {target}",
            [program, by, [[wheel.name, wheel.version, wheel.sha256] for wheel, _ in held]],
            partial(of_wheels, held, target, compiled),
        )
        for name, listed, target, held in fetched
    ]
    own = layers.made(
        "wherry",
        f"itself in {OWN}, and {SPOOL_DIR}",
        [program, by, plan.wheel, hashlib.sha256(plan.context[plan.wheel]).hexdigest()],
        lambda: ours(plan, compiled),
    )
    if not plan.bundle_files:
        return (*libraries, own)
    files = {path: order.bundle / path for path in plan.bundle_files}
    try:
        model = layers.made(
            "model",
            f"the bundle in {IMAGE_BUNDLE}",
            {path: wheels.digest_of(file) for path, file in files.items()},
            lambda: (
                Entry(f"{IMAGE_BUNDLE}/{path}".lstrip("/"), 0o644, file, 0, (path, "")) for path, file in files.items()
            ),
        )
    except FileNotFoundError as error:
        raise FileMissing(str(error.filename), "file of the bundle", "pack the model again") from error
    return (*libraries, own, model)


def byte_code(plan: ImagePlan, base: Base, tell: Tell) -> bool:
    """Whether byte code goes in: only where this Python is of the base's minor version. Says so when not.

    Raises BaseUnfit where the base has not the Python that the wheels are for.
    """
    there = bases.python(base, tell)
    if there != plan.python:
        raise BaseUnfit(str(base.reference), there, plan.python)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if there == here and sys.implementation.name == "cpython":
        return True
    tell(
        Note(
            f"no byte code is put into the image: this is Python {here}, the base has {there}. It will start slower",
            hint=f"run wherry under Python {there}, or --builder docker",
        )
    )
    return False


def of_wheels(held: tuple[tuple[Wheel, Path], ...], target: str, compiled: bool) -> Iterator[Entry]:
    """The files of these wheels as they lie in `target`, wheel by wheel."""
    for wheel, file in held:
        wheel.held_against(file)
        yield from unpacked(file, target, compiled, (wheel.name, wheel.version))


def unpacked(wheel: Path | IO[bytes], target: str, compiled: bool, part: tuple[str, str]) -> Iterator[Entry]:
    try:
        for file in unpack.files(wheel, target, compiled):
            yield Entry(f"{target}/{file.path}".lstrip("/"), file.mode, file.content, 0, part)
    except (ValueError, BadZipFile) as error:
        hint = f"rm {wheel}" if isinstance(wheel, Path) else ""
        raise BuildFailed(f"the wheel of {' '.join(part)} cannot be unpacked: {error}", hint=hint) from error


def ours(plan: ImagePlan, compiled: bool) -> Iterator[Entry]:
    """wherry's own files, and the folder that its service may write to."""
    version = plan.wheel.split("-")[1]
    yield from unpacked(io.BytesIO(plan.context[plan.wheel]), OWN, compiled, ("wherry", version))
    yield Entry(SPOOL_DIR.lstrip("/"), 0o755, None, IMAGE_USER)


def configured(plan: ImagePlan, base: Base, added: tuple[Layer, ...]) -> bytes:
    """The configuration: the base's, with ours over it, as the Dockerfile's instructions would leave it."""
    stated = ("architecture", "os", "variant", "os.version")
    kept: dict[str, Any] = {name: base.config[name] for name in stated if name in base.config}
    inner: dict[str, Any] = copy.deepcopy(base.config.get("config") or {})
    inner["Env"] = [f"{name}={value}" for name, value in {**base.environ, **plan.config.environ}.items()]
    inner["Labels"] = {**(inner.get("Labels") or {}), **plan.config.labels}
    ports: dict[str, dict[str, str]] = {f"{port}/tcp": {} for port in plan.config.ports}
    inner["ExposedPorts"] = {**(inner.get("ExposedPorts") or {}), **ports}
    inner["User"], inner["WorkingDir"] = plan.config.user, plan.config.folder
    inner["StopSignal"], inner["Entrypoint"] = plan.config.signal, list(plan.config.entrypoint)
    for name in ("Cmd", "Image", "Hostname", "OnBuild"):  # what an entry point of its own, and a build, take away
        inner.pop(name, None)
    created = datetime.fromtimestamp(layers.epoch(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    diff_ids = base.diff_ids
    before = list(base.config.get("history") or [])
    if sum(not step.get("empty_layer") for step in before) != len(diff_ids):
        before = [{"created_by": "the base"} for _ in diff_ids]
    steps = [{"created": created, "created_by": layer.about} for layer in added]
    text: dict[str, Any] = {
        **kept,
        "created": created,
        "config": inner,
        "rootfs": {"type": "layers", "diff_ids": [*diff_ids, *(layer.diff_id for layer in added)]},
        "history": [*before, *steps],
    }
    return json.dumps(text, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def manifest(image: Image, media: str) -> bytes:
    """The manifest: of the base's family, since not every registry takes a mixture."""
    text = {
        "schemaVersion": 2,
        "mediaType": media,
        "config": described(image.config_blob),
        "layers": [described(blob) for blob in image.blobs],
    }
    return json.dumps(text, separators=(",", ":")).encode()


def push(image: Image, order: Order, tell: Tell) -> uploads.Sent:
    """Bring the image into the order's registry."""
    host = endpoints(order.reference)[-1].host  # a mirror is asked, never pushed to
    home = next((place.path for place in endpoints(image.base.reference) if place.host == host), "")
    of_base = {blob.digest for blob in image.base.layers}
    parts = [
        uploads.Part(
            blob, bring, (blob.digest in of_base and home) or uploads.home_of(order.reference.host, blob.digest)
        )
        for blob, bring in content(image, tell).layers
    ]
    config = image.config_blob
    known = uploads.home_of(order.reference.host, config.digest)
    parts.append(uploads.Part(config, partial(written, image.config), known))
    return uploads.push(order.reference, parts, image.manifest, image.media, tell)


def content(image: Image, tell: Tell) -> archives.Content:
    """The image in all its parts; the base's layers are pulled when they are asked for."""

    def pulled(blob: Blob) -> Path:
        bases.pull(image.base, blob, tell)
        return caches.blob(blob.digest)

    ours = image.blobs[len(image.base.layers) :]
    return archives.Content(
        manifest=image.manifest,
        manifest_blob=Blob(image.digest, len(image.manifest), image.media),
        config=image.config,
        config_blob=image.config_blob,
        layers=(
            *((blob, partial(pulled, blob)) for blob in image.base.layers),
            *((blob, partial(Path, layer.path)) for blob, layer in zip(ours, image.layers, strict=True)),
        ),
        base=str(image.base.reference),
    )


def written(content: bytes) -> Path:
    """The content as a file of the cache."""
    path = caches.blob(named(content))
    with caches.writing(path) as file:
        file.write(content)
    return path


def described(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media, "digest": blob.digest, "size": blob.size}


def named(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
