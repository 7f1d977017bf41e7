"""From a file to what is packed: by its content, and through the gate where it can run code."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wherry.contract.events import Tell, silent
from wherry.errors import UsageRefused
from wherry.model.flavors.kept import Kept
from wherry.model.pack.keeping import Unconverted
from wherry.model.pack.subject import Estimator, Subject
from wherry.model.reading import files, vouch
from wherry.model.reading.kinds import CALLED
from wherry.model.requirements import distributions


def boosted(library: str, data: bytes, path: str = "") -> Kept:
    """What is kept of the file of a booster. Raises ExtraMissing, ModelUnknown."""
    flavor = importlib.import_module(f"wherry.model.flavors.{library}")
    kept: Kept = flavor.kept(data, path, distributions(library))
    return kept


class Opened(msgspec.Struct, frozen=True):
    """What is packed, the digest of the file it came from, and what to say of how it came to be loaded."""

    subject: Subject
    sha256: str
    note: str


def open_subject(
    path: Path,
    *,
    trust: bool | str = False,
    allow_drift: bool = False,
    beside: Sequence[Path] = (),
    labels: tuple[str, ...] = (),
    tell: Tell = silent,
) -> Opened:
    """The model at `path`. beside: files that a Python file reads; labels: the classes of which a graph has numbers.
    tell is told how those are read.

    Raises what wherry.model.reading.vouch raises; CodeFailed when the code of a Python file does.
    """
    file = files.read(path)
    if beside and file.kind != "python":
        raise UsageRefused(f"--with is for Python files, and {path} is {CALLED[file.kind]}", hint="leave --with out")
    if file.kind == "python":
        vouch.check_program(file, trust)
        from wherry.model.flavors.callable.packing import kept  # its code runs here

        note = f"{path} (sha256:{file.sha256}) was run as vouched for; the bundle holds it, and loading that runs it"
        return Opened(Unconverted(kept(file, path, beside)), file.sha256, note)
    if file.kind in ("xgboost", "lightgbm"):
        note = f"{path} is {CALLED[file.kind]}, in which there is no code: no --trust needed"
        return Opened(Unconverted(boosted(file.kind, file.content, str(path))), file.sha256, note)
    if file.kind == "onnx":
        from wherry.model.pack import graphs  # imports ONNX Runtime

        note = f"{path} is {CALLED[file.kind]}, in which there is no code: no --trust needed"
        return Opened(Unconverted(graphs.kept(file.content, str(path), labels, tell=tell)), file.sha256, note)
    if file.kind in ("pt2", "torchscript", "keras"):
        vouch.check_program(file, trust, vouch.GRAPHED)
        from wherry.model.pack.converting import Program  # imports ONNX Runtime, and the library where it is needed

        note = f"{path} (sha256:{file.sha256}) is read as vouched for; the bundle holds an ONNX graph made of it"
        return Opened(Program(file, labels, tell), file.sha256, note)
    if labels:
        hint = "leave --labels out"
        raise UsageRefused(
            f"--labels is for a graph that answers with numbers, and {path} is {CALLED[file.kind]}", hint=hint
        )
    opened = vouch.open_file(file, trust=trust, allow_drift=allow_drift)
    return Opened(Estimator(opened.estimator), file.sha256, opened.sentence())
