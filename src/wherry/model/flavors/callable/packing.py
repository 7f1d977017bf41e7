"""A Python file, run, as what packing keeps of it. On the desk alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wherry.contract.signature import OutputSpec
from wherry.errors import FileMissing, ModelUnknown, UsageRefused
from wherry.model.flavors.callable.annotations import RowKind, Unclear, output, row_kind
from wherry.model.flavors.callable.scorer import CodeScorer
from wherry.model.flavors.callable.service import Service, service_of
from wherry.model.flavors.kept import Kept
from wherry.model.reading.files import ModelFile
from wherry.model.reading.programs import libraries

FOLDER = "code"  # in the bundle: the file, and what it reads


def kept(file: ModelFile, path: Path, beside: Sequence[Path] = ()) -> Kept:
    """The model that the file is, its code run once. Raises CodeFailed, ModelUnknown, FileMissing, UsageRefused."""
    needs = libraries(file.content, str(path))
    files = {name_of(each, path): content_of(each) for each in beside}
    service = service_of(file.content, path)
    try:
        rows = RowKind("array") if service.array else row_kind(service.rows)
        answers = output_of(service)
    except Unclear as error:
        hint = "def predict(rows: list[Row]) -> list[float], where Row is a TypedDict or a dataclass"
        raise ModelUnknown(str(path), "predict", f"cannot be described: {error}", hint) from error
    return Kept(
        name=service.name,
        form="callable",
        flavor="callable",
        file=f"{FOLDER}/{path.name}",
        data=file.content,
        beside={f"{FOLDER}/{name}": content for name, content in files.items()},
        packages=needs,
        columns=rows.columns,
        named=rows.named,
        output=answers,
        outputs=service.classes,
        scorer=lambda signature: CodeScorer(service, signature),
    )


def output_of(service: Service) -> OutputSpec | None:
    """What the code says of its answers; None where only they tell."""
    found = output(service.answers)
    if service.shares is None:
        return found
    if found is None or not found.classes:
        raise Unclear("predict_proba has one number a class: say which, predict(...) -> list[Literal['a', 'b']]")
    return msgspec.structs.replace(found, probabilities=True)


def name_of(file: Path, path: Path) -> str:
    """What a file beside the code is called in the bundle: it lies there as it does here."""
    relative = os.path.relpath(file, path.parent)
    if relative.startswith("..") or relative == path.name:
        raise UsageRefused(f"{file} does not lie beside {path.name}", hint=f"put it into {path.parent}")
    return Path(relative).as_posix()


def content_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise FileMissing(str(file)) from error
    except IsADirectoryError as error:
        raise FileMissing(str(file), "file", "it is a folder: name each file with a --with of its own") from error
