"""The parts of a running service in one process, wired together."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from wherry.contract import names
from wherry.contract.events import Note, Ready, Served, Step, Tell
from wherry.contract.project import Project
from wherry.contract.wire import DOCS, PREDICT
from wherry.server.about import About, predict_path
from wherry.server.app import App
from wherry.server.auth import Tokens
from wherry.server.batching import LOOP_BUDGETS
from wherry.server.collector import Collector, finish
from wherry.server.doorways import Doorways
from wherry.server.drain import Drain, Life
from wherry.server.journal import Journal
from wherry.server.limits import Limits
from wherry.server.loading import Loaded, Proof
from wherry.server.metering import Meter, meter
from wherry.server.metrics import Gauge, Metrics, label, model_labels
from wherry.server.port import Port, Site
from wherry.server.ports import address_text, everywhere
from wherry.server.predictions import Predictions
from wherry.server.predictor import Measured, Predictor
from wherry.server.replies import Replies
from wherry.server.several import Journals, Together, Work, apart
from wherry.server.tls import Certificate
from wherry.server.tracing import Timed, traces

INTERRUPTED = 130


class Watch(Protocol):
    """What looks at a service while it runs; begun and ended on its loop."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """asyncio.run, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


class Service:
    """One process's service. `admin` is the address that gives the metrics."""

    def __init__(
        self,
        loaded: Loaded,
        proof: Proof,
        project: Project,
        journal: Journal,
        tokens: Tokens | None,
        metrics: Metrics,
        admin: str,
        tell: Tell,
        certificate: Certificate | None = None,
    ) -> None:
        self.loaded, self.proof, self.project, self.journal, self.tokens = loaded, proof, project, journal, tokens
        self.metrics, self.admin_address, self.tell = metrics, admin, tell
        self.certificate = certificate
        self.life = Life()
        self.collector = Collector(loaded.manifest, project.serve.collector, admin)
        self.traces = traces(self.collector, tell)
        self.meter: Meter | None = None
        if project.store.mode == "strict":  # whose callers want a service that keeps, or none
            self.life.full = journal.refusing

    def compose(self, loop: asyncio.AbstractEventLoop) -> tuple[Site, Work]:
        first, others = self.loaded, self.loaded.others
        journals = self.journal.each if isinstance(self.journal, Journals) else (self.journal,)
        together = Together()
        ways: list[Doorways] = []
        for loaded, proof, journal in zip(first.all, (self.proof, *self.proof.others), journals, strict=True):
            manifest, project, metrics, path = loaded.manifest, self.project, self.metrics, PREDICT
            if loaded is not first:
                project, path = apart(project, manifest), predict_path(manifest)
                metrics = Metrics(metrics.board, model_labels(manifest.name, manifest.version))
            replies = Replies(manifest, project, metrics, self.traces, path)
            taken = together.taken_beside(len(ways)) if others else None
            predictions = self.predictions(loop, loaded, proof, replies, journal, taken)
            together.parts.append(predictions)
            ways.append(Doorways(manifest, project, predictions, replies, self.life, path))
        about = About(first.manifest, self.project, [each.manifest for each in others])
        app = App(self.project, ways, about, self.life, tokens=self.tokens, admin=self.admin_address)
        return app, together if others else together.parts[0]

    def predictions(
        self,
        loop: asyncio.AbstractEventLoop,
        loaded: Loaded,
        proof: Proof,
        replies: Replies,
        journal: Journal,
        taken: Callable[[], float] | None,
    ) -> Predictions:
        """What answers one model's predictions."""
        metrics = replies.metrics
        model: Predictor = Measured(loaded.predictor(metrics), metrics)
        timed = None if self.traces is None else Timed(model)
        made = Predictions(
            loaded.manifest,
            loaded.model.golden,
            timed or model,
            proof.cost,
            replies.project,
            replies,
            loop=loop,
            journal=journal,
            metrics=metrics,
            taken=taken,
        )
        if self.traces is not None and timed is not None:
            made.batcher.settle = self.traces.settling(made.batcher.settle, timed)
        return made

    async def run(
        self,
        serving: socket.socket,
        watch: Callable[[Service, Port, Work], Watch],
        signals: Callable[[asyncio.AbstractEventLoop, Drain], None],
        ready: Callable[[], None],
    ) -> int:
        """Serve until told to stop: 0 after a drain, 130 when that was cut short. `ready` is called once it is."""
        loop = asyncio.get_running_loop()
        site, predictions = self.compose(loop)
        settings = self.project.serve
        limits = Limits(body_bytes=settings.body_limit, request_seconds=settings.request_seconds)
        port = Port(site, limits, loop, self.certificate)
        watcher = watch(self, port, predictions)
        drain = Drain(port, self.life, lambda: predictions.idle, self.tell, lame=settings.drain_seconds)
        signals(loop, drain)
        await port.open(serving)
        watcher.start()
        self.life.stage = "ready"
        ready()
        self.journal.start()
        finished = await drain.run()
        predictions.close()
        self.close()
        port.abort()
        watcher.stop()
        await asyncio.sleep(0)
        return 0 if finished else INTERRUPTED

    def send_metrics(self, read: Callable[[], str]) -> None:
        """Have a collector, where one is named, sent what `read` says: the text of /metrics, of the whole service."""
        self.meter = meter(self.collector, read, self.loaded.begun, self.tell)

    def close(self) -> None:
        """Send what was measured and not sent yet."""
        finish(self.traces, self.meter)

    def gauges(self, port: Port, predictions: Work) -> list[Gauge]:
        """What this process has at this moment; those of several processes add up."""
        predictions.look()
        counts = self.journal.counts()
        gauges = [
            (names.METRIC_IN_FLIGHT, "", float(port.in_flight)),
            (names.METRIC_CONNECTIONS, "", float(len(port.connections))),
            (names.METRIC_QUEUE_ROWS, "", float(predictions.waiting_rows)),
        ]
        for state in ("accepted", "stored", "pending", "dropped", "poison"):
            gauges.append((names.METRIC_STORE_ROWS, f'{{state="{state}"}}', float(getattr(counts, state))))
        return gauges


