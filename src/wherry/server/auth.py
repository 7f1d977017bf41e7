"""Who may ask: the tokens of a file, read again when it changes, and the Host names of a loopback address."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import time
from collections.abc import Collection
from pathlib import Path

from wherry.errors import FileMissing, HostUnknown, TokenRefused, UsageRefused

MOST_SEEN = 100  # spellings of a Host (any port goes) that are remembered
LOOK_EVERY = 0.5  # seconds between looks at the token file


class Tokens:
    """The accepted tokens: one a line in `path`; blank lines and lines that begin with # are left aside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp: tuple[int, int, int] | None = None
        self.looked = -LOOK_EVERY
        self.accepted: tuple[bytes, ...] = ()
        try:
            self.read_again()
        except FileNotFoundError as error:
            raise FileMissing(str(path), "token file") from error
        except OSError as error:
            raise UsageRefused(f"{path} cannot be read: {error.strerror}") from error
        if not self.accepted:
            raise UsageRefused(f"{path} holds no token", hint=f"openssl rand -hex 32 > {path}")

    def read_again(self) -> None:
        """Take up the file's tokens if it changed."""
        found = self.path.stat()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self.stamp:
            lines = [line.strip() for line in self.path.read_bytes().splitlines()]
            self.accepted = tuple(line for line in lines if line and not line.startswith(b"#"))
            self.stamp = stamp

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Raises TokenRefused unless an accepted token came, in constant time."""
        now = time.monotonic()
        if now - self.looked >= LOOK_EVERY:
            self.looked = now
            # A secret that is being replaced: the tokens known so far stay good until it can be read.
            with contextlib.suppress(OSError):
                self.read_again()
        sent = headers.get(b"x-api-key")
        if sent is None:
            scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
            sent = rest.strip() if scheme.lower() == b"bearer" else None
        if sent is None:
            raise TokenRefused(sent=False)
        matches = [hmac.compare_digest(sent, token) for token in self.accepted]
        if not any(matches):
            raise TokenRefused(sent=True)


class Hosts:
    """The Host names that a service bound to `bound` answers: all, unless that is a loopback address."""

    def __init__(self, bound: str, allowed: Collection[str]) -> None:
        self.open = not is_loopback(bound)
        names = {"localhost", "127.0.0.1", "[::1]", bound if ":" not in bound else f"[{bound}]", *allowed}
        self.names = frozenset(name.lower().encode() for name in names)
        self.seen: set[bytes] = set()  # Host headers as they came, found good: most requests bring the same

    def check(self, host: bytes | None) -> None:
        """Raises HostUnknown for a page of another site that has its name point here (DNS rebinding)."""
        if host is not None and not self.knows(host):
            raise HostUnknown(host.decode("latin-1")[:80])

    def knows(self, host: bytes) -> bool:
        if self.open or host in self.seen:
            return True
        name = host.lower()
        known = name in self.names or bare(name) in self.names
        if known and len(self.seen) < MOST_SEEN:
            self.seen.add(host)
        return known


def bare(host: bytes) -> bytes:
    """A Host without its port."""
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0]


def is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
