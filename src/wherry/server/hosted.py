"""A service inside a process that is somebody else's: loaded, proven and wired together in the loop that is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from wherry.contract import names
from wherry.contract.events import Event, Note, Step
from wherry.contract.project import Project
from wherry.contract.reply import misnamed
from wherry.errors import SettingsRefused, SpoolHeld
from wherry.server import threads
from wherry.server.admin import AdminSite, Alone
from wherry.server.auth import Tokens
from wherry.server.journal import Journal
from wherry.server.limits import Limits
from wherry.server.loading import Loaded, Proof, beside
from wherry.server.metrics import Metrics
from wherry.server.mounted import Mounted
from wherry.server.service import Service, introduce, model_gauges
from wherry.server.several import open_journals

log = logging.getLogger("wherry.server")
LANES = 64  # processes that may keep predictions in one folder
LOOK = 0.02  # seconds between looks at what is still in flight


async def start(bundle: Path, project: Project) -> Hosted:
    """Load and prove in a thread, while the rest of the process goes on. Raises WherryError."""
    threads.limit()
    tokens = Tokens(Path(project.serve.token_file)) if project.serve.token_file else None
    loaded, proof, journal = await asyncio.to_thread(prepare, bundle, project)
    return Hosted(loaded, proof, project, journal, tokens)


def prepare(bundle: Path, project: Project) -> tuple[Loaded, Proof, Journal]:
    loaded = beside(Loaded(bundle), project)
    if wrong := tuple(misnamed(project.reply, loaded.manifest.signature)):
        raise SettingsRefused(wrong, "the model and the settings")
    return loaded, loaded.prove(), open_lane(project, loaded)


def open_lane(project: Project, loaded: Loaded) -> Journal:
    """The journal; each process that a server starts for the application has its own place in the spool's folder."""
    state = Path(names.STATE_DIR)
    for lane in range(LANES - 1):
        with contextlib.suppress(SpoolHeld):
            return open_journals(loaded, project, state, tell, lane=lane)
    return open_journals(loaded, project, state, tell, lane=LANES - 1)


class Hosted:
    """A model that answers: `site` those who ask it, `admin` those who watch it. Make it in the loop that it serves."""

    def __init__(self, loaded: Loaded, proof: Proof, project: Project, journal: Journal, tokens: Tokens | None) -> None:
        self.journal, loop = journal, asyncio.get_running_loop()
        service = Service(loaded, proof, project, journal, tokens, Metrics(labels=loaded.labels), "", tell)
        site, self.predictions = service.compose(loop)
        self.life, self.service = service.life, service
        limits = Limits(body_bytes=project.serve.body_limit, request_seconds=project.serve.request_seconds)
        self.site = Mounted(site, limits, loop)
        seconds = introduce(loaded, proof, tell)

        def metrics() -> str:
            said = model_gauges(loaded, self.life.ready, seconds)
            return service.metrics.render([*said, *service.gauges(self.site.port, self.predictions)])

        service.send_metrics(metrics)
        watched = Alone(self.site.port, self.life, metrics)
        self.admin = Mounted(AdminSite(watched), Limits(body_bytes=1024), loop)
        self.life.stage = "ready"
        journal.start()

    async def close(self) -> None:
        """Finish what is in flight, hand over what is kept, and let the threads go."""
        self.life.stage = "draining"
        port = self.site.port
        last = port.now() + port.limits.request_seconds
        while (port.in_flight or not self.predictions.idle) and port.now() < last:
            await asyncio.sleep(LOOK)
        self.predictions.close()
        for each in (self.site, self.admin):
            each.close()
        await asyncio.to_thread(self.service.close)
        await asyncio.to_thread(self.journal.close)


def tell(event: Event) -> None:
    """Events into the log of the process."""
    if isinstance(event, Step):
        log.info("%s%s", event.text, "" if event.seconds is None else f" ({event.seconds:.2f} s)")
    elif isinstance(event, Note):
        hint = f" ({event.hint})" if event.hint else ""
        log.log(logging.WARNING if event.warn else logging.INFO, "%s%s", event.text, hint)
