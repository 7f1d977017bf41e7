"""The image to build on, as its registry has it: manifest, configuration and, where they are needed, its layers."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from functools import partial
from http.client import HTTPResponse
from typing import Any

import msgspec

from wherry.contract.events import Progress, Tell, silent
from wherry.deploy import caches
from wherry.deploy.endpoints import Endpoint, endpoints
from wherry.deploy.registry import INDEXES, MANIFESTS
from wherry.deploy.session import Session, patiently
from wherry.errors import BaseMissing, RegistryFailed
from wherry.release.reference import Reference

CHUNK = 1 << 20
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INTERPRETER = re.compile(r"(/.*)/python3\.(\d+)")
DOCKER_FAMILY = "application/vnd.docker."


class Blob(msgspec.Struct, frozen=True):
    """A blob as a manifest names it."""

    digest: str
    size: int
    media: str


class Base(msgspec.Struct, frozen=True):
    """An image of one platform. config: its configuration, parsed."""

    reference: Reference
    media: str
    layers: tuple[Blob, ...]
    config: dict[str, Any]

    @property
    def of_docker(self) -> bool:
        """Whether its manifest is Docker's; what is built on it is of the same family."""
        return self.media.startswith(DOCKER_FAMILY)

    @property
    def diff_ids(self) -> list[str]:
        """The digest of what each layer holds, whoever compressed it."""
        return list((self.config.get("rootfs") or {}).get("diff_ids") or [])

    @property
    def environ(self) -> dict[str, str]:
        """The environment that the image gives its programs."""
        stated: list[str] = (self.config.get("config") or {}).get("Env") or []
        return {name: value for name, _, value in (line.partition("=") for line in stated)}


def fetch(reference: Reference, platform: str) -> Base:
    """The image of this platform, each document held against its digest; once fetched, without asking again.

    Raises BaseMissing, RegistryFailed, DiskFull, CacheUnusable.
    """
    media, manifest = document(reference, reference.digest)
    if media in INDEXES or "manifests" in manifest:
        chosen = choose(manifest.get("manifests") or [], platform)
        if chosen is None:
            raise BaseMissing(str(reference), f"it is not made for {platform}, only for {made_for(manifest)}")
        media, manifest = document(reference, chosen)
    if "layers" not in manifest or "config" not in manifest:
        raise BaseMissing(str(reference), f"its manifest is of a kind ({media or 'none'}) that holds no layers")
    _, config = document(reference, manifest["config"]["digest"], kind="blobs")
    found = f"{config.get('os', 'linux')}/{config.get('architecture', '')}"
    if found != "/".join(platform.split("/")[:2]):
        raise BaseMissing(str(reference), f"it is made for {found}, not for {platform}")
    return Base(
        reference,
        media,
        tuple(Blob(layer["digest"], layer["size"], layer["mediaType"]) for layer in manifest["layers"]),
        config,
    )


def choose(manifests: list[dict[str, Any]], platform: str) -> str | None:
    """The digest of the platform's manifest; a platform without a variant takes any."""
    system, architecture, *variant = platform.split("/")
    for entry in manifests:
        stated = entry.get("platform") or {}
        if (stated.get("os"), stated.get("architecture")) == (system, architecture) and (
            not variant or stated.get("variant") in (None, "", variant[0])
        ):
            return str(entry["digest"])
    return None


def made_for(index: dict[str, Any]) -> str:
    stated = [entry.get("platform") or {} for entry in index.get("manifests") or []]
    known = sorted({f"{one.get('os')}/{one.get('architecture')}" for one in stated if one.get("os") != "unknown"})
    return ", ".join(known) or "no platform"


