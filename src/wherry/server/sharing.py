"""Pages of other sites that may ask (CORS): those that the project declares, and by default none."""

from __future__ import annotations

from collections.abc import Mapping

from wherry.contract import names
from wherry.contract.project import Serve
from wherry.errors import SettingProblem, SettingsRefused

SHOWN = ", ".join(
    (names.HEADER_REQUEST_ID, names.HEADER_PREDICTION_ID, names.HEADER_MODEL_VERSION, names.HEADER_MODEL_DIGEST)
).encode()
TAKEN = b"Accept, Authorization, Content-Type, X-Api-Key, X-Request-Id, traceparent, tracestate"
SECONDS = 600  # for which a browser need not ask again whether it may


class Sharing:
    """Answers browsers that ask on behalf of a page of another site."""

    def __init__(self, settings: Serve) -> None:
        self.any = "*" in settings.cors_origins
        problems = []
        if self.any and settings.token_file:
            problems.append(SettingProblem("serve.cors_origins", "holds * beside a token", "name the origins"))
        for origin in settings.cors_origins:
            scheme, found, host = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not found or not host or set(host) & set("/*?# ")):
                problems.append(
                    SettingProblem("serve.cors_origins", f"holds {origin!r}, no origin", "write https://example.org")
                )
        if problems:
            raise SettingsRefused(tuple(problems), "settings")
        self.origins = frozenset(origin.lower().encode() for origin in settings.cors_origins)
        # A cache must not give one origin the reply that another one got.
        self.vary = b"" if self.any else b"Vary: Origin\r\n"

    def fields(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The header lines of any reply to such a request."""
        origin = headers.get(b"origin")
        if origin is None or not self.takes(origin):
            return self.vary
        shown = b"*" if self.any else origin
        return b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: %b\r\n%b" % (shown, SHOWN, self.vary)

    def takes(self, origin: bytes) -> bool:
        return self.any or origin.lower() in self.origins

    def preflight(self, headers: Mapping[bytes, bytes], methods: tuple[bytes, ...]) -> bytes | None:
        """The header lines that permit what a browser asks whether it may; None: that is not what is asked."""
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers or not self.takes(origin):
            return None
        lines = (b"Access-Control-Allow-Methods: " + b", ".join(methods), b"Access-Control-Allow-Headers: " + TAKEN)
        return b"\r\n".join((*lines, b"Access-Control-Max-Age: %d\r\n" % SECONDS))
