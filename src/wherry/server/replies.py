"""How every reply is made: its headers, its id, and the problem that an error becomes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.names import HEADER_MODEL_DIGEST, HEADER_MODEL_VERSION, HEADER_REQUEST_ID, NATIVE_MEDIA
from wherry.contract.project import Project
from wherry.contract.wire import (
    FEEDBACK,
    HISTORY,
    INVOCATIONS,
    JSON,
    KSERVE,
    MODELS,
    OIP,
    PING,
    PREDICT,
    SELDON,
    SELDON_FEEDBACK,
)
from wherry.errors import DiskFull, FieldsRefused, MediaWrong, RequestRefused, StoreFailed, StoreUnreachable
from wherry.server.access import AccessLog, Both, Noting, traced
from wherry.server.content import Content
from wherry.server.ids import new_id
from wherry.server.metrics import Metrics
from wherry.server.problems import (
    MEMBERS,
    blamed,
    body_of,
    corrected,
    curl,
    example,
    fields_of,
    log_line,
    problem_of,
    status_of,
)
from wherry.server.protocol import STATUS_LINES, Exchange
from wherry.server.sharing import Sharing

if TYPE_CHECKING:
    from wherry.server.port import Port

log = logging.getLogger("wherry.server")
SANE_ID = re.compile(rb"[A-Za-z0-9._~:@/+=\-]{1,128}")
# What holds stored predictions, or changes them.
STORED = (HISTORY.encode(), FEEDBACK.encode(), SELDON_FEEDBACK.encode())
# Refused while more of the request was still to come: what follows on the connection cannot be told apart.
UNREAD = frozenset({408, 413, 414, 431, 504})
# The door of a request that was refused before it went through one, by the beginning of its path.
DOORS = {
    path.encode(): door
    for path, door in (
        (INVOCATIONS, "mlflow"),
        (PING, "mlflow"),
        (KSERVE, "kserve"),
        (OIP, "oip"),
        (SELDON.rpartition("/")[0], "seldon"),
        (HISTORY, "history"),
        (FEEDBACK, "feedback"),
    )
}


def size_lines(size: int) -> bytes:
    """How a header ends before a body of `size` bytes."""
    return b"\r\nContent-Length: %d\r\n\r\n" % size


MARK = "00000000-0000-7000-8000-000000000000"  # where an id is to stand
BETWEEN = b"\r\nX-Prediction-Id: "  # the id of the request and that of the prediction
SIZES = tuple(map(size_lines, range(256)))  # of most replies


class Answered(Protocol):
    """A question that the model has answered: the id of its prediction, and its reply's body.

    plain: whether it came as nearly all do, with HTTP/1.1, no HEAD and no trace; an id that it brought is identified.
    """

    exchange: Exchange
    id: str
    body: bytes | Content
    plain: bool


class Replies:
    """Writes the replies of one model's service, whatever the path."""

    def __init__(
        self,
        manifest: Manifest,
        project: Project,
        metrics: Metrics,
        traces: Noting | None = None,
        path: str = PREDICT,
    ) -> None:
        """path: where the model is asked, for the lines that say how."""
        self.manifest, self.project, self.metrics, self.now = manifest, project, metrics, time.monotonic
        self.path = path
        version = re.sub(r"[^\x21-\x7e]", "?", manifest.version)[:128]
        self.fields = f"{HEADER_MODEL_VERSION}: {version}\r\n{HEADER_MODEL_DIGEST}: {manifest.digest}\r\n".encode()
        self.answer_fields = b"Content-Type: application/json\r\nCache-Control: no-store\r\n" + self.fields
        self.sharing = Sharing(project.serve) if project.serve.cors_origins else None
        log = AccessLog(project.serve.access_log) if project.serve.access_log else None
        self.access: Noting | None = Both(log, traces) if log and traces else log or traces
        self.plain = self.sharing is None and self.access is None
        self.open = bool(project.serve.token_file)
        self.date, self.begun = b"", b""  # how a reply with predictions begins, and the date in it

    def identify(self, exchange: Exchange, own: str = "") -> str:
        """The request's id: the one that it brought, if that can be repeated safely, else `own` or a new one."""
        if not exchange.request_id:
            sent = exchange.headers.get(b"x-request-id")
            if sent is not None and SANE_ID.fullmatch(sent):
                exchange.request_id = sent.decode()
            else:
                exchange.request_id = own or new_id(time.time_ns())
        return exchange.request_id

    def predicted(self, ready: Sequence[Answered], now: float) -> None:
        """Send the predictions of one call of the model, asked over one port; the caller has counted them."""
        if not ready:
            return
        port = ready[0].exchange.connection.port
        begun, plainly = self.beginning(port), self.plain and not port.closing
        for answered in ready:
            exchange = answered.exchange
            if exchange.reply is not None:
                continue
            body = answered.body
            if plainly and answered.plain and not exchange.close and body.__class__ is bytes:
                own, count = answered.id.encode(), len(body)
                request_id = exchange.request_id.encode() if exchange.request_id else own
                size = SIZES[count] if count < 256 else size_lines(count)
                exchange.send(b"".join((begun, request_id, BETWEEN, own, size, body)), now)
            else:
                self.said(exchange, answered.id, body, now)

    def beginning(self, port: Port) -> bytes:
        """How a reply with predictions begins, as far as its first id."""
        if port.date is not self.date:
            self.date = port.date
            self.begun = b"".join((STATUS_LINES[200], self.date, self.answer_fields, b"X-Request-Id: "))
        return self.begun

    def said(self, exchange: Exchange, id: str, body: bytes | Content, now: float) -> None:
        """Send a prediction whose reply is not as nearly every reply is."""
        request_id, extra, common = self.identify(exchange, id), self.extra(exchange, 200, now), self.answer_fields
        if isinstance(body, Content):
            common = b"Content-Type: %b\r\n%bCache-Control: no-store\r\n%b" % (body.media, body.fields, self.fields)
            body = body.body
        ids = f"X-Request-Id: {request_id}\r\nX-Prediction-Id: {id}\r\n".encode()
        exchange.answer(200, b"%b%b%b" % (common, extra, ids), body)

    def extra(self, exchange: Exchange, status: int, now: float, door: str = "") -> bytes:
        """The header lines that only some requests get; and whoever takes note of requests is told of it."""
        lines, headers = b"", exchange.headers
        if (sharing := self.shared(exchange)) is not None:
            lines = sharing.fields(headers)
        if (trace := traced(headers)) is not None:
            lines += b"traceparent: %b\r\n" % trace
        if self.access is not None:
            self.access.note(exchange, self.identify(exchange), status, now - exchange.started, door)
        return lines

    def shared(self, exchange: Exchange) -> Sharing | None:
        """What pages of other sites are told. What was stored is not for them, unless it takes a token."""
        return self.sharing if self.open or not exchange.url.startswith(STORED) else None

    def respond(self, exchange: Exchange, status: int, content: Content, door: str, close: bool = False) -> None:
        if exchange.reply is not None:
            return
        now = self.now()
        fields = b"Content-Type: %b\r\n%b%bCache-Control: no-store\r\n%b%b: %b\r\n" % (
            content.media,
            content.fields,
            self.extra(exchange, status, now, door),
            self.fields,
            HEADER_REQUEST_ID.encode(),
            self.identify(exchange).encode(),
        )
        self.metrics.answered(door, status, (now - exchange.started,))
        exchange.answer(status, fields, content.body, close)

    def refuse(self, exchange: Exchange, error: Exception, door: str) -> None:
        """Answer with the problem that `error` is."""
        request_id = self.identify(exchange)
        status = status_of(error)
        if status == 500 or isinstance(error, (StoreFailed, StoreUnreachable, DiskFull)):
            line = log_line(error, request_id, traced(exchange.headers))
            log.error(line, exc_info=blamed(error) if status == 500 else None)
        predicts = door not in ("history", "feedback")
        line = self.corrected_line(exchange, error) if predicts and isinstance(error, FieldsRefused) else ""
        problem = problem_of(error, request_id, line)
        names = {"name": self.manifest.name, "version": self.manifest.version}
        template = msgspec.UNSET if accepts_native(exchange) or door in MEMBERS else self.project.reply.error
        body, media = body_of(problem, template, names, MEMBERS.get(door))
        unread = status in UNREAD or not exchange.url
        self.respond(exchange, status, Content(media, body, fields_of(error)), door, close=unread)

    def turning_away(self, error: RequestRefused, door: str) -> Callable[[Exchange], bool] | None:
        """What answers `error` in the fewest steps to requests whose header was read before; it says whether it did.

        Refusing has to be cheaper than answering. The replies are those of `refuse`, written anew each second.
        """
        if not self.plain:
            return None
        names = {"name": self.manifest.name, "version": self.manifest.version}
        body, media = body_of(problem_of(error, MARK), self.project.reply.error, names)
        status = status_of(error)
        line, own = STATUS_LINES[status], MARK.encode()
        end = b"Cache-Control: no-store\r\n%bX-Request-Id: %b%b%b" % (self.fields, own, size_lines(len(body)), body)
        written: list[bytes] = []
        date, turn = b"", 0

        def turn_away(exchange: Exchange) -> bool:
            nonlocal written, date, turn
            port = exchange.connection.port
            if port.closing:
                return False
            if port.date is not date:
                date = port.date
                some = {fields_of(error) for _ in range(32)}  # they differ by chance
                written = [b"%b%bContent-Type: %b\r\n%b%b" % (line, date, media, fields, end) for fields in some]
            turn = (turn + 1) % len(written)
            exchange.request_id = new_id(time.time_ns())
            now = self.now()
            self.metrics.answered(door, status, (now - exchange.started,))
            exchange.send(written[turn].replace(own, exchange.request_id.encode()), now)
            return True

        return turn_away

    def example_line(self, exchange: Exchange) -> str:
        """A curl line that would have worked."""
        return self.line(example(self.manifest.signature), exchange)

    def corrected_line(self, exchange: Exchange, error: FieldsRefused) -> str:
        """The request at fault, corrected: its first wrong row, since one row shows what is meant."""
        return self.line(corrected(self.manifest.signature, error.record), exchange)

    def line(self, record: dict[str, Any], exchange: Exchange) -> str:
        column = self.manifest.signature.picture
        return curl(record, host_of(exchange), column.name if column else "", exchange.below + self.path)

    def check_media(self, exchange: Exchange, taken: tuple[str, ...] = (JSON,)) -> None:
        """Raises MediaWrong unless the body is said to be one of the content types `taken`, texts in UTF-8."""
        sent = exchange.headers.get(b"content-type", b"").decode("latin-1")
        media, _, rest = sent.partition(";")
        media, rest = media.strip().lower(), rest.lower()
        if "charset" in rest and "utf-8" not in rest and "utf8" not in rest:
            what = f"the body is read as UTF-8, not as {rest.strip()[:60]}"
            raise MediaWrong(what, hint=self.example_line(exchange))
        json = media == JSON or (media.startswith("application/") and media.endswith("+json"))
        if media not in taken and not (json and JSON in taken):
            what = f"is {media[:60]}" if media else "is missing"
            wanted = " or ".join(filter(None, taken))
            raise MediaWrong(f"the content type {what}, not {wanted}", hint=self.example_line(exchange))


def host_of(exchange: Exchange) -> str:
    return exchange.headers.get(b"host", b"").decode("latin-1")


def accepts_native(exchange: Exchange) -> bool:
    """Whether the native shape was asked for, whatever the project declares."""
    return NATIVE_MEDIA.encode() in exchange.headers.get(b"accept", b"")


def door_of(exchange: Exchange) -> str:
    """The door by which a request came, for the metrics, where it was refused before it went through one."""
    if exchange.url.startswith((PREDICT.encode(), f"{MODELS}/".encode())):
        return "native" if exchange.method == b"POST" else "query"
    return next((door for path, door in DOORS.items() if exchange.url.startswith(path)), "other")
