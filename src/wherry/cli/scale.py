"""`wherry scale`: the number of replicas, set by hand; 0 pauses, N resumes."""

from __future__ import annotations

from pathlib import Path

import click

from wherry.cli import project, table
from wherry.cli.clusters import cluster_flags, connected, own_name
from wherry.cli.console import Console
from wherry.cli.verb import Verb, cluster_options


@click.command(cls=Verb, examples=["wherry scale 3", "wherry scale breast 0 -n models"])
@click.argument("words", nargs=-1, metavar="[NAME] N", required=True)
@cluster_options
@click.pass_obj
def scale(
    console: Console, words: tuple[str, ...], context: str | None, namespace: str | None, kubeconfig: Path | None
) -> None:
    """Have N pods of the service NAME run, and wait until they do; 0 pauses it, any other number resumes it.

    Where an autoscaler is at work N becomes its minimum. What is set here outlives the next deploy.
    """
    from wherry.deploy.life import scale as carry_out

    name, replicas = parse(words)
    wanted = project.load(console, cluster_flags(context, namespace)).project
    with connected(console, wanted, kubeconfig) as cluster:
        scaled = carry_out(cluster, replicas, name or own_name(wanted), tell=console.tell)
    if console.as_json:
        console.document(scaled)
    elif scaled.paused:
        console.say(f"{scaled.name} is paused: no pods; `wherry scale N` resumes it")
    else:
        bounds = f", the autoscaler between {scaled.min} and {scaled.max}" if scaled.min is not None else ""
        console.say(
            f"{scaled.name} has {table.count(scaled.replicas, 'pod')}{bounds} ({table.duration(scaled.seconds)})"
        )


def parse(words: tuple[str, ...]) -> tuple[str, int]:
    """The name, empty when none is given, and the number."""
    *names, number = words
    if len(names) > 1 or not number.isdecimal():
        raise click.UsageError(f"{' '.join(words)}: give the number of pods last, as in wherry scale 3")
    return (names[0] if names else ""), int(number)
