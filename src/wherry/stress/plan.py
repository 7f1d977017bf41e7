"""What a run will do, decided before anything is sent. Values only."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from wherry.contract.golden import GoldenRows
from wherry.contract.wire import JSON
from wherry.errors import UsageRefused
from wherry.stress.shape import Shape

NOTHING: Any = msgspec.UNSET


class Target(msgspec.Struct, frozen=True):
    """Where requests go. address: what `host` resolved to. path: with its query."""

    host: str
    port: int
    path: str
    tls: bool = False
    address: str = ""

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is this machine's loopback; judged by the address, never by the name."""
        try:
            return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback
        except ValueError:
            return False


class Ask(msgspec.Struct, frozen=True):
    """One request as it goes over the wire, and the prediction it must be answered with (NOTHING: any)."""

    wire: bytes
    expected: Any = NOTHING


@dataclass(frozen=True)
class Plan:
    """A whole run. digest: what X-Model-Digest must say, "" for anything. fresh: a new connection for each request.

    window: seconds that are counted together; 0 for what suits the length of the run.
    """

    target: Target
    asks: tuple[Ask, ...]
    shape: Shape
    count: int  # requests at most
    timeout: float = 10.0
    connections: int = 256
    fresh: bool = False
    digest: str = ""
    rtol: float = 1e-6
    atol: float = 1e-9
    window: float = 0.0


def target_of(url: str) -> Target:
    """Where `url` points, not yet resolved. Raises UsageRefused."""
    hint = "wherry stress http://127.0.0.1:8080"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageRefused(f"{url} is no http address", hint=hint)
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise UsageRefused(f"{url!r} holds a blank or a control character", hint=hint)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise UsageRefused(f"{url}: {error}", hint=hint) from error
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname, port, path, parts.scheme == "https")


def request(target: Target, body: bytes | None, headers: dict[str, str], fresh: bool) -> bytes:
    """The bytes of one request: a GET without a body."""
    fields = {"Host": target.authority, "User-Agent": "wherry-stress", "Accept": JSON, **headers}
    if body is not None:
        fields |= {"Content-Type": JSON, "Content-Length": str(len(body))}
    if fresh:
        fields["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    line = f"{'GET' if body is None else 'POST'} {target.path} HTTP/1.1\r\n"
    return f"{line}{head}\r\n".encode("latin-1") + (body or b"")


def asks_of(
    target: Target, bodies: Sequence[bytes | None], headers: dict[str, str], *, fresh: bool = False
) -> tuple[Ask, ...]:
    """A request for each body, any answer to which is right."""
    return tuple(Ask(request(target, body, headers, fresh)) for body in bodies)


def golden_asks(target: Target, golden: GoldenRows, headers: dict[str, str], *, fresh: bool = False) -> tuple[Ask, ...]:
    """A request for each golden row, with the answer that it must have."""
    return tuple(
        Ask(request(target, msgspec.json.encode(dict(zip(golden.columns, row, strict=True))), headers, fresh), answer)
        for row, answer in zip(golden.rows, golden.predictions, strict=True)
    )
