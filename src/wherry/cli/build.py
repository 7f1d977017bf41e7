"""`wherry build`: the bundle and its service as an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import imaging, project, table
from wherry.cli.common import Verb, bundle_argument, image_options
from wherry.cli.console import Console

if TYPE_CHECKING:
    from wherry.deploy.builders import Built


@click.command(
    cls=Verb,
    examples=[
        "wherry build --image localhost:5000/breast",
        "wherry build -t registry.example/team/breast:7 --push",
        "image=$(wherry build -q -t registry.example/team/breast --push)",
    ],
)
@bundle_argument
@image_options
@click.option("--push", is_flag=True, help="Push it to its registry.")
@click.option("--load", is_flag=True, help="Put it among the images of the local engine.")
@click.option("--force", is_flag=True, help="Move a tag that names another image.")
@click.option("--builder", type=click.Choice(["auto", "docker", "buildah"]), help="Program that builds.")
@click.option("--base", metavar="REF", help="Image to build on; by default python:X.Y-slim of the bundle's Python.")
@click.pass_obj
def build(
    console: Console,
    bundle: Path,
    image: str | None,
    tag: str | None,
    push: bool,
    load: bool,
    force: bool,
    builder: str | None,
    base: str | None,
) -> None:
    """Put BUNDLE (./bundle when none is named) and its service into an image, with Docker or buildah.

    Base image and packages are resolved once and kept in wherry.lock. Without a tag the image gets one derived from its
    content. With -q only REF@sha256:... is printed.
    """
    from wherry.model.bundle import verify

    flags = {"deploy.image": image, "image.tag": tag, "image.builder": builder, "image.base": base}
    resolved = project.load(console, flags)
    manifest = verify(bundle)
    reference = imaging.named(resolved.project, manifest, "build")
    made = imaging.built(
        console,
        resolved.project,
        manifest,
        bundle,
        reference,
        push=push,
        load=load,
        force=force,
    )
    if console.as_json:
        console.document(made)
    elif console.quiet:
        console.say(pinned_name(made))
    else:
        facts = [("image", made.reference), ("digest", made.digest), ("built by", made.builder)]
        console.say_all(table.pairs(facts))
        if not push:
            console.note("It is on this machine only. Next:", hint=f"wherry deploy --image {reference}")


def pinned_name(made: Built) -> str:
    """REF@sha256:..., for scripts."""
    return f"{made.reference.partition('@')[0]}@{made.digest}"
