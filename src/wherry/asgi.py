"""A packed model as an ASGI application: for `uvicorn main:app`, or below a path of an application that is there.

    from wherry import asgi

    app = asgi.app("bundle")

The same core as `wherry serve`: doors, checks, replies, limits, batching, admission, predictions kept. Sockets, TLS,
worker processes and their end are the server's that runs it; `wherry serve` does these better and several times faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherry.contract import names
from wherry.contract.project import Project

if TYPE_CHECKING:
    from wherry.server.hosted import Hosted
    from wherry.server.mounted import Message, Receive, Send

log = logging.getLogger("wherry.server")
# What the server decides that runs the application. Whoever can reach it is not known here, so nothing is open that
# `wherry serve` opens on a loopback address alone.
SERVERS = {"serve.host": "0.0.0.0", "serve.workers": 1}


class Application:
    """Answers requests with one model. It is loaded, and has answered its golden rows, before the first is answered.

    By the server's lifespan events; mounted below another application, which gets none, by
    `FastAPI(lifespan=model.lifespan)`, else with the first request. `admin` is an application for those who scrape and
    probe: /metrics, /readyz and /livez of this process.
    """

    def __init__(self, bundle: Path, project: Project) -> None:
        self.bundle, self.project = bundle, project
        self.starting: asyncio.Task[Hosted] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            await (await self.running()).site(scope, receive, send)
        else:
            await refuse_socket(receive, send)

    async def admin(self, scope: Message, receive: Receive, send: Send) -> None:
        """What the admin port of `wherry serve` answers; mount it where only those who watch the service reach it."""
        await (await self.running()).admin(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Ready within; what is in flight is finished, and what is kept handed over, at the end."""
        await self.running()
        try:
            yield
        finally:
            await self.close()

    async def running(self) -> Hosted:
        """Loaded, proven and wired together, once. Raises WherryError."""
        if self.starting is None:
            from wherry.server.hosted import start

            self.starting = asyncio.ensure_future(start(self.bundle, self.project))
        try:
            return await asyncio.shield(self.starting)
        except Exception:  # whatever it was, it goes on to who asked
            self.starting = None  # the next request tries again
            raise

    async def close(self) -> None:
        if self.starting is not None:
            await (await self.starting).close()
            self.starting = None

    async def live(self, receive: Receive, send: Send) -> None:
        """The server's lifespan protocol."""
        await receive()
        try:
            await self.running()
        except Exception as error:  # noqa: BLE001  # the server says it, whatever it is, and does not start
            hint = getattr(error, "hint", "")
            await send({"type": "lifespan.startup.failed", "message": f"{error}" + (f" ({hint})" if hint else "")})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


def app(bundle: str | Path = names.BUNDLE_DIR, *, settings: Mapping[str, Any] | None = None) -> Application:
    """The packed model in `bundle` as an ASGI application; nothing is loaded before it is started.

    settings: the tables of a wherry.toml; without them that of the working directory is read, as every verb does. The
    environment (WHERRY_...) comes before either. Raises SettingsUnreadable, SettingsRefused.
    """
    from wherry.cli.project import page, read
    from wherry.contract.settings import resolve, with_root

    table, source = read(Path()) if settings is None else (settings, "settings")
    resolved = resolve(table, os.environ, SERVERS, source)
    for warning in resolved.warnings:
        log.warning("%s", warning)
    if name := resolved.project.reply.root_file:
        resolved = with_root(resolved, page(Path(name), source))
    return Application(Path(bundle), resolved.project)


async def refuse_socket(receive: Receive, send: Send) -> None:
    """No WebSocket is spoken here."""
    await receive()
    await send({"type": "websocket.close", "code": 1000})
