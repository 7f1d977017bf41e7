"""One repository of a registry, spoken with at length: credentials kept, troubles that pass waited out."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections.abc import Callable, Iterable
from http.client import HTTPResponse
from typing import TypeVar

from wherry.deploy import registry
from wherry.deploy.endpoints import Endpoint
from wherry.deploy.transport import Answer, send
from wherry.errors import RegistryFailed, RegistryRefused, RegistryUntrusted, RepositoryMissing

Result = TypeVar("Result")
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.2
TOLD_LENGTH = 300
# What the registry of Docker says in the details of an "unknown error": ENOSPC of the file system that it keeps all in.
FULL = re.compile(rb'"Err": ?28\b|no space left on device')


class Session:
    """Asks about, pulls from and pushes to one repository. `also`: repositories whose blobs may be taken over."""

    def __init__(self, endpoint: Endpoint, *, push: bool = False, also: tuple[str, ...] = ()) -> None:
        self.endpoint = endpoint
        self.home = f"{endpoint.base}/v2/{endpoint.path}/"
        own = f"repository:{endpoint.path}:pull,push" if push else f"repository:{endpoint.path}:pull"
        self.scopes = (own, *(f"repository:{path}:pull" for path in also))
        self.authorization = ""

    def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: Callable[[], bytes | Iterable[bytes]] | None = None,
        into: Callable[[HTTPResponse], bytes] | None = None,
    ) -> Answer:
        """The answer to one request; `target` is a URL, or a path in the repository.

        Raises RegistryRefused where the credentials do not do, RegistryFailed where nothing or 5xx or 429 answers.
        """
        url = urllib.parse.urljoin(self.home, target)
        for last in (False, True):
            given = {**({"Content-Type": "application/octet-stream"} if body else {}), **(headers or {})}
            if self.authorization and url.startswith(f"{self.endpoint.base}/"):
                given["Authorization"] = self.authorization
            answer = send(self.endpoint.host, method, url, given, body() if body else None, into)
            if answer.status != 401 or last:
                break
            challenge = answer.headers.get("WWW-Authenticate", "")
            self.authorization = self.authorized(challenge)
        if answer.status in (401, 403):
            raise RegistryRefused(self.endpoint.host, f"it refuses {self.doing(method)}: {said(answer)}")
        if answer.status >= 500 or answer.status == 429:
            raise RegistryFailed(self.endpoint.host, f"it answers {self.doing(method)} with {said(answer)}")
        return answer

    def authorized(self, challenge: str) -> str:
        """The header that the challenge asks for; where all scopes are too many, for the repository alone."""
        try:
            return registry.authorization(self.endpoint, challenge, self.scopes)
        except RegistryRefused:
            if len(self.scopes) == 1:
                raise
            return registry.authorization(self.endpoint, challenge, self.scopes[:1])

    def doing(self, method: str) -> str:
        return f"{'reading' if method in ('GET', 'HEAD') else 'pushing'} {self.endpoint.path}"

    def refused(self, method: str, answer: Answer) -> RegistryFailed:
        """The error of an answer that is neither good nor one that passes."""
        if answer.status == 404 and method == "POST":
            return RepositoryMissing(self.endpoint.host, self.endpoint.path, said(answer))
        return RegistryFailed(self.endpoint.host, f"it answers {self.doing(method)} with {said(answer)}")


def said(answer: Answer) -> str:
    """The status, and what the registry says about it."""
    try:
        errors = json.loads(answer.body)["errors"]
        words = "; ".join(str(error.get("message") or error.get("code")) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        words = ""
    if FULL.search(answer.body):
        words = f"{words}: its disk is full" if words else "its disk is full"
    return f"{answer.status}{f' ({words[:TOLD_LENGTH]})' if words else ''}"


def patiently(attempt: Callable[[], Result], *, wait: Callable[[float], None] = time.sleep) -> Result:
    """What `attempt` gives, tried up to five times while the registry fails; a refusal, or no trust, is final."""
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except (RegistryRefused, RegistryUntrusted):
            raise
        except RegistryFailed:
            if number == ATTEMPTS - 1:
                raise
            wait(FIRST_WAIT_SECONDS * 2**number)
    raise AssertionError("unreachable")
