"""`wherry init`: a wherry.toml out of what a project already decided, and what could not be carried over."""

from __future__ import annotations

import os
import shlex
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import table
from wherry.cli.console import Console
from wherry.cli.verb import Verb
from wherry.contract.names import PROJECT_FILE
from wherry.errors import FolderTaken, UsageRefused

if TYPE_CHECKING:
    from wherry.doctor.carrying.carried import Carried


@click.command(
    cls=Verb,
    examples=["wherry init model.joblib", "wherry init ../old-service", "wherry init bodywork.yaml --to service"],
)
@click.argument("source", type=click.Path(path_type=Path), default=Path(), required=False)
@click.option("--to", type=click.Path(path_type=Path), default=Path(), metavar="DIR", help="Folder of the new project.")
@click.pass_obj
def init(console: Console, source: Path, to: Path) -> None:
    """Start a project: write a wherry.toml from SOURCE (by default this folder).

    SOURCE is a model file, a bodywork.yaml, or the folder of a service of Flask or FastAPI with its Dockerfile and
    manifests. Requests, replies, ports, scale and resources are carried over; what is not is said. Nothing of SOURCE is
    run or changed.
    """
    from wherry.contract.settings import resolve
    from wherry.doctor.carrying import toml
    from wherry.doctor.carrying.carry import carry

    target = to / PROJECT_FILE
    carried = carry(source)
    if not carried.found and not carried.models:
        hint = (
            "name a model file, a bodywork.yaml or the folder of a service; `wherry example` lists others to begin with"
        )
        raise UsageRefused(f"nothing in {source} says how a model is served", hint=hint)
    text = toml.written(carried.settings)
    settings = tomllib.loads(text)
    resolve(settings, {}, {}, PROJECT_FILE)  # raises SettingsRefused: never write what no verb would read
    root = source if source.is_dir() else source.parent
    contents = {PROJECT_FILE: text.encode()}
    contents |= {
        name: (root / path).read_bytes()
        for name, path in carried.files.items()
        if (root / path).resolve() != (to / name).resolve()
    }
    for name in contents:
        if (to / name).exists():
            raise FolderTaken(str(to / name), "it is there already")
    to.mkdir(parents=True, exist_ok=True)
    for name in reversed(contents):  # wherry.toml last: what it names is there
        place(to / name, contents[name])
    if console.as_json:
        facts = {"file": str(target), "settings": settings, "lost": carried.lost, "columns": carried.columns}
        console.document({**facts, "models": carried.models, "next": pack_line(carried, root)})
        return
    console.say(str(target))
    show(console, carried, text, pack_line(carried, root))


def place(path: Path, content: bytes) -> None:
    """Write a new file, whole or not at all; one that came meanwhile stays. Raises FolderTaken."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        path.hardlink_to(name)
    except FileExistsError as error:
        raise FolderTaken(str(path), "it is there already") from error
    finally:
        Path(name).unlink()


def pack_line(carried: Carried, root: Path) -> str:
    if takes_pictures(carried):
        return "wherry pack MODEL.onnx"
    model = str(root / carried.models[0]) if len(carried.models) == 1 else "MODEL"
    return f"wherry pack {shlex.quote(model)} --data ROWS.csv --target COLUMN --trust"


def takes_pictures(carried: Carried) -> bool:
    return "model.image.labels" in carried.settings


def show(console: Console, carried: Carried, text: str, next_line: str) -> None:
    if not console.quiet:
        console.say()
        console.say_all(f"  {line}".rstrip() for line in text.splitlines())
    if carried.lost:
        lines = [part for each in carried.lost for part in table.folded(each, max(console.width - 4, 0), 2)]
        console.note("not carried over:", hint="\n  ".join(lines))
    columns = f" with the columns {', '.join(carried.columns)}" if carried.columns else ""
    given = f"ROWS.csv holds rows like those the model was trained on{columns}"
    if takes_pictures(carried):
        given = "MODEL.onnx is the network"
    console.note(f"Next, where {given}:", hint=f"{next_line}\n  wherry serve")