def introduce(loaded: Loaded, proof: Proof, tell: Tell) -> float:
    """Say which models there are and what proves them; the seconds that all took to load and prove."""
    seconds = 0.0
    for each, known in zip(loaded.all, (proof, *proof.others), strict=True):
        manifest, took = each.manifest, each.seconds + known.seconds
        tell(Step(f"model {manifest.name} {manifest.version} ({manifest.digest[:12]})", took))
        tell(Note(known.said, warn=not known.golden))
        seconds += took
    return seconds


def model_gauges(loaded: Loaded, ready: bool, seconds: float) -> list[Gauge]:
    """What is said once, however many processes there are."""
    gauges: list[Gauge] = [(names.METRIC_READY, "", float(ready))]
    for manifest in (each.manifest for each in loaded.all):
        known = (
            ("name", manifest.name),
            ("version", manifest.version),
            ("digest", manifest.digest),
            ("flavor", manifest.flavor),
        )
        about = ",".join(f'{key}="{label(value)}"' for key, value in known)
        gauges.append((names.METRIC_MODEL_INFO, f"{{{about}}}", 1.0))
    return [*gauges, (names.METRIC_LOAD_SECONDS, "", seconds)]


def announce(serving: socket.socket, admin: socket.socket, project: Project, where: str, tell: Tell) -> None:
    """Say where everything is: as an address to follow, unless every address of the machine is listened on."""
    settings, place = project.serve, everywhere(serving)
    address = "" if place else url(serving, project)
    if place:
        tell(Note(f"listening on {place}"))
    if settings.page:
        tell(Note(f"page      {address}/"))
    elif not place:
        tell(Note(f"serving   {address}"))
    if settings.docs:
        tell(Note(f"docs      {address}{DOCS}"))
    tell(Note(f"store     {where}" if where else "store     off: predictions are not kept"))
    paths = "/metrics, /readyz, /livez"
    place = everywhere(admin)
    tell(
        Note(f"admin     listening on {place}: {paths}" if place else f"admin     http://{address_text(admin)}{paths}")
    )


def complete(
    serving: socket.socket,
    admin: socket.socket,
    project: Project,
    loaded: Loaded,
    proof: Proof,
    seconds: float,
    tell: Tell,
) -> None:
    """Say what an answer of each model costs, after the seconds that all took; and to programs, that all is there."""
    models = tuple(Served(each.name, each.version, each.digest) for each in (one.manifest for one in loaded.all))
    costs = [cost_text(each.cost.seconds(1), project.serve.scoring) for each in (proof, *proof.others)]
    if proof.others:
        costs = [f"{each.name} {each.version} {cost}" for each, cost in zip(models, costs, strict=True)]
    tell(Note(f"model     loaded in {seconds:.2f} s, a prediction takes {', '.join(costs)}, {memory()}"))
    tell(Ready(url(serving, project), f"http://{address_text(admin)}", models, os.getpid()))


def cost_text(seconds: float, scoring: str) -> str:
    """What one row costs, and where it is scored, for people."""
    return f"{1000 * seconds:.3g} ms in {'the loop' if seconds <= LOOP_BUDGETS[scoring] else 'a thread'}"


def url(serving: socket.socket, project: Project) -> str:
    """Where clients on this machine ask."""
    return f"http{'s' if project.serve.tls_cert else ''}://{address_text(serving)}"


def memory() -> str:
    """Resident memory of this process, for people; empty where it cannot be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return ""
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f} MiB"
