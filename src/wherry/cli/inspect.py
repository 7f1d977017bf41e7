"""`wherry inspect`: what a bundle or a model file is, without running any of it; with two, what changed."""

from __future__ import annotations

from pathlib import Path

import click

from wherry.cli.common import Verb
from wherry.cli.console import Console
from wherry.contract.names import BUNDLE_DIR


@click.command(
    cls=Verb,
    examples=[
        "wherry inspect",
        "wherry inspect model.joblib",
        "wherry inspect bundle-1 bundle-2",
        "wherry inspect --json",
    ],
)
@click.argument("a", type=click.Path(path_type=Path), default=Path(BUNDLE_DIR), required=False)
@click.argument("b", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def inspect(console: Console, a: Path, b: Path | None) -> None:
    """Say what A, a bundle or a model file, is, running none of it; with B, what changed from A to B."""
    from wherry.model import inspect as room

    if b is None:
        description = room.inspect(a)
        if console.as_json:
            console.document(description)
    else:
        comparison = room.compare(a, b)
        if console.as_json:
            console.document(comparison)
