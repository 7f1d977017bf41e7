"""`wherry status`: how the deployed services are doing; exit 4 when one is not well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wherry.cli import project, table
from wherry.cli.clusters import cluster_flags, connected
from wherry.cli.console import Console
from wherry.cli.failures import NO
from wherry.cli.verb import Verb, cluster_options, name_argument

if TYPE_CHECKING:
    from wherry.deploy.status import Autoscaler, Status

WATCH_SECONDS = 2.0


@click.command(
    cls=Verb,
    examples=["wherry status", "wherry status breast -n models", "wherry status --watch", "wherry status --json"],
)
@name_argument
@click.option("-w", "--watch", is_flag=True, help="Look again every two seconds, and print what has changed.")
@cluster_options
@click.pass_obj
def status(
    console: Console,
    name: str | None,
    watch: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> int:
    """Say how the service NAME is doing, or all services of the namespace. The exit code is 4 when one is not well."""
    from wherry.deploy.life import status as look

    wanted = project.load(console, cluster_flags(context, namespace)).project
    with connected(console, wanted, kubeconfig) as cluster:
        found = look(cluster, name or "")
        show(console, found, watch)
        while watch:
            time.sleep(WATCH_SECONDS)
            before, found = found, look(cluster, name or "")
            if [essence(one) for one in found] != [essence(one) for one in before]:
                show(console, found, watch)
    return 0 if all(one.healthy for one in found) else NO


def essence(one: Status) -> tuple[Any, ...]:
    """What makes a look worth printing."""
    return one.name, one.wanted, one.ready, one.updated, one.image, one.restarts, one.problems, one.autoscaler


def show(console: Console, found: tuple[Status, ...], watch: bool) -> None:
    """Each service as a block of facts; as JSON a list, or an object a line for who watches."""
    if console.as_json:
        import msgspec

        documents = [{**msgspec.structs.asdict(one), "healthy": one.healthy} for one in found]
        for document in documents if watch else [documents]:
            console.document(document)
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
        yield "scaling", scaling(one.autoscaler)
    yield "model", f"{one.model or one.version}" + (f", digest {one.digest[:12]}" if one.digest else "")
    yield "image", one.image
    yield "age", age(one.age_seconds)
    if one.unmeasured:
        yield "unmeasured", f"{', '.join(one.unmeasured)}: not measured under load yet"


def scaling(one: Autoscaler) -> str:
    seen = f"CPU {one.cpu} % of the request" if one.cpu is not None else f"CPU unknown: {one.why}"
    target = f", aiming at {one.target} %" if one.target is not None else ""
    return f"{one.min} to {one.max} pods, {seen}{target}" + (f"\n{waiting(one)}" if one.too_many else "")


def waiting(one: Autoscaler) -> str:
    """How long it will be until there are fewer pods, as far as can be known: when the load fell is kept nowhere."""
    then = f", then again each {one.down_every} s" if one.down_every else ""
    return f"fewer pods would do: one goes {one.down_after} s after more were last needed{then}"


def age(seconds: float) -> str:
    """How long ago, in the largest unit that says it: 40 s, 12 min, 5 h, 3 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
