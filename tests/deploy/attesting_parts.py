"""Images laid into a small registry by hand, and what a build would say of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from typing import Any

from small_registry import OCI, SmallRegistry

from wherry.contract import settings
from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Origin, Requirements
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.deploy.builders import Built
from wherry.release.image import ImagePlan, plan

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
WHEEL_HASH = "1" * 64
METADATA = "Metadata-Version: 2.4\nName: Thing.One\nVersion: 1.0\nLicense-Expression: MIT AND BSD-3-Clause\n"
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14
Description: GNU C Library
 Package: not-this

Package: gone
Status: deinstall ok config-files
Version: 1
"""
BASE = {
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": STATUS,
    "usr/lib/python3/dist-packages/pip-23.0.dist-info/METADATA": "Name: pip\nVersion: 23.0\nLicense: MIT\n",
    "usr/lib/python3/dist-packages/old-1.egg-info": "Name: old\nVersion: 1\nClassifier: License :: Y :: MIT License\n",
}
LIBRARIES = {
    "opt/libraries/thing_one-1.0.dist-info/METADATA": METADATA,
    "opt/libraries/thing_one-1.0.dist-info/RECORD": "",
    "opt/libraries/bare-2.5.dist-info/RECORD": "",
}
BUNDLE = {"srv/bundle/manifest.json": "{}", "srv/bundle/model.npz": "weights"}


def layer(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def image(held: SmallRegistry, repository: str, tag: str, *layers: dict[str, str]) -> str:
    """Lay an image of these layers into the registry; its digest."""
    blobs = [held.hold(repository, layer(files)) for files in layers]
    text = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    config = held.hold(repository, json.dumps(text).encode())
    document = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": {"mediaType": f"{OCI}.config.v1+json", **config},
        "layers": [{"mediaType": f"{OCI}.layer.v1.tar+gzip", **blob} for blob in blobs],
    }
    return str(held.tag(repository, tag, document))


def manifest() -> Manifest:
    return Manifest(
        format=1,
        name="ferry",
        version="1",
        digest="2" * 64,
        flavor="linear",
        model="model.npz",
        signature=Signature(columns=(Column("a", "number"),), output=OutputSpec("class", "integer", classes=(0, 1))),
        golden=Golden("golden.json", 1),
        baseline="baseline.json",
        requirements=Requirements(HERE, {}),
        files={"model.npz": hashlib.sha256(b"weights").hexdigest()},
        origin=Origin("LogisticRegression"),
        conversion=Conversion("linear"),
        measured=Measured(0.1, 1),
    )


def planned(held: SmallRegistry, base: str, **table: Any) -> ImagePlan:
    return plan(
        settings.resolve(table, {}, {}).project,
        manifest(),
        base=f"{held.address}/library/base@{base}",
        base_name=f"{held.address}/library/base:1",
        requirements=f"thing-one==1.0 --hash=sha256:{WHEEL_HASH}\n",
        wheel=("wherry-0.1.0-py3-none-any.whl", b"wheel"),
        unpack=b"",
    )


def pushed(held: SmallRegistry, **table: Any) -> tuple[Built, ImagePlan]:
    """An image of base, libraries and bundle in the registry, as the direct builder would have left it."""
    base = image(held, "library/base", "1", BASE)
    digest = image(held, "ferry", "1", BASE, LIBRARIES, BUNDLE)
    return Built(f"{held.address}/ferry:1", digest, "direct", pushed=True), planned(held, base, **table)
