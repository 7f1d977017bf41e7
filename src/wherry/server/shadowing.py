"""Copies of requests for another version of the model, and whether it answers the same: off the path, and bounded.

The loop decides by chance, looks at two bounds and hands the rows over; a thread of its own asks and compares. What the
other version answers is counted and forgotten. Nothing of this exists where no shadow is declared.
"""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from wherry.contract.golden import differences
from wherry.contract.manifest import Manifest
from wherry.contract.names import HEADER_NO_STORE, METRIC_SHADOW_REQUESTS, METRIC_SHADOW_ROWS, NATIVE_MEDIA
from wherry.contract.project import Shadow as Settings
from wherry.contract.wire import JSON, PREDICT, Outputs, Row
from wherry.server.metrics import Metrics
from wherry.server.protocol import Exchange
from wherry.server.worker import Worker

PROBE = HEADER_NO_STORE.lower().encode()
QUEUE = 64  # copies that wait; more are dropped
ANSWER_SECONDS = 5.0
REST_SECONDS = 1.0  # without asking, after it did not answer
SECRETS = (b"authorization", b"x-api-key")


class Asked(Protocol):
    """A question that was answered."""

    exchange: Exchange
    rows: Sequence[Row]
    outputs: Outputs | None


class Shadow:
    """`offer` is the loop's, all else the thread's."""

    def __init__(self, settings: Settings, manifest: Manifest, metrics: Metrics) -> None:
        self.share, self.rate, self.manifest, self.cells = settings.share, settings.rate, manifest, metrics.cells
        self.allowed, self.counted = settings.rate, time.monotonic()
        url = urlsplit(settings.url)
        self.connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=ANSWER_SECONDS)
        self.columns = [column.name for column in manifest.signature.columns]
        self.worker = Worker("wherry-shadow")
        self.resting = 0.0  # until when nothing is asked
        place = metrics.board.place
        self.requests = {
            outcome: place(f'{METRIC_SHADOW_REQUESTS}{{outcome="{outcome}"}}')
            for outcome in ("same", "differs", "refused", "failed", "dropped")
        }
        self.rows = {answer: place(f'{METRIC_SHADOW_ROWS}{{answer="{answer}"}}') for answer in ("same", "other")}

    def offer(self, answered: Sequence[Asked]) -> None:
        """Take a copy of some of what was answered together, once replies have left; of no probe of wherry's own."""
        share = self.share
        for one in answered:
            if random.random() < share and one.outputs is not None and PROBE not in one.exchange.headers:
                self.take(one.rows, one.outputs.predictions, one.exchange.headers)

    def take(self, rows: Sequence[Row], predictions: Sequence[Any], headers: Mapping[bytes, bytes]) -> None:
        now = time.monotonic()
        self.allowed = min(self.rate, self.allowed + self.rate * (now - self.counted))
        self.counted = now
        if self.allowed < 1 or self.worker.waiting.qsize() >= QUEUE:
            self.cells[self.requests["dropped"]] += 1.0
            return
        self.allowed -= 1
        secrets = {name: headers[name] for name in SECRETS if name in headers}
        self.worker.do(lambda: self.compare(rows, predictions, secrets))

    def compare(self, rows: Sequence[Row], predictions: Sequence[Any], secrets: Mapping[bytes, bytes]) -> None:
        """In the thread: ask, and count what came of it. Never raises."""
        outcome = "failed"
        try:
            if time.monotonic() >= self.resting:
                outcome = self.asked(rows, predictions, secrets)
        except Exception:  # noqa: BLE001  # whatever ails the other version is no concern of this one
            self.connection.close()
            self.resting = time.monotonic() + REST_SECONDS
        self.cells[self.requests[outcome]] += 1.0

    def asked(self, rows: Sequence[Row], predictions: Sequence[Any], secrets: Mapping[bytes, bytes]) -> str:
        body = msgspec.json.encode({"columns": self.columns, "rows": list(rows)})
        headers = {"Content-Type": JSON, "Accept": NATIVE_MEDIA}
        headers |= {name.decode(): value.decode("latin-1") for name, value in secrets.items()}
        status, reply = self.post(body, headers)
        if status >= 500:
            return "failed"
        if status != 200:
            return "refused"
        found = msgspec.json.decode(reply)["predictions"]
        usual = msgspec.json.decode(msgspec.json.encode(predictions))
        golden = self.manifest.golden
        off = len(differences(usual, found, rtol=golden.rtol, atol=golden.atol))
        self.cells[self.rows["other"]] += off
        self.cells[self.rows["same"]] += len(usual) - off
        return "differs" if off else "same"

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """On the kept connection; on a new one where that was closed in the meantime."""
        for last in (False, True):
            try:
                self.connection.request("POST", PREDICT, body, dict(headers))
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.connection.close()
                if last:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Let the thread go."""
        self.worker.close()
