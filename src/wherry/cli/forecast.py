"""`wherry forecast`: what the autoscaler would make of a traffic trace, what it costs, and who waits too long."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from wherry.cli import project as projects
from wherry.cli.console import Console
from wherry.cli.failures import NO
from wherry.cli.verb import Verb
from wherry.contract.events import Progress
from wherry.contract.project import Project
from wherry.contract.settings import quantity
from wherry.errors import FileMissing, UsageRefused

if TYPE_CHECKING:
    from wherry.contract.recording import Recording
    from wherry.stress.forecasting.forecast import Setup
    from wherry.stress.forecasting.outcome import Objective, Price
    from wherry.stress.forecasting.trace import Trace
    from wherry.stress.objective import Limit

START_SECONDS = 6.0
MEMORY = "256Mi"


class Goal(NamedTuple):
    """An objective as the simulation knows it. limit: seconds. share: of the requests that may be slower."""

    limit: float
    share: float
    objective: Objective


@click.command(
    cls=Verb,
    examples=[
        "wherry forecast monday.csv --knee 120",
        "wherry forecast monday.csv --scale 3 --html forecast.html",
        "wherry forecast year.csv --price-cpu 0.04 --price-memory 0.005",
        "wherry forecast monday.csv --search",
        "wherry history --csv | wherry forecast -",
    ],
)
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE|-")
@click.option(
    "--knee", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests a second a replica holds."
)
@click.option("--slo", metavar="LIMITS", help='Objective, as "p99<100ms,errors<0.1%".')
@click.option("--min", "fewest", type=click.IntRange(1), metavar="N", help="Fewest replicas.")
@click.option("--max", "most", type=click.IntRange(1), metavar="N", help="Most replicas.")
@click.option("--cpu", type=click.IntRange(1, 1000), metavar="N", help="CPU target, percent of the request.")
@click.option("--down-after", type=click.IntRange(0, 3600), metavar="N", help="Seconds before replicas are removed.")
@click.option("--start", "start_time", metavar="TIME", help="From a pod's creation to its readiness, as 6s.")
@click.option(
    "--scale", type=click.FloatRange(min=0, min_open=True), default=1.0, metavar="N", help="Times the traffic."
)
@click.option("--room", type=click.IntRange(1), metavar="N", help="Pods that the cluster has room for.")
@click.option("--node-time", metavar="TIME", help="Until a new node has room for more; without it never.")
@click.option(
    "--price-cpu", type=click.FloatRange(0), default=0.0, metavar="N", help="Price of a requested vCPU, an hour."
)
@click.option("--price-memory", type=click.FloatRange(0), default=0.0, metavar="N", help="Price of a GiB, an hour.")
@click.option("--price-pod", type=click.FloatRange(0), default=0.0, metavar="N", help="Price of a pod, an hour.")
@click.option("--search", is_flag=True, help="Find the cheapest settings that hold the objective.")
@click.option("--runs", type=click.IntRange(1, 1000), metavar="N", help="Ways that the autoscaler's turns may fall.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of those ways.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a report with pictures.")
@click.pass_obj
def forecast(
    console: Console,
    trace: Path,
    knee: float | None,
    slo: str | None,
    fewest: int | None,
    most: int | None,
    cpu: int | None,
    down_after: int | None,
    start_time: str | None,
    scale: float,
    room: int | None,
    node_time: str | None,
    price_cpu: float,
    price_memory: float,
    price_pod: float,
    search: bool,
    runs: int | None,
    seed: int,
    html: Path | None,
) -> int:
    """Simulate the autoscaler over a trace of traffic.

    TRACE has a time and a rate a line (CSV or JSON), or is what `wherry history --csv` writes, or what `wherry stress
    NAME --record` wrote, which is then compared. What a replica holds is in the project once `wherry advise` has run.
    """
    from wherry.stress.forecasting import report
    from wherry.stress.forecasting.forecast import forecast as carry_out
    from wherry.stress.forecasting.outcome import Price
    from wherry.stress.forecasting.search import search as find
    from wherry.stress.grammar import read_duration

    if html is not None and not html.absolute().parent.is_dir():
        raise FileMissing(str(html.parent), "folder", f"mkdir -p {html.parent}")
    flags = {
        "deploy.autoscale.min": fewest,
        "deploy.autoscale.max": most,
        "deploy.autoscale.cpu": cpu,
        "deploy.autoscale.down_after": down_after,
        "capacity.knee": knee,
        "capacity.slo": slo,
        "capacity.start_seconds": None if start_time is None else read_duration(start_time, "--start"),
    }
    settings = projects.load(console, flags).project
    content = text_of(trace)
    recorded = recording_in(content)
    price = Price(price_pod, price_cpu, price_memory)
    if recorded is not None:
        return compare(console, recorded)
    setup = setup_of(settings, price, room, None if node_time is None else read_duration(node_time, "--node-time"))
    traffic = trace_of(content, trace).scaled(scale)
    tried = None
    if search:
        found, tried = find(traffic, setup, lambda done, total: console.tell(Progress("settings", done, total)))
        if found is None:
            tell_nothing_holds(console, traffic, setup, tried)
            return NO
    else:
        found = carry_out(traffic, setup, runs=runs, seed=seed)
    priced = price.of_pod(1, 1) > 0
    if html is not None:
        from wherry.stress.forecasting.page import page

        html.write_text(page(found, "standard input" if str(trace) == "-" else trace.name, priced), encoding="utf-8")
    if console.as_json:
        console.document(report.document(found, tried))
    else:
        console.say_all(report.lines(found, priced))
        if tried is not None:
            console.note(f"the cheapest of {tried} settings that were tried:")
            console.say_all(report.settings_lines(found))
    if html is not None:
        console.note(f"the report with its pictures is in {html}")
    return 0 if found.met else NO


def text_of(trace: Path) -> str:
    """The text of a file, or of standard input. Raises FileMissing."""
    if str(trace) == "-":
        return sys.stdin.read()
    if not trace.is_file():
        raise FileMissing(str(trace), "trace")
    return trace.read_text(encoding="utf-8", errors="replace")


def trace_of(content: str, name: Path) -> Trace:
    from wherry.stress.forecasting.trace import read

    return read(content, "standard input" if str(name) == "-" else str(name))


def goal_of(text: str) -> Goal:
    """The latency and the failures that an objective allows. Raises UsageRefused when it holds no latency."""
    from wherry.stress.forecasting.outcome import Objective
    from wherry.stress.grammar import SLO_HINT, read_objective

    limits = read_objective(text)
    latency = next((one for one in limits if share_of(one) is not None), None)
    if latency is None:
        raise UsageRefused(f"{text} sets no limit such as p99<100ms, which waiting is judged by", hint=SLO_HINT)
    share = share_of(latency) or 0.01
    failed = next((one.value / 100 for one in limits if one.name == "errors"), 0.001)
    return Goal(latency.value / 1000, share, Objective(share, failed))


def share_of(limit: Limit) -> float | None:
    """The share of requests that a limit on a percentile lets be slower; None for any other limit."""
    return 1 - float(limit.name[1:]) / 100 if limit.name[0] == "p" else None


def setup_of(project: Project, price: Price, room: int | None = None, node: float | None = None) -> Setup:
    """What the project says of the replica and the autoscaler. Raises UsageRefused when nobody measured the replica."""
    from wherry.release.objects.scaling import behavior
    from wherry.stress.forecasting.autoscaler import Autoscaler, behavior_of
    from wherry.stress.forecasting.forecast import Setup
    from wherry.stress.forecasting.replica import replica_of
    from wherry.stress.forecasting.simulation import Cluster

    capacity, resources, scale = project.capacity, project.deploy.resources, project.deploy.autoscale
    if capacity.knee is None:
        raise UsageRefused(
            "nobody measured what one replica holds",
            hint="wherry advise, or give its requests a second with --knee 100",
        )
    goal = goal_of(capacity.slo)
    request = 1000 * quantity(resources.cpu)
    replica = replica_of(
        knee=capacity.knee,
        request=request,
        cpu_limit=1000 * quantity(resources.cpu_limit) if resources.cpu_limit else None,
        cost=capacity.cost,
        idle=capacity.idle if capacity.idle is not None else 1.0,
        start=capacity.start_seconds or START_SECONDS,
        limit=goal.limit,
        share=goal.share,
        workers=project.serve.workers,
    )
    autoscaler = Autoscaler(min=scale.min, max=scale.max, target=scale.cpu, behavior=behavior_of(behavior(project)))
    memory = quantity(resources.memory or MEMORY) / 2**30
    return Setup(
        replica=replica,
        autoscaler=autoscaler,
        objective=goal.objective,
        cluster=Cluster(room, node),
        pod_hour=price.of_pod(request, memory),
    )


def tell_nothing_holds(console: Console, traffic: Trace, setup: Setup, tried: int) -> None:
    """Say that no settings hold the objective, and why that can be."""
    peak = float(traffic.rates.max())
    console.note(
        f"none of {tried} settings holds the objective",
        hint="a faster start (--start), a wider objective (--slo), or a cluster with more room (--room)",
        warn=True,
    )
    if console.as_json:
        console.document({"met": False, "tried": tried, "peak": peak, "knee": setup.replica.knee})


def recording_in(content: str) -> Recording | None:
    """The recorded run that `content` is, None when it is anything else."""
    from wherry.contract.recording import decode

    if not content.startswith("{"):
        return None
    try:
        return decode(content.encode())
    except ValueError:
        return None


def compare(console: Console, run: Recording) -> int:
    """Forecast a recorded run under its own conditions, and say how near it came."""
    from wherry.stress.forecasting import replay
    from wherry.stress.forecasting.forecast import forecast as carry_out

    setup = replay.setup_of(run)
    trace = replay.trace_of(run)
    free = carry_out(trace, setup)
    phases = replay.phases_of(run)
    exact = carry_out(trace, setup, phases) if phases is not None else free
    at, around = replay.compared(run, exact), replay.compared(run, free)
    found = {
        "load": run.load,
        "within_one": round(at.within_one, 4),
        "in_band": round(around.in_band, 4),
        "scaled": at.scaled,
        "scaled_forecast": at.scaled_forecast,
        "time_error": None if at.time_error is None else round(at.time_error, 4),
        "phases": None if phases is None else msgspec.to_builtins(phases),
    }
    if console.as_json:
        console.document(found)
        return 0
    console.say(f"{run.load} on {run.conditions.name}, recorded, beside its forecast")
    console.say(f"replicas    at most one apart for {100 * at.within_one:.1f} % of the time")
    console.say(f"band        the recording lies in it for {100 * around.in_band:.1f} % of the time")
    if at.scaled is not None:
        ahead = f"{at.scaled_forecast:.0f} s" if at.scaled_forecast is not None else "never"
        console.say(f"scaled      after {at.scaled:.0f} s, forecast {ahead}")
    if phases is None:
        console.note("the recording does not say when scrapes and turns fell: the middle of all ways is shown")
    return 0
