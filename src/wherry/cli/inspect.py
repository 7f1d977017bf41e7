"""`wherry inspect`: what a bundle or a model file is, without running any of it; with two, what changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wherry.cli import describe, table
from wherry.cli.console import Console
from wherry.cli.verb import Verb
from wherry.contract.names import BUNDLE_DIR
from wherry.errors import UsageRefused

if TYPE_CHECKING:
    from wherry.model.inspect import Comparison, Description
    from wherry.model.reading.summary import Part


@click.command(
    cls=Verb,
    examples=[
        "wherry inspect",
        "wherry inspect model.joblib",
        "wherry inspect bundle-1 bundle-2",
        "wherry inspect before.onnx after.onnx",
        "wherry inspect --json",
    ],
)
@click.argument("a", type=click.Path(path_type=Path), default=Path(BUNDLE_DIR), required=False)
@click.argument("b", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def inspect(console: Console, a: Path, b: Path | None) -> None:
    """Say what A, a bundle or a model file, is, running none of it; with B, another one, what changed from A to B."""
    from wherry.model import inspect as room

    if a == Path(BUNDLE_DIR) and not a.exists():
        hint = "wherry inspect MODEL, or make one: wherry pack MODEL --data FILE --target COLUMN"
        raise UsageRefused(f"there is no bundle here (no ./{BUNDLE_DIR})", hint=hint)
    if b is None:
        description = room.inspect(a)
        if console.as_json:
            console.document(description)
        elif description.kind == "bundle":
            show_bundle(console, description)
        else:
            show_file(console, description)
        return
    comparison = room.compare(a, b)
    if console.as_json:
        console.document({**msgspec.structs.asdict(comparison), "alike": comparison.alike})
    else:
        show_changes(console, comparison)


def show_bundle(console: Console, found: Description) -> None:
    """Columns, metrics, and what there is to know besides."""
    if found.signature is not None:
        console.say_all(describe.signature(found.signature, width=console.width))
        console.say()
    if found.metrics:
        console.say_all(describe.metrics(found.metrics))
        console.say()
    console.say_all(table.pairs(bundle_facts(found), width=console.width))


def bundle_facts(found: Description) -> Iterator[tuple[str, str]]:
    yield "bundle", f"{found.name} {found.version}, {table.size(found.size)}"
    if found.origin is not None:
        yield "made of", found.origin.estimator + (f" from {found.origin.file}" if found.origin.file else "")
    if found.conversion is not None:
        yield "stored as", "\n".join(describe.form(found.conversion))
    if found.requirements is not None:
        yield "needs", describe.needs(found.requirements)
    yield "golden", table.count(found.golden_rows, "row")
    if found.measured is not None:
        yield "measured", describe.measured(found.measured)
    yield "digest", f"sha256:{found.digest}, every file is as it was packed"
    if found.allow_pickle:
        yield "pickle", "kept in the bundle, as --allow-pickle permitted: loading it can run code"


def show_file(console: Console, found: Description) -> None:
    """What a model file is and what loading it could do; nothing of it has been run."""
    compressed = f", {found.compression} compressed" if found.compression else ""
    facts = [
        ("file", f"{found.path}: {found.kind}{compressed}, {table.size(found.size)}"),
        ("digest", f"sha256:{found.digest}"),
        ("loading", f"{found.verdict}: {loading(found)}" if found.names else found.verdict),
        ("unknown", "\n".join(found.unknown)),
        ("model", "\n".join(tree(found.parts)) if found.parts else found.estimator),
        ("fitted", "yes" if found.fitted else "no" if found.estimator else ""),
        ("columns", ", ".join(found.features) or (str(found.feature_count) if found.feature_count else "")),
        ("takes", "\n".join(found.inputs)),
        ("answers", "\n".join(found.outputs)),
        ("classes", ", ".join(map(str, found.classes))),
        ("operators", ", ".join(f"{domain} {version}" for domain, version in found.operators.items())),
        ("written by", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
    ]
    console.say_all(table.pairs(facts, width=console.width))


def tree(part: Part, depth: int = 0) -> Iterator[str]:
    """An estimator with its steps beneath it, each with its settings."""
    settings = ", ".join(f"{key}={value!r}" for key, value in part.settings.items() if value is not None)
    name = f"{part.name}: " if part.name else ""
    yield f"{'  ' * depth}{name}{part.type}({settings})"
    for inner in part.parts:
        yield from tree(inner, depth + 1)


def show_changes(console: Console, found: Comparison) -> None:
    """What a client of the two could notice, table by table."""
    golden = [(change.what, change.before, change.after) for change in found.golden_changed]
    for title, rows in (
        ("model", [(c.what, c.before, c.after) for c in found.model]),
        ("signature", [(c.what, c.before, c.after) for c in found.signature]),
        ("libraries", [(c.what, c.before, c.after) for c in found.libraries]),
        ("metrics", [(c.what, c.before, c.after) for c in found.metrics]),
    ):
        if rows:
            console.say_all(table.lines((title, "before", "after"), rows, width=console.width))
            console.say()
    if golden:
        rows = [(before, after, row) for row, before, after in golden]
        console.say_all(table.lines(("before", "after", "golden row"), rows, width=console.width))
        console.say()
    same = found.golden_common - len(found.golden_changed)
    if found.golden_common:
        console.say(f"{same} of {table.count(found.golden_common, 'golden row')} that both have are answered alike")
    elif found.digests[0] != found.digests[1]:
        console.say("the two have no golden rows in common, so their answers were not compared")
    if found.alike:
        console.say(f"{found.b} differs from {found.a} in nothing that a client could notice")


def loading(found: Description) -> str:
    if found.hindrance:
        return f"it is not loaded, for it {found.hindrance}"
    return "it is loaded as it is" if found.loads_unasked else "it is loaded only with --trust"
