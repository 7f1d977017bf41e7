"""An MLflow model's folder: the file in it that holds the model, and the sample that it was saved with.

MLmodel is read and MLflow itself is not needed: what lies in the folder is packed as if it had been named. On the desk
alone, as YAML is.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import yaml

from wherry.errors import ModelUnknown

MLMODEL = "MLmodel"
# Of each flavor that is packed, the key that names its file, or the folder of one, which is called so.
FILES = {
    "sklearn": "pickled_model",
    "xgboost": "data",
    "lightgbm": "data",
    "pytorch": "model_data",
    "keras": "data",
    "onnx": "data",
}
IN_FOLDER = {"pytorch": ("model.pt2", "model.pth"), "keras": ("model.keras",)}
# MLflow's types of columns, as pandas calls them. Others stay as they were read.
TYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}


class Folder(msgspec.Struct, frozen=True):
    """What a folder holds. example: a frame of the rows that it was saved with, None where it has none."""

    path: Path
    flavor: str
    version: str
    example: Any

    def sentence(self) -> str:
        """What is packed of it."""
        rows = f", and the {len(self.example)} rows that it was saved with" if self.example is not None else ""
        return f"{self.path.parent} is a model of MLflow {self.version}: its {self.flavor} file is packed{rows}"


def is_folder(path: Path) -> bool:
    return path.is_dir() and (path / MLMODEL).is_file()


def read(folder: Path) -> Folder:
    """What the MLflow model in `folder` is. Raises ModelUnknown for a flavor that only MLflow can load."""
    described = parsed(folder / MLMODEL)
    flavors = described.get("flavors")
    if not isinstance(flavors, dict):
        raise unreadable(folder, "it names no flavors")
    for flavor, key in FILES.items():
        if isinstance(own := flavors.get(flavor), dict):
            name = own.get(key)
            called = [f"{name}/{each}" for each in IN_FOLDER.get(flavor, ())]
            path = inside(folder, next((each for each in called if (folder / each).is_file()), name))
            return Folder(path, flavor, str(described.get("mlflow_version", "")), example_of(folder, described))
    names = ", ".join(str(name) for name in flavors)
    raise ModelUnknown(
        str(folder),
        f"an MLflow model of flavor {names}",
        "is not packed as it is: sklearn, xgboost, lightgbm, pytorch, keras and onnx are",
        "pack a Python file whose load() calls mlflow.pyfunc.load_model, with each file of the folder by --with",
    )


def parsed(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise unreadable(path.parent, f"{MLMODEL} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise unreadable(path.parent, f"{MLMODEL} holds no mapping")
    return found


def inside(folder: Path, name: Any) -> Path:
    """A file that MLmodel names; one outside the folder, or by a link, is refused."""
    pure = PurePosixPath(name) if isinstance(name, str) and name else None
    if pure is None or pure.is_absolute() or ".." in pure.parts:
        raise unreadable(folder, f"it names {name!r}, which is no file in it")
    path = folder / pure
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise unreadable(folder, f"it names {name}, which is not in it")
    return path


def example_of(folder: Path, described: dict[str, Any]) -> Any:
    """The input example as a frame, its columns of the types that the signature states; None where there is none."""
    said = described.get("saved_input_example_info")
    if not isinstance(said, dict) or said.get("type") not in ("dataframe", "ndarray"):
        return None
    try:
        held = json.loads(inside(folder, said.get("artifact_path")).read_bytes())
        if said["type"] == "ndarray":  # rows without names
            rows = held["inputs"] if isinstance(held, dict) else held
            names = [f"x{place}" for place in range(len(rows[0]))]
        else:
            names, rows = held["columns"], held["data"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise unreadable(folder, f"its input example is no table: {error}") from error
    from wherry.model.tables.table import framed  # imports pandas

    return framed([str(name) for name in names], rows, types_of(described))


def types_of(described: dict[str, Any]) -> dict[str, str]:
    """The types of named columns, as pandas has them."""
    signature = described.get("signature")
    try:
        stated = json.loads(signature["inputs"]) if isinstance(signature, dict) else []
    except (ValueError, KeyError, TypeError):  # a model without a signature, or of another shape: nothing is stated
        return {}
    return {
        str(each["name"]): TYPES[each["type"]]
        for each in stated
        if isinstance(each, dict) and "name" in each and each.get("type") in TYPES
    }


def unreadable(folder: Path, reason: str) -> ModelUnknown:
    return ModelUnknown(str(folder), "this MLflow model", f"cannot be read: {reason}", "save it again")
