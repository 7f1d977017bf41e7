"""The composition root: load, prove, measure, wire together, and only then open the ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from wherry.contract import names
from wherry.contract.events import Note, Step, Tell, silent
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.contract.wire import DOCS, Row
from wherry.errors import UsageRefused
from wherry.server import threads
from wherry.server.about import About
from wherry.server.admin import Admin, AdminSite
from wherry.server.app import App
from wherry.server.auth import Tokens
from wherry.server.drain import Drain, Life
from wherry.server.journal import Journal, open_journal
from wherry.server.limits import Limits
from wherry.server.metrics import Metrics, label
from wherry.server.port import Port, Site
from wherry.server.ports import address_text, bind, bind_next
from wherry.server.predictions import Predictions
from wherry.server.predictor import Cost, Local, Measured, measure
from wherry.server.problems import example
from wherry.server.replies import Replies

INTERRUPTED = 130


class Loaded:
    """A model that has answered its golden rows, what it costs, and how long that took."""

    def __init__(self, bundle: Path, tell: Tell) -> None:
        from wherry.model.loaded import load  # numpy comes with it: after the number of threads is set

        start = time.perf_counter()
        self.model = load(bundle)
        self.manifest: Manifest = self.model.manifest
        if self.model.golden.rows:
            self.model.replay()
            proof = f"{len(self.model.golden.rows)} golden rows answered as when it was packed"
        else:
            self.model.score([warm_row(self.manifest)])  # raises ModelFailed unless the answer is finite
            proof = "no golden rows: one warm-up answer, which is finite, is all that was proven"
        self.metrics = Metrics()
        self.predictor = Measured(Local(self.model.score), self.metrics)
        rows = list(self.model.golden.rows) or [warm_row(self.manifest)]
        self.cost: Cost = measure(self.model, in_order(rows, self.model.golden.columns, self.manifest))
        self.seconds = time.perf_counter() - start
        tell(Step(f"model {self.manifest.name} {self.manifest.version} ({self.manifest.digest[:12]})", self.seconds))
        tell(Note(proof, warn=not self.model.golden.rows))


def warm_row(manifest: Manifest) -> Row:
    return tuple(example(manifest.signature).values())


def in_order(rows: list[Row], columns: tuple[str, ...], manifest: Manifest) -> list[Row]:
    """Golden rows as the signature orders them."""
    if not columns:
        return rows
    return manifest.signature.check([dict(zip(columns, row, strict=True)) for row in rows]).rows


def serve(
    bundle: Path,
    project: Project,
    *,
    tell: Tell = silent,
    admin_port_fixed: bool = True,
    state: Path = Path(names.STATE_DIR),
    desk: bool = True,
) -> int:
    """Serve `bundle` until it is told to stop; 0 after a drain, 130 after a second Ctrl-C.

    `state` is where predictions are kept; `desk` False in an image, where nothing is kept unless a database is named.
    Raises WherryError while nothing is listening yet.
    """
    if project.serve.workers > 1:
        raise UsageRefused(
            "this version serves with one worker process",
            hint="leave --workers out; for more cores run more replicas ([deploy] replicas)",
        )
    threads.limit()
    tokens = Tokens(Path(project.serve.token_file)) if project.serve.token_file else None
    loaded = Loaded(bundle, tell)
    with contextlib.ExitStack() as stack:
        serving = stack.enter_context(bind(project.serve.host, project.serve.port))
        admin = stack.enter_context(admin_socket(project, admin_port_fixed, tell))
        journal = open_journal(project, loaded.manifest, state, tell, desk=desk)
        stack.callback(journal.close)
        service = Service(loaded, project, journal, tokens, address_text(admin), tell)
        return run_loop(service.run(serving, admin))


def admin_socket(project: Project, fixed: bool, tell: Tell) -> socket.socket:
    """The admin port asked for, or the next free one where nobody asked."""
    host, port = project.serve.host, project.serve.admin_port
    if fixed:
        return bind(host, port, setting="--admin-port")
    sock = bind_next(host, port, frozenset({project.serve.port}))
    found = sock.getsockname()[1]
    if found != port:
        tell(Note(f"the admin port {port} is taken; this service's is {found}"))
    return sock


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """asyncio.run, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


