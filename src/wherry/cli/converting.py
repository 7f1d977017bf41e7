"""`wherry compose --to-kubernetes`: an existing compose file as objects, and what to type before they are applied."""

from __future__ import annotations

from pathlib import Path

import click

from wherry.cli.console import Console
from wherry.errors import FileMissing


def convert(console: Console, source: Path, exposed: tuple[str, ...], namespace: str, to: Path | None) -> None:
    """The objects on stdout or in a file; notes, and the commands that make their Secrets, on stderr."""
    from wherry.release.composing import conversion, reading
    from wherry.release.text import to_yaml

    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileMissing(str(source), "compose file", "wherry compose --to-kubernetes FILE") from error
    made = conversion.convert(reading.read(text, str(source)), str(source), exposed=exposed, namespace=namespace)
    if console.as_json:
        console.document(made.objects)
    elif to is None:
        click.echo(to_yaml(made.objects), nl=False)
    else:
        to.write_text(to_yaml(made.objects), encoding="utf-8")
        console.say(str(to))
    for note in made.notes:
        console.tell(note)
    for command in made.commands:
        console.note("The objects name a Secret that is not theirs to hold; first type, with your own values:")
        console.note(command)
    console.note("Next: " + (f"kubectl apply -f {to}" if to else "pipe it to kubectl apply -f -"))
