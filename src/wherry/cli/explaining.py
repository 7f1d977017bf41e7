"""`wherry build --explain`: where an image's bytes come from, as tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wherry.cli import table
from wherry.cli.console import Console

if TYPE_CHECKING:
    from wherry.deploy.explain import Explanation

SHOWN_PATHS = 12


def show(console: Console, explanation: Explanation) -> None:
    """Print the explanation, as one JSON document where that is asked for."""
    if console.as_json:
        console.document(explanation)
    else:
        console.say_all(lines(explanation, console.width))


def lines(explanation: Explanation, width: int) -> Iterator[str]:
    base = re.sub(r"(@sha256:[0-9a-f]{12})[0-9a-f]*", r"\1", explanation.base)
    rows = [("base", base, "", table.size(explanation.base_size), "")]
    for layer in explanation.layers:
        rows.append((layer.name, "", "", table.size(layer.size), table.size(layer.unpacked)))
        rows += [("", part.name, part.version, "", table.size(part.size)) for part in layer.parts]
    size, unpacked = (sum(getattr(layer, name) for layer in explanation.layers) for name in ("size", "unpacked"))
    rows.append(("all but the base", "", "", table.size(size), table.size(unpacked)))
    yield from table.lines(
        ("layer", "package", "version", "compressed", "unpacked"), rows, width=width, right=("compressed", "unpacked")
    )
    for title, sentences in (
        ("Since the last build", explanation.changes),
        *([("Against the registry", explanation.published)] if explanation.published else []),
        ("What would shrink it", explanation.advice or ("nothing that wherry knows of",)),
    ):
        yield ""
        yield f"{title}:"
        yield from (f"  {sentence}" for sentence in sentences)
    if explanation.findings:
        yield ""
        yield "Found in the base, not in our layers:"
        for finding in explanation.findings:
            more = len(finding.paths) - SHOWN_PATHS
            shown = ", ".join(finding.paths[:SHOWN_PATHS]) + (f" and {more} more" if more > 0 else "")
            yield f"  {finding.what}: {shown}"