class Service:
    """The parts of one running service."""

    def __init__(
        self, loaded: Loaded, project: Project, journal: Journal, tokens: Tokens | None, admin: str, tell: Tell
    ) -> None:
        self.loaded, self.project, self.journal, self.tokens = loaded, project, journal, tokens
        self.admin_address, self.tell = admin, tell
        self.life = Life()

    def compose(self, loop: asyncio.AbstractEventLoop) -> tuple[Site, Predictions]:
        loaded, project = self.loaded, self.project
        replies = Replies(loaded.manifest, project, loaded.metrics)
        predictions = Predictions(
            loaded.manifest,
            loaded.model.golden,
            loaded.predictor,
            loaded.cost,
            project,
            replies,
            loop=loop,
            journal=self.journal,
            metrics=loaded.metrics,
        )
        about = About(loaded.manifest, project)
        app = App(project, replies, predictions, about, self.life, tokens=self.tokens, admin=self.admin_address)
        return app, predictions

    async def run(self, serving: socket.socket, admin: socket.socket) -> int:
        loop = asyncio.get_running_loop()
        site, predictions = self.compose(loop)
        settings = self.project.serve
        limits = Limits(body_bytes=settings.body_limit, request_seconds=settings.request_seconds)
        port = Port(site, limits, loop)
        watch = Admin(admin, AdminSite(port, self.life, lambda: self.render(port, predictions)))
        drain = Drain(port, self.life, lambda: predictions.batcher.idle, self.tell, lame=settings.drain_seconds)
        loop.add_signal_handler(signal.SIGTERM, drain.terminate)
        loop.add_signal_handler(signal.SIGINT, drain.interrupt)
        await port.open(serving)
        watch.start()
        self.life.stage = "ready"
        self.announce(serving)
        self.journal.start()
        finished = await drain.run()
        predictions.close()
        port.abort()
        watch.stop()
        await asyncio.sleep(0)
        return 0 if finished else INTERRUPTED

    def announce(self, serving: socket.socket) -> None:
        """Say where everything is."""
        address = f"http://{address_text(serving)}"
        tell, project = self.tell, self.project
        tell(Note(f"page      {address}/" if project.serve.page else f"serving   {address}"))
        if project.serve.docs:
            tell(Note(f"docs      {address}{DOCS}"))
        where = self.journal.where
        tell(Note(f"store     {where}" if where else "store     off: predictions are not kept"))
        tell(Note(f"admin     http://{self.admin_address}{names_of_admin()}"))
        cost = self.loaded.cost.seconds(1)
        tell(Note(f"model     loaded in {self.loaded.seconds:.2f} s, {1000 * cost:.3g} ms a prediction, {memory()}"))

    def render(self, port: Port, predictions: Predictions) -> str:
        manifest, counts = self.loaded.manifest, self.journal.counts()
        known = (
            ("name", manifest.name),
            ("version", manifest.version),
            ("digest", manifest.digest),
            ("flavor", manifest.flavor),
        )
        about = ",".join(f'{key}="{label(value)}"' for key, value in known)
        gauges = [
            (names.METRIC_READY, "", "Whether predictions are answered.", float(self.life.ready)),
            (names.METRIC_IN_FLIGHT, "", "Requests read and not yet answered.", float(port.in_flight)),
            (names.METRIC_CONNECTIONS, "", "Open connections.", float(len(port.connections))),
            (names.METRIC_QUEUE_ROWS, "", "Rows that wait for the model.", float(predictions.batcher.waiting_rows)),
            (names.METRIC_MODEL_INFO, f"{{{about}}}", "The model that is served.", 1.0),
            (names.METRIC_LOAD_SECONDS, "", "Seconds to load and prove the model.", self.loaded.seconds),
        ]
        for state in ("accepted", "stored", "pending", "dropped", "poison"):
            value = float(getattr(counts, state))
            gauges.append((names.METRIC_STORE_ROWS, f'{{state="{state}"}}', "Rows of the store, by state.", value))
        return self.loaded.metrics.render(gauges)


def names_of_admin() -> str:
    return "/metrics, /readyz, /livez"


def memory() -> str:
    """Resident memory of this process, for people; empty where it cannot be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return ""
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f} MiB"
