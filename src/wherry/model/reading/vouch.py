"""The one gate between a model file and the process that loads it.

A file whose every name is on the fixed list is loaded by a reader that resolves nothing else, so it has nothing to run.
Any other file can run code, and is loaded only when the user vouches for it: for whatever it is, or for one digest.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from wherry.errors import ModelUnknown, ModelUnsafe, NotVouched
from wherry.model.reading import files, pickles, skops_schema
from wherry.model.reading.files import ModelFile
from wherry.model.reading.kinds import CALLED, Kind
from wherry.model.reading.pickles import Contents
from wherry.model.requirements import obtaining

LOADABLE = frozenset({"pickle", "skops"})
PROGRAM = "is a program: packing runs it, and so does loading the bundle"
# What is read by a library that looks up what the file names, and kept as a graph, which has nothing to run.
GRAPHED = "can run code when it is read, which packing does; what the bundle keeps is a graph, and has no code in it"
# Of what is no model by itself, the way to one.
WAYS: dict[Kind, str] = {
    "torch": (
        "it needs the classes that made it. Save the program itself: torch.export.save(torch.export.export("
        "model.eval(), (rows,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), 'model.pt2')"
    ),
    "hdf5": "save it in Keras 3's own format: model.save('model.keras')",
}


class Opened(msgspec.Struct, frozen=True):
    """A model that was loaded from a file, with what is known about the file. vouched: by the user, or it had to be
    made of known types alone."""

    estimator: Any
    file: ModelFile
    contents: Contents
    vouched: bool

    def sentence(self) -> str:
        """How the file came to be loaded."""
        if self.vouched:
            return f"{self.file.path} (sha256:{self.file.sha256}) was loaded as vouched for; {self.contents.sentence()}"
        return f"{self.file.path} holds {self.contents.sentence()}, and nothing else was looked up: no --trust needed"


def open_model(path: Path, *, trust: bool | str = False, allow_drift: bool = False) -> Opened:
    """The fitted estimator in the file at `path`.

    trust: True, or "sha256:HEX" of the one file that is meant. allow_drift: load it though another scikit-learn wrote
    it. Raises NotVouched before anything of a file that can run code is loaded; ModelUnknown, ModelNotFitted,
    ModelUnsafe, VersionDrift, FileMissing, ExtraMissing.
    """
    return open_file(files.read(path), trust=trust, allow_drift=allow_drift)


def open_file(file: ModelFile, *, trust: bool | str = False, allow_drift: bool = False) -> Opened:
    """The same of a file that was read."""
    contents = contents_of(file)
    refuse_unknown(file, contents)
    vouched = check(file, contents, trust)
    from wherry.model.flavors.sklearn import restore  # the only place that may load it

    found = restore.estimator(file, contents, vouched=vouched, allow_drift=allow_drift)
    return Opened(found, file, contents, vouched)


def contents_of(file: ModelFile) -> Contents:
    """What the file holds; nothing of it is run. Kinds that are never loaded have no contents.

    Raises ModelUnsafe for a file that stops too early.
    """
    if file.kind == "pickle":
        contents = pickles.read(file.content)
        if contents.cut_off:
            raise ModelUnsafe(file.path, "ends too early (it is cut off)", "copy it again")
        return contents
    if file.kind == "skops":
        return skops_schema.read(file.content)
    return Contents("unreadable", reasons=(f"{CALLED[file.kind]} is not read",))


def check(file: ModelFile, contents: Contents, trust: bool | str) -> bool:
    """Whether the user vouched for this very file. Raises NotVouched when it takes that and nobody did."""
    if named(file, trust, contents.sentence(), called(contents)):
        return True
    if contents.verdict != "known":
        raise NotVouched(file.path, file.sha256, contents.sentence(), called(contents))
    return False


def check_program(file: ModelFile, trust: bool | str, verdict: str = PROGRAM) -> None:
    """Nothing when the user vouched for this file of code. Raises NotVouched."""
    if not named(file, trust, verdict, ""):
        raise NotVouched(file.path, file.sha256, verdict, "")


def named(file: ModelFile, trust: bool | str, verdict: str, estimator: str) -> bool:
    """Whether `trust` is for this file. Raises NotVouched when it names another."""
    if isinstance(trust, str) and trust:
        wanted = trust.strip().lower().removeprefix("sha256:")
        if wanted != file.sha256:
            raise NotVouched(file.path, file.sha256, verdict, estimator, given=f"sha256:{wanted}")
        return True
    return trust is True


def refuse_unknown(file: ModelFile, contents: Contents) -> None:
    """Nothing when it may be a model of ours. Raises ModelUnknown where vouching would not help."""
    if file.kind not in LOADABLE:
        hint = WAYS.get(file.kind, "")
        if file.kind in ("text", "parquet"):
            hint = "is this the sample? The model comes first: wherry pack MODEL --data FILE"
        raise ModelUnknown(file.path, CALLED[file.kind], "is not a model that this wherry packs", hint)
    summary = contents.summary
    if contents.verdict == "unreadable" or not summary.module:
        return
    if scripts := contents.of_scripts():
        raise ModelUnknown(file.path, *scripted(scripts))
    package = summary.module.partition(".")[0]
    whole = f"{summary.module}.{summary.type}"
    if package in ("builtins", "numpy", "pandas", "collections", "scipy"):
        holds = f"a {summary.type} (of {summary.module})"
        raise ModelUnknown(file.path, f"holds {holds}", "and no estimator", "save the fitted estimator itself")
    if package != "__main__" and importlib.util.find_spec(package) is None:
        raise ModelUnknown(file.path, f"holds a {whole}", f"and {package} is not installed", obtaining(package))


def hindrance(contents: Contents) -> str:
    """Why the file is not loaded though somebody vouches for it; empty where that helps."""
    scripts = contents.of_scripts()
    return " ".join(scripted(scripts)[:2]) if scripts else ""


def scripted(names: Sequence[str]) -> tuple[str, str, str]:
    """What to say of names that only the script that trained the model has: the need, where it lives, the way out."""
    shown = ", ".join(f"`{name}`" for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    lives, one = ("which lives", "it") if len(names) == 1 else ("which live", "them")
    hint = f"put {one} in a module of its own that can be imported here, and train and save the model with that"
    return f"needs {shown},", f"{lives} in the script or notebook that trained it", hint


def called(contents: Contents) -> str:
    summary = contents.summary
    return f"{summary.module}.{summary.type}" if summary.module else ""
