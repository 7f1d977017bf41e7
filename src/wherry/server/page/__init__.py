"""What browsers are shown: one HTML document each, complete in itself, that asks no other host for anything.

Send both with `CSP` as Content-Security-Policy: it allows exactly the styles and scripts in them, by their sha-256.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.names import NATIVE_MEDIA
from wherry.contract.wire import INFO, PREDICT
from wherry.server.about import about_path, predict_path
from wherry.server.problems import example as example_of

CSP: str  # read when first asked for, see __getattr__
LINKS = (("./", "Predict"), ("./docs", "API"), ("./info", "Model"), ("./health", "Health"))


def page(manifest: Manifest, example: Mapping[str, Any], others: Sequence[Manifest] = ()) -> bytes:
    """The page of GET /: a form made from the signature, filled in with `example` (one record).

    others: of the models that are served beside the first; ?model=NAME/VERSION chooses one, in the browser.
    Send it as text/html; charset=utf-8 with `CSP`; it is the same for every request, so make it once.
    """
    return document(manifest, example, others, "page")


def docs_page(manifest: Manifest, others: Sequence[Manifest] = ()) -> bytes:
    """The page of GET /docs, which reads ./openapi.json. Send it as `page` is sent."""
    return document(manifest, example_of(manifest.signature), others, "docs")


def document(manifest: Manifest, example: Mapping[str, Any], others: Sequence[Manifest], name: str) -> bytes:
    """The document called `name`; whatever the models bring stands in it as data, never as markup."""
    shown = [model(manifest, example, PREDICT, INFO)]
    shown += [model(each, example_of(each.signature), predict_path(each), about_path(each)) for each in others]
    data = {"page": name, "native": NATIVE_MEDIA, "models": shown}
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if path == ("./docs" if name == "docs" else "./") else ""}>{text}</a>'
        for path, text in LINKS
    )
    parts = {
        "title": html.escape(manifest.name),
        "style": source("style.css"),
        "links": links,
        "main": source("docs.html" if name == "docs" else "form.html"),
        "data": embedded(data),
        "base": source("base.js"),
        "script": source(f"{name}.js"),
    }
    # Cut at the marks rather than replaced one after the other: a text that looks like a mark stays a text.
    first, *rest = source("page.html").split("{{")
    made = [first]
    for piece in rest:
        mark, _, after = piece.partition("}}")
        made += (parts[mark], after)
    return "".join(made).encode()


def model(manifest: Manifest, example: Mapping[str, Any], predict: str, about: str) -> dict[str, Any]:
    """What a page knows of one model; predict, about: the paths where it is asked, and says what it is."""
    signature = manifest.signature
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "estimator": manifest.origin.estimator,
        "columns": signature.columns,
        "output": {"probabilities": False, "classes": (), "width": 1, **msgspec.to_builtins(signature.output)},
        "target": signature.target,
        "metrics": manifest.metrics,
        "example": example,
        "predict": predict,
        "about": about,
    }


def embedded(data: Any) -> str:
    """`data` as JSON that ends no script element and opens no comment."""
    text = msgspec.json.encode(data).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@functools.cache
def source(name: str) -> str:
    """A file of this folder."""
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


@functools.cache
def policy() -> str:
    """The Content-Security-Policy of both documents."""
    scripts = " ".join(allowed(source(name)) for name in ("base.js", "page.js", "docs.js"))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {allowed(source('style.css'))}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def allowed(text: str) -> str:
    """How a policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def __getattr__(name: str) -> str:
    if name == "CSP":
        return policy()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
