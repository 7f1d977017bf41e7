"""What the service says about itself: /, /info, /docs, /openapi.json; made once, sent as bytes."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from wherry import __version__
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.contract.reply import PLACEHOLDERS, fill
from wherry.contract.wire import DOCS, HEALTH, INFO, MODELS, OPENAPI, PREDICT
from wherry.server.content import HTML, JSON, TEXT, Content
from wherry.server.problems import example


class About:
    """The replies that do not change while the service runs."""

    def __init__(self, manifest: Manifest, project: Project, others: Sequence[Manifest] = ()) -> None:
        """others: of the models that are served beside the first."""
        self.manifest, self.project, self.others = manifest, project, others
        reply = project.reply
        self.declared_root = declared(reply.root, manifest)
        self.root = as_json(root(manifest))
        self.info = declared(reply.info, manifest) or as_json({**info(manifest), **beside(manifest, others)})
        self.health = declared(reply.health, manifest) or as_json({"status": "ok"})
        self.made: dict[str, Content] = {}

    def page(self) -> Content:
        """The page for browsers."""
        return self.once(
            "page", lambda: html(pages().page(self.manifest, example(self.manifest.signature), self.others))
        )

    def docs(self) -> Content:
        return self.once("docs", lambda: html(pages().docs_page(self.manifest, self.others)))

    def openapi(self, below: str = "") -> Content:
        """below: the path that the service is mounted below."""
        servers = {"servers": [{"url": below}]} if below else {}
        return self.once(
            f"openapi{below}", lambda: as_json({**document(self.manifest, self.project, self.others), **servers})
        )

    def once(self, name: str, make: Any) -> Content:
        """Made when first asked for: start-up does not wait for it."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]


def pages() -> Any:
    """The documents for browsers; imported when first asked for, for the same reason."""
    from wherry.server import page

    return page


def document(manifest: Manifest, project: Project, others: Sequence[Manifest]) -> dict[str, Any]:
    from wherry.server.openapi import openapi

    return openapi(manifest, project, others)


def as_json(value: Any) -> Content:
    return Content(JSON, msgspec.json.encode(value))


def html(body: bytes) -> Content:
    fields = (
        f"Content-Security-Policy: {pages().CSP}\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    )
    return Content(HTML, body, fields.encode())


def declared(template: Any, manifest: Manifest) -> Content | None:
    """The reply that the project declares for a path; a text is sent as it is."""
    if template is msgspec.UNSET:
        return None
    value = filled(template, manifest)
    if isinstance(value, str):
        return Content(HTML if value.lstrip().startswith("<") else TEXT, value.encode())
    return as_json(value)


def filled(template: Any, manifest: Manifest) -> Any:
    """A declared template where there is no prediction."""
    return fill(template, {**dict.fromkeys(PLACEHOLDERS), "name": manifest.name, "version": manifest.version})


def root(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "status": "alive",  # what clients of KServe's first protocol look for here
        "paths": {"predict": PREDICT, "info": INFO, "health": HEALTH, "docs": DOCS, "openapi": OPENAPI},
    }


def about_path(manifest: Manifest) -> str:
    """Where one version of a model says what it is, in a service that holds several."""
    return f"{MODELS}/{quote(manifest.name, safe='')}/versions/{quote(manifest.version, safe='')}"


def predict_path(manifest: Manifest) -> str:
    """Where it is asked."""
    return f"{about_path(manifest)}/predict"


def listed(manifest: Manifest) -> dict[str, Any]:
    """A model as a list of them has it."""
    known = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest}
    return {**known, "predict": predict_path(manifest)}


def beside(manifest: Manifest, others: Sequence[Manifest]) -> dict[str, Any]:
    """What a service of several models says of them."""
    return {"models": list(map(listed, (manifest, *others)))} if others else {}


def info(manifest: Manifest) -> dict[str, Any]:
    """What /info says: the model, and what it accepts and returns."""
    signature = manifest.signature
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "flavor": manifest.flavor,
        "estimator": manifest.origin.estimator,
        "columns": signature.columns,
        "output": signature.output,
        "target": signature.target,
        "metrics": manifest.metrics,
        "python": platform.python_version(),
        "wherry": __version__,
    }
