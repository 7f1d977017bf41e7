"""The way of a prediction: admission, door, model, journal, reply."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Manifest
from wherry.contract.names import (
    HEADER_NO_STORE,
    METRIC_IGNORED,
    METRIC_MODEL_FAILURES,
    METRIC_OUTSIDE,
    METRIC_SKIPPED,
    PROBING,
)
from wherry.contract.project import Project
from wherry.contract.wire import Cells, Gathered, Row
from wherry.errors import DiskFull, FieldsRefused, ModelFailed, Overloaded, StoreFailed, SwitchedOff
from wherry.server.batching import LOOP_BUDGETS, Batcher, BesideOthers, Job
from wherry.server.content import JSON, Content
from wherry.server.doors import query
from wherry.server.doors.door import Asked, Door, Encode, Sent
from wherry.server.doors.native import Native
from wherry.server.doors.shape import Shapes
from wherry.server.heads import Way
from wherry.server.ids import new_ids
from wherry.server.journal import Entry, Journal, NoJournal
from wherry.server.metrics import Metrics, Ranges
from wherry.server.pictures import BATCH, Pictures, kept_rows, kept_shares
from wherry.server.predictor import Cost, Predictor
from wherry.server.protocol import Exchange
from wherry.server.quick import Leased, leased
from wherry.server.replies import Replies, accepts_native
from wherry.server.threads import usable
from wherry.server.worker import Worker

if TYPE_CHECKING:
    from wherry.server.shadowing import Shadow

BIG = 256 * 1024  # bytes of a body that is read in a thread: reading it takes longer than scoring most batches
TOO_MANY = "more requests wait than can be answered in time"
YES = frozenset({"true", "1", "yes", ""})
NO_STORE = HEADER_NO_STORE.lower().encode()
APART = "other"  # the door of what asks for no prediction


class Question(Job, kw_only=True, eq=False):
    """A prediction that somebody waits for."""

    exchange: Exchange
    encode: Encode
    door: str
    keep: bool  # whether the journal gets it
    time_ns: int  # when it was asked; 0 where nobody keeps it
    plain: bool  # as `Answered` has it
    id: str = ""  # given when it is answered, with those answered beside it
    body: bytes | Content = b""  # of its reply


class Predictions:
    """Answers what /predict is asked."""

    def __init__(
        self,
        manifest: Manifest,
        golden: GoldenRows,
        predictor: Predictor,
        cost: Cost,
        project: Project,
        replies: Replies,
        *,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        metrics: Metrics,
        taken: Callable[[], float] | None = None,
    ) -> None:
        """taken: the share of what may wait that other models of this process hold; None where there is no other."""
        self.signature, self.project, self.replies = manifest.signature, project, replies
        self.loop, self.journal, self.metrics = loop, journal, metrics
        self.reader = Worker("wherry-reader")
        self.keeps = not isinstance(journal, NoJournal)
        self.ignore_unknown = project.serve.unknown_fields == "ignore"
        may_skip = project.store.client_may_skip
        self.native = Native(self.signature, ignore_unknown=self.ignore_unknown, may_skip=may_skip)
        self.shapes = Shapes(manifest, project.reply)
        self.golden = golden_set(self.native, golden)
        self.plain = (
            self.shapes.choose(False, native=False, probabilities=False),
            self.shapes.choose(True, native=False, probabilities=False),
        )
        self.shares = project.serve.probabilities == "always" and self.signature.output.probabilities
        # Whether a reply that asks for nothing besides needs them all the same: for the journal, or as it is declared.
        self.always = self.keeps or self.shares or self.shapes.declared is not None or bool(self.signature.output.top)
        self.classifies = self.signature.output.kind != "number" and self.signature.output.width == 1
        self.ranges = Ranges(self.signature)
        self.shadow = shadow_of(project, manifest, metrics)
        column = self.signature.picture
        cores = max(1, usable() // project.serve.workers)
        self.pictures = None if column is None else Pictures(column, loop, cores)
        most = project.serve.batch_rows if column is None else min(project.serve.batch_rows, BATCH)
        self.batcher = (Batcher if taken is None else partial(BesideOthers, taken))(
            predictor,
            self.settle,  # type: ignore[arg-type]  # all are questions
            loop,
            cost,
            most_rows=most,
            wanted=still_wanted,
            coming=None if (pictures := self.pictures) is None else lambda: pictures.waiting,
            turn_away=self.turn_away,
            loop_budget=LOOP_BUDGETS[project.serve.scoring],
            pack=self.ranges.pack,
        )

    def close(self) -> None:
        """Let the threads go."""
        self.look()
        self.reader.close()
        self.batcher.close()
        if self.shadow is not None:
            self.shadow.close()
        if self.pictures is not None:
            self.pictures.close()

    def turn_away(self, jobs: Sequence[Job]) -> None:
        """Refuse questions that wait already."""
        for job in jobs:
            assert isinstance(job, Question)
            self.replies.refuse(job.exchange, Overloaded(TOO_MANY), job.door)

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for the model, those among them whose pictures are still to be decoded."""
        return self.batcher.waiting_rows + (0 if self.pictures is None else self.pictures.waiting)

    @property
    def full(self) -> bool:
        """Whether more wait than can be answered in time. Asked before a body is decoded: a refusal must stay cheap."""
        return self.waiting_rows >= self.batcher.queue_rows

    @property
    def idle(self) -> bool:
        return self.batcher.idle and not self.waiting_rows

    @property
    def busy_since(self) -> float:
        """Since when a call of the model goes on beside the loop, by the monotonic clock; 0: none does."""
        return self.batcher.busy_since

    def body(self, exchange: Exchange, asked: bytes) -> None:
        if self.full:
            raise Overloaded(TOO_MANY)
        if exchange.headers.get(b"content-type") != JSON and exchange.body:
            self.replies.check_media(exchange)
        if len(exchange.body) > BIG:
            self.reader.do(lambda: self.read_apart(exchange, asked, self.native))
        else:
            self.submit(exchange, self.native.decode(exchange.body), asked, "native")

    def shortcut(self, headers: Mapping[bytes, bytes], otherwise: Callable[[Exchange], None]) -> Way | None:
        """What takes a flawless record to the model in the fewest steps, and leaves any other body to `otherwise`."""
        fast, flat = self.native.fast, self.native.flat
        if fast is None or self.shares or self.pictures is not None or NO_STORE in headers:
            return None
        read, astuple, batcher, encode = fast.one, msgspec.structs.astuple, self.batcher, self.plain[True]
        keep, shares = self.keeps, self.always
        turn_away = self.replies.turning_away(Overloaded(TOO_MANY), "native")
        straight = (lambda body: None) if flat is None else flat.read
        unpack: Any = None if flat is None else flat.unpack
        lent = self.leased

        def take(exchange: Exchange) -> None:
            if lent is not None:
                lent.renew(exchange)
            body = exchange.body
            if batcher.waiting_rows >= batcher.queue_rows:
                if turn_away is None or not turn_away(exchange):
                    otherwise(exchange)
                return
            if len(body) > BIG:
                otherwise(exchange)
                return
            rows: Any
            if (block := straight(body)) is not None:
                rows = Cells(block, 1, unpack)
            else:
                try:
                    rows = [astuple(read(body))]
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    otherwise(exchange)
                    return
            asked = time.time_ns() if keep else 0
            batcher.submit(
                Question(
                    rows, shares, exchange=exchange, encode=encode, door="native", keep=keep, time_ns=asked, plain=True
                )
            )

        return Way(take, None if lent is None else lent.quick)

    @cached_property
    def leased(self) -> Leased | None:
        """What answers a flawless record in compiled code, where that is all that there is to do."""
        compared, flat = getattr(self.batcher.predictor, "compared", None), self.native.flat
        if compared is None or flat is None or self.always or self.shadow is not None or not self.replies.plain:
            return None
        if self.project.serve.scoring == "thread":
            return None
        return leased(compared, flat.read, self.plain[True], self.ranges, self.metrics, self.replies)

    def through(self, door: Door, exchange: Exchange, asked: bytes) -> None:
        """The same by any other door."""
        if self.full:
            raise Overloaded(TOO_MANY)
        self.replies.check_media(exchange, door.media)
        if len(exchange.body) > BIG // 8:  # the other doors read several times slower
            self.reader.do(lambda: self.read_apart(exchange, asked, door))
        else:
            read, encode = door.read(Sent(exchange.body, exchange.headers))
            self.submit(exchange, read, asked, door.name, encode)

    def read_apart(self, exchange: Exchange, asked: bytes, door: Door) -> None:
        """In a thread: read a large body, while the loop goes on with the small ones."""
        outcome: tuple[Asked, Encode | None] | Exception
        try:
            outcome = door.read(Sent(exchange.body, exchange.headers))
        except Exception as error:  # noqa: BLE001  # the loop answers with whatever it is
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self.loop.call_soon_threadsafe(self.go_on, exchange, asked, outcome, door.name)

    def go_on(
        self, exchange: Exchange, asked: bytes, outcome: tuple[Asked, Encode | None] | Exception, door: str
    ) -> None:
        try:
            if isinstance(outcome, Exception):
                raise outcome
            self.submit(exchange, outcome[0], asked, door, outcome[1])
        except Exception as error:  # noqa: BLE001  # as in App.receive: this client gets an answer
            self.replies.refuse(exchange, error, door)

    def query(self, exchange: Exchange, asked: bytes) -> None:
        if self.full:
            raise Overloaded(TOO_MANY)
        record, option = asked, b""
        if b"probabilities=" in asked and "probabilities" not in self.native.names:
            parts = asked.split(b"&")
            option = b"&".join(part for part in parts if part.startswith(b"probabilities="))
            record = b"&".join(part for part in parts if not part.startswith(b"probabilities="))
        read = query.decode(record, self.signature, ignore_unknown=self.ignore_unknown)
        self.submit(exchange, read, option, "query")

    def submit(self, exchange: Exchange, read: Asked, options: bytes, door: str, encode: Encode | None = None) -> None:
        probabilities = True
        if encode is not None:
            pass  # the door's own
        elif not options and not self.shares and b"accept" not in exchange.headers:
            encode, probabilities = self.plain[read.single], self.always  # what nearly every request asks for
        else:
            wanted = self.probabilities(options) if options else self.shares
            encode = self.shapes.choose(read.single, native=accepts_native(exchange), probabilities=wanted)
            probabilities = wanted or self.always
        if read.ignored:
            self.metrics.count(METRIC_IGNORED, read.ignored)
        if not read.store:
            self.metrics.count(METRIC_SKIPPED, len(read.rows))
        headers = exchange.headers
        ours = NO_STORE in headers and self.golden.issuperset(read.rows)
        keep = self.keeps and read.store and not ours
        if ours and headers[NO_STORE] == PROBING.encode():
            door = APART
        if b"x-request-id" in headers:
            self.replies.identify(exchange)
        asked = time.time_ns()
        plain = exchange.method != b"HEAD" and not exchange.http10 and b"traceparent" not in headers
        question = Question(
            read.rows, probabilities, exchange=exchange, encode=encode, door=door, keep=keep, time_ns=asked, plain=plain
        )
        if self.pictures is None:
            self.batcher.submit(question)
        else:
            self.pictures.ready(read.rows, lambda: exchange.reply is None, partial(self.seen, question))

    def seen(self, question: Question, outcome: list[Row] | Exception) -> None:
        """Go on with a question whose pictures were decoded, or cannot be."""
        if isinstance(outcome, Exception):
            self.replies.refuse(question.exchange, outcome, question.door)
        else:
            question.rows = outcome
            self.batcher.submit(question)

    def probabilities(self, options: bytes) -> bool:
        """Whether a reply carries them, by the setting and what the query asks."""
        asked = False
        for key, value in query.pairs(options):
            if key == "probabilities":
                asked = value.lower() in YES
        if asked and self.project.serve.probabilities == "never":
            raise SwitchedOff("this service gives no probabilities", hint='set [serve] probabilities = "asked"')
        if asked and not self.signature.output.probabilities:
            raise SwitchedOff("this model has no probabilities", hint="leave ?probabilities out")
        return asked or self.shares

    def settle(self, jobs: Sequence[Question], rows: Gathered) -> None:
        """Write the replies of one call of the model: encode, keep, and only then let them leave."""
        ready: list[Question] = []
        failed: list[tuple[Question, Exception]] = []
        kept = False
        for job, fresh in zip(jobs, new_ids(time.time_ns(), len(jobs)), strict=True):
            job.id = fresh
            if job.outputs is not None:
                try:
                    job.body = job.encode(job.outputs, fresh)
                    if job.exchange.reply is None:
                        ready.append(job)
                except Exception as error:  # noqa: BLE001  # a model may answer with anything; JSON cannot carry everything
                    job.error = ModelFailed("answered what JSON cannot carry")
                    job.error.__cause__ = error
            if job.error is not None:
                failed.append((job, job.error))
                self.metrics.count(METRIC_MODEL_FAILURES)
            if job.keep:
                self.journal.append(self.entry(job))
                kept = True
        if kept:
            try:
                self.journal.commit()
            except (StoreFailed, DiskFull) as error:
                failed += [(job, error) for job in ready if job.keep]
                ready = [job for job in ready if not job.keep]
        now = time.monotonic()
        self.count(ready, rows, now)
        self.replies.predicted(ready, now)
        for job, cause in failed:
            self.replies.refuse(job.exchange, cause, job.door)
        if self.shadow is not None:
            self.shadow.offer(ready)

    def count(self, answered: Sequence[Question], rows: Gathered, now: float) -> None:
        """Count the questions and rows of one call together. Before the replies: who got one finds it counted."""
        for door in {job.door for job in answered}:
            asked = [job for job in answered if job.door == door]
            self.metrics.answered(door, 200, [now - job.exchange.started for job in asked])
            if self.classifies and door != APART:
                self.metrics.predicted([each for job in asked for each in job.outputs.predictions])  # type: ignore[union-attr]  # these have theirs
        if self.ranges.gather(rows):
            self.look()

    def look(self) -> None:
        """Count what is counted only now and then. Whoever shows counts calls this first."""
        self.ranges.look(partial(self.metrics.count, METRIC_OUTSIDE))

    def entry(self, job: Question) -> Entry:
        """What the journal keeps of an answered question."""
        exchange, outputs = job.exchange, job.outputs if job.error is None else None
        rows, shares = list(job.rows), None if outputs is None else outputs.probabilities
        if self.pictures is not None:
            rows, shares = kept_rows(rows), kept_shares(shares)
        return Entry(
            id=job.id,
            request_id=self.replies.identify(exchange, job.id),
            time_ns=job.time_ns,
            door=job.door,
            status=200 if outputs is not None else 500,
            latency_s=time.monotonic() - exchange.started,
            rows=rows,
            predictions=[] if outputs is None else outputs.predictions,
            probabilities=shares,
        )


def shadow_of(project: Project, manifest: Manifest, metrics: Metrics) -> Shadow | None:
    """What gets copies of requests, where the project declares it."""
    if not project.serve.shadow.url or not project.serve.shadow.share:
        return None
    from wherry.server.shadowing import Shadow

    return Shadow(project.serve.shadow, manifest, metrics)


def still_wanted(jobs: Sequence[Job]) -> Sequence[Job]:
    return [job for job in jobs if job.exchange.reply is None]  # type: ignore[attr-defined]  # all are questions


def golden_set(native: Native, golden: GoldenRows) -> frozenset[Row]:
    """The golden rows as the native door reads them."""
    try:
        return frozenset(native.understand(golden.request()).rows) if golden.rows else frozenset()
    except FieldsRefused:  # a signature with other columns than its golden rows: none is recognised
        return frozenset()
