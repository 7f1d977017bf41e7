"""Where an image came from: an in-toto statement with SLSA's provenance v1. It names inputs and no times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import wherry
from wherry.contract.manifest import Manifest
from wherry.contract.names import ANNOTATION_CONTENT
from wherry.deploy import wheels
from wherry.deploy.attesting.sbom import normal
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference

MEDIA = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://wherry.dev/build/v1"
BUILDERS = "https://wherry.dev/builders"


def statement(
    reference: Reference,
    digest: str,
    plan: ImagePlan,
    manifest: Manifest,
    *,
    builder: str,
    platform: str,
    files: dict[str, str],
) -> bytes:
    """How the image with this digest was built: by which builder, of which inputs, with which settings.

    files: those of the bundle, to sha-256. The settings are those that the image itself holds: no password is among
    them, and no file of the desk.
    """
    body: dict[str, Any] = {
        "_type": STATEMENT,
        "subject": [{"name": f"{reference.host}/{reference.path}", "digest": {"sha256": bare(digest)}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "model": {"name": manifest.name, "version": manifest.version, "digest": manifest.digest},
                    "base": plan.config.labels["org.opencontainers.image.base.name"],
                    "platform": platform,
                    "settings": dict(sorted(plan.config.environ.items())),
                },
                "internalParameters": {"content": plan.config.labels[ANNOTATION_CONTENT], "python": plan.python},
                "resolvedDependencies": list(dependencies(plan, files)),
            },
            "runDetails": {"builder": {"id": f"{BUILDERS}/{builder}", "version": {"wherry": wherry.__version__}}},
        },
    }
    return json.dumps(body, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def dependencies(plan: ImagePlan, files: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What went in, each with its sha-256: the base, each wheel, wherry itself, the bundle."""
    base = Reference.parse(plan.base)
    yield resource("base", f"oci://{base.host}/{base.path}", bare(base.digest))
    for wheel in wheels.parse(plan.locked):
        yield resource(wheel.name, f"pkg:pypi/{normal(wheel.name)}@{wheel.version}", wheel.sha256)
    own = plan.wheel.rpartition("/")[2]
    yield resource(
        "wherry", f"pkg:pypi/wherry@{own.split('-')[1]}", hashlib.sha256(plan.context[plan.wheel]).hexdigest()
    )
    for path, digest in sorted(files.items()):
        yield resource(path, f"bundle:{path}", digest)


def resource(name: str, uri: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "uri": uri, **({"digest": {"sha256": sha256}} if sha256 else {})}


def bare(digest: str) -> str:
    return digest.removeprefix("sha256:")
