"""How deployed services look while somebody watches: in place on a terminal, a line a look elsewhere. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wherry.cli import table
from wherry.cli.drawing import dots, painted, sparks

if TYPE_CHECKING:
    from wherry.deploy.dashboard.seen import Look, PodSeen, Point, Seen, Traffic

HISTORY = 40
CLASSES = 6  # that are named; the others are counted together
BAR = 12
NEWS = 4  # changes that are shown
LEAD = 10


def plain(look: Look) -> Iterator[str]:
    """A line a service: for files, pipes and NO_COLOR."""
    if look.trouble:
        yield f"{clock(look.at)} {look.trouble}"
        return
    if not look.services:
        yield f"{clock(look.at)} wherry has made nothing in namespace {look.namespace}"
    for seen in look.services:
        told = seen.status
        parts = [f"{told.ready} of {told.wanted} pods ready", *used(seen)]
        if told.autoscaler is not None:
            parts += told.autoscaler.words.splitlines()
        if seen.traffic is not None:
            parts += [speed(seen.traffic), times(seen.traffic), *filter(None, [", ".join(shares(seen.traffic))])]
        parts += [*told.problems, *seen.troubles]
        yield f"{clock(look.at)} {told.name} {state(seen)}: {'; '.join(parts)}"


def picture(look: Look, courses: Mapping[str, Iterable[Point]]) -> list[str]:
    """The whole board, with colours."""
    where = f"context {look.context}, namespace {look.namespace}"
    lines = [f"{painted(where, '2')}  {clock(look.at)}  {painted('Ctrl-C ends', '2')}"]
    if look.trouble:
        lines.append(painted(f"! {look.trouble}", "31"))
    if not look.services:
        lines.append("wherry has made nothing here, or it was taken down")
    for seen in look.services:
        lines += ["", *service(seen, list(courses.get(seen.status.name, ()))[-HISTORY:])]
    news = [f"{clock(one.at)} {one.service} {one.text}" for one in look.changes[-NEWS:]]
    return [*lines, *(["", *(painted(line, "36") for line in news)] if news else [])]


def service(seen: Seen, course: Sequence[Point]) -> Iterator[str]:
    """One service: its state, what it does, its pods."""
    told = seen.status
    colour = "32" if told.healthy else "31"
    address = painted(told.address.url, "2") if told.address else ""
    yield f"{painted(told.name, '1')}  {painted(state(seen), colour)}  {told.model or told.version}  {address}"
    for problem in told.problems:
        yield painted(f"  ! {problem}", "31")
    yield row("pods", f"{dots(told.ready, told.wanted)}  {told.ready} of {told.wanted} ready")
    if told.autoscaler is not None:
        for line in told.autoscaler.words.splitlines():
            yield row("scaling" if line == told.autoscaler.words.splitlines()[0] else "", line)
    if seen.traffic is not None:
        yield row("requests", speed(seen.traffic), sparks(one.rate or 0.0 for one in course))
        yield row("latency", times(seen.traffic), sparks(one.p99_ms or 0.0 for one in course), "35")
        if told_classes := list(bars(seen.traffic)):
            yield row("classes", "   ".join(told_classes))
    if seen.cpu is not None:
        yield row("CPU", cores(seen), sparks(one.cpu or 0.0 for one in course))
    if seen.memory is not None:
        yield row("memory", bytes_used(seen), sparks(one.memory or 0.0 for one in course))
    for trouble in seen.troubles:
        yield painted(f"  ! {trouble}", "33")
    if seen.pods:
        yield from (f"  {line}" for line in pods(seen.pods))


def pods(found: Sequence[PodSeen]) -> Iterator[str]:
    head = ("pod", "state", "cpu", "memory", "rate", "p99", "restarts")
    rows = [
        (
            one.name,
            one.reason or ("ready" if one.ready else one.phase.lower()) + ("" if one.new else ", old"),
            "-" if one.cpu is None else f"{one.cpu:.0f}m",
            "-" if one.memory is None else table.size(one.memory),
            "-" if one.rate is None else f"{number(one.rate)}/s",
            latency(one.p99_ms),
            str(one.restarts),
        )
        for one in found
    ]
    return table.lines(head, rows, right=head[2:])


def row(name: str, text: str, course: str = "", colour: str = "36") -> str:
    return (
        f"  {painted(name.ljust(LEAD), '2') if name else ' ' * LEAD}{text.ljust(46)} {painted(course, colour)}".rstrip()
    )


def state(seen: Seen) -> str:
    if seen.status.paused:
        return "paused"
    return "well" if seen.status.healthy else "not well"


def used(seen: Seen) -> Iterator[str]:
    if seen.cpu is not None:
        yield f"CPU {cores(seen)}"
    if seen.memory is not None:
        yield f"memory {bytes_used(seen)}"


def cores(seen: Seen) -> str:
    """180m of 250m requested, limit 800m."""
    asked = f" of {seen.cpu_request:.0f}m requested" if seen.cpu_request else ""
    most = f", limit {seen.cpu_limit:.0f}m" if seen.cpu_limit else ""
    return f"{seen.cpu or 0:.0f}m{asked}{most}"


def bytes_used(seen: Seen) -> str:
    most = f" of {table.size(seen.memory_limit)}" if seen.memory_limit else ""
    return f"{table.size(seen.memory or 0)}{most}"


def speed(found: Traffic) -> str:
    """How many are asked, and how many of these failed (5xx) or were refused (4xx)."""
    refused = f", {number(found.refused)}/s refused" if found.refused else ""
    return f"{number(found.rate)}/s, {number(found.failed)}/s failed{refused}"


def times(found: Traffic) -> str:
    return f"p50 {latency(found.p50_ms)}, p90 {latency(found.p90_ms)}, p99 {latency(found.p99_ms)}"


def shares(found: Traffic) -> Iterator[str]:
    """Every class with its share of all rows since the pods' start, the commonest first."""
    total = sum(found.classes_total.values())
    ranked = sorted(found.classes_total.items(), key=lambda one: -one[1])
    for name, count in ranked[:CLASSES]:
        yield f"{name} {100 * count / total:.0f} %"
    if rest := sum(count for _, count in ranked[CLASSES:]):
        yield f"{len(ranked) - CLASSES} more {100 * rest / total:.0f} %"


def bars(found: Traffic) -> Iterator[str]:
    """The same, each with its length."""
    for text in shares(found):
        share = float(text.rsplit(" ", 2)[1])
        yield f"{text} {painted('━' * max(1, round(BAR * share / 100)), '36')}"


def latency(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.3g} ms"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
