"""`wherry advise`: what one replica holds, found by load, and the settings that follow, written into the project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wherry.cli import project as projects
from wherry.cli.clusters import cluster_flags
from wherry.cli.console import Console
from wherry.cli.failures import INTERRUPTED, NO
from wherry.cli.verb import Verb, cluster_options, token_option
from wherry.errors import NotConfirmed

if TYPE_CHECKING:
    from wherry.stress.advising.advice import Line, Measured
    from wherry.stress.advising.knee import Knee, Probe


@click.command(
    cls=Verb,
    examples=[
        "wherry advise http://127.0.0.1:8080",
        "wherry advise breast --peak 800",
        'wherry advise breast --slo "p99<50ms,errors<0.1%" --yes',
        "WHERRY_DEPLOY_REPLICAS=1 wherry deploy && wherry advise",
    ],
)
@click.argument("where", required=False, default="", metavar="[URL|NAME]")
@click.option("--slo", metavar="LIMITS", help='Objective, as "p99<100ms,errors<0.1%"; else [capacity] slo.')
@click.option("--peak", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Highest rate to carry in all.")
@click.option(
    "--first", type=click.FloatRange(min=0.5), default=10.0, show_default=True, metavar="N", help="First rate tried."
)
@click.option(
    "--most-rate", type=click.FloatRange(min=1), default=20_000.0, metavar="N", help="Highest rate tried; 20000."
)
@click.option(
    "--time", "most_time", default="5m", show_default=True, metavar="TIME", help="Longest that it all may take."
)
@click.option(
    "--probe", "probe_time", default="5s", show_default=True, metavar="TIME", help="How long each rate is tried."
)
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Rows to send in place of golden rows.")
@click.option(
    "--connections", type=click.IntRange(1, 10_000), default=64, show_default=True, metavar="N", help="At most."
)
@click.option("--allow-remote", is_flag=True, help="Load an address that is not this machine without being asked.")
@click.option("--yes", is_flag=True, help="Write the settings without being asked.")
@click.option("--no-write", is_flag=True, help="Show the settings and write nothing.")
@cluster_options
@token_option
@click.pass_obj
def advise(
    console: Console,
    where: str,
    slo: str | None,
    peak: float | None,
    first: float,
    most_rate: float,
    most_time: str,
    probe_time: str,
    data: Path | None,
    connections: int,
    allow_remote: bool,
    yes: bool,
    no_write: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    token_file: Path | None,
) -> int:
    """Find what one replica holds, and write the settings that follow.

    Load rises until the objective is missed, then closes in on the highest rate at which it holds: the knee. From that
    follow resources, workers, the autoscaler's target and bounds, each with its reason; the change is shown first.
    """
    from wherry.cli.advise_batch import batches
    from wherry.cli.advise_run import STEADY, Prober, subject, with_cost
    from wherry.cli.forecast import goal_of
    from wherry.cli.stress_run import Sending
    from wherry.stress.advising.advice import BATCH_SHARE, Measured, Wishes
    from wherry.stress.advising.advice import advise as settings_for
    from wherry.stress.advising.knee import Limits, Search
    from wherry.stress.grammar import read_duration, read_objective

    if not (yes or no_write or console.as_json or console.interactive):
        raise NotConfirmed(
            "Write the settings that follow into the project's file?", "--yes, or see them with --no-write"
        )
    wanted = projects.load(console, {**cluster_flags(context, namespace), "capacity.slo": slo}).project
    text = wanted.capacity.slo
    limits, goal = read_objective(text), goal_of(text)
    bounds = Limits(
        rate=most_rate, seconds=read_duration(most_time, "--time"), probe=read_duration(probe_time, "--probe")
    )
    sending = Sending(
        data=data, token_file=token_file, allow_remote=allow_remote, no_store=True, connections=connections
    )
    with subject(console, where, wanted, kubeconfig, sending) as under:
        limited = f" under its CPU limit of {under.cpu_limit:.0f}m" if under.cpu_limit is not None else ""
        console.note(
            f"one replica of {under.name}{limited} is held to {text}; at most {bounds.seconds:.0f} s, "
            f"{bounds.requests:,} requests, {bounds.rate:,.0f}/s"
        )
        prober = Prober(under, limits, sending)
        knee = Search(prober.measure, bounds, lambda probe: console.note(probe_line(probe))).run(first)
        if prober.interrupted or knee.rate is None:
            return without(console, knee, prober.interrupted)
        measured = Measured(
            knee=knee.rate,
            found=knee.found,
            slo=text,
            limit=1000 * goal.limit,
            cpu_limit=under.cpu_limit,
            start=under.start,
            batches=batches(under.asking, token_file, BATCH_SHARE * 1000 * goal.limit),
        )
        console.note(f"what it uses is seen at {STEADY * knee.rate:.4g}/s for {under.steady_seconds:.0f} s")
        used = prober.used(STEADY * knee.rate)
        if used is None:
            return without(console, knee, True)
        measured = with_cost(measured, *used, STEADY * knee.rate)
    scale = wanted.deploy.autoscale
    lines = settings_for(measured, Wishes(peak=peak or wanted.capacity.peak, fewest=scale.min, most=scale.max))
    if wanted.deploy.replicas is not None:
        console.note("[deploy] replicas fixes their number: without it the autoscaler counts them", warn=True)
    return conclude(console, knee, measured, lines, yes=yes, no_write=no_write)


def probe_line(probe: Probe) -> str:
    """A probe for the terminal."""
    tail = "nothing answered" if probe.tail is None else f"{probe.tail:.1f} ms"
    failed = f", {probe.errors:.2g} % failed" if probe.errors else ""
    late = ", the generator was late" if probe.lagged else ""
    return f"{probe.rate:>8.4g}/s  {'held  ' if probe.held else 'missed'}  {tail}{failed}{late}"


def without(console: Console, knee: Knee, interrupted: bool) -> int:
    """The end of a search that found nothing to advise on."""
    if console.as_json:
        console.document({"interrupted": interrupted, "knee": document(knee), "settings": []})
    else:
        console.say(f"no advice: {knee.reason} ({knee.requests:,} requests sent)")
        if not interrupted:
            console.note("not even the lowest rate held the objective", hint='a wider one: --slo "p99<500ms"')
    return INTERRUPTED if interrupted else NO


def document(knee: Knee) -> dict[str, Any]:
    return {
        "rate": knee.rate,
        "found": knee.found,
        "reason": knee.reason,
        "requests": knee.requests,
        "seconds": round(knee.seconds, 1),
        "probes": msgspec.to_builtins(knee.probes),
    }


def conclude(
    console: Console,
    knee: Knee,
    measured: Measured,
    lines: tuple[Line, ...],
    *,
    yes: bool,
    no_write: bool,
) -> int:
    """Show the knee, the settings with their reasons and the change of the file; write it when it may be."""
    from wherry.cli.rewriting import difference, file_of, replace, rewritten

    path, table = file_of()
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    changes = {line.path: line.value for line in lines if line.path and line.value is not None}
    after = rewritten(before, table, changes)
    write = after != before and not no_write
    if not console.as_json:
        console.say(f"knee: {knee.rate:.4g} requests a second ({knee.reason})")
        for line in lines:
            setting = f"{line.path} = {line.value}" if line.path and line.value is not None else line.path
            console.say(f"  {setting}: {line.reason}" if setting else f"  {line.reason}")
        console.say_all(difference(before, after, path.name))
        if after == before:
            console.note(f"{path.name} says all of that already")
    if write and not yes:
        write = not console.as_json and console.agreed(f"Write these settings into {path.name}?", flag="--yes")
    if write:
        replace(path, after)
    if console.as_json:
        console.document(
            {
                "knee": document(knee),
                "measured": msgspec.to_builtins(measured),
                "settings": [{"path": one.path, "value": one.value, "reason": one.reason} for one in lines],
                "file": path.name,
                "written": write,
            }
        )
    elif write:
        console.note(f"{path.name} is written", hint="wherry deploy, then wherry prove")
    return 0
