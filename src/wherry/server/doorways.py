"""Where the doors are: the paths that clients of other services call, and POST /predict by its content type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import msgspec

from wherry import __version__
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.contract.wire import INVOCATIONS, KSERVE, OIP, PING, PREDICT, SELDON
from wherry.server.about import as_json, declared
from wherry.server.content import TEXT, Content
from wherry.server.doors import kserve, oip
from wherry.server.doors.arrow import Arrow
from wherry.server.doors.csv import Csv
from wherry.server.doors.declared import Declared
from wherry.server.doors.door import Door
from wherry.server.doors.image import Image
from wherry.server.doors.mlflow import Mlflow
from wherry.server.doors.seldon import Seldon
from wherry.server.drain import Life
from wherry.server.heads import Way
from wherry.server.predictions import Predictions
from wherry.server.protocol import Exchange
from wherry.server.replies import Replies, accepts_native

Handler: TypeAlias = Callable[[Exchange, bytes], None]
Routes: TypeAlias = dict[bytes, dict[bytes, Handler]]
PLAIN_JSON = b"application/json"
ALWAYS_JSON = (PLAIN_JSON, PLAIN_JSON + b";charset=utf-8")  # whatever the project declares


class Doorways:
    """The ways in of one model, by path and method."""

    def __init__(
        self,
        manifest: Manifest,
        project: Project,
        predictions: Predictions,
        replies: Replies,
        life: Life,
        path: str = PREDICT,
    ) -> None:
        """path: where it is asked in the service's own form."""
        self.manifest, self.project, self.predictions = manifest, project, predictions
        self.replies, self.life = replies, life
        native = predictions.native
        self.by_media: dict[str, Door] = {door.media[0]: door for door in (Csv(native), Arrow(native))}
        column = manifest.signature.picture
        self.image = None if column is None else Image(native, column.name)
        if self.image is not None:
            self.by_media |= dict.fromkeys(self.image.media, self.image)
        request = project.reply.request
        self.declared = None if request is msgspec.UNSET else Declared(native, request)
        self.asked = frozenset(each.encode() for each in (path, *project.reply.predict_paths))

    def routes(self) -> Routes:
        """Each path's handlers by method, of a service that has no other model, or whose first this is."""
        native, manifest, reply = self.predictions.native, self.manifest, self.project.reply
        found: Routes = {
            PREDICT.encode(): {b"POST": self.predict, **read(self.predictions.query)},
            INVOCATIONS.encode(): self.entry(Mlflow(native)),
            PING.encode(): read(self.ping),
            KSERVE.encode(): self.said(kserve.models(manifest.name)),
            OIP.encode(): self.said(oip.server(__version__)),
            f"{OIP}/health/live".encode(): self.said({"status": "alive", "live": True}),
            f"{OIP}/health/ready".encode(): read(self.oip_ready),
            SELDON.encode(): self.entry(Seldon(native)),
            **self.named(),
        }
        for path in reply.predict_paths:
            found[path.encode()] = found[PREDICT.encode()]
        for path, template in reply.paths.items():
            content = declared(template, manifest)
            found[path.encode()] = read(partial(self.show, content)) if content else {}
        return found

    def named(self, versions: Sequence[str] = ()) -> Routes:
        """Those whose paths name the model; versions: all that there are of its name."""
        native, manifest, shares = self.predictions.native, self.manifest, self.project.serve.probabilities
        first, door = kserve.Kserve(native), oip.Oip(native, manifest, shares)
        found: Routes = {}
        for end in ("", f"/versions/{manifest.version}"):
            of_kserve, of_oip = f"{KSERVE}/{manifest.name}{end}", f"{OIP}/models/{manifest.name}{end}"
            found[of_kserve.encode()] = read(self.kserve_ready)
            found[f"{of_kserve}:predict".encode()] = self.entry(first)
            found[of_oip.encode()] = self.said(oip.model(manifest, shares, versions))
            found[f"{of_oip}/ready".encode()] = read(self.oip_model_ready)
            found[f"{of_oip}/infer".encode()] = self.entry(door)
        return found

    def predict(self, exchange: Exchange, asked: bytes) -> None:
        """A prediction in the service's own form, by what the body is."""
        sent = exchange.headers.get(b"content-type", b"")
        door: Door | None = self.declared
        if sent != PLAIN_JSON:
            media = sent.partition(b";")[0].strip().lower().decode("latin-1")
            # Pictures of other types are refused by the door that says which it takes.
            door = self.by_media.get(media, self.image if media.startswith("image/") else door)
        if door is None:
            self.predictions.body(exchange, asked)
        else:
            self.predictions.through(door, exchange, asked)

    def shortcut(self, exchange: Exchange, otherwise: Callable[[Exchange], None]) -> Way | None:
        """What `predict` comes to for such a header, if it is the one that nearly every request has."""
        headers = exchange.headers
        media = headers.get(b"content-type", b"").lower().replace(b" ", b"")
        plain = exchange.method == b"POST" and media in ALWAYS_JSON and not accepts_native(exchange)
        if not plain or self.declared is not None or exchange.url not in self.asked:
            return None
        return self.predictions.shortcut(headers, otherwise)

    def entry(self, door: Door) -> dict[bytes, Handler]:
        return {b"POST": partial(self.predictions.through, door)}

    def said(self, value: object) -> dict[bytes, Handler]:
        return read(partial(self.show, as_json(value)))

    def show(self, content: Content, exchange: Exchange, asked: bytes) -> None:
        self.replies.respond(exchange, 200, content, "other")

    def by_readiness(self, exchange: Exchange, content: Content) -> None:
        self.replies.respond(exchange, 200 if self.life.ready else 503, content, "other")

    def ping(self, exchange: Exchange, asked: bytes) -> None:
        self.by_readiness(exchange, Content(TEXT, b"\n"))  # as MLflow answers it

    def kserve_ready(self, exchange: Exchange, asked: bytes) -> None:
        self.by_readiness(exchange, as_json(kserve.model(self.manifest.name, self.life.ready)))

    def oip_ready(self, exchange: Exchange, asked: bytes) -> None:
        stage = msgspec.json.decode(self.life.said())
        self.by_readiness(exchange, as_json({**stage, "ready": self.life.ready}))

    def oip_model_ready(self, exchange: Exchange, asked: bytes) -> None:
        self.by_readiness(exchange, as_json({"name": self.manifest.name, "ready": self.life.ready}))


def read(handler: Handler) -> dict[bytes, Handler]:
    return {b"GET": handler, b"HEAD": handler}
