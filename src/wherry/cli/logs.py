"""`wherry logs`: what the pods of a service have written, each line with its pod."""

from __future__ import annotations

from pathlib import Path

import click

from wherry.cli import project
from wherry.cli.clusters import cluster_flags, connected, own_name
from wherry.cli.console import Console
from wherry.cli.verb import Verb, cluster_options, name_argument
from wherry.contract.events import Event, Output


@click.command(
    cls=Verb,
    live=False,
    examples=["wherry logs", "wherry logs breast --tail 100", "wherry logs -f", "wherry logs --schedule nightly"],
)
@name_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, with new pods too, until Ctrl-C.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="The last N lines of each pod only.")
@click.option("--schedule", "work", default="", metavar="WORK", help="The runs of this work of [deploy.schedule].")
@cluster_options
@click.pass_obj
def logs(
    console: Console,
    name: str | None,
    follow: bool,
    tail: int | None,
    work: str,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> None:
    """Print what the pods of the service NAME have written; without a name, of this folder's or the only service."""
    from wherry.deploy.life import logs as read

    wanted = project.load(console, cluster_flags(context, namespace)).project

    def tell(event: Event) -> None:
        if not isinstance(event, Output):
            console.tell(event)
        elif console.as_json:
            console.document({"pod": event.source, "line": event.text})
        else:
            click.echo(f"{event.source}  {event.text}")  # at once: somebody may be following

    with connected(console, wanted, kubeconfig) as cluster:
        read(cluster, name or own_name(wanted), work=work, follow=follow, tail=tail, tell=tell)
