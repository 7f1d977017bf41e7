"""`wherry completion SHELL`: the script that lets a shell complete verbs and flags."""

from __future__ import annotations

import click

from wherry.cli.console import Console
from wherry.cli.verb import Verb

PLACES = {
    "bash": "wherry completion bash >> ~/.bash_completion",
    "zsh": 'wherry completion zsh > "${fpath[1]}/_wherry"',
    "fish": "wherry completion fish > ~/.config/fish/completions/wherry.fish",
}


@click.command(cls=Verb, examples=list(PLACES.values()))
@click.argument("shell", type=click.Choice(list(PLACES)))
@click.pass_obj
def completion(console: Console, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from wherry.cli.main import wherry

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    console.say(kind(wherry, {}, "wherry", "_WHERRY_COMPLETE").source().rstrip("\n"))
