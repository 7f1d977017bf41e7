"""The composition root: load, prove, measure, wire together, and only then open the ports."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

from wherry.contract import names
from wherry.contract.events import Note, Tell, silent
from wherry.contract.project import Project, Serve
from wherry.contract.reply import misnamed
from wherry.errors import SettingProblem, SettingsRefused
from wherry.server import threads
from wherry.server.admin import Admin, AdminSite, Alone
from wherry.server.auth import Tokens
from wherry.server.drain import Drain
from wherry.server.loading import Loaded, beside
from wherry.server.metrics import Metrics
from wherry.server.port import Port
from wherry.server.ports import address_text, bind, bind_next
from wherry.server.service import Service, announce, complete, introduce, model_gauges, run_loop
from wherry.server.several import Work, open_journals
from wherry.server.sharing import Sharing
from wherry.server.tls import Certificate


def serve(
    bundle: Path,
    project: Project,
    *,
    tell: Tell = silent,
    admin_port_fixed: bool = True,
    state: Path = Path(names.STATE_DIR),
    desk: bool = True,
    name: str = "",
    digest: str = "",
) -> int:
    """Serve `bundle` until it is told to stop; 0 after a drain, 130 after a second Ctrl-C.

    `state` is where predictions are kept; `desk` False in an image, where nothing is kept unless a database is named.
    name, digest: as `Loaded` has them. Raises WherryError while nobody was answered yet.
    """
    workers = project.serve.workers
    threads.limit(workers)
    tokens = Tokens(Path(project.serve.token_file)) if project.serve.token_file else None
    certificate = certificate_of(project.serve)
    Sharing(project.serve)  # wrong origins are told before the work
    bind(project.serve.host, project.serve.port, listen=False).close()  # a port that is busy is told before the work
    if admin_port_fixed:
        bind(project.serve.host, project.serve.admin_port, setting="--admin-port", listen=False).close()
    with uncollected():
        loaded = beside(Loaded(bundle, name, digest), project)
    if wrong := tuple(misnamed(project.reply, loaded.manifest.signature)):
        raise SettingsRefused(wrong, "the model and the settings")
    with contextlib.ExitStack() as stack:
        if workers > 1:
            from wherry.server.crew import Crew  # one process needs none of it
            from wherry.server.supervisor import Supervisor

            serving, admin = sockets(stack, project, admin_port_fixed, tell)
            return Supervisor(
                Crew(loaded, project, tokens, certificate, serving, admin, address_text(admin), state, desk), tell
            ).run()
        proof = loaded.prove()
        seconds = introduce(loaded, proof, tell)
        serving, admin = sockets(stack, project, admin_port_fixed, tell)
        journal = open_journals(loaded, project, state, tell, desk=desk)
        stack.callback(journal.close)
        counts = Metrics(labels=loaded.labels)
        service = Service(loaded, proof, project, journal, tokens, counts, address_text(admin), tell, certificate)

        def watch(service: Service, port: Port, predictions: Work) -> Admin:
            def metrics() -> str:
                said = model_gauges(loaded, service.life.ready, seconds)
                return service.metrics.render([*said, *service.gauges(port, predictions)])

            service.send_metrics(metrics)
            return Admin(admin, AdminSite(Alone(port, service.life, metrics)))

        def ready() -> None:
            gc.freeze()  # what is here now stays: the collector need not look at it again
            announce(serving, admin, project, journal.where, tell)
            complete(serving, admin, project, loaded, proof, seconds, tell)

        return run_loop(service.run(serving, watch, signals, ready))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """What comes into being here stays: looking for garbage in it meanwhile is a fifth of the time to be ready."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def certificate_of(settings: Serve) -> Certificate | None:
    """What [serve] tls_cert and tls_key name. Raises SettingsRefused, FileMissing, UsageRefused."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        missing = "serve.tls_key" if settings.tls_cert else "serve.tls_cert"
        raise SettingsRefused((SettingProblem(missing, "is missing", "name both files, or none"),), "settings")
    return Certificate(Path(settings.tls_cert), Path(settings.tls_key)) if settings.tls_cert else None


def signals(loop: asyncio.AbstractEventLoop, drain: Drain) -> None:
    loop.add_signal_handler(signal.SIGTERM, drain.terminate)
    loop.add_signal_handler(signal.SIGINT, drain.interrupt)


def sockets(
    stack: contextlib.ExitStack, project: Project, admin_port_fixed: bool, tell: Tell
) -> tuple[socket.socket, socket.socket]:
    """The serving and the admin socket, bound."""
    serving = stack.enter_context(bind(project.serve.host, project.serve.port))
    return serving, stack.enter_context(admin_socket(project, admin_port_fixed, tell))


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
