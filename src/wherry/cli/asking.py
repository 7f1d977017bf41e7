"""Two ways to have rows predicted, alike from outside: a service over HTTP, and a bundle in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from wherry.cli.ask import Service
from wherry.cli.doors import door
from wherry.contract.names import HEADER_MODEL_DIGEST, HEADER_NO_STORE
from wherry.contract.signature import Signature
from wherry.contract.wire import Cell, FieldProblem
from wherry.errors import CallRefused, FieldsRefused, WherryError


class Reply(NamedTuple):
    """text: the reply as it was sent. predictions: one a row, where the reply has them in wherry's own shape."""

    text: str
    predictions: list[Any] | None


class Asker(Protocol):
    """Answers requests."""

    @property
    def signature(self) -> Signature | None:
        """What the model accepts, None when a service does not say."""

    def ask(self, value: Any, body: bytes | None = None, *, single: bool) -> Reply:
        """The reply to one request: `body` as it stands, else `value` as JSON."""

    def ask_rows(self, columns: Sequence[str], cells: list[list[Cell]], first: int = 0) -> list[Any]:
        """One prediction a row; `first` is the place of the first in the whole table, for errors."""

    def replay(self, request: dict[str, Any]) -> list[Any]:
        """The answers to golden rows; a service does not store them."""


class Remote:
    """A service over HTTP."""

    def __init__(self, service: Service, bundle: Path, model: str | None = None) -> None:
        self.service, self.bundle = service, bundle
        self.path, self.about, _ = door(service, model)

    @cached_property
    def signature(self) -> Signature | None:
        """What the service says; where the bundle here is the one that is served, its own, which says more."""
        answer = self.service.get(self.about)
        own = served(self.bundle, answer.headers.get(HEADER_MODEL_DIGEST, ""))
        if own is not None:
            return own
        try:
            raw = json.loads(answer.body)
            return msgspec.convert({**raw, "target": raw.get("target", "")}, Signature)
        except (ValueError, TypeError, AttributeError, msgspec.ValidationError):
            return None  # a service of another kind, or a project that shows something else at /info

    def ask(self, value: Any, body: bytes | None = None, *, single: bool) -> Reply:
        body = msgspec.json.encode(value) if body is None else body
        rows = range(len(records_of(value)))
        return reply_of(self.service.post(self.path, body, native=not single, rows=rows).body)

    def ask_rows(self, columns: Sequence[str], cells: list[list[Cell]], first: int = 0) -> list[Any]:
        return self._predictions({"columns": list(columns), "rows": cells}, {}, first)

    def replay(self, request: dict[str, Any]) -> list[Any]:
        return self._predictions(request, {HEADER_NO_STORE: "1"})

    def _predictions(self, request: dict[str, Any], headers: dict[str, str], first: int = 0) -> list[Any]:
        body, rows = msgspec.json.encode(request), range(first, first + len(request["rows"]))
        answer = self.service.post(self.path, body, native=True, headers=headers, rows=rows, table=True)
        reply = reply_of(answer.body)
        if reply.predictions is None:
            url = f"{self.service.root}{self.path}"
            raise CallRefused(url, answer.status, f"the reply holds no predictions: {reply.text[:200]}")
        return reply.predictions


class Local:
    """A bundle, loaded and answered in this process."""

    def __init__(self, bundle: Path) -> None:
        from wherry.model.loaded import load

        self.model = load(bundle)

    @property
    def signature(self) -> Signature | None:
        signature: Signature = self.model.signature
        return signature

    def ask(self, value: Any, body: bytes | None = None, *, single: bool) -> Reply:
        records = records_of(value)
        predictions = self._predict(records, range(len(records)), table=False)
        shape = {"prediction": predictions[0]} if single else {"predictions": predictions}
        return Reply(msgspec.json.encode(shape).decode(), predictions)

    def ask_rows(self, columns: Sequence[str], cells: list[list[Cell]], first: int = 0) -> list[Any]:
        records = [dict(zip(columns, row, strict=True)) for row in cells]
        return self._predict(records, range(first, first + len(records)), table=True)

    def replay(self, request: dict[str, Any]) -> list[Any]:
        return list(self.model.score([tuple(row) for row in request["rows"]]).predictions)

    def _predict(self, records: list[Any], rows: range, *, table: bool) -> list[Any]:
        try:
            return list(self.model.predict(records))
        except FieldsRefused as error:
            problems = tuple(FieldProblem(p.row + rows.start, p.field, p.reason, p.hint) for p in error.problems)
            raise FieldsRefused(problems, error.record, rows, table) from error


def served(bundle: Path, digest: str) -> Signature | None:
    """The signature of the bundle in this folder, if it is the one with this digest."""
    from wherry.model.bundle import read_manifest

    try:
        manifest = read_manifest(bundle)
    except WherryError:
        return None
    return manifest.signature if digest and manifest.digest == digest else None


def reply_of(body: bytes) -> Reply:
    text = body.decode("utf-8", "replace").rstrip("\n")
    try:
        value = json.loads(text)
    except ValueError:
        return Reply(text, None)
    predictions = value.get("predictions") if isinstance(value, dict) else None
    return Reply(text, predictions if isinstance(predictions, list) else None)


def records_of(value: Any) -> list[Any]:
    """The rows of a JSON request in any of the native shapes, as records or lists."""
    if isinstance(value, dict):
        rows = value.get("rows", value.get("data"))
        if not isinstance(rows, list):
            return [value]
        columns = value.get("columns")
        if not isinstance(columns, list):
            return rows
        return [dict(zip(columns, row, strict=False)) if isinstance(row, list) else row for row in rows]
    return value if isinstance(value, list) else [value]
