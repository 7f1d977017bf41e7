"""One HTTP request to a registry and its answer, also where the answer comes before the request was all sent."""

from __future__ import annotations

import contextlib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple

from wherry.errors import RegistryFailed, RegistryUntrusted

TIMEOUT_SECONDS = 20.0


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


def send(
    host: str,
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes | Iterable[bytes] | None = None,
    into: Callable[[HTTPResponse], bytes] | None = None,
) -> Answer:
    """One request and its answer, whatever its status; `into` reads the body of a good one.

    Raises RegistryFailed, RegistryUntrusted.
    """
    opener = urllib.request.build_opener(Heard, SecureHeard)
    request = urllib.request.Request(url, body, method=method, headers={"User-Agent": "wherry"})
    for name, value in headers.items():
        # Where a registry sends us elsewhere for a blob, what we are there is nobody's business.
        (request.add_unredirected_header if name == "Authorization" else request.add_header)(name, value)
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
            return Answer(reply.status, reply.headers, into(reply) if into else reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLError):
            raise RegistryUntrusted(host, str(reason)) from error
        raise RegistryFailed(host, str(reason)) from error


class Listening(HTTPConnection):
    """Goes on to read the answer when the other end stops reading: it says why."""

    def request(self, *given: Any, **named: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().request(*given, **named)


class SecureListening(HTTPSConnection):
    """The same, encrypted."""

    def request(self, *given: Any, **named: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().request(*given, **named)


class Heard(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(Listening, req)


class SecureHeard(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(SecureListening, req)
