"""`wherry releases`: what was deployed under a name, newest first, and which of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import project, table
from wherry.cli.clusters import cluster_flags, connected, own_name
from wherry.cli.console import Console
from wherry.cli.verb import Verb, cluster_options, name_argument

if TYPE_CHECKING:
    from wherry.deploy.life import Past


@click.command(cls=Verb, examples=["wherry releases", "wherry releases breast -n models", "wherry releases --json"])
@name_argument
@cluster_options
@click.pass_obj
def releases(
    console: Console, name: str | None, context: str | None, namespace: str | None, kubeconfig: Path | None
) -> None:
    """List the releases of the service NAME that are kept in the cluster, newest first; ten at most.

    The one marked with * is what the cluster is to run. `wherry rollback NUMBER` deploys one again.
    """
    from wherry.deploy.life import releases as look

    wanted = project.load(console, cluster_flags(context, namespace)).project
    with connected(console, wanted, kubeconfig) as cluster:
        found = look(cluster, name or own_name(wanted))
    if console.as_json:
        console.document(found)
        return
    if not found:
        console.note("no release is kept; the next deploy keeps one", hint="wherry deploy")
        return
    header = ("", "release", "state", "model", "image", "made", "why")
    console.say_all(table.lines(header, list(map(row, found)), width=console.width))


def row(one: Past) -> tuple[str, ...]:
    made = one.made.replace("T", " ").removesuffix("Z")
    return ("*" if one.now else "", str(one.number), one.state, one.model, short(one.image), made, one.cause)


def short(image: str) -> str:
    """The image with as much of its digest as people compare."""
    name, at, digest = image.partition("@sha256:")
    return f"{name}{at}{digest[:12]}"
