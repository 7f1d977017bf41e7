"""GET /history shows what is kept, POST /feedback adds what turned out to be true; both only for whom they may be."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from wherry.contract.project import Project
from wherry.contract.wire import FEEDBACK, HISTORY, SELDON_FEEDBACK, FieldProblem
from wherry.errors import FieldsRefused, SwitchedOff
from wherry.server.auth import bare, is_loopback
from wherry.server.content import JSON, Content
from wherry.server.doors import query as door
from wherry.server.doors import seldon
from wherry.server.doors.native import parse
from wherry.server.history import Query
from wherry.server.ids import new_id
from wherry.server.journal import Feedback, Journal
from wherry.server.protocol import Exchange
from wherry.server.replies import Replies
from wherry.server.worker import Worker

PAGE, MOST = 100, 1000  # records of a page, unless asked otherwise, and at most
TRUTHS = 10_000  # of one request
OWN_HOSTS = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
PREDICTION_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:-[0-9]{1,9})?")
PLAIN = ("model", "output", "request_id", "before", "after")


class Keeping:
    """Both doors to the store. `open` when a token is asked for: then whoever comes here has shown it."""

    def __init__(
        self, project: Project, replies: Replies, journal: Journal, loop: asyncio.AbstractEventLoop, *, open: bool
    ) -> None:
        self.replies, self.journal, self.loop, self.open = replies, journal, loop, open
        self.local = is_loopback(project.serve.host)
        self.worker = Worker("wherry-history")

    def check(self, exchange: Exchange, what: str) -> None:
        """Raises SwitchedOff unless this caller may; never judged by the address that it calls from."""
        own = self.local and bare(exchange.headers.get(b"host", b"").lower()) in OWN_HOSTS
        if not self.open and not own:
            raise SwitchedOff(
                f"{what} is off where anybody may ask",
                hint="set [serve] token_file (or --token-file), and send a token",
            )
        if not self.journal.where:
            raise SwitchedOff("this service keeps no predictions", hint="set [store] enabled = true, or [store] url")

    def history(self, exchange: Exchange, asked: bytes) -> None:
        """A page of records, the newest first; `next` is what the following page is asked with, as `before`."""
        self.check(exchange, HISTORY)
        wanted = query_of(asked)
        self.worker.do(lambda: self.find(exchange, wanted))

    def find(self, exchange: Exchange, wanted: Query) -> None:
        """In a thread: ask the database."""
        outcome: bytes | Exception
        try:
            outcome = self.journal.read(wanted)
        except Exception as error:  # noqa: BLE001  # the loop answers with whatever it is
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self.loop.call_soon_threadsafe(self.show, exchange, wanted, outcome)

    def show(self, exchange: Exchange, wanted: Query, outcome: bytes | Exception) -> None:
        if isinstance(outcome, Exception):
            self.replies.refuse(exchange, outcome, "history")
            return
        found = msgspec.json.decode(outcome, type=list[msgspec.Raw])
        following = None
        if len(found) == wanted.limit:
            following = msgspec.json.decode(found[-1], type=dict[str, Any])["id"]
        body = msgspec.json.encode({"predictions": found, "next": following})
        self.replies.respond(exchange, 200, Content(JSON, body), "history")

    def feedback(self, exchange: Exchange, asked: bytes) -> None:
        """Keep truths; they are as safe as predictions are when the reply leaves."""
        self.check(exchange, FEEDBACK)
        self.replies.check_media(exchange)
        body = msgspec.json.encode({"accepted": self.keep(parse(exchange.body))})
        self.replies.respond(exchange, 202, Content(JSON, body), "feedback")

    def seldon(self, exchange: Exchange, asked: bytes) -> None:
        """The same from Seldon's clients, who wait for a 200."""
        self.check(exchange, SELDON_FEEDBACK)
        self.replies.check_media(exchange)
        self.keep(seldon.truths(exchange.body))
        self.replies.respond(exchange, 200, Content(JSON, b'{"data":{},"meta":{}}'), "feedback")

    def keep(self, value: Any) -> int:
        """How many truths of `value` are kept. Raises FieldsRefused."""
        now = time.time_ns()
        truths = truths_of(value)
        for number, (prediction, truth) in enumerate(truths):
            self.journal.append_feedback(Feedback(new_id(now), prediction, now + 1000 * number, truth))
        self.journal.commit()
        return len(truths)

    def close(self) -> None:
        self.worker.close()


def truths_of(value: Any) -> list[tuple[str, Any]]:
    """Ids and truths of {"id": ..., "truth": ...}, or of a list of these. Raises FieldsRefused with every problem."""
    items = value if isinstance(value, list) else [value]
    problems: list[FieldProblem] = []
    if len(items) > TRUTHS:
        raise FieldsRefused((FieldProblem(TRUTHS, "", f"more than {TRUTHS:,} at once", "send them in parts"),))
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            problems.append(FieldProblem(index, "", "is no object", 'send {"id": "...", "truth": ...}'))
            continue
        id = item.get("id")
        if not isinstance(id, str) or not PREDICTION_ID.fullmatch(id):
            problems.append(
                FieldProblem(index, "id", "is no prediction's id", "a reply's X-Prediction-Id, for row k -k")
            )
        if item.get("truth") is None:
            problems.append(FieldProblem(index, "truth", "is missing", "send what turned out to be true"))
        problems += (FieldProblem(index, name, "is not known") for name in item if name not in ("id", "truth"))
    if problems:
        raise FieldsRefused(tuple(problems[:100]))
    return [(item["id"], item["truth"]) for item in items]


def query_of(asked: bytes) -> Query:
    """What the url's query asks. Raises BodyUnreadable, FieldsRefused."""
    values: dict[str, Any] = {}
    where: list[tuple[str, str]] = []
    problems: list[FieldProblem] = []
    for name, text in door.pairs(asked):
        if name in PLAIN:
            values[name] = text
        elif name == "limit" and text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST:
            values["limit"] = int(text)
        elif name in ("since", "until") and (when := time_of(text)) is not None:
            values[f"{name}_ns"] = when
        elif name == "where" and text.partition("=")[0] and "=" in text:
            where.append((text.partition("=")[0], text.partition("=")[2]))
        else:
            known = name in ("limit", "since", "until", "where")
            hint = f"limit is 1 to {MOST}, since and until are times like 2026-01-31T09:30:00Z, where is COLUMN=VALUE"
            problems.append(FieldProblem(0, name, "cannot be read" if known else "is not known", hint))
    if problems:
        raise FieldsRefused(tuple(problems))
    return Query(where=tuple(where), **{"limit": PAGE, **values})


def time_of(text: str) -> int | None:
    """A time in nanoseconds since 1970, UTC unless it says otherwise; None when it is none."""
    try:
        when = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that nobody encoded
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp()) * 10**9 + when.microsecond * 1000
