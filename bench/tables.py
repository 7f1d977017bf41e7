"""The tables and the picture of docs/benchmarks.md, out of what bench/throughput.py --record has kept.

python bench/tables.py bench/recorded.json docs/pictures/throughput.svg
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from throughput import FASTAPI, LIMIT, Figures, table

WIDTH, LEFT, ROW, GAP = 640, 150, 16, 30
LEAST = 0.01  # of FastAPI's rate: where the bars begin
STYLE = (
    "svg{font:11px system-ui,sans-serif} text{fill:#6b7787} .ours{fill:#0f8b8d} .limit{fill:#8888}"
    " .theirs{fill:#c98a00} .grid{stroke:#8884} .title{font-weight:600}"
)


def rounds(model: dict[str, Any], connections: str) -> dict[str, list[Figures]]:
    return {title: [Figures(*one) for one in runs] for title, runs in model["rounds"][connections].items()}


def picture(recorded: dict[str, Any]) -> str:
    """Rates of all servers to FastAPI's, on a scale of tenfolds, a group of bars a model."""
    parts, y, scale = [], 0.0, (WIDTH - LEFT - 50) / math.log10(1000 / LEAST)
    for name, model in recorded.items():
        runs = rounds(model, "64")
        rates = {
            title: statistics.median(a.rate / b.rate for a, b in zip(them, runs[FASTAPI], strict=True))
            for title, them in runs.items()
        }
        y += GAP
        parts.append(f'<text class="title" x="{LEFT}" y="{y - 6:.0f}">{escape(name.upper())}</text>')
        for title, rate in sorted(rates.items(), key=lambda each: -each[1]):
            kind = "ours" if title.startswith("wherry") else "limit" if "constant" in title else "theirs"
            long = scale * math.log10(max(rate, LEAST) / LEAST)
            said = f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"
            parts.append(
                f'<text x="{LEFT - 6}" y="{y + 11:.0f}" text-anchor="end">{escape(title)}</text>'
                f'<rect class="{kind}" x="{LEFT}" y="{y + 1:.0f}" width="{long:.1f}" height="{ROW - 3}" rx="2"/>'
                f'<text x="{LEFT + long + 5:.1f}" y="{y + 11:.0f}">{said}</text>'
            )
            y += ROW
    one = LEFT + scale * math.log10(1 / LEAST)
    parts.append(f'<path class="grid" d="M{one:.1f} 0V{y:.0f}"/>')
    label = "Requests a second to FastAPI with NumPy, 64 connections, one core"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8:.0f}" width="{WIDTH}" role="img"'
        f' aria-label="{label}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


def tables(recorded: dict[str, Any]) -> Iterator[str]:
    for name, model in recorded.items():
        yield f"{name.upper()}, {model['date']}, {model['machine']}, load {model['load']:.1f}:\n"
        for connections in model["rounds"]:
            runs = rounds(model, connections)
            yield "\n".join(table(runs, int(connections))) + "\n"
        if LIMIT in runs and FASTAPI in runs:
            ours = {title: them for title, them in runs.items() if title.startswith("wherry")}
            peers = {title: them for title, them in runs.items() if title not in ours and "constant" not in title}
            del peers[FASTAPI]
            best = max(peers, key=lambda title: statistics.median(one.rate for one in peers[title]), default="")
            for title, them in ours.items() if best else ():
                times = statistics.median(a.rate / b.rate for a, b in zip(them, peers[best], strict=True))
                yield f"{title}: {times:.1f} times {best}, the best of the model servers\n"


if __name__ == "__main__":
    source, to = map(Path, sys.argv[1:])
    kept = json.loads(source.read_text())
    to.write_text(picture(kept))
    print("\n".join(tables(kept)))
