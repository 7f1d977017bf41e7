"""A page of figures and pictures as one HTML file: no scripts, nothing fetched, fit for light, dark and paper."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files


def document(title: str, body: str, style: str = "") -> str:
    """The whole file. body: HTML. style: CSS beside the page's own."""
    shared = files("wherry.stress").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{shared}{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def figures(cells: Iterable[tuple[str, str, bool]]) -> str:
    """What is read first: each value, what it is, and whether it is bad."""
    shown = (
        f'<div class="card figure{" bad" if bad else ""}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name, bad in cells
    )
    return f'<section class="figures">{"".join(shown)}</section>'
