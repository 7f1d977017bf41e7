"""Routes by exact path, and what every request passes: host, then token, then its handler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import unquote_to_bytes

from wherry.contract.project import Project
from wherry.contract.wire import (
    DOCS,
    FEEDBACK,
    HEALTH,
    HISTORY,
    INDEX,
    INFO,
    KSERVE,
    LIVEZ,
    METRICS,
    MODELS,
    OIP,
    OPENAPI,
    PING,
    PREDICT,
    READYZ,
    ROOT,
    SELDON_FEEDBACK,
)
from wherry.errors import MethodWrong, PathUnknown, SwitchedOff
from wherry.server.about import About
from wherry.server.auth import Hosts, Tokens
from wherry.server.content import JSON, TEXT, Content
from wherry.server.doorways import Doorways, Handler, Routes, read
from wherry.server.drain import Life
from wherry.server.heads import Way
from wherry.server.keeping import Keeping
from wherry.server.models import Models, index
from wherry.server.protocol import Exchange
from wherry.server.replies import door_of

# Answered without a token: what probes ask. `/` decides for itself: the page holds nothing that was not packed.
PROBES = frozenset(path.encode() for path in (LIVEZ, READYZ, HEALTH, PING, f"{OIP}/health/live", f"{OIP}/health/ready"))
SHOWN = (PREDICT, INFO, HEALTH, DOCS, OPENAPI)  # paths that a wrong one is answered with


class App:
    """Answers the requests of the serving port. `admin` is the address that gives the metrics."""

    def __init__(
        self,
        project: Project,
        ways: Sequence[Doorways],
        about: About,
        life: Life,
        *,
        tokens: Tokens | None = None,
        admin: str = "",
    ) -> None:
        """ways: those of each model; what names no model is the first one's."""
        self.project, self.ways, self.about = project, ways, about
        self.life, self.tokens, self.admin = life, tokens, admin
        self.replies, predictions = ways[0].replies, ways[0].predictions
        self.hosts = Hosts(project.serve.host, project.serve.allowed_hosts)
        self.keeping = Keeping(project, self.replies, predictions.journal, predictions.loop, open=tokens is not None)
        self.models = Models(ways) if len(ways) > 1 else None
        of_several = {} if self.models is None else self.models.routes()
        self.routes: Routes = {**ways[0].routes(), **of_several, **self.table()}

    def table(self) -> Routes:
        def fixed(content: Content) -> dict[bytes, Handler]:
            return read(lambda exchange, _: self.show(exchange, content))

        about = self.about
        return {
            ROOT.encode(): read(self.root),
            INFO.encode(): fixed(about.info),
            HEALTH.encode(): fixed(about.health),
            LIVEZ.encode(): read(self.livez),
            READYZ.encode(): read(self.readyz),
            DOCS.encode(): read(lambda exchange, _: self.document(exchange, about.docs)),
            OPENAPI.encode(): read(lambda exchange, _: self.document(exchange, lambda: about.openapi(exchange.below))),
            HISTORY.encode(): read(self.keeping.history),
            FEEDBACK.encode(): {b"POST": self.keeping.feedback},
            SELDON_FEEDBACK.encode(): {b"POST": self.keeping.seldon},
            INDEX.encode(): {b"POST": partial(index, self.ways)},
        }

    def receive(self, exchange: Exchange) -> None:
        """Answer, now or at the end of this turn of the loop."""
        try:
            self.dispatch(exchange)
        except Exception as error:  # noqa: BLE001  # whatever it is, this client gets an answer and no other is concerned
            self.refuse(exchange, error)

    def way(self, exchange: Exchange) -> Way:
        """The shortest for a request whose header was read before: what only the header decides is not asked again."""
        if self.tokens is None and self.hosts.knows(exchange.headers.get(b"host", b"")):
            for way in self.ways:
                if (short := way.shortcut(exchange, self.receive)) is not None:
                    return short
        return Way(self.receive)

    def refuse(self, exchange: Exchange, error: Exception) -> None:
        replies = self.replies if self.models is None else self.models.replies(exchange)
        replies.refuse(exchange, error, door_of(exchange))

    def dispatch(self, exchange: Exchange) -> None:
        headers = exchange.headers
        path, _, asked = exchange.url.partition(b"?")
        if not path.startswith(b"/"):
            path = origin_form(exchange, path)
        if b"%" in path and path not in self.routes and (plain := unquote_to_bytes(path)) in self.routes:
            path = plain  # clients write a model's name as URLs have it
        if not exchange.url.startswith(path):
            exchange.url = b"%b?%b" % (path, asked)  # who asks what may be done there is to see what is meant
        self.hosts.check(headers.get(b"host"))
        if exchange.method == b"OPTIONS" and self.replies.sharing is not None and self.preflight(exchange, path):
            return
        if self.tokens is not None and path not in PROBES and path != b"/":
            self.tokens.check(headers)
        methods = self.routes.get(path)
        if methods is None:
            raise self.unknown(path)
        handler = methods.get(exchange.method)
        if handler is None:
            raise self.wrong_method(exchange, path, methods)
        handler(exchange, asked)

    def preflight(self, exchange: Exchange, path: bytes) -> bool:
        """Tell a browser what pages of other sites may ask, before the token, which it does not send yet."""
        sharing = self.replies.shared(exchange)
        methods = self.routes.get(path)
        lines = sharing.preflight(exchange.headers, tuple(methods)) if sharing is not None and methods else None
        if lines is None:
            return False
        self.replies.respond(exchange, 200, Content(TEXT, b"", lines), "other")
        return True

    def show(self, exchange: Exchange, content: Content) -> None:
        self.replies.respond(exchange, 200, content, "other")

    def root(self, exchange: Exchange, asked: bytes) -> None:
        about, browser = self.about, b"text/html" in exchange.headers.get(b"accept", b"")
        page = browser and self.project.serve.page and about.declared_root is None
        if self.tokens is not None and not page:
            self.tokens.check(exchange.headers)
        if about.declared_root is not None:
            self.show(exchange, about.declared_root)
        else:
            self.show(exchange, about.page() if page else about.root)

    def document(self, exchange: Exchange, content: Callable[[], Content]) -> None:
        if not self.project.serve.docs:
            raise SwitchedOff("the docs are switched off", hint="set [serve] docs = true")
        self.show(exchange, content())

    def livez(self, exchange: Exchange, asked: bytes) -> None:
        self.show(exchange, Content(JSON, b'{"status":"alive"}'))

    def readyz(self, exchange: Exchange, asked: bytes) -> None:
        ready = self.life.ready
        self.replies.respond(exchange, 200 if ready else 503, Content(JSON, self.life.said()), "other")

    def unknown(self, path: bytes) -> PathUnknown:
        text = path.decode("latin-1")[:200]
        if path == METRICS.encode():
            where = f"http://{self.admin}{METRICS}" if self.admin else "the application's `admin`"
            return PathUnknown("metrics are not given on this port", hint=f"see {where}")
        if text.startswith((f"{KSERVE}/", f"{OIP}/models/", f"{MODELS}/")):
            manifest = self.about.manifest
            held = f"the model is {manifest.name}, its version {manifest.version}"
            if self.models is not None:
                held = self.models.said
            return PathUnknown(f"there is no {text} here", hint=f"{held}; {DOCS} lists the paths")
        shown = dict.fromkeys((*SHOWN, *self.project.reply.predict_paths, *self.project.reply.paths))
        return PathUnknown(f"there is no {text} here", hint=f"the paths are {', '.join(shown)}")

    def wrong_method(self, exchange: Exchange, path: bytes, methods: dict[bytes, Handler]) -> MethodWrong:
        allowed = tuple(method.decode() for method in methods)
        hint = self.replies.example_line(exchange) if path == PREDICT.encode() else ""
        if self.models is not None and path.startswith(MODELS.encode()):
            hint = f"predictions are asked at {MODELS}/NAME/predict; {self.models.said}"
        return MethodWrong(exchange.method.decode("latin-1"), path.decode("latin-1"), allowed, hint)


def origin_form(exchange: Exchange, target: bytes) -> bytes:
    """The path of a target as proxies write it (http://host/path), whose host counts; RFC 9112, 3.2.2."""
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        return target
    host, slash, path = rest.partition(b"/")
    exchange.headers[b"host"] = host
    return slash + path or b"/"
