"""`wherry forward`: a service of the cluster on a port of this machine, for as long as it runs."""

from __future__ import annotations

from pathlib import Path

import click

from wherry.cli import project
from wherry.cli.clusters import cluster_flags, connected, own_name
from wherry.cli.console import Console
from wherry.cli.verb import Verb, cluster_options, name_argument
from wherry.contract.names import SERVING_PORT


@click.command(cls=Verb, live=False, examples=["wherry forward", "wherry forward breast --port 9000"])
@name_argument
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=SERVING_PORT,
    metavar="PORT",
    help=f"Port of 127.0.0.1; {SERVING_PORT} unless set otherwise, 0 for one that is free.",
)
@cluster_options
@click.pass_obj
def forward(
    console: Console, name: str | None, port: int, context: str | None, namespace: str | None, kubeconfig: Path | None
) -> None:
    """Bring the service NAME to a port of this machine, until Ctrl-C: for trying it, not for load.

    Connections go through the API server to a ready pod, and find another after a rollout. It takes the right to
    get and create pods/portforward.
    """
    from wherry.deploy.forwarding import forward as bring

    wanted = project.load(console, cluster_flags(context, namespace)).project

    def listening(taken: int) -> None:
        if console.as_json:
            console.document({"url": f"http://127.0.0.1:{taken}"})
        else:
            console.say(f"http://127.0.0.1:{taken}")

    with connected(console, wanted, kubeconfig) as cluster:
        bring(cluster, name or own_name(wanted), port=port, tell=console.tell, listening=listening)
