"""`wherry example`: the examples that wherry brings, and a copy of one to begin with."""

from __future__ import annotations

import difflib
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import click

import wherry
from wherry.cli import table
from wherry.cli.console import Console
from wherry.cli.verb import Verb
from wherry.errors import FolderTaken, UsageRefused

# What somebody wrote; what a run of an example leaves in its folder is not copied.
WRITTEN = frozenset({".py", ".md", ".toml", ".html", ".xz", ".yaml", ".sh"})
DATA = frozenset({"boston_house_prices.csv", "labels.txt"})


class Example(NamedTuple):
    """One example: its folder's name, what its README begins with, and where it lies."""

    name: str
    title: str
    path: Path


@click.command(
    cls=Verb,
    examples=["wherry example", "wherry example breast-cancer", "wherry example dry-beans --to beans"],
)
@click.argument("name", required=False)
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="Folder to make; by default ./NAME.")
@click.pass_obj
def example(console: Console, name: str | None, to: Path | None) -> None:
    """Copy the example NAME into a new folder; without NAME list the examples.

    Each holds a training script, a wherry.toml and a README that tells the way from training to a cluster.
    """
    found = examples()
    if name is None:
        if console.as_json:
            console.document([{"name": each.name, "title": each.title} for each in found])
        elif console.quiet:
            console.say_all(each.name for each in found)
        else:
            console.say_all(table.lines(("name", "what it shows"), [(each.name, each.title) for each in found]))
            console.note("Next:", hint=f"wherry example {found[0].name}")
        return
    chosen = next((each for each in found if each.name == name), None)
    if chosen is None:
        names = [each.name for each in found]
        near = [each for each in names if name in each] or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        raise UsageRefused(f"no such example: {name}", hint=f"did you mean {near[0]}?" if near else "wherry example")
    target = to or Path(name)
    files = copy(chosen, target)
    if console.as_json:
        console.document({"name": name, "folder": str(target), "files": files})
    else:
        console.say(str(target))
        console.note(f"{table.count(len(files), 'file')}: {', '.join(files)}", hint=f"cd {target} && python train.py")


def examples() -> list[Example]:
    """Every example: those of the installed package, else those of the checkout that wherry runs from."""
    package = Path(wherry.__file__).parent
    places = (package / "examples", package.parent.parent / "examples")
    root = next((place for place in places if (place / "iris" / "train.py").is_file()), None)
    if root is None:
        raise UsageRefused("this installation holds no examples", hint="pip install --force-reinstall wherry")
    found = [path for path in sorted(root.iterdir()) if (path / "README.md").is_file()]
    return [Example(path.name, title_of(path / "README.md"), path) for path in found]


def title_of(readme: Path) -> str:
    with readme.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def copy(chosen: Example, target: Path) -> list[str]:
    """The example in the folder `target`, which is made; whole or not at all. The names of the files.

    Raises FolderTaken.
    """
    if target.exists() or target.is_symlink():
        raise FolderTaken(str(target), "it is there already")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as staging:
        new = Path(staging) / "new"
        new.mkdir()
        found = sorted(chosen.path.rglob("*"))
        files = [path.relative_to(chosen.path) for path in found if path.suffix in WRITTEN or path.name in DATA]
        for path in files:
            (new / path).parent.mkdir(exist_ok=True)
            shutil.copyfile(chosen.path / path, new / path)
        new.rename(target)
    return [str(path) for path in files]
