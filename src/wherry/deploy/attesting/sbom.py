"""The software bill of materials: CycloneDX 1.6 of what an image really holds. Same image, same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import wherry
from wherry.contract.manifest import Manifest
from wherry.contract.names import IMAGE_BUNDLE, MANIFEST_FILE
from wherry.deploy import layers
from wherry.deploy.attesting.contents import Held, Package
from wherry.release.reference import Reference

MEDIA = "application/vnd.cyclonedx+json"
SPEC = "1.6"
SCHEMA = f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json"


def document(digest: str, held: Held, manifest: Manifest, base: Reference, base_name: str, *, below: Held) -> bytes:
    """The bill of the image with this digest.

    held: what lies in it; below: what of that lies in its base already. base: by digest, as it was built on.
    """
    of_image = f"pkg:oci/{quote(manifest.name.lower())}@{quote(digest)}"
    body: dict[str, Any] = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {
            **timestamp(),
            "tools": {"components": [{"type": "application", "name": "wherry", "version": wherry.__version__}]},
            "component": {
                "type": "container",
                "bom-ref": of_image,
                "name": manifest.name,
                "version": manifest.version,
                "purl": of_image,
                "hashes": [sha256(digest)],
            },
        },
        "components": [of_base(base, base_name), model(held, manifest), *packages(held, below)],
    }
    refs = sorted(component["bom-ref"] for component in body["components"])
    body["dependencies"] = [{"ref": of_image, "dependsOn": refs}]
    text = json.dumps(body, sort_keys=True).encode()
    # A number made of the content: equal bills are one bill.
    body["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(text).digest()[:16], version=4)}"
    return json.dumps(body, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def timestamp() -> dict[str, str]:
    """SOURCE_DATE_EPOCH where it is set; else no time, since none decides what is in the image."""
    if not os.environ.get(layers.ENV_EPOCH):
        return {}
    return {"timestamp": datetime.fromtimestamp(layers.epoch(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def of_base(base: Reference, name: str) -> dict[str, Any]:
    purl = f"pkg:oci/{quote(base.path.rpartition('/')[2])}@{quote(base.digest)}"
    purl += f"?repository_url={quote(f'{base.host}/{base.path}', safe='')}"
    return {
        "type": "container",
        "bom-ref": f"base {base.digest}",
        "name": name,
        "version": base.digest,
        "purl": purl,
        "hashes": [sha256(base.digest)],
        "properties": [{"name": "wherry:part", "value": "base"}],
    }


def model(held: Held, manifest: Manifest) -> dict[str, Any]:
    """The model with every file of its bundle, by the bytes that lie in the image."""
    files = [
        {
            "type": "file",
            "bom-ref": f"{IMAGE_BUNDLE}/{path}",
            "name": path,
            "hashes": [sha256(digest)],
            "evidence": occurring(f"{IMAGE_BUNDLE}/{path}"),
        }
        for path, digest in sorted(held.files.items())
    ]
    of_model = held.files.get(manifest.model) or held.files.get(MANIFEST_FILE)
    return {
        "type": "machine-learning-model",
        "bom-ref": IMAGE_BUNDLE,
        "name": manifest.name,
        "version": manifest.version,
        "description": f"{manifest.origin.estimator}, kept as {manifest.conversion.form}",
        **({"hashes": [sha256(of_model)]} if of_model else {}),
        "properties": [
            {"name": "wherry:part", "value": "model"},
            {"name": "wherry:model-digest", "value": manifest.digest},
        ],
        **({"components": files} if files else {}),
    }


def packages(held: Held, below: Held) -> Iterator[dict[str, Any]]:
    """A component each; a package that says so in two places is two."""
    seen = set()
    of_base = set(below.every)
    for package in held.every:
        ref = package.path if package.kind == "pypi" else f"{package.path}#{package.name}:{package.architecture}"
        if ref not in seen:
            seen.add(ref)
            yield component(package, ref, held.release, "base" if package in of_base else "image")


def component(package: Package, ref: str, release: dict[str, str], part: str) -> dict[str, Any]:
    stated = {"acknowledgement": "declared"}
    licences = {
        "expression": [{"expression": package.licence, **stated}],
        "name": [{"license": {"name": package.licence, **stated}}],
    }[package.stated]
    return {
        "type": "library",
        "bom-ref": ref,
        "name": package.name,
        "version": package.version,
        "purl": purl_of(package, release),
        **({"licenses": licences} if package.licence else {}),
        "evidence": occurring(package.path),
        "properties": [{"name": "wherry:part", "value": part}],
    }


def purl_of(package: Package, release: dict[str, str]) -> str:
    """The package's URL: pkg:pypi/scikit-learn@1.5.0, pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12."""
    version = quote(package.version, safe="")
    if package.kind == "pypi":
        return f"pkg:pypi/{quote(normal(package.name))}@{version}"
    system = release.get("ID", "debian")
    further = {"arch": package.architecture, "distro": "-".join(filter(None, (system, release.get("VERSION_ID"))))}
    stated = "&".join(f"{name}={quote(value)}" for name, value in further.items() if value)
    return f"pkg:deb/{quote(system)}/{quote(package.name, safe='')}@{version}?{stated}"


def normal(name: str) -> str:
    """A distribution's name as the index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}


def occurring(path: str) -> dict[str, Any]:
    return {"occurrences": [{"location": path}]}
