"""The packed model's manifest: what it is, what it accepts and returns, what it needs, its digests.

`FORMAT` is raised when a reader of the number before could misread a bundle; a field with a default may be added
without.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from wherry.contract.names import MANIFEST_FILE
from wherry.contract.signature import Signature
from wherry.errors import BundleUnreadable, FormatUnknown

FORMAT = 1


class Requirements(msgspec.Struct, frozen=True):
    """What loading the model again takes. python: "3.11" (minor version at pack); packages: name to exact version."""

    python: str
    packages: dict[str, str]


class Golden(msgspec.Struct, frozen=True):
    """Where the golden rows and their answers lie, and how far a number may be from its answer."""

    file: str
    rows: int
    rtol: float = 1e-6
    atol: float = 1e-9


class Metric(msgspec.Struct, frozen=True):
    """One figure of quality. `baseline` is what always answering the majority class, or the mean, would reach."""

    name: str
    value: float
    baseline: float
    rows: int
    on: str  # which rows: "the sample given to pack"
    higher_is_better: bool = True


class Measured(msgspec.Struct, frozen=True):
    """What pack measured in a process of its own: seconds to load, peak resident bytes while it loaded and answered."""

    load_seconds: float
    peak_bytes: int


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the model came from: its class, the file it was read from and that file's digest."""

    estimator: str
    file: str = ""
    sha256: str = ""


class Conversion(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the stored form was chosen: what was tried, and why it was taken or refused.

    boundary_pairs: pairs of rows on the two sides of a change of the answer, among the proven rows;
    boundary_pairs_left_out: how many more the rule asks for, had the estimator answered faster.
    """

    form: str  # linear, onnx, skops, pickle
    proven_rows: int = 0
    ties_left_out: int = 0
    largest_difference: float = 0.0
    boundary_pairs: int = 0
    boundary_pairs_left_out: int = 0
    refused: dict[str, str] = {}
    spread: float = 0.0  # of numbers: the standard deviation of the sample's answers, to hold the difference against


class Manifest(msgspec.Struct, frozen=True):
    """The bridge between the two halves. Equal bytes for equal models."""

    format: int
    name: str
    version: str
    digest: str
    flavor: str  # linear, onnx, sklearn: the module of wherry.model.flavors that loads it
    model: str  # the model's file in the bundle
    signature: Signature
    golden: Golden
    baseline: str
    requirements: Requirements
    files: dict[str, str]  # every other file of the bundle: path to sha-256
    origin: Origin
    conversion: Conversion
    measured: Measured
    metrics: tuple[Metric, ...] = ()
    allow_pickle: bool = False

    def __repr__(self) -> str:
        """One line, as `print(wherry.pack(...))` shows it; `pretty` has everything."""
        return f"<Manifest {self.name} {self.version}, {self.conversion.form}, sha256:{self.digest[:12]}...>"

    @staticmethod
    def parse(text: bytes | str, path: str = MANIFEST_FILE) -> Manifest:
        """The manifest in `text`, which `path` holds. Raises FormatUnknown, BundleUnreadable."""
        try:
            raw = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BundleUnreadable(path, str(error)) from error
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != FORMAT:
            raise FormatUnknown(path, found=found, known=FORMAT)
        try:
            return msgspec.convert(raw, Manifest)
        except msgspec.ValidationError as error:
            raise BundleUnreadable(path, str(error)) from error

    def canonical(self) -> bytes:
        """The bytes that the digest covers: keys sorted, no blanks, without `digest`."""
        raw: dict[str, Any] = msgspec.to_builtins(self)
        del raw["digest"]
        return json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    def sealed(self) -> Manifest:
        """This manifest with the digest it ought to have."""
        return msgspec.structs.replace(self, digest=hashlib.sha256(self.canonical()).hexdigest())

    def pretty(self) -> bytes:
        """The text of manifest.json: sorted keys, two blanks of indent, a final newline."""
        return json.dumps(msgspec.to_builtins(self), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
