"""What a build leaves beside its image: the bill of materials and the provenance. The image is not touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.contract.manifest import Manifest
from wherry.deploy import bases
from wherry.deploy.attesting import contents, provenance, referrers, sbom
from wherry.deploy.attesting.referrers import Artifact
from wherry.deploy.bases import Base, Blob
from wherry.deploy.builders import Built
from wherry.deploy.direct import Direct
from wherry.deploy.endpoints import endpoint
from wherry.deploy.registry import INDEXES, MANIFESTS
from wherry.deploy.session import Session, patiently
from wherry.errors import AttachingRefused, BuildFailed, RegistryFailed
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference


class Attached(msgspec.Struct, frozen=True):
    """The digests of the documents that refer to the image; empty where none was attached."""

    sbom: str = ""
    provenance: str = ""


def attach(
    made: Built,
    plan: ImagePlan,
    manifest: Manifest,
    platform: str,
    *,
    reproduced: Callable[[], str] = str,
    insist: bool = False,
    tell: Tell = silent,
) -> Attached:
    """Attach to a pushed image what is in it and where it came from.

    What is attached already is not sent again. An image that was found, and not built just now, gets its provenance
    only where wherry itself would build the same bytes again (`reproduced`: the digest that it would have): of any
    other nobody here has seen how it was made. A registry that takes no such documents is told of; with `insist` it
    is an error.
    Raises AttachingRefused, DiskFull.
    """
    started = time.monotonic()
    reference = Reference.parse(made.reference).pinned(made.digest)
    text = "attaching what is in the image"
    try:
        if not made.builder:
            known = attached(reference)
            if known.sbom and known.provenance:
                return known
            if reproduced() == made.digest:
                made = msgspec.structs.replace(made, builder=Direct.name)
            elif known.sbom:
                return known
        tell(Step(text))
        documents = composed(made, plan, manifest, platform, tell)
        digests = referrers.attach(reference, subject(reference), documents)
    except BuildFailed as trouble:
        if insist:
            raise AttachingRefused(str(reference), str(trouble)) from trouble
        tell(Note(f"{trouble}; nothing is attached to the image", warn=True, hint="--no-attest does not try"))
        return Attached()
    tell(Step(text, time.monotonic() - started))
    return Attached(digests[0], digests[1] if len(digests) > 1 else "")


def composed(made: Built, plan: ImagePlan, manifest: Manifest, platform: str, tell: Tell) -> list[Artifact]:
    """The documents of an image in its registry, read from what lies there."""
    reference = Reference.parse(made.reference).pinned(made.digest)
    image, base = bases.fetch(reference, platform), bases.fetch(Reference.parse(plan.base), platform)
    held = contents.of_image(image, tell)
    name = plan.config.labels["org.opencontainers.image.base.name"]
    bill = sbom.document(made.digest, held, manifest, base.reference, name, below=below(image, base, tell))
    documents = [Artifact(sbom.MEDIA, bill)]
    if made.builder:
        stated = provenance.statement(
            reference, made.digest, plan, manifest, builder=made.builder, platform=platform, files=held.files
        )
        documents.append(Artifact(provenance.MEDIA, stated, {"in-toto.io/predicate-type": provenance.PREDICATE}))
    return documents


def below(image: Base, base: Base, tell: Tell) -> contents.Held:
    """What of an image lies in the layers that it has from its base, whose blobs a builder may have packed anew."""
    count = len(base.layers)
    return contents.of_image(msgspec.structs.replace(image, layers=image.layers[:count]), tell)


def attached(reference: Reference) -> Attached:
    """What refers to the image already. Raises RegistryFailed, RegistryRefused."""
    held = {one.get("artifactType"): str(one.get("digest")) for one in referrers.listed(reference, reference.digest)}
    return Attached(held.get(sbom.MEDIA, ""), held.get(provenance.MEDIA, ""))


def subject(reference: Reference) -> Blob:
    """The image as what refers to it names it. Raises RegistryFailed."""
    session = Session(endpoint(reference.host, reference.path, insecure=False))
    accept = {"Accept": ", ".join(INDEXES + MANIFESTS)}
    answer = patiently(partial(session.ask, "GET", f"manifests/{reference.digest}", accept))
    if answer.status != 200:
        raise RegistryFailed(reference.host, f"it does not know {reference.digest}, which was just pushed")
    return Blob(reference.digest, len(answer.body), answer.headers.get("Content-Type") or MANIFESTS[0])
