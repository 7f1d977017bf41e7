"""From what was measured to settings, each with its reason. Pure."""

from __future__ import annotations

import math
from typing import Any

import msgspec

ROOM = 1.5  # memory over the peak that was seen
MEMORY_STEP = 16 * 2**20
LEAST_MEMORY = 128 * 2**20
CPU_STEP = 10  # millicores
GROWTH = 0.5  # by how much of itself load may grow in a minute, where no trace says better
LOOK = 30.0  # seconds until the autoscaler has seen a rise: a scrape's window, its age and a turn, on average
TARGETS = (30, 80)  # percent that a target may lie between
SPARE = 1  # replicas at most beyond what the peak needs: one may be lost
BATCH_SHARE = 0.25  # of the objective's latency that scoring one batch may take


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica did. Rates a second, CPU in millicores, memory in bytes; None where it was not seen.

    cost: CPU of one request in millicore-seconds. cpu_limit: the limit it ran under. limit: latency of the objective in
    ms. start: seconds from a pod's creation to its readiness. batches: rows of a request and the ms that it took alone.
    """

    knee: float
    found: bool
    slo: str
    limit: float
    cost: float | None = None
    idle: float | None = None
    memory: int | None = None
    cpu_limit: float | None = None
    start: float | None = None
    batches: tuple[tuple[int, float], ...] = ()


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings are for. peak: highest rate expected. fewest, most: as the project has them."""

    peak: float | None = None
    fewest: int = 2
    most: int = 10


class Line(msgspec.Struct, frozen=True):
    """One setting with its value and why. value None: nothing is to be set, the reason says what holds."""

    path: str
    value: Any
    reason: str


def advise(measured: Measured, wishes: Wishes) -> tuple[Line, ...]:
    """Every setting that follows, in the order of the project's file."""
    found: list[Line] = []
    knee = measured.knee
    found.append(Line("serve.workers", *workers(measured)))
    found.append(Line("serve.batch_rows", *batch_rows(measured)))
    full = cpu_at_knee(measured)
    request = None
    if full is not None:
        request = max(CPU_STEP, math.ceil(full / CPU_STEP) * CPU_STEP)
        used = f"{full:.0f}m"
        if measured.cpu_limit is not None:
            request = min(request, int(measured.cpu_limit))
            if full > measured.cpu_limit:  # what it used below the knee, carried on
                used = "all that its limit gives"
        found.append(Line("deploy.resources.cpu", f"{request}m", f"a replica uses {used} at {knee:.4g}/s, its knee"))
    found.append(Line("deploy.resources.cpu_limit", *cpu_limit(measured)))
    if measured.memory is not None:
        memory = max(LEAST_MEMORY, math.ceil(measured.memory * ROOM / MEMORY_STEP) * MEMORY_STEP)
        seen = f"{measured.memory / 2**20:.0f} MiB were seen at most under load, and half as much again is room"
        found.append(Line("deploy.resources.memory", f"{memory // 2**20}Mi", seen))
    target, why = target_of(measured)
    found.append(Line("deploy.autoscale.cpu", target, why))
    carried = knee * target / 100
    found += bounds(carried, target, wishes)
    found.append(
        Line("", None, "disruption budget: one pod at a time may be taken away, which deploy renders by itself")
    )
    found += [
        Line("capacity.knee", round_to(knee, 3), "measured" if measured.found else "measured; it may be higher"),
        Line("capacity.slo", measured.slo, "the objective that it was measured by"),
    ]
    for name, value in (("cost", measured.cost), ("idle", measured.idle), ("start_seconds", measured.start)):
        if value is not None and (value > 0 or name == "idle"):
            found.append(Line(f"capacity.{name}", round_to(value, 3), "measured"))
    if wishes.peak is not None:
        found.append(Line("capacity.peak", round_to(wishes.peak, 4), "as you said"))
    return tuple(found)


def cpu_at_knee(measured: Measured) -> float | None:
    if measured.cost is None:
        return None
    return (measured.idle or 0.0) + measured.cost * measured.knee


def workers(measured: Measured) -> tuple[int, str]:
    cores = (measured.cpu_limit or 1000.0) / 1000
    if measured.cpu_limit is not None and cores >= 2:
        return int(cores), f"a worker uses one core, and the limit gives {cores:g}"
    return 1, "a worker fills one core; more load is met by more replicas, which can be on other nodes"


def batch_rows(measured: Measured) -> tuple[int | None, str]:
    """The most rows of one call of the model, which whoever comes meanwhile waits for."""
    room = BATCH_SHARE * measured.limit
    within = [one for one in measured.batches if one[1] <= room]
    beyond = [one for one in measured.batches if one[1] > room]
    if not measured.batches:
        return None, "batch cap: left as it is, for no request with more and more rows could be tried"
    told = ", ".join(f"{rows:,} took {took:.3g} ms" for rows, took in [*within[-1:], *beyond[:1]])
    why = f"rows scored in one call: {told}, and a call may take a quarter of the objective's {measured.limit:g} ms"
    return (within[-1][0] if within else 1), why


def cpu_limit(measured: Measured) -> tuple[str | None, str]:
    if measured.cpu_limit is not None:
        return f"{measured.cpu_limit:.0f}m", "the knee was measured under this limit and holds under it alone"
    return None, "no CPU limit: a limit holds up requests while the node has cores to spare"


def target_of(measured: Measured) -> tuple[int, str]:
    """The CPU target that leaves room for what comes while new replicas start."""
    delay = LOOK + (measured.start if measured.start is not None else 10.0)
    exact = 100 / (1 + GROWTH * delay / 60)
    target = int(min(max(exact // 5 * 5, TARGETS[0]), TARGETS[1]))
    return target, (
        f"new replicas help after about {delay:.0f} s; with load that grows by {GROWTH:.0%} a minute a replica may be "
        f"{target} % busy until then"
    )


def bounds(carried: float, target: int, wishes: Wishes) -> list[Line]:
    """Fewest and most replicas. `carried`: requests a second of a replica at the target."""
    least = max(2, wishes.fewest) if wishes.peak is None or wishes.peak > carried else wishes.fewest
    fewest = Line(
        "deploy.autoscale.min",
        least,
        f"while one is lost or replaced the others answer; they carry {least * carried:.4g}/s at {target} %",
    )
    if wishes.peak is None:
        most = max(wishes.most, least)
        why = f"kept: they carry {most * carried:.4g}/s; --peak RATE says what must be carried"
        return [fewest, Line("deploy.autoscale.max", most, why)]
    most = max(least, math.ceil(wishes.peak / carried) + SPARE)
    why = f"{wishes.peak:.4g}/s at {carried:.4g}/s each, and {SPARE} to lose"
    return [fewest, Line("deploy.autoscale.max", most, why)]


def round_to(value: float, digits: int) -> float:
    """`value` with so many significant digits, as a person would write it."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short == int(short) else short
