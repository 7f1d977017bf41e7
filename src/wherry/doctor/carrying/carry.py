"""From a project to what can be carried over."""

from __future__ import annotations

from pathlib import Path

from wherry.contract.names import object_name
from wherry.doctor import pickled
from wherry.doctor.carrying.bodywork import read_bodywork
from wherry.doctor.carrying.carried import Carried
from wherry.doctor.carrying.objects import read_objects
from wherry.doctor.carrying.shapes import read_shapes
from wherry.doctor.project import Project


def carry(source: Path) -> Carried:
    """The settings that the project, the bodywork.yaml or the model file at `source` comes with. Raises FileMissing."""
    project = Project(source)
    carried = Carried()
    carried.models = tuple(project.below(path) for path in project.paths if is_model(path))
    if source.is_file() and carried.models:
        carried.set("deploy.name", name_of(source))
        return carried
    read_bodywork(project, carried)
    read_shapes(project, carried)
    read_objects(project, carried)
    carried.found.extend(each.path for each in project.sources if each.routes)
    for note in project.notes:
        carried.lose(note)
    return carried


def is_model(path: Path) -> bool:
    """Whether a file may hold a model, by what it begins with."""
    named = path.suffix.lower() in pickled.NO_MODELS or ".csv" in path.name.lower()
    return not named and pickled.begins_like_one(path)


def name_of(path: Path) -> str:
    """The name that a model file would be packed under, where its own says something."""
    stem = path.name.partition(".")[0]
    stem = path.absolute().parent.name if stem.lower() == "model" else stem
    try:
        return object_name(stem)
    except ValueError:
        return ""
