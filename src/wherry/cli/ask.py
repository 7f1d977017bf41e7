"""Calls a service over HTTP: one connection, a deadline, and errors that say what to do."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from wherry.cli import faults
from wherry.contract.names import NATIVE_MEDIA
from wherry.contract.wire import JSON, FieldProblem
from wherry.errors import CallRefused, FileMissing, ServiceUnreachable, UsageRefused

SECONDS = 60.0


class Answer(NamedTuple):
    """A service's reply: its status, its body as it was sent, its headers."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage


class Service:
    """A service at `url`, which is its root or the very path to call. A context: leaving it closes the connection."""

    def __init__(self, url: str, token_file: Path | None = None, seconds: float = SECONDS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageRefused(f"{url} is no http address", hint="wherry predict http://127.0.0.1:8080 FILE")
        try:
            port = parts.port
        except ValueError as error:
            raise UsageRefused(f"{url}: {error}", hint="wherry predict http://127.0.0.1:8080 FILE") from error
        self.root = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
        self.headers = {"Accept": JSON, **bearer(token_file)}
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._line: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, port, timeout=seconds, context=context
            )
        else:
            self._line = http.client.HTTPConnection(parts.hostname, port, timeout=seconds)

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close()

    def get(self, path: str, *, native: bool = False) -> Answer:
        """What `path` answers, whatever its status. Raises ServiceUnreachable."""
        return self._ask("GET", path, None, {"Accept": NATIVE_MEDIA} if native else {})

    def post(
        self,
        path: str,
        body: bytes,
        *,
        native: bool = False,
        headers: Mapping[str, str] | None = None,
        rows: range = range(0),
        table: bool = False,
    ) -> Answer:
        """What `path` answers to `body`, in wherry's own shape if `native`. Raises ServiceUnreachable, CallRefused.

        rows: the places that the rows of `body` have in what is asked, for errors; table: all have the same columns.
        """
        accept = {"Accept": NATIVE_MEDIA} if native else {}
        answer = self._ask("POST", path, body, {"Content-Type": JSON, **accept, **(headers or {})})
        if answer.status >= 400:
            raise refusal(f"{self.root}{path}", answer, rows, table)
        if answer.status >= 300 or not is_json(answer.body):
            raise elsewhere(f"{self.root}{path}", answer)
        return answer

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        try:
            self._line.request(method, path, body, {**self.headers, **headers})
            reply = self._line.getresponse()
            return Answer(reply.status, reply.read(), reply.headers)
        except (OSError, http.client.HTTPException) as error:
            self._line.close()
            raise unreachable(self.root, error) from error


def bearer(token_file: Path | None) -> dict[str, str]:
    """The headers that carry the token of `token_file`."""
    token = token_in(token_file)
    # Both headers: the API server's proxy keeps Authorization for itself.
    return {"Authorization": f"Bearer {token}", "X-Api-Key": token} if token else {}


def token_in(token_file: Path | None) -> str:
    """The first token of the file, empty when there is none to read. Raises FileMissing, UsageRefused."""
    if token_file is None:
        return ""
    if not token_file.is_file():
        raise FileMissing(str(token_file), "token file")
    for line in token_file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            return line.strip()
    raise UsageRefused(f"{token_file} holds no token", hint="write one token a line into it")


def unreachable(url: str, error: Exception) -> ServiceUnreachable:
    """Why nobody answered, in words, and what to type."""
    if isinstance(error, ConnectionRefusedError):
        return ServiceUnreachable(url, "nothing listens there", "start the service with `wherry serve`")
    if isinstance(error, socket.gaierror):
        return ServiceUnreachable(url, "its host has no address", "check the spelling of the host")
    if isinstance(error, TimeoutError):
        return ServiceUnreachable(url, f"no reply within {SECONDS:g} s", "look at the service with `wherry status`")
    if isinstance(error, ssl.SSLError):
        return ServiceUnreachable(url, f"TLS: {error.reason or error}", "try http:// in place of https://")
    return ServiceUnreachable(url, str(error) or type(error).__name__, "is it a wherry service?")


def refusal(url: str, answer: Answer, rows: range = range(0), table: bool = False) -> CallRefused:
    """An error reply as an error: its sentence, each field at fault, and what to do."""
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        text = answer.body.decode("utf-8", "replace").strip()[:500]
        return CallRefused(url, answer.status, text or http.client.responses.get(answer.status, ""), problem=problem)
    detail = str(problem.get("detail") or problem.get("title") or json.dumps(problem))
    hint = str(problem.get("hint") or "")
    fields = fields_of(problem, rows.start)
    if fields:
        problem = {**problem, "errors": msgspec.to_builtins(fields)}
        detail, hint = faults.told(fields, rows, table)
    if problem.get("curl"):
        hint = f"{hint}; a request that does: {problem['curl']}" if hint else f"a request that does: {problem['curl']}"
    return CallRefused(url, answer.status, detail, hint, problem)


def elsewhere(url: str, answer: Answer) -> CallRefused:
    """A reply that is no service's: somebody else answers there, or sends callers on."""
    hint = f"is it a wherry service? Where one is mounted below a path: wherry predict {url.rstrip('/')}/predict FILE"
    if answer.status < 300:
        return CallRefused(url, answer.status, "what answers there sends no JSON", hint)
    return CallRefused(
        url, answer.status, f"it sends callers on to {answer.headers.get('Location', 'elsewhere')}", hint
    )


def is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def fields_of(problem: dict[str, Any], first: int) -> list[FieldProblem]:
    """The fields at fault, the rows counted from `first`; none where the service tells them in a shape of its own."""
    try:
        found = msgspec.convert(problem.get("errors") or [], list[FieldProblem])
    except msgspec.ValidationError:
        return []
    return [msgspec.structs.replace(field, row=field.row + first) for field in found]
