"""`wherry rollback`: a release that was good, deployed again and proven again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from wherry.cli import project
from wherry.cli.ask import token_in
from wherry.cli.clusters import cluster_flags, connected, flags_again, own_name
from wherry.cli.console import Console
from wherry.cli.deploy import Seconds, show
from wherry.cli.failures import FAILED
from wherry.cli.verb import Verb, cluster_options, token_option


@click.command(cls=Verb, examples=["wherry rollback", "wherry rollback 6", "wherry rollback breast 6 -n models"])
@click.argument("words", nargs=-1, metavar="[NAME] [NUMBER]")
@click.option("--timeout", type=Seconds(), metavar="TIME", help="How long the rollout may stand still, as 90s or 5m.")
@click.option(
    "--verify",
    type=click.Choice(["auto", "proxy", "job", "forward"]),
    default="auto",
    show_default=True,
    help="How to ask the version that comes back: through the API server's proxy, or at each pod.",
)
@cluster_options
@token_option
@click.pass_obj
def rollback(
    console: Console,
    words: tuple[str, ...],
    timeout: float | None,
    verify: Literal["auto", "proxy", "job", "forward"],
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    token_file: Path | None,
) -> int:
    """Deploy release NUMBER of the service NAME again; without a number, the last good one before what runs now.

    Nothing is built: the objects and the image are those of that release, and they are proven as in a deploy. It gets
    a number of its own, so that a rollback can be undone. `wherry releases` lists what there is.
    """
    from wherry.deploy.life import rollback as carry_out

    name, number = parse(words)
    wanted = project.load(console, cluster_flags(context, namespace)).project
    own = Path(wanted.serve.token_file) if wanted.serve.token_file else None
    with connected(console, wanted, kubeconfig) as cluster:
        verdict = carry_out(
            cluster,
            number,
            name or own_name(wanted),
            token=token_in(token_file or own),
            timeout=timeout,
            verify=verify,
            tell=console.tell,
        )
    show(console, verdict, flags_again(context, namespace, kubeconfig))
    return 0 if verdict.ok or verdict.outcome == "paused" else FAILED


def parse(words: tuple[str, ...]) -> tuple[str, int | None]:
    """The name, empty when none is given, and the number, None when none is."""
    *names, last = words or ("",)
    if last.isdecimal():
        number: int | None = int(last)
    else:
        number, names = None, [*names, last]
    if len(names) > 1:
        raise click.UsageError(f"{' '.join(words)}: give a name, a number, or the number after the name")
    return (names[0] if names else ""), number