def document(reference: Reference, digest: str, kind: str = "manifests") -> tuple[str, dict[str, Any]]:
    """A JSON document by its digest and the media type that it states. Raises BaseMissing, RegistryFailed."""
    path = caches.blob(digest)
    try:
        content = caches.used(path).read_bytes()
    except OSError:
        content = b""
    if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
        content = asked(reference, digest, kind)
        with caches.writing(path) as file:
            file.write(content)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise BaseMissing(str(reference), f"{kind} {digest} is no JSON") from error
    media = str(found.get("mediaType") or "")
    if not media and kind == "manifests":
        media = INDEXES[0] if "manifests" in found else MANIFESTS[0]
    return media, found


def asked(reference: Reference, digest: str, kind: str) -> bytes:
    """The document's bytes from the first place that has it."""
    troubles: list[RegistryFailed] = []
    answered = ""
    for endpoint in endpoints(reference):
        session = Session(endpoint)
        try:
            accept = {"Accept": ", ".join((*INDEXES, *MANIFESTS, "*/*"))}
            answer = patiently(partial(session.ask, "GET", f"{kind}/{digest}", accept))
        except RegistryFailed as trouble:
            troubles.append(trouble)
            continue
        if answer.status == 200 and digest == f"sha256:{hashlib.sha256(answer.body).hexdigest()}":
            return answer.body
        answered = f"{endpoint.host} has no {endpoint.path}@{digest}"
        if answer.status == 200:
            answered = f"what {endpoint.host} gives as {endpoint.path}@{digest} does not have that digest"
    raise BaseMissing(str(reference), answered or str(troubles[-1])) from (troubles[-1] if troubles else None)


def python(base: Base, tell: Tell = silent) -> str:
    """The minor version of the image's python3, 3.11; empty where it has none.

    Where the image does not say, its layers are pulled, once, and looked into. Raises RegistryFailed, DiskFull.
    """
    said = base.environ.get("PYTHON_VERSION", "")
    if said:
        return ".".join(said.split(".")[:2])
    key = hashlib.sha256("".join(blob.digest for blob in base.layers).encode()).hexdigest()
    known: str | None = caches.recall("pythons", key, str)
    if known is not None:
        return known
    there: set[tuple[str, int]] = set()
    for blob in base.layers:
        pull(base, blob, tell)
        with tarfile.open(caches.blob(blob.digest), mode="r:*") as archive:
            named = [INTERPRETER.fullmatch("/" + info.name.removeprefix("./")) for info in archive]
            there |= {(match[1], int(match[2])) for match in named if match}
    found = ""
    for folder in reversed(base.environ.get("PATH", DEFAULT_PATH).split(":")):
        found = next((f"3.{minor}" for home, minor in sorted(there, reverse=True) if home == folder), found)
    caches.remember("pythons", key, found)
    return found


def pull(base: Base, blob: Blob, tell: Tell = silent) -> None:
    """See to it that a layer of the base lies in the cache. Raises RegistryFailed, DiskFull, CacheUnusable."""
    path = caches.blob(blob.digest)
    if path.exists():
        caches.used(path)
        return
    troubles: list[RegistryFailed] = []
    for endpoint in endpoints(base.reference):
        try:
            patiently(partial(pulled, endpoint, blob, tell))
            return
        except RegistryFailed as trouble:
            troubles.append(trouble)
    raise troubles[-1]


def pulled(endpoint: Endpoint, blob: Blob, tell: Tell) -> None:
    """Put the blob into the cache. Raises RegistryFailed."""
    with caches.writing(caches.blob(blob.digest)) as file:
        digest = hashlib.sha256()
        done = 0

        def into(reply: HTTPResponse) -> bytes:
            nonlocal done
            while chunk := reply.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
                done += len(chunk)
                tell(Progress("pulling the base", done, blob.size, "bytes"))
            return b""

        session = Session(endpoint)
        answer = session.ask("GET", f"blobs/{blob.digest}", into=into)
        if answer.status != 200:
            raise session.refused("GET", answer)
        if f"sha256:{digest.hexdigest()}" != blob.digest:
            raise RegistryFailed(endpoint.host, f"the layer {blob.digest} arrived damaged or cut")
