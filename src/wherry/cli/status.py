"""`wherry status`: how the deployed services are doing; exit 4 when one is not well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import project, table
from wherry.cli.clusters import cluster_flags, connected
from wherry.cli.console import Console
from wherry.cli.failures import NO
from wherry.cli.verb import Verb, cluster_options, name_argument

if TYPE_CHECKING:
    from wherry.deploy.status import Status


@click.command(
    cls=Verb,
    examples=[
        "wherry status",
        "wherry status breast -n models",
        "wherry status --watch",
        "wherry status --watch --page --open",
        "wherry status --json",
    ],
)
@name_argument
@click.option("-w", "--watch", is_flag=True, help="Look every two seconds, at the load too, until Ctrl-C.")
@click.option(
    "--page", is_flag=True, help="With --watch: as a page for this machine's browsers; its address is printed."
)
@click.option("--port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the page; by default a free one.")
@click.option("--open", "open_it", is_flag=True, help="Open the page in a browser.")
@cluster_options
@click.pass_obj
def status(
    console: Console,
    name: str | None,
    watch: bool,
    page: bool,
    port: int | None,
    open_it: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> int:
    """Say how the service NAME is doing, or all services of the namespace. The exit code is 4 when one is not well.

    With --watch: pods, CPU, memory, replicas, requests, latency, failures and classes, until Ctrl-C, which exits 0.
    CPU and memory take metrics-server; what the pods count takes the right to create pods/portforward.
    """
    from wherry.cli import watching
    from wherry.deploy.life import status as look

    for flag, given, needs, met in (
        ("--page", page, "--watch", watch),
        ("--port", port is not None, "--page", page),
        ("--open", open_it, "--page", page),
    ):
        if given and not met:
            raise click.UsageError(f"{flag} goes with {needs}")
    wanted = project.load(console, cluster_flags(context, namespace)).project
    with connected(console, wanted, kubeconfig) as cluster:
        if page:
            watching.show_page(console, cluster, name or "", port=port or 0, open_it=open_it)
            return 0
        if watch:
            watching.watch(console, cluster, name or "")
            return 0
        found = look(cluster, name or "")
        show(console, found)
    return 0 if all(one.healthy for one in found) else NO


def show(console: Console, found: tuple[Status, ...]) -> None:
    """Each service as a block of facts; as JSON a list."""
    if console.as_json:
        import msgspec

        console.document([{**msgspec.structs.asdict(one), "healthy": one.healthy} for one in found])
        return
    if not found:
        console.note("wherry has made nothing in this namespace", hint="wherry deploy --image REGISTRY/NAME")
    for place, one in enumerate(found):
        if place:
            console.say()
        console.say(f"{one.name}  {state(one)}")
        console.say_all(table.pairs(facts(one), indent=2, width=console.width))


def state(one: Status) -> str:
    if one.paused:
        return "paused"
    return "well" if one.healthy else "not well"


def facts(one: Status) -> Iterator[tuple[str, str]]:
    """What there is to know about one service."""
    yield "problem", "\n".join(one.problems)
    if one.address is not None:
        yield "address", one.address.url + (f"\n{one.address.hint}" if one.address.hint else "")
    restarts = f", {table.count(one.restarts, 'restart')}" if one.restarts else ""
    yield "pods", f"{one.ready} of {one.wanted} ready{restarts}"
    if one.autoscaler is not None:
        yield "scaling", one.autoscaler.words
    yield "model", f"{one.model or one.version}" + (f", digest {one.digest[:12]}" if one.digest else "")
    yield "image", one.image
    yield "beside", "\n".join(each.words for each in one.beside)
    yield "schedule", "\n".join(each.words for each in one.schedule)
    yield "age", age(one.age_seconds)
    if one.unmeasured:
        yield "unmeasured", f"{', '.join(one.unmeasured)}: not measured under load yet"


def age(seconds: float) -> str:
    """How long ago, in the largest unit that says it: 40 s, 12 min, 5 h, 3 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
