"""TLS: a certificate that is read again when its files change, and the layer between a socket and its connection.

The layer is ours so that every limit holds under it: a connection counts from accept, and its handshake is part of the
time that its first header may take.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wherry.errors import FileMissing, UsageRefused

if TYPE_CHECKING:
    from wherry.server.protocol import Connection

log = logging.getLogger("wherry.server")
LOOK_EVERY = 0.5  # seconds between looks at the files
READ = 1 << 16
PLAIN = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 32\r\n\r\nthis port is asked with https://"


class Certificate:
    """The certificate chain in one PEM file and its key in another."""

    def __init__(self, chain: Path, key: Path) -> None:
        self.chain, self.key = chain, key
        for path, what in ((chain, "certificate"), (key, "certificate's key")):
            if not path.is_file():
                raise FileMissing(str(path), what)
        self.stamps = self.look()
        self.looked = time.monotonic()
        try:
            self.current = self.read()
        except (ssl.SSLError, OSError) as error:
            reason = f"{chain} and {key} are no certificate with its key: {said(error)}"
            raise UsageRefused(reason, hint=f"openssl x509 -in {chain} -noout -text") from error

    def look(self) -> list[tuple[int, int, int]]:
        found = [path.stat() for path in (self.chain, self.key)]
        return [(each.st_mtime_ns, each.st_size, each.st_ino) for each in found]

    def read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.chain, self.key, password=lambda: b"")  # nobody is here to be asked
        return context

    def context(self) -> ssl.SSLContext:
        """For a new connection. Where the files changed and are no pair (yet), what was read before stays good."""
        now = time.monotonic()
        if now - self.looked >= LOOK_EVERY:
            self.looked = now
            try:
                stamps = self.look()
                if stamps != self.stamps:
                    self.stamps = stamps
                    self.current = self.read()
                    log.warning("the certificate in %s changed, and is used from now on", self.chain)
            except (ssl.SSLError, OSError) as error:
                log.error("the certificate in %s changed, and cannot be used: %s", self.chain, said(error))
        return self.current


def said(error: OSError) -> str:
    """What an error means, in words."""
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).lower().replace("_", " ")


class Secured(asyncio.Protocol):
    """What a socket talks to where a certificate is used, and what its `connection` takes for its transport."""

    transport: asyncio.Transport

    def __init__(self, connection: Connection, certificate: Certificate) -> None:
        self.connection = connection
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = certificate.context().wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.open = False  # the handshake is done
        self.ended = False  # we said that nothing more comes

    # The socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connection.connection_made(cast(asyncio.BaseTransport, self))

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.connection_lost(exc)
        del self.connection  # which holds this too: their memory would wait for the collector

    def pause_writing(self) -> None:
        self.connection.pause_writing()

    def resume_writing(self) -> None:
        self.connection.resume_writing()

    def eof_received(self) -> bool:
        return self.connection.eof_received()

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        self.incoming.write(data)
        try:
            if not self.open:
                self.tls.do_handshake()
                self.open = True
            take = self.connection.data_received  # which may answer at once: one request, as one packet is
            while not self.ended and (plain := self.tls.read(READ)):
                take(plain)
                take = self.connection.read
        except ssl.SSLWantReadError:
            self.flush()
        except ssl.SSLZeroReturnError:
            self.flush()
            if not self.connection.eof_received():
                self.close()
        except ssl.SSLError as error:
            self.flush()  # the alert that says why
            if error.reason == "HTTP_REQUEST":
                self.transport.write(PLAIN)
            self.transport.close()
        else:
            self.flush()

    def flush(self) -> None:
        if (data := self.outgoing.read()) and not self.transport.is_closing():
            self.transport.write(data)

    # The connection's side

    def write(self, data: bytes) -> None:
        if not self.open or self.ended:
            return
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        self.flush()

    def end(self) -> None:
        """Say that nothing more comes."""
        if self.open and not self.ended:
            with contextlib.suppress(ssl.SSLError):  # the other side has not said so yet; that is not waited for
                self.tls.unwrap()
            self.flush()
        self.ended = True

    def can_write_eof(self) -> bool:
        return self.open and self.transport.can_write_eof()

    def write_eof(self) -> None:
        self.end()
        self.transport.write_eof()

    def close(self) -> None:
        self.end()
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def get_extra_info(self, name: str) -> Any:
        return self.transport.get_extra_info(name)

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()
