"""One run of load from start to reports, as `stress` and `prove` both make it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wherry.cli.console import Console
from wherry.cli.stress_replay import Load
from wherry.contract.project import Project
from wherry.contract.recording import Recording, encode
from wherry.errors import FileMissing

if TYPE_CHECKING:
    from wherry.cli.stress_asks import Asking
    from wherry.cli.stress_cluster import Deployed
    from wherry.stress.objective import Limit
    from wherry.stress.plan import Plan, Target
    from wherry.stress.report import Report

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # of a deployment; an address has a colon
CONNECTIONS = 256


class Sending(NamedTuple):
    """What is sent and how. model: as `door` has it. most: requests, None for as many as the load holds."""

    model: str | None = None
    data: Path | None = None
    bundle: Path | None = None
    encoding: str = "utf-8"
    token_file: Path | None = None
    allow_remote: bool = False
    fresh: bool = False
    no_store: bool = False
    timeout: float = 10.0
    connections: int = CONNECTIONS
    most: int | None = None


class Outputs(NamedTuple):
    """The files that a run is written to."""

    html: Path | None = None
    junit: Path | None = None
    record: Path | None = None

    def check(self) -> None:
        """Raises FileMissing for a folder that is not there, before the load and not after it."""
        for file in self:
            if file is not None and not file.absolute().parent.is_dir():
                raise FileMissing(str(file.parent), "folder", f"mkdir -p {file.parent}")


class Run(NamedTuple):
    """A run that is over. recording: what became of the deployment, None for an address."""

    report: Report
    recording: Recording | None = None


def on_address(console: Console, url: str, load: Load, limits: tuple[Limit, ...], sending: Sending) -> Run:
    """Load on whoever answers at `url`."""
    from wherry.cli.stress_asks import reachable
    from wherry.stress.load import run
    from wherry.stress.report import report_of

    target = reachable(console, url, sending.allow_remote)
    plan = plan_of(asked(console, target, load, sending, None), load, sending, 0.0)
    begun = announce(console, plan)
    return Run(report_of(plan, run(plan, console.tell), limits, begun))


def on_deployment(console: Console, there: Deployed, load: Load, limits: tuple[Limit, ...], sending: Sending) -> Run:
    """Load on a deployment, which is watched meanwhile."""
    from wherry.cli.stress_asks import reachable
    from wherry.cli.stress_cluster import recording_of, watched
    from wherry.stress.load import run
    from wherry.stress.report import report_of
    from wherry.stress.seconds import WINDOW

    target = reachable(console, there.url, sending.allow_remote or there.local)
    plan = plan_of(asked(console, target, load, sending, there), load, sending, WINDOW)
    begun = announce(console, plan)
    with watched(there.observer, console.tell) as tell:
        tally = run(plan, tell)
    for trouble in there.observer.troubles.values():
        console.note(f"not everything of {there.name} could be watched: {trouble}", warn=True)
    report = report_of(plan, tally, limits, begun)
    return Run(report, recording_of(report, tally.start, there.observer))


@contextlib.contextmanager
def found(console: Console, wanted: Project, name: str, kubeconfig: Path | None) -> Iterator[Deployed]:
    """The deployment called `name`; the cluster's library is loaded only here."""
    from wherry.cli.stress_cluster import deployed

    with deployed(console, wanted, name, kubeconfig) as there:
        yield there


def asked(console: Console, target: Target, load: Load, sending: Sending, there: Deployed | None) -> Asking:
    """What is sent: what the load brings along, the rows of --data, golden rows, else a GET."""
    from wherry.cli.stress_asks import asking, digest_served, from_bodies, from_release, led

    target, about, model = led(target, sending.model, sending.token_file)
    if load.bodies and sending.data is None:
        return from_bodies(target, load.bodies, sending.token_file, fresh=sending.fresh)
    if there is not None and sending.data is None and sending.bundle is None:
        first = not model or digest_served(target, about, sending.token_file) == there.digest  # whose rows it keeps
        golden = from_release(target, there, sending.token_file, fresh=sending.fresh, no_store=sending.no_store)
        if golden is not None and first:
            return golden
    return asking(
        console,
        target,
        about,
        model=model,
        data=sending.data,
        bundle=sending.bundle,
        token_file=sending.token_file,
        encoding=sending.encoding,
        fresh=sending.fresh,
        no_store=sending.no_store,
    )


def plan_of(asking: Asking, load: Load, sending: Sending, window: float) -> Plan:
    from wherry.stress.plan import Plan
    from wherry.stress.shape import MOST_REQUESTS

    return Plan(
        asking.target,
        asking.asks,
        load.shape,
        sending.most or MOST_REQUESTS,
        timeout=sending.timeout,
        connections=sending.connections,
        fresh=sending.fresh,
        digest=asking.digest,
        rtol=asking.rtol,
        atol=asking.atol,
        window=window,
    )


def announce(console: Console, plan: Plan) -> str:
    """Says what is about to happen; the date and time of its beginning."""
    console.note(f"{plan.shape.text} for {plan.shape.seconds:g} s to {plan.target.url}")
    return time.strftime("%Y-%m-%d %H:%M")


def write(run: Run, outputs: Outputs) -> None:
    """The reports that were asked for, as files."""
    if outputs.html is not None:
        from wherry.stress.page import page

        outputs.html.write_text(page(run.report, run.recording), encoding="utf-8")
    if outputs.junit is not None:
        from wherry.stress.report import junit

        outputs.junit.write_text(junit(run.report), encoding="utf-8")
    if outputs.record is not None and run.recording is not None:
        outputs.record.write_bytes(encode(run.recording))


def show(console: Console, run: Run, outputs: Outputs) -> None:
    """The report on the terminal, or as JSON."""
    from wherry.stress.report import document, lines, warning
    from wherry.stress.scaling import lines as scaled
    from wherry.stress.scaling import scaling_of

    scaling = None if run.recording is None else scaling_of(run.recording)
    if console.as_json:
        beside = {} if scaling is None else {"scaling": scaling}
        console.document({**document(run.report), **beside})
    else:
        console.say_all(lines(run.report))
        console.say_all(scaled(scaling) if scaling is not None else ())
    if text := warning(run.report):
        console.note(text, warn=True)
    for file, what in ((outputs.html, "the report with its pictures"), (outputs.record, "the recording")):
        if file is not None:
            console.note(f"{what} is in {file}")
