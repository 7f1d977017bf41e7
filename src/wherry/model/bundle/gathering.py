"""Several bundles in one folder, for an image that holds them all: the first, and below models/ each of the others.

What stands there is a bundle as any other: its digest is that of all of them, so a change of one is another model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wherry.contract.manifest import Manifest, Measured, Requirements
from wherry.contract.names import MANIFEST_FILE
from wherry.errors import BundlesClash, WherryError
from wherry.model.bundle.reading import read_file, verify
from wherry.model.bundle.writing import write

INNER = "models"


def inner(folder: Path, manifest: Manifest) -> list[Path]:
    """The folders of the bundles that the one in `folder` holds beside its own model, in their order."""
    held = (Path(name).parts for name in manifest.files)
    return [folder / INNER / parts[1] for parts in sorted(held) if is_inner(parts)]


def is_inner(parts: Sequence[str]) -> bool:
    return len(parts) == 3 and parts[0] == INNER and parts[1].isdigit() and parts[2] == MANIFEST_FILE


def gather(to: Path, first: Path, others: Sequence[Path]) -> Manifest:
    """Have `to` hold them all; its manifest is the first one's, with what all of them need.

    Raises BundlesClash where no environment has what two of them need, and what `verify` and `write` raise.
    """
    manifests = [verify(folder) for folder in (first, *others)]
    whole = together(manifests, [str(folder) for folder in (first, *others)])
    texts = {f"{place(k)}/{MANIFEST_FILE}": each.pretty() for k, each in enumerate(manifests) if k}
    listed = {**whole.files, **{name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}}
    wanted = msgspec.structs.replace(whole, files=dict(sorted(listed.items()))).sealed()
    if held(to) == wanted.digest:
        return wanted
    files = dict(texts)
    for k, (folder, manifest) in enumerate(zip((first, *others), manifests, strict=True)):
        prefix = f"{place(k)}/" if k else ""
        files |= {prefix + name: read_file(folder, manifest, name) for name in manifest.files}
    return write(to, whole, files)


def place(number: int) -> str:
    return f"{INNER}/{number:02}"


def held(folder: Path) -> str:
    """The digest of the bundle that is there whole; empty where none is."""
    try:
        return verify(folder).digest
    except WherryError:
        return ""


def together(manifests: Sequence[Manifest], folders: Sequence[str]) -> Manifest:
    """The first one's manifest with the files of all, and what all of them need."""
    first = manifests[0]
    packages: dict[str, str] = {}
    files: dict[str, str] = {}
    for k, (manifest, folder) in enumerate(zip(manifests, folders, strict=True)):
        needs = manifest.requirements
        if needs.python != first.requirements.python:
            raise BundlesClash(
                f"{folders[0]} was packed with Python {first.requirements.python}, {folder} with {needs.python}"
            )
        for name, version in needs.packages.items():
            if packages.setdefault(name, version) != version:
                raise BundlesClash(f"{folder} needs {name} {version}, another of them {name} {packages[name]}")
        files |= {(f"{place(k)}/" if k else "") + name: digest for name, digest in manifest.files.items()}
    measured = Measured(
        sum(each.measured.load_seconds for each in manifests), sum(each.measured.peak_bytes for each in manifests)
    )
    return msgspec.structs.replace(
        first,
        files=files,
        requirements=Requirements(first.requirements.python, dict(sorted(packages.items()))),
        measured=measured,
        allow_pickle=any(each.allow_pickle for each in manifests),
    )
