"""Documents that refer to an image: OCI artifacts with a `subject`, found by the registry or by a tag of the digest."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract.events import Tell, silent
from wherry.deploy import caches, uploads
from wherry.deploy.archives import INDEX
from wherry.deploy.bases import Blob
from wherry.deploy.endpoints import endpoint
from wherry.deploy.registry import INDEXES, MANIFESTS
from wherry.deploy.session import Session, patiently
from wherry.errors import RegistryFailed, RegistryRefused
from wherry.release.reference import Reference

MANIFEST = MANIFESTS[0]
EMPTY_MEDIA, EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
# Somebody else may write the list that a tag holds between our reading and our writing: so often it is read again.
ROUNDS = 5


class Artifact(msgspec.Struct, frozen=True):
    """A document to attach. kind: its media type, and the type of the artifact."""

    kind: str
    content: bytes
    annotations: dict[str, str] = {}

    def manifest(self, subject: Blob) -> bytes:
        """The OCI manifest that ties the document to the image. Equal documents, equal bytes."""
        text = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.kind,
            "config": described(blob_of(EMPTY, EMPTY_MEDIA)),
            "layers": [described(blob_of(self.content, self.kind))],
            "subject": described(subject),
            **({"annotations": self.annotations} if self.annotations else {}),
        }
        return json.dumps(text, separators=(",", ":"), sort_keys=True).encode()


def listed(reference: Reference, digest: str) -> list[dict[str, Any]]:
    """The descriptors of all that refers to the image, by the registry's own list, else by the tag's.

    Raises RegistryFailed, RegistryRefused.
    """
    session = Session(endpoint(reference.host, reference.path, insecure=False))
    found = answered(session, digest)
    return tagged(session, digest)[0] if found is None else found


def answered(session: Session, digest: str) -> list[dict[str, Any]] | None:
    """What the registry lists; None where it lists nothing for anybody."""
    try:
        answer = patiently(partial(session.ask, "GET", f"referrers/{digest}", {"Accept": INDEX}))
    except RegistryRefused:
        return None  # some forbid what they do not know
    if answer.status != 200:
        return None
    try:
        return list(json.loads(answer.body)["manifests"])
    except (ValueError, KeyError, TypeError):
        return None  # something that answers every path, and is no such list


def tagged(session: Session, digest: str) -> tuple[list[dict[str, Any]], bytes]:
    """What the list says that is kept under the tag of the digest, and its bytes; nothing where there is none."""
    answer = patiently(
        partial(session.ask, "GET", f"manifests/{tag_of(digest)}", {"Accept": ", ".join(INDEXES + MANIFESTS)})
    )
    if answer.status != 200:
        return [], b""
    try:
        return list(json.loads(answer.body)["manifests"]), answer.body
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryFailed(session.endpoint.host, f"under {tag_of(digest)} it holds no list of manifests") from error


def attach(reference: Reference, subject: Blob, artifacts: list[Artifact], tell: Tell = silent) -> tuple[str, ...]:
    """Push the artifacts that do not refer to the image yet; the digest of each, whether it was there or not.

    Raises RegistryFailed, RegistryRefused. Nothing lists an artifact before it is there.
    """
    session = Session(endpoint(reference.host, reference.path, insecure=False), push=True)
    by_registry = answered(session, subject.digest)
    held = tagged(session, subject.digest)[0] if by_registry is None else by_registry
    known = {entry.get("digest") for entry in held}
    digests, new = [], []
    for artifact in artifacts:
        manifest = artifact.manifest(subject)
        made = blob_of(manifest, MANIFEST)
        digests.append(made.digest)
        if made.digest in known:
            continue
        documents = {EMPTY: EMPTY_MEDIA, artifact.content: artifact.kind}
        parts = [part(content, media) for content, media in documents.items()]
        uploads.push(reference.tagged(made.digest), parts, manifest, MANIFEST, tell)
        entry = {**described(made), "artifactType": artifact.kind}
        new.append({**entry, "annotations": artifact.annotations} if artifact.annotations else entry)
    if new and by_registry is None:
        note(session, subject.digest, new)
    return tuple(digests)


def note(session: Session, digest: str, new: list[dict[str, Any]]) -> None:
    """Add the descriptors to the list under the digest's tag, whoever else is adding to it. Raises RegistryFailed."""
    for _ in range(ROUNDS):
        held, _ = tagged(session, digest)
        known = {entry.get("digest") for entry in held}
        missing = [entry for entry in new if entry["digest"] not in known]
        if not missing:
            return
        text = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*held, *missing]}
        body = json.dumps(text, separators=(",", ":")).encode()
        headers = {"Content-Type": INDEX}
        answer = patiently(partial(session.ask, "PUT", f"manifests/{tag_of(digest)}", headers, partial(bytes, body)))
        if answer.status not in (200, 201, 202):
            raise session.refused("PUT", answer)
    raise RegistryFailed(session.endpoint.host, f"others keep overwriting what {tag_of(digest)} lists")


def tag_of(digest: str) -> str:
    """The tag under which what refers to a digest is found: sha256-..., by the OCI distribution specification."""
    return digest.replace(":", "-")


def described(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media, "digest": blob.digest, "size": blob.size}


def blob_of(content: bytes, media: str) -> Blob:
    return Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content), media)


def part(content: bytes, media: str) -> uploads.Part:
    """The content as something to push."""
    blob = blob_of(content, media)

    def written() -> Path:
        with caches.writing(caches.blob(blob.digest)) as file:
            file.write(content)
        return caches.blob(blob.digest)

    return uploads.Part(blob, written)
