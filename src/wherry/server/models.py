"""Several models by name and version: where each is asked, and who says which there are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

from wherry.contract.wire import KSERVE, MODELS, OIP
from wherry.server.about import as_json, beside, info, predict_path
from wherry.server.doors import kserve
from wherry.server.doorways import Doorways, Routes, read
from wherry.server.protocol import Exchange
from wherry.server.replies import Replies

NAMED = tuple(f"{each}/".encode() for each in (MODELS, KSERVE, f"{OIP}/models"))  # below them paths name a model


class Models:
    """The doors of several models. Without a version the one that comes first of its name is meant."""

    def __init__(self, ways: Sequence[Doorways]) -> None:
        self.ways, self.manifests = ways, [each.manifest for each in ways]
        self.versions: dict[str, list[str]] = {}
        for manifest in self.manifests:
            self.versions.setdefault(manifest.name, []).append(manifest.version)
        self.owners: dict[bytes, Doorways] = {}  # whose model is asked there, by path
        self.strangers = of_no_model(ways[0].replies)

    @property
    def said(self) -> str:
        """Which there are, for people."""
        return "the models are " + "; ".join(f"{name} {', '.join(held)}" for name, held in self.versions.items())

    def replies(self, exchange: Exchange) -> Replies:
        """Those of the model that is asked; of the first where a path names none, of nobody where it is not there."""
        path = exchange.url.partition(b"?")[0]
        owner = self.owners.get(path) or self.owners.get(unquote_to_bytes(path))
        if owner is None and path.startswith(NAMED):
            return self.strangers
        return (owner or self.ways[0]).replies

    def routes(self) -> Routes:
        found: Routes = {}
        for each in reversed(self.ways):
            manifest = each.manifest
            own = each.named(self.versions[manifest.name])
            about = f"{MODELS}/{manifest.name}"
            for path in (about, f"{about}/versions/{manifest.version}"):
                own[path.encode()] = each.said({**info(manifest), "predict": predict_path(manifest)})
                own[f"{path}/predict".encode()] = {b"POST": each.predict, **read(each.predictions.query)}
            found |= own
            self.owners |= dict.fromkeys(own, each)
        for way in self.ways:
            predict = f"{MODELS}/{quote(way.manifest.name, safe='')}/predict"
            if self.owners[unquote_to_bytes(predict)] is way:
                way.asked |= {predict.encode(), predict_path(way.manifest).encode()}
        first = self.ways[0]
        found[MODELS.encode()] = first.said(beside(self.manifests[0], self.manifests[1:]))
        found[KSERVE.encode()] = first.said(kserve.models(*self.versions))
        return found


def index(ways: Sequence[Doorways], exchange: Exchange, asked: bytes) -> None:
    """Which models there are, as Triton's clients ask."""
    state = "READY" if ways[0].life.ready else "UNAVAILABLE"
    held = [
        {"name": each.manifest.name, "version": each.manifest.version, "state": state, "reason": ""} for each in ways
    ]
    ways[0].replies.respond(exchange, 200, as_json(held), "oip")


def of_no_model(replies: Replies) -> Replies:
    """The same service's replies, which say no model's version, and whose counts bear no model's labels."""
    # A copy, as new metrics would show counters that stay at nothing beside the labelled ones.
    counts = copy.copy(replies.metrics)
    counts.labels, counts.more, counts.requests = "", "", {}
    found = copy.copy(replies)
    found.metrics, found.fields = counts, b""
    return found
