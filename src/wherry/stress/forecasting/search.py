"""The cheapest settings of the autoscaler under which a trace holds its objective. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import numpy as np

from wherry.stress.forecasting.autoscaler import Autoscaler, Behavior
from wherry.stress.forecasting.forecast import Forecast, Setup, cut_of, drawn, forecast
from wherry.stress.forecasting.outcome import outcome_of
from wherry.stress.forecasting.simulation import simulate
from wherry.stress.forecasting.trace import Trace

TARGETS = (40, 50, 60, 70, 80, 90)  # percent of the CPU request
CALMS = (60, 300)  # seconds of less load before pods are removed
DAY = 86400.0
LONG = 3 * DAY  # a trace longer than this is searched on its hardest days, and the best are run in whole
SHARE_OF_MAX = 1.25  # the most replicas over the most used: costs nothing until it is needed
PHASES = 3  # ways in which the turns fall, tried for each candidate


class Candidate(msgspec.Struct, frozen=True):
    """Settings, and what they led to on the part of the trace that was searched."""

    autoscaler: Autoscaler
    cost: float
    met: bool


Told = Callable[[int, int], None]


def search(trace: Trace, setup: Setup, tell: Told = lambda done, total: None) -> tuple[Forecast | None, int]:
    """The forecast under the cheapest settings that hold, and how many settings were tried. None: none holds.

    Cost is pods times hours where no price is given. `tell` hears how many of how many rows of settings are done.
    """
    setup = msgspec.structs.replace(setup, pod_hour=setup.pod_hour or 1.0)
    parts = [trace] if trace.seconds <= LONG else hardest_days(trace)
    peak = max(float(trace.steps(cut_of(trace)[0]).max()), 1.0)
    most = max(1, math.ceil(2 * peak / setup.replica.knee))
    tried = 0
    found: list[Candidate] = []
    rows = [(target, calm) for target in TARGETS for calm in CALMS]
    for done, (target, calm) in enumerate(rows):
        tell(done, len(rows))
        held, count = fewest(parts, setup, most, target, calm)
        tried += count
        if held is not None:
            found.append(held)
    tell(len(rows), len(rows))
    for candidate in sorted(found, key=lambda each: each.cost)[:4]:
        for autoscaler in raised(candidate.autoscaler, most):
            tried += 1
            whole = forecast(trace, msgspec.structs.replace(setup, autoscaler=autoscaler, replicas=None))
            if whole.met:
                return tightened(whole), tried
    return None, tried


def fewest(parts: list[Trace], setup: Setup, most: int, target: int, calm: int) -> tuple[Candidate | None, int]:
    """The least minimum with which these settings hold, by bisection; and how many were tried."""
    low, high, tried = 1, most, 0
    best: Candidate | None = None
    while low <= high:
        middle = (low + high) // 2
        candidate = judged(parts, setup, settings(setup.autoscaler, middle, most, target, calm))
        tried += 1
        if candidate.met:
            best, high = candidate, middle - 1
        elif middle == most:
            break
        else:
            low = middle + 1
    return best, tried


def settings(given: Autoscaler, fewest: int, most: int, target: int, calm: int) -> Autoscaler:
    down = msgspec.structs.replace(given.behavior.down, window=calm)
    behavior = Behavior(given.behavior.up, down)
    return msgspec.structs.replace(given, min=fewest, max=most, target=target, behavior=behavior)


def judged(parts: list[Trace], setup: Setup, autoscaler: Autoscaler) -> Candidate:
    cost, met = 0.0, True
    for part in parts:
        step, _ = cut_of(part)
        rate = part.steps(step)
        for phases in drawn(PHASES, 1, autoscaler):
            run = simulate(rate, step, setup.replica, autoscaler, phases, setup.cluster)
            outcome = outcome_of(run, setup.replica, setup.objective, setup.pod_hour)
            cost += outcome.cost
            met = met and outcome.met
            if not met:
                return Candidate(autoscaler, cost, False)
    return Candidate(autoscaler, cost, met)


def raised(autoscaler: Autoscaler, most: int) -> Iterator[Autoscaler]:
    """These settings, then with a larger minimum: what held on the hardest days may just miss over the whole."""
    for factor in (1.0, 1.25, 1.5, 2.0):
        fewest = min(most, math.ceil(autoscaler.min * factor))
        yield msgspec.structs.replace(autoscaler, min=fewest)


def tightened(whole: Forecast) -> Forecast:
    """The same run with a maximum that says what was used, with some room."""
    used = int(whole.desired.max())
    autoscaler = msgspec.structs.replace(whole.setup.autoscaler, max=max(used, math.ceil(used * SHARE_OF_MAX)))
    return replace(whole, setup=msgspec.structs.replace(whole.setup, autoscaler=autoscaler))


def hardest_days(trace: Trace) -> list[Trace]:
    """The day with the highest rate, and the day in which it rises fastest."""
    step = 60.0
    rate = trace.steps(step)
    rise = rate[5:] - rate[:-5] if len(rate) > 5 else rate
    days = {int(np.argmax(rate) * step // DAY), int((np.argmax(rise) + 5) * step // DAY)}
    return [trace.part(day * DAY, min((day + 1) * DAY, trace.seconds)) for day in sorted(days)]
