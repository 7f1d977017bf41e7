"""The manifest: its digest covers every value, and an unknown format is refused by number."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from wherry.contract.manifest import (
    FORMAT,
    Conversion,
    Golden,
    Manifest,
    Measured,
    Metric,
    Origin,
    Requirements,
)
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.errors import BundleUnreadable, FormatUnknown


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        format=FORMAT,
        name="größe",
        version="1",
        digest="",
        flavor="linear",
        model="model.npz",
        signature=Signature(
            (Column("a", "number", low=0.5, high=1.5), Column("b", "string", categories=("x", "y"), unknown_ok=False)),
            OutputSpec("class", "boolean", (False, True), probabilities=True),
        ),
        golden=Golden("golden.json", 32),
        baseline="baseline.json",
        requirements=Requirements("3.11", {"numpy": "2.0"}),
        files={"model.npz": "00"},
        origin=Origin("sklearn.linear_model.LogisticRegression"),
        conversion=Conversion("linear", refused={"onnx": "no"}),
        measured=Measured(0.5, 1000),
        metrics=(Metric("accuracy", 0.9, 0.5, 100, "the sample"),),
    ).sealed()


def test_what_is_written_is_read_again(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.pretty()) == manifest
    assert Manifest.parse(manifest.pretty()).sealed().digest == manifest.digest


def test_it_prints_as_one_short_line(manifest: Manifest) -> None:
    assert repr(manifest) == str(manifest) == f"<Manifest größe 1, linear, sha256:{manifest.digest[:12]}...>"


def test_the_digest_covers_every_field(manifest: Manifest) -> None:
    digests = {manifest.digest}
    changed: dict[str, Any] = {
        "name": "n",
        "version": "2",
        "flavor": "onnx",
        "model": "m",
        "signature": Signature((), manifest.signature.output),
        "golden": Golden("golden.json", 33),
        "baseline": "b",
        "requirements": Requirements("3.12", {}),
        "files": {},
        "origin": Origin("x"),
        "conversion": Conversion("skops"),
        "measured": Measured(0.6, 1000),
        "metrics": (),
        "allow_pickle": True,
        "format": FORMAT + 1,
    }
    assert {*changed, "digest"} == set(manifest.__struct_fields__)
    for field, value in changed.items():
        digests.add(msgspec.structs.replace(manifest, **{field: value}).sealed().digest)
    assert len(digests) == len(changed) + 1


def test_the_digest_does_not_depend_on_layout(manifest: Manifest) -> None:
    shuffled = json.dumps(dict(reversed(json.loads(manifest.pretty()).items())))
    assert Manifest.parse(shuffled).sealed().digest == manifest.digest
    assert msgspec.structs.replace(manifest, digest="else").sealed().digest == manifest.digest


@pytest.mark.parametrize("found", [FORMAT + 1, 0, "1", None, 1.5])
def test_another_format_is_refused_by_number(manifest: Manifest, found: Any) -> None:
    raw = json.loads(manifest.pretty()) | {"format": found}
    with pytest.raises(FormatUnknown) as unknown:
        Manifest.parse(json.dumps(raw))
    assert (unknown.value.found, unknown.value.known) == (found, FORMAT)
    assert unknown.value.hint == ("upgrade wherry" if found == FORMAT + 1 else "pack the model again")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"null", b'"x"', b'{"format": true}'])
def test_what_is_no_manifest_is_unreadable(text: bytes) -> None:
    with pytest.raises((BundleUnreadable, FormatUnknown)):
        Manifest.parse(text)


def test_a_manifest_that_lacks_a_field_names_it(manifest: Manifest) -> None:
    raw = json.loads(manifest.pretty())
    del raw["signature"]
    with pytest.raises(BundleUnreadable, match="signature"):
        Manifest.parse(json.dumps(raw))
