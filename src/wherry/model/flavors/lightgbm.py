"""LightGBM's boosters, from its own text files: trees and numbers, with nothing in them to run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wherry.contract.manifest import Manifest
from wherry.contract.signature import OutputSpec
from wherry.contract.wire import Outputs, Row
from wherry.errors import BundleUnreadable, ExtraMissing, ModelUnknown
from wherry.model import bundle
from wherry.model.flavors.kept import Kept
from wherry.model.matrix import classified, matrix

try:
    import lightgbm
except ImportError as error:
    raise ExtraMissing("lightgbm", "lightgbm", "a LightGBM model") from error
except OSError as error:  # its wheel has no OpenMP of its own
    hint = "on Debian: apt-get install libgomp1"
    raise ExtraMissing("the system's libgomp", "", "a LightGBM model", hint) from error

FORM = "lightgbm"
FILE = "model.txt"
CLASSES = ("binary", "multiclass", "multiclassova")
NAMELESS = re.compile(r"Column_\d+")


def load(path: Path, manifest: Manifest) -> LightGBMScorer:
    """The scorer of a booster in a verified bundle. Raises BundleUnreadable."""
    try:
        booster = read(bundle.model_bytes(path, manifest))
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise BundleUnreadable(str(path), f"is no booster that LightGBM reads: {error}") from error
    return LightGBMScorer(booster, manifest.signature.output)


class LightGBMScorer:
    """Answers as Booster.predict does; a classifier with its classes, as LGBMClassifier.predict does. On one thread."""

    def __init__(self, booster: Any, output: OutputSpec) -> None:
        self.ask = booster.predict
        self.classes = list(output.classes)

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        found = self.ask(matrix(rows), num_threads=1)
        return classified(found, self.classes) if self.classes else Outputs(found.tolist())


def read(data: bytes) -> Any:
    return lightgbm.Booster(model_str=data.decode())


def kept(data: bytes, path: str, packages: tuple[str, ...]) -> Kept:
    """What packing keeps of a booster's file. Raises ModelUnknown."""
    if not whole(data):
        raise ModelUnknown(path, "a LightGBM model", "cannot be read: its trees are cut off", "save it again")
    try:
        booster = read(data)
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise ModelUnknown(path, "a LightGBM model", f"cannot be read: {error}", "save it again") from error
    refuse_categories(data, path)
    names = tuple(booster.feature_name())
    return Kept(
        name="lightgbm.Booster",
        form=FORM,
        flavor=FORM,
        file=FILE,
        data=data,
        packages=packages,
        names=None if all(map(NAMELESS.fullmatch, names)) else names,
        count=len(names),
        nullable=True,
        output=output_of(data),
        scorer=lambda signature: LightGBMScorer(booster, signature.output),
    )


def whole(data: bytes) -> bool:
    """Whether all trees are there, each as long as the file says: LightGBM's reader ends the process over less."""
    sizes = re.search(rb"^tree_sizes=([\d ]*)$", data, re.MULTILINE)
    start, end = data.find(b"\nTree="), data.find(b"\nend of trees")
    return sizes is not None and end - start == sum(map(int, sizes[1].split()))


def refuse_categories(data: bytes, path: str) -> None:
    """Raises ModelUnknown for a booster whose frames had categories: they reach it as codes of a list in its file."""
    found = re.search(rb"^pandas_categorical:(.*)$", data, re.MULTILINE)
    if found and any(json.loads(found[1]) or ()):
        hint = "put the encoding and the booster into a Python file with predict(rows), and pack that"
        raise ModelUnknown(path, "a LightGBM model", "was trained on categories, which reach it as codes", hint)


def output_of(data: bytes) -> OutputSpec:
    """What a booster answers, by its objective: the classes 0, 1, ... or numbers."""
    head = data.partition(b"\nTree=")[0].decode()
    said = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if said.get("objective", "").partition(" ")[0] in CLASSES:
        return OutputSpec("class", "integer", tuple(range(max(2, int(said["num_class"])))), probabilities=True)
    return OutputSpec("number", "number", width=int(said.get("num_class", "1")))


def of_estimator(estimator: Any, output: OutputSpec) -> tuple[str, bytes, LightGBMScorer]:
    """The file of a fitted wrapper, by its name, and what answers with it. Raises ModelUnknown."""
    data = estimator.booster_.model_to_string().encode()
    refuse_categories(data, type(estimator).__name__)
    return FILE, data, LightGBMScorer(read(data), output)
