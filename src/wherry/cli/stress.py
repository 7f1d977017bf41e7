"""`wherry stress`: load on a service, and whether it held what it is held to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli.console import Console
from wherry.cli.failures import INTERRUPTED, NO
from wherry.cli.verb import Verb, token_option
from wherry.errors import FileMissing

if TYPE_CHECKING:
    from wherry.stress.report import Report
    from wherry.stress.shape import Shape

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
    ],
)
@click.argument("url")
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
@click.option("--encoding", default="utf-8", show_default=True, metavar="ENC", help="Encoding of a CSV file.")
@click.option("--allow-remote", is_flag=True, help="Load an address that is not this machine without being asked.")
@token_option
@click.pass_obj
def stress(
    console: Console,
    url: str,
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
    encoding: str,
    allow_remote: bool,
    token_file: Path | None,
) -> int:
    """Put load on a service and measure it honestly.

    Requests come due at their own moments whatever became of those before; latency runs from there. Sent are the rows
    of --data, else the golden rows of ./bundle, whose answers are compared, else a GET of the URL.
    """
    from wherry.cli.stress_asks import asking, reachable
    from wherry.stress.grammar import read_duration, read_objective
    from wherry.stress.load import run
    from wherry.stress.plan import Plan
    from wherry.stress.report import report_of
    from wherry.stress.shape import MOST_REQUESTS

    limits = read_objective(slo) if slo is not None else ()
    load = shape_of(shape, rate, duration)
    patience = read_duration(timeout, "--timeout")
    for file in (html, junit):
        if file is not None and not file.absolute().parent.is_dir():
            raise FileMissing(str(file.parent), "folder", f"mkdir -p {file.parent}")
    target = reachable(console, url, allow_remote)
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
    )
    console.note(f"{load.text} for {load.seconds:g} s to {asked.target.url}")
    begun = time.strftime("%Y-%m-%d %H:%M")
    report = report_of(plan, run(plan, console.tell), limits, begun)
    write(report, html, junit)
    show(console, report, html)
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.met else NO


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


def write(report: Report, html: Path | None, junit: Path | None) -> None:
    """The reports that were asked for, as files."""
    if html is not None:
        from wherry.stress.page import page

        html.write_text(page(report), encoding="utf-8")
    if junit is not None:
        from wherry.stress.report import junit as as_junit

        junit.write_text(as_junit(report), encoding="utf-8")


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
