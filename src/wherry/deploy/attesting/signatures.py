"""Signatures of images as cosign stores them: a payload that names the digest, under the tag sha256-....sig."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from wherry.contract.events import Tell, silent
from wherry.deploy import uploads
from wherry.deploy.attesting.referrers import ROUNDS, blob_of, described, part, tag_of
from wherry.deploy.attesting.signing import PrivateKey
from wherry.deploy.endpoints import Endpoint, endpoint
from wherry.deploy.registry import MANIFESTS
from wherry.deploy.session import Session, patiently
from wherry.errors import RegistryFailed
from wherry.release.reference import Reference

PAYLOAD_MEDIA = "application/vnd.dev.cosign.simplesigning.v1+json"
CONFIG_MEDIA = "application/vnd.oci.image.config.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
TYPE = "cosign container image signature"
# No time is in it, as in cosign's own.
ZERO_TIME = "0001-01-01T00:00:00Z"
MOST = 200  # signatures of one image that are looked at
LARGEST = 1 << 16  # bytes of one payload


class Signature(msgspec.Struct, frozen=True):
    """A signature as it was found: what was signed, byte for byte, and the text that signs it."""

    payload: bytes
    text: str

    @property
    def digest(self) -> str:
        """The digest that the payload vouches for; empty where it is no payload of cosign's."""
        try:
            critical = json.loads(self.payload)["critical"]
            return str(critical["image"]["docker-manifest-digest"]) if critical["type"] == TYPE else ""
        except (ValueError, KeyError, TypeError):
            return ""


def payload(reference: Reference, digest: str) -> bytes:
    """What is signed: that this repository holds an image of this digest."""
    critical = {
        "identity": {"docker-reference": f"{reference.host}/{reference.path}"},
        "image": {"docker-manifest-digest": digest},
        "type": TYPE,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":"), sort_keys=True).encode()


def sign(reference: Reference, digest: str, key: PrivateKey, tell: Tell = silent) -> bool:
    """Sign the image with this digest beside the signatures that it has; False where this key has signed it already.

    Raises RegistryFailed, RegistryRefused.
    """
    place = endpoint(reference.host, reference.path, insecure=False)
    for number in range(ROUNDS):
        held, manifest = stored(place, digest)
        if any(one.digest == digest and key.public.signed(one.payload, one.text) for one in held):
            return number > 0
        add(reference, digest, key, manifest.get("layers", ()), tell)
    raise RegistryFailed(place.host, f"what is put under {tag_of(digest)}.sig does not stay there")


def add(reference: Reference, digest: str, key: PrivateKey, before: Iterable[dict[str, Any]], tell: Tell) -> None:
    """Put a signature behind those that are there; read again afterwards, since somebody else may do the same."""
    text = payload(reference, digest)
    layer = {**described(blob_of(text, PAYLOAD_MEDIA)), "annotations": {ANNOTATION: key.sign(text)}}
    layers = [*before, layer]
    config = json.dumps(configured([one["digest"] for one in layers]), separators=(",", ":")).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "config": described(blob_of(config, CONFIG_MEDIA)),
        "layers": layers,
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    parts = [part(text, PAYLOAD_MEDIA), part(config, CONFIG_MEDIA)]
    uploads.push(reference.tagged(f"{tag_of(digest)}.sig"), parts, body, MANIFESTS[0], tell)


def configured(digests: list[str]) -> dict[str, Any]:
    """The configuration of an image that is none, as cosign writes it."""
    return {
        "architecture": "",
        "created": ZERO_TIME,
        "history": [{"created": ZERO_TIME} for _ in digests],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": digests},
        "config": {},
    }


def stored(place: Endpoint, digest: str) -> tuple[list[Signature], dict[str, Any]]:
    """The signatures that lie at this place for the image, and the manifest that holds them; none where there is none.

    Raises RegistryFailed, RegistryRefused.
    """
    session = Session(place)
    accept = {"Accept": ", ".join(MANIFESTS)}
    answer = patiently(partial(session.ask, "GET", f"manifests/{tag_of(digest)}.sig", accept))
    if answer.status != 200:
        return [], {}
    try:
        manifest = json.loads(answer.body)
        named = [
            (str(layer["digest"]), str((layer.get("annotations") or {}).get(ANNOTATION, "")))
            for layer in manifest["layers"][:MOST]
            if layer["mediaType"] == PAYLOAD_MEDIA and int(layer["size"]) <= LARGEST
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryFailed(place.host, f"under {tag_of(digest)}.sig it holds no signatures") from error
    return [
        Signature(content, text) for name, text in named if (content := fetched(session, name)) is not None
    ], manifest


def fetched(session: Session, digest: str) -> bytes | None:
    """A payload by its digest; None where it is not there, or is another."""
    answer = patiently(partial(session.ask, "GET", f"blobs/{digest}"))
    if answer.status != 200 or f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != digest:
        return None
    return answer.body
