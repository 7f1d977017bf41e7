"""The dashboard as a page for this machine's own browsers: bound to loopback, complete in itself, asks nobody else.

Who may look is who knows the address: its path holds a random word. A name that leads a foreign page's browser here
(DNS rebinding) is refused by its Host.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

import msgspec

from wherry.deploy.dashboard.seen import Look, Point
from wherry.errors import PortTaken

HERE = "127.0.0.1"
NAMES = (HERE, "localhost")
HTML = "text/html; charset=utf-8"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Site:
    """The page's address, and what it shows: nothing until `show` was called."""

    def __init__(self, port: int) -> None:
        self.word = secrets.token_urlsafe(16)
        self.port = port
        self.page, self.policy = document()
        self._data = b"{}"

    @property
    def url(self) -> str:
        return f"http://{HERE}:{self.port}/{self.word}/"

    def show(self, look: Look, courses: Mapping[str, Sequence[Point] | Any]) -> None:
        """What the page draws from now on."""
        told = msgspec.to_builtins(look)
        for service, seen in zip(told["services"], look.services, strict=True):
            status = seen.status
            service["healthy"] = status.healthy
            service["scaling"] = status.autoscaler.words if status.autoscaler else ""
            service["course"] = [msgspec.to_builtins(one) for one in courses.get(status.name, ())]
        self._data = msgspec.json.encode(told)

    def answer(self, host: str, path: str) -> tuple[int, str, bytes]:
        """Status, media type and body for a GET."""
        name, _, port = host.rpartition(":")
        if name not in NAMES or port != str(self.port):
            return 421, TEXT, b"this page is called by 127.0.0.1 or localhost alone\n"
        asked = path.partition("?")[0]
        for place, media, body in ((f"/{self.word}/", HTML, self.page), (f"/{self.word}/data", JSON, self._data)):
            if secrets.compare_digest(asked.encode("utf-8", "replace"), place.encode()):
                return 200, media, body
        return 404, TEXT, b"nothing is here; the whole address was printed by wherry status\n"


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[Site]:
    """The page on `port` of 127.0.0.1 (0: a free one), for as long as the context lasts. Raises PortTaken."""

    class Asked(BaseHTTPRequestHandler):
        server_version, sys_version = "wherry", ""
        timeout = 30  # of a connection that says nothing; none is kept for a second request

        def do_GET(self) -> None:
            status, media, body = site.answer(self.headers.get("Host", ""), self.path)
            self.send_response(status)
            for name, value in (
                ("Content-Type", media),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("Content-Security-Policy", site.policy),
                ("Referrer-Policy", "no-referrer"),
                ("X-Content-Type-Options", "nosniff"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
            ):
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads who looked."""

    try:
        server = Server((HERE, port), Asked)
    except OSError as error:
        raise PortTaken(HERE, port) from error
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="wherry-page")
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a connection that says nothing must not hold up the end

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error."""


def document() -> tuple[bytes, str]:
    """The page, and the policy that allows its own style and script by their digests and nothing else."""
    style, script = source("page.css"), source("page.js")
    before, _, rest = source("page.html").partition("/*style*/")
    between, _, after = rest.partition("/*script*/")
    policy = (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return f"{before}{style}{between}{script}{after}".encode(), policy


def source(name: str) -> str:
    """A file beside this one."""
    return resources.files("wherry.deploy.dashboard").joinpath(name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """How a policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
