"""`wherry prove`: the load that the settings are meant for, put on the deployment; exit 4 when it does not hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import project
from wherry.cli.clusters import cluster_flags
from wherry.cli.console import Console
from wherry.cli.failures import INTERRUPTED, NO
from wherry.cli.verb import Verb, cluster_options, name_argument, token_option
from wherry.contract.project import Project
from wherry.errors import UsageRefused

if TYPE_CHECKING:
    from wherry.cli.stress_cluster import Deployed
    from wherry.cli.stress_run import Run
    from wherry.stress.shape import Shape

SECONDS = "4m"
QUIET, ARRIVED = 0.1, 0.6  # shares of the time after which the load begins to rise, and is at its peak
HEADROOM = 0.8  # of what all replicas carry at their knee: what is asked of settings that name no peak


@click.command(
    cls=Verb,
    examples=[
        "wherry prove",
        "wherry prove breast --peak 800 --duration 10m --html proof.html",
        'wherry prove --slo "p99<200ms,errors<0.1%" --replay monday.csv --speed 20',
    ],
)
@name_argument
@click.option(
    "--peak", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Highest rate; else [capacity] peak."
)
@click.option("--slo", metavar="LIMITS", help="Objective; else [capacity] slo.")
@click.option("--duration", metavar="TIME", help="How long, as 90s or 10m; 4m, or the whole of a replay.")
@click.option("--shape", metavar="SHAPE", help="Another load than a ramp to the peak, as stress --shape.")
@click.option("--replay", metavar="FILE|history", help="A trace, or the requests the store kept, in place of a ramp.")
@click.option("--speed", type=click.FloatRange(0.001, 1000), default=1.0, metavar="N", help="Replay N times as fast.")
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Rows to send in place of golden rows.")
@click.option(
    "--new-connections", is_flag=True, help="Open a connection for each request: kept ones stay with their pod."
)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a report with pictures.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the objective as JUnit XML.")
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write the run as JSON.")
@click.option("--allow-remote", is_flag=True, help="Load a cluster that is not this machine's without being asked.")
@cluster_options
@token_option
@click.pass_obj
def prove(
    console: Console,
    name: str | None,
    peak: float | None,
    slo: str | None,
    duration: str | None,
    shape: str | None,
    replay: str | None,
    speed: float,
    data: Path | None,
    new_connections: bool,
    html: Path | None,
    junit: Path | None,
    record: Path | None,
    allow_remote: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    token_file: Path | None,
) -> int:
    """Show that the settings hold: replay load against the deployment NAME, and judge it by the objective.

    The load rises from what the fewest replicas carry to the peak that the settings are meant for, and stays there. The
    exit code is 4 when the objective was missed at any time of it.
    """
    from wherry.cli.stress_replay import Load, Wish, load_of
    from wherry.cli.stress_run import Outputs, Sending, found, on_deployment, show, write
    from wherry.stress.grammar import read_duration, read_objective
    from wherry.stress.shape import bounded

    wanted = project.load(console, cluster_flags(context, namespace)).project
    limits = read_objective(slo if slo is not None else wanted.capacity.slo)
    outputs = Outputs(html, junit, record)
    outputs.check()
    if shape is not None or replay is not None:
        if peak is not None:
            raise click.UsageError(f"--peak and {'--shape' if shape else '--replay'} both give the rate; leave one out")
        load = load_of(console, Wish(duration=duration, shape=shape, replay=replay, speed=speed))
    else:
        load = Load(bounded(rising(wanted, peak_of(wanted, peak), read_duration(duration or SECONDS))))
    with found(console, wanted, name or "", kubeconfig) as there:
        compare(console, wanted, there)
        sending = Sending(data=data, token_file=token_file, allow_remote=allow_remote, fresh=new_connections)
        run = on_deployment(console, there, load, limits, sending)
    write(run, outputs)
    show(console, run, outputs)
    if run.report.interrupted:
        return INTERRUPTED
    conclude(console, run)
    return 0 if run.report.met else NO


def peak_of(wanted: Project, peak: float | None) -> float:
    """The rate that the settings are meant for. Raises UsageRefused where nothing says it."""
    if found := peak or wanted.capacity.peak:
        return found
    if wanted.capacity.knee is not None:
        return wanted.capacity.knee * most(wanted) * HEADROOM
    raise UsageRefused(
        "nothing says which rate the settings are meant for", hint="wherry prove --peak 200, or measure: wherry advise"
    )


def rising(wanted: Project, peak: float, seconds: float) -> Shape:
    """A rise to the peak from its share that the fewest replicas carry: slow enough for an autoscaler to follow."""
    from wherry.stress.shape import Shape

    base = peak * min(1.0, fewest(wanted) / most(wanted))
    times = (0.0, QUIET * seconds, ARRIVED * seconds, seconds)
    return Shape(f"from {base:.3g} to {peak:.3g}/s", times, (base, base, peak, peak))


def fewest(wanted: Project) -> int:
    """Replicas at least."""
    return wanted.deploy.autoscale.min if wanted.deploy.replicas is None else max(1, wanted.deploy.replicas)


def most(wanted: Project) -> int:
    """Replicas at most."""
    return wanted.deploy.autoscale.max if wanted.deploy.replicas is None else max(1, wanted.deploy.replicas)


def compare(console: Console, wanted: Project, there: Deployed) -> None:
    """Says where the cluster has other settings than the project, since it is the cluster's that are proven."""
    live = there.observer.conditions
    if live is None or wanted.deploy.replicas is not None:
        return
    scale = wanted.deploy.autoscale
    pairs = [("min", live.min_replicas, scale.min), ("max", live.max_replicas, scale.max)]
    pairs.append(("cpu", live.cpu_target, scale.cpu))
    off = [f"{name} {has}, not {asked}" for name, has, asked in pairs if has != asked]
    if off:
        console.note(
            f"the cluster has other settings than this project: {', '.join(off)}; it is the cluster's that are proven",
            hint="wherry deploy",
            warn=True,
        )
    ready = there.observer.ready
    if ready > live.min_replicas:
        console.note(
            f"{ready} pods are ready, more than the fewest, {live.min_replicas}: what is seen of scaling up is not all",
            warn=True,
        )


def conclude(console: Console, run: Run) -> None:
    """The verdict in a sentence, and what to do about a no."""
    from wherry.stress.report import measured_text
    from wherry.stress.scaling import scaling_of

    assert run.recording is not None  # a deployment was watched
    scaling = scaling_of(run.recording)
    if run.report.met:
        console.note(f"the settings hold: {run.report.shape}, with {scaling.most} pods at most")
        return
    missed = ", ".join(f"{one.objective} was {measured_text(one)}" for one in run.report.slo if not one.met)
    if scaling.limited:
        hint = f"[deploy.autoscale] max = {2 * (scaling.maximum or 1)}, wherry deploy, and wherry prove again"
    else:
        hint = "[deploy.autoscale] min or a lower cpu leave more room for what comes while pods start"
    console.note(f"the settings do not hold: {missed}", hint=hint, warn=True)
