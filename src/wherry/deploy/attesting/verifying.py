"""Which image a name means, and whether the owner of a key has signed that one. What cannot be proven is refused."""

from __future__ import annotations

import hashlib
from functools import partial

from wherry.deploy.attesting import signatures
from wherry.deploy.attesting.signatures import Signature
from wherry.deploy.attesting.signing import PublicKey
from wherry.deploy.endpoints import Endpoint, endpoints
from wherry.deploy.registry import INDEXES, MANIFESTS
from wherry.deploy.session import Session, patiently
from wherry.errors import DigestDiffers, ImageMissing, ImageUnsigned, RegistryFailed, SignatureWrong
from wherry.release.reference import Reference


def verify(reference: Reference, key: PublicKey) -> Reference:
    """The image by the digest that was verified: what is run from now on must be named by it.

    Raises ImageUnsigned, SignatureWrong, DigestDiffers, ImageMissing, RegistryFailed, RegistryRefused.
    """
    place, digest = resolved(reference)
    found: list[Signature] = []
    troubles: list[RegistryFailed] = []
    for source in dict.fromkeys((place, *endpoints(reference))):
        try:
            held, _ = signatures.stored(source, digest)
        except RegistryFailed as trouble:
            troubles.append(trouble)
            continue
        found += held
        if any(one.digest == digest and key.signed(one.payload, one.text) for one in held):
            return reference.pinned(digest)
    if troubles:
        raise troubles[-1]
    if not found:
        raise ImageUnsigned(str(reference), digest)
    by_key = [one for one in found if key.signed(one.payload, one.text)]
    raise SignatureWrong(str(reference), digest, tuple(sorted({one.digest or "no image" for one in by_key})))


def resolved(reference: Reference) -> tuple[Endpoint, str]:
    """The first place that holds the image, and its digest: of the bytes that were given, whatever the registry says.

    Raises DigestDiffers, ImageMissing, RegistryFailed, RegistryRefused.
    """
    what = reference.digest or reference.tag or "latest"
    troubles: list[RegistryFailed] = []
    for place in endpoints(reference):
        session = Session(place)
        accept = {"Accept": ", ".join(INDEXES + MANIFESTS)}
        try:
            answer = patiently(partial(session.ask, "GET", f"manifests/{what}", accept))
        except RegistryFailed as trouble:
            troubles.append(trouble)
            continue
        if answer.status != 200:
            continue
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if reference.digest and digest != reference.digest:
            raise DigestDiffers(str(reference), place.host, digest)
        return place, digest
    if troubles:
        raise troubles[-1]
    raise ImageMissing(str(reference))
