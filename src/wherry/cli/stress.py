"""`wherry stress`: load on a service, and whether it held what it is held to."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import project
from wherry.cli.clusters import cluster_flags
from wherry.cli.console import Console
from wherry.cli.failures import INTERRUPTED, NO
from wherry.cli.verb import Verb, cluster_options, token_option
from wherry.errors import FileMissing

if TYPE_CHECKING:
    from wherry.cli.stress_cluster import Deployed
    from wherry.contract.recording import Recording
    from wherry.stress.objective import Limit
    from wherry.stress.plan import Plan
    from wherry.stress.report import Report
    from wherry.stress.shape import Shape

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # of a deployment; an address has a colon
RATE = 100.0
SECONDS = "10s"


@click.command(
    cls=Verb,
    examples=[
        "wherry stress http://127.0.0.1:8080",
        'wherry stress http://127.0.0.1:8080 --rate 500 --slo "p99<50ms,errors<0.1%"',
        "wherry stress http://127.0.0.1:8080 --data test.csv --html report.html",
        "wherry stress http://127.0.0.1:8080 --shape step:100,200 --duration 60s",
        "wherry stress http://127.0.0.1:8080 --shape trace:monday.csv",
        "wherry stress breast --shape step:20,80 --duration 5m --record run.json",
    ],
)
@click.argument("where", metavar="URL|NAME")
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Rows to send, CSV, Parquet or JSON.")
@click.option("--bundle", type=click.Path(path_type=Path), metavar="DIR", help="Bundle whose golden rows are sent.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests a second; 100.")
@click.option("--duration", metavar="TIME", help="How long, as 30s or 2m; 10s, or the whole trace.")
@click.option(
    "--shape",
    metavar="SHAPE",
    help="In place of --rate: step:100,200 ramp:100-1000 spike:100-1000@10s+5s sine:100-1000/20s trace:FILE.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Requests at most.")
@click.option("--slo", metavar="LIMITS", help='Objective, as "p99<50ms,errors<0.1%"; exit 4 when it is missed.')
@click.option("--timeout", default="10s", show_default=True, metavar="TIME", help="Longest wait for an answer.")
@click.option(
    "--connections",
    type=click.IntRange(1, 10_000),
    default=256,
    show_default=True,
    metavar="N",
    help="Connections at most at a time.",
)
@click.option("--new-connections", is_flag=True, help="Open a connection for each request.")
@click.option("--no-store", is_flag=True, help="Ask the service not to keep golden rows in its history.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a report with pictures.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the objective as JUnit XML.")
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="FILE", help="Write the run of a deployment as JSON."
)
@click.option("--encoding", default="utf-8", show_default=True, metavar="ENC", help="Encoding of a CSV file.")
@click.option("--allow-remote", is_flag=True, help="Load an address that is not this machine without being asked.")
@cluster_options
@token_option
@click.pass_obj
def stress(
    console: Console,
    where: str,
    data: Path | None,
    bundle: Path | None,
    rate: float | None,
    duration: str | None,
    shape: str | None,
    count: int | None,
    slo: str | None,
    timeout: str,
    connections: int,
    new_connections: bool,
    no_store: bool,
    html: Path | None,
    junit: Path | None,
    record: Path | None,
    encoding: str,
    allow_remote: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    token_file: Path | None,
) -> int:
    """Put load on a service, by its address or by the name it is deployed under, and measure it honestly.

    Requests come due at their own moments whatever became of those before; latency runs from there. Sent are the rows
    of --data, else golden rows, whose answers are compared: those of the deployment's release, or of ./bundle; else a
    GET of the URL. For a deployment the report has its replicas, CPU and autoscaler too.
    """
    from wherry.cli.stress_asks import asking, from_release, reachable
    from wherry.stress.grammar import read_duration, read_objective
    from wherry.stress.plan import Plan
    from wherry.stress.seconds import WINDOW
    from wherry.stress.shape import MOST_REQUESTS

    limits = read_objective(slo) if slo is not None else ()
    load = shape_of(shape, rate, duration)
    patience = read_duration(timeout, "--timeout")
    for file in (html, junit, record):
        if file is not None and not file.absolute().parent.is_dir():
            raise FileMissing(str(file.parent), "folder", f"mkdir -p {file.parent}")
    named = NAME.fullmatch(where) is not None
    if record is not None and not named:
        raise click.UsageError(
            f"--record keeps the run of a deployment, and {where} is an address; name the deployment"
        )
    with contextlib.ExitStack() as stack:
        deployed = None
        if named:
            from wherry.cli.stress_cluster import deployed as found

            wanted = project.load(console, cluster_flags(context, namespace)).project
            deployed = stack.enter_context(found(console, wanted, where, kubeconfig))
        target = reachable(
            console, deployed.url if deployed else where, allow_remote or bool(deployed and deployed.local)
        )
        asked = None
        if deployed is not None and data is None and bundle is None:
            asked = from_release(target, deployed, token_file, fresh=new_connections, no_store=no_store)
        if asked is None:
            asked = asking(
                console,
                target,
                data=data,
                bundle=bundle,
                token_file=token_file,
                encoding=encoding,
                fresh=new_connections,
                no_store=no_store,
            )
        plan = Plan(
            asked.target,
            asked.asks,
            load,
            count or MOST_REQUESTS,
            timeout=patience,
            connections=connections,
            fresh=new_connections,
            digest=asked.digest,
            rtol=asked.rtol,
            atol=asked.atol,
            window=WINDOW if record is not None else 0.0,
        )
        report, run = carry_out(console, plan, limits, deployed)
    write(report, run, html, junit, record)
    show(console, report, html)
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.met else NO


def carry_out(
    console: Console, plan: Plan, limits: tuple[Limit, ...], deployed: Deployed | None
) -> tuple[Report, Recording | None]:
    """The run of `plan`, and for a deployment what became of that meanwhile."""
    from wherry.stress.load import run
    from wherry.stress.report import report_of

    console.note(f"{plan.shape.text} for {plan.shape.seconds:g} s to {plan.target.url}")
    begun = time.strftime("%Y-%m-%d %H:%M")
    if deployed is None:
        return report_of(plan, run(plan, console.tell), limits, begun), None
    from wherry.cli.stress_cluster import recording_of, watched

    with watched(deployed.observer, console.tell) as tell:
        tally = run(plan, tell)
    for trouble in deployed.observer.troubles.values():
        console.note(f"not everything of {deployed.name} could be watched: {trouble}", warn=True)
    report = report_of(plan, tally, limits, begun)
    return report, recording_of(report, tally.start, deployed.observer)


def shape_of(text: str | None, rate: float | None, duration: str | None) -> Shape:
    """The load that the flags describe. Raises UsageError, ExpressionRefused, FileMissing, LoadRefused."""
    from wherry.stress import shape as shapes
    from wherry.stress.grammar import read_duration, read_shape, read_trace

    seconds = read_duration(duration or SECONDS)
    if text is None or text == "constant":
        return shapes.bounded(shapes.constant(rate or RATE, seconds))
    if rate is not None:
        raise click.UsageError(f"--rate {rate:g} and --shape {text} both give the rate; leave one out")
    kind, _, name = text.partition(":")
    if kind != "trace":
        return shapes.bounded(read_shape(text, seconds))
    file = Path(name)
    if not file.is_file():
        raise FileMissing(name, "trace")
    trace = read_trace(file.read_text(encoding="utf-8", errors="replace"), name)
    return shapes.bounded(trace.cut(seconds) if duration else trace)


def write(report: Report, run: Recording | None, html: Path | None, junit: Path | None, record: Path | None) -> None:
    """The reports that were asked for, as files."""
    if html is not None:
        from wherry.stress.page import page

        html.write_text(page(report, run), encoding="utf-8")
    if junit is not None:
        from wherry.stress.report import junit as as_junit

        junit.write_text(as_junit(report), encoding="utf-8")
    if record is not None and run is not None:
        from wherry.contract.recording import encode

        record.write_bytes(encode(run))


def show(console: Console, report: Report, html: Path | None) -> None:
    """The report on the terminal, or as JSON."""
    from wherry.stress.report import document, lines, warning

    if console.as_json:
        console.document(document(report))
    else:
        console.say_all(lines(report))
    if text := warning(report):
        console.note(text, warn=True)
    if html is not None:
        console.note(f"the report with its pictures is in {html}")
