"""`wherry compose`: a compose file with the database of choice, and the passwords that it names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import composing, imaging, project
from wherry.cli.console import Console
from wherry.cli.verb import Verb, bundle_argument, image_options
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project

if TYPE_CHECKING:
    from wherry.release.composing.file import Choice, ComposeFile

DEFAULT_FILE = Path("compose.yaml")

# What a compose may take before ours, or warns of beside it.
OTHER_FILES = ("compose.yml", "docker-compose.yaml", "docker-compose.yml")


@click.command(
    cls=Verb,
    examples=[
        "wherry compose --database mariadb",
        "wherry compose --database sqlite --mount --to deploy/compose.yaml",
        "wherry compose --to-kubernetes docker-compose.yml --expose app=front:80:5000",
    ],
)
@bundle_argument
@image_options
@click.option(
    "--database",
    type=click.Choice(["mysql", "mariadb", "postgres", "sqlite", "none"]),
    help="Where predictions are kept; by default as wherry.toml says, else in SQLite.",
)
@click.option("--mount", is_flag=True, help="Mount BUNDLE into the container, over the one in the image.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"File to write.  [default: {DEFAULT_FILE}]",
)
@click.option(
    "--to-kubernetes",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Convert an existing compose file to Kubernetes objects, and do nothing else.",
)
@click.option(
    "--expose",
    multiple=True,
    metavar="SERVICE=NAME:PORT:TARGET",
    help="With --to-kubernetes: a LoadBalancer called NAME in front of SERVICE.",
)
@click.option("-n", "--namespace", metavar="NAME", help="With --to-kubernetes: namespace of the objects.")
@click.pass_obj
def compose(
    console: Console,
    bundle: Path,
    image: str | None,
    tag: str | None,
    database: Choice | None,
    mount: bool,
    to: Path | None,
    source: Path | None,
    expose: tuple[str, ...],
    namespace: str | None,
) -> None:
    """Write a compose file for the service of BUNDLE, with the database of choice beside it.

    Both run without root and with read-only roots, reached from this machine alone; what is kept is in named volumes.
    Passwords are made once, in .wherry/secrets beside the file, and never written over.
    """
    if source is not None:
        from wherry.cli.converting import convert

        convert(console, source, expose, namespace or "", to)
        return
    if expose or namespace:
        raise click.UsageError("--expose and --namespace belong to --to-kubernetes FILE")
    from wherry.release.objects.model import outside

    wanted = project.load(console, {"deploy.image": image, "image.tag": tag}).project
    bundle, manifest = project.packed(wanted, bundle)
    target = to or DEFAULT_FILE
    composing.check(target)
    made = composed(wanted, manifest, database, from_file(bundle, target) if mount or outside(wanted) else "")
    kept = composing.write(target, made, wanted)
    if console.as_json:
        console.document({"file": str(target), "secrets": [str(path) for path, _ in kept], "image": made.image})
        return
    console.say(str(target))
    for path, new in kept:
        console.note(f"{path}: {'made' if new else 'kept as it was'}")
    for needed in composing.lacking(target, made):
        console.note(f"{needed} is not there, and only you know what belongs into it", warn=True)
    console.note("Next: " + " && ".join(following(wanted, manifest, database, made, target)))


def composed(wanted: Project, manifest: Manifest, choice: Choice | None, mounted: str) -> ComposeFile:
    """The compose file, under the image that is named, or that `wherry build` would make of this name."""
    from wherry.release.composing.file import compose_file

    reference = imaging.written(wanted, manifest)
    return compose_file(wanted, manifest, image=reference, choice=choice, mounted=mounted)


def from_file(bundle: Path, target: Path) -> str:
    """The bundle's folder as the compose file names it: relative where that is shorter, and always as a path."""
    relative = os.path.relpath(bundle, target.parent)
    return relative if relative.startswith("..") else f"./{relative}"


def following(wanted: Project, manifest: Manifest, choice: Choice | None, made: ComposeFile, target: Path) -> list[str]:
    """What to type until it runs: an image that can speak to the database, then compose."""
    from wherry.release.composing.file import with_database
    from wherry.release.image import wanted as packages

    told = ""
    effective = with_database(wanted, choice or made.choice)
    if set(packages(effective, manifest)) - set(packages(wanted, manifest)):
        kind = effective.store.database.kind
        told = f"WHERRY_STORE_DATABASE_KIND={kind} " if kind else "WHERRY_STORE_ENABLED=true "
    others = any((target.parent / name).exists() for name in OTHER_FILES)
    named = f" -f {target}" if target != DEFAULT_FILE or others else ""
    return [f"{told}wherry build --image {made.image} --load", f"docker compose{named} up -d"]
