"""`wherry doctor`: the mistakes of an existing project, each with its consequence and the way out; exit 4 on any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import table
from wherry.cli.console import Console
from wherry.cli.failures import NO
from wherry.cli.verb import Verb

if TYPE_CHECKING:
    from wherry.doctor.examine import Examined
    from wherry.doctor.rule import Finding

SHOWN = 8  # places of one rule


@click.command(
    cls=Verb,
    examples=[
        "wherry doctor",
        "wherry doctor old-service --fix",
        "wherry doctor --exporter > export_model.py",
        "wherry doctor --json",
    ],
)
@click.argument("path", type=click.Path(path_type=Path), default=Path(), required=False)
@click.option("--fix", is_flag=True, help="Mend what can be mended without a question of taste; shows the diff.")
@click.option("--diff", "only_diff", is_flag=True, help="Show what --fix would write, and write nothing.")
@click.option("--exporter", is_flag=True, help="Print the script that takes a model out of an old scikit-learn.")
@click.pass_obj
def doctor(console: Console, path: Path, fix: bool, only_diff: bool, exporter: bool) -> int:
    """Read the project in PATH (by default this folder), and name its mistakes. Nothing of it is run.

    Reads Dockerfiles, compose files, Kubernetes manifests, services of Flask and FastAPI, notebooks, requirements,
    pipelines, the commands of scripts and READMEs, and what pickles are made of. The exit code is 4 on findings.
    """
    from wherry.doctor import mending, pickled
    from wherry.doctor.examine import examine

    if exporter:
        console.say(pickled.exporter().rstrip("\n"))
        return 0
    found = examine(path)
    files = mending.mended(root_of(path), found.edits) if fix or only_diff else []
    if fix:
        mending.write(root_of(path), files)
        found = examine(path)
    if console.as_json:
        diffs = (
            {"mended" if fix else "would_mend": {file.path: "\n".join(file.diff()) for file in files}} if files else {}
        )
        plain = {"files": found.files, "findings": found.findings, "notes": found.notes, "models": found.models}
        console.document({**plain, **diffs})
        return NO if found.findings else 0
    for file in files:
        console.say_all(file.diff())
        console.say()
    for note in found.notes:
        console.note(note, warn=True)
    if console.quiet:
        console.say_all(f"{each.file}:{each.line}: {each.rule}: {each.title}" for each in found.findings)
    else:
        show(console, found, mendable=not fix and not only_diff)
    return NO if found.findings else 0


def root_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def show(console: Console, found: Examined, *, mendable: bool) -> None:
    from wherry.doctor.rule import SEVERITIES

    for severity, title in SEVERITIES.items():
        of_this = [each for each in found.findings if each.severity == severity]
        if not of_this:
            continue
        console.say(title)
        for rule in dict.fromkeys(each.rule for each in of_this):
            console.say()
            console.say_all(told([each for each in of_this if each.rule == rule], console.width))
        console.say()
    for model in found.models:
        console.say_all(table.folded(f"{model.path}: {model.reason}.", console.width, 2))
        console.say()
    if not found.findings:
        console.say(f"no mistake found in {table.count(found.files, 'file')}")
        return
    rules = len({each.rule for each in found.findings})
    said = [
        table.count(count, noun)
        for count, noun in ((len(found.findings), "finding"), (rules, "rule"), (found.files, "file"))
    ]
    console.say("{} of {} in {}".format(*said))
    if mendable and any(each.mends for each in found.findings):
        count = sum(each.mends for each in found.findings)
        console.note(
            f"{count} of them can be mended without asking", hint="wherry doctor --diff shows how; --fix does it"
        )


def told(findings: list[Finding], width: int) -> Iterator[str]:
    """One rule: what is wrong, where, what comes of it, what to do."""
    first = findings[0]
    yield f"  {first.title} ({first.rule})"
    for each in findings[:SHOWN]:
        yield table.cut(f"    {each.file}:{each.line}" + (f"  {each.detail}" if each.detail else ""), width)
    if len(findings) > SHOWN:
        yield f"    and {len(findings) - SHOWN} more"
    yield from table.pairs([("so", first.consequence), ("do", first.fix)], width=width, indent=4)
