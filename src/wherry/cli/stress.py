"""`wherry stress`: load on a service, and whether it held what it is held to."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from wherry.cli import project
from wherry.cli.clusters import cluster_flags
from wherry.cli.console import Console
from wherry.cli.doors import model_option, named
from wherry.cli.failures import INTERRUPTED, NO
from wherry.cli.verb import Verb, cluster_options, token_option
from wherry.errors import UsageRefused


@click.command(
    cls=Verb,
    examples=[
        "wherry stress http://127.0.0.1:8080",
        'wherry stress http://127.0.0.1:8080 --rate 500 --slo "p99<50ms,errors<0.1%"',
        "wherry stress http://127.0.0.1:8080 --data test.csv --html report.html",
        "wherry stress http://127.0.0.1:8080 --shape step:100,200 --duration 60s",
        "wherry stress http://127.0.0.1:8080 --model boats/2 --bundle bundles/boats-2",
        "wherry stress http://127.0.0.1:8080 --replay monday.csv --speed 10",
        "wherry stress http://127.0.0.1:8080 --replay history --since 1h",
        "wherry stress breast --shape step:20,80 --duration 5m --record run.json",
    ],
)
@click.argument("where", metavar="URL|NAME")
@model_option
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Rows to send, CSV, Parquet or JSON.")
@click.option("--bundle", type=click.Path(path_type=Path), metavar="DIR", help="Bundle whose golden rows are sent.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests a second; 100.")
@click.option("--duration", metavar="TIME", help="How long, as 30s or 2m; 10s, or the whole of a replay.")
@click.option(
    "--shape",
    metavar="SHAPE",
    help="In place of --rate: step:100,200 ramp:100-1000 spike:100-1000@10s+5s sine:100-1000/20s trace:FILE.",
)
@click.option("--replay", metavar="FILE|history", help="In place of --rate: a trace, or the requests the store kept.")
@click.option("--speed", type=click.FloatRange(0.001, 1000), default=1.0, metavar="N", help="Replay N times as fast.")
@click.option("--since", metavar="WHEN", help="Replay the history from then on, as 1h or 2026-01-31.")
@click.option(
    "--arrivals",
    type=click.Choice(["even", "poisson"]),
    default="even",
    show_default=True,
    help="Evenly spaced, or by chance as those of many independent people.",
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
    model: str | None,
    data: Path | None,
    bundle: Path | None,
    rate: float | None,
    duration: str | None,
    shape: str | None,
    replay: str | None,
    speed: float,
    since: str | None,
    arrivals: str,
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
    from wherry.cli.stress_replay import HISTORY, Wish, load_of
    from wherry.cli.stress_run import NAME, Outputs, Sending, found, on_address, on_deployment, show, write
    from wherry.stress.grammar import read_duration, read_objective

    if no_store and (data is not None or replay == HISTORY):
        what = "the rows of --data" if data is not None else "what it kept"
        raise UsageRefused(
            f"--no-store keeps golden rows out of a history, and a service keeps {what} as any client's",
            hint="leave it out, or start the service with `wherry serve --no-store`",
        )
    limits = read_objective(slo) if slo is not None else ()
    kept = model or named(urlsplit(where).path)  # whose requests a history is asked for
    load = load_of(console, Wish(rate, duration, shape, replay, speed, since, arrivals, kept))
    sending = Sending(
        model=model,
        data=data,
        bundle=bundle,
        encoding=encoding,
        token_file=token_file,
        allow_remote=allow_remote,
        fresh=new_connections,
        no_store=no_store,
        timeout=read_duration(timeout, "--timeout"),
        connections=connections,
        most=count,
    )
    outputs = Outputs(html, junit, record)
    outputs.check()
    if NAME.fullmatch(where):
        wanted = project.load(console, cluster_flags(context, namespace)).project
        with found(console, wanted, where, kubeconfig) as there:
            run = on_deployment(console, there, load, limits, sending)
    elif record is not None:
        raise click.UsageError(f"--record keeps the run of a deployment, and {where} is none: name one in its place")
    else:
        run = on_address(console, where, load, limits, sending)
    write(run, outputs)
    show(console, run, outputs)
    if run.report.interrupted:
        return INTERRUPTED
    return 0 if run.report.met else NO
