"""A recorded run forecast again under its own conditions, and how far the two lie apart. Pure."""

from __future__ import annotations

import msgspec
import numpy as np

from wherry.contract.recording import Recording
from wherry.stress.forecasting.autoscaler import Autoscaler, behavior_of
from wherry.stress.forecasting.forecast import Forecast, Setup
from wherry.stress.forecasting.replica import Floats, Replica
from wherry.stress.forecasting.simulation import Phases
from wherry.stress.forecasting.trace import Trace

READ_EVERY = 2.0  # seconds between two looks at the metrics, so that one is seen half of that late on average


class Compared(msgspec.Struct, frozen=True):
    """A forecast beside what was recorded. Shares are of the instants, times in seconds.

    within_one: the replicas asked for are at most one apart. in_band: the recording lies in the 5 to 95 % band.
    scaled, scaled_forecast: until as many pods as there ever were are ready; None where that never happens.
    """

    within_one: float
    in_band: float
    scaled: float | None
    scaled_forecast: float | None

    @property
    def time_error(self) -> float | None:
        """How far the time to scale is off, as a share of the recorded one."""
        if self.scaled is None or self.scaled_forecast is None:
            return None
        return abs(self.scaled_forecast - self.scaled) / max(self.scaled, 1e-9)


def trace_of(run: Recording) -> Trace:
    """What was offered, second by second."""
    times = np.array([second.at for second in run.seconds], dtype=np.float64)
    rates = np.array([second.offered for second in run.seconds], dtype=np.float64)
    return Trace(times - times[0], rates, float(times[-1] - times[0]) + 1.0)


def setup_of(run: Recording, replica: Replica, known: Setup) -> Setup:
    """`known` with the autoscaler, the request and the start that were in force; `replica` says what one pod does."""
    was = run.conditions
    replica = msgspec.structs.replace(
        replica, request=was.cpu_request, start=was.start_seconds if was.start_seconds is not None else replica.start
    )
    autoscaler = Autoscaler(
        min=was.min_replicas,
        max=was.max_replicas,
        target=was.cpu_target,
        behavior=behavior_of(was.behavior),
        sync=was.sync_seconds,
        tolerance=was.tolerance,
        initial_readiness=was.initial_readiness_seconds,
        initialization=was.cpu_initialization_seconds,
    )
    first = next((second.desired for second in run.seconds if second.desired is not None), None)
    return msgspec.structs.replace(known, replica=replica, autoscaler=autoscaler, replicas=first)


def phases_of(run: Recording) -> Phases | None:
    """When its scrapes and its autoscaler's turns fell; None where it does not say."""
    scrapes = [one for one in run.cpu if one.at >= 0]
    turns = [one.at for one in run.happenings if one.kind == "rescaled" and one.at >= 0] or [
        one.at for one in run.happenings if one.kind == "synced" and one.at >= 0
    ]
    if not scrapes or not turns:
        return None
    every = run.conditions.scrape_seconds
    lags = [max(0.0, one.at - one.scraped - READ_EVERY / 2) for one in scrapes]
    return Phases(
        sync=phase([*turns], run.conditions.sync_seconds),
        scraped=phase([one.scraped for one in scrapes], every),
        every=every,
        window=float(np.median([one.window for one in scrapes])),
        lag=float(np.median(lags)),
    )


def phase(moments: list[float], period: float) -> float:
    """Where in the period these moments fall: their mean around the circle."""
    angles = 2j * np.pi * np.array(moments) / period
    return float(np.angle(np.exp(angles).mean()) / (2 * np.pi) * period % period)


def compared(run: Recording, forecast: Forecast) -> Compared:
    """The middle of `forecast` and its band, beside the recorded replicas."""
    at = np.array([second.at for second in run.seconds]) - run.seconds[0].at
    place = np.minimum((at / forecast.step).astype(int), len(forecast.rate) - 1)
    desired = filled([second.desired for second in run.seconds])
    ready = filled([second.ready for second in run.seconds])
    low, middle, high = (row[place] for row in forecast.desired)
    return Compared(
        within_one=float(np.mean(np.abs(middle - desired) <= 1)),
        in_band=float(np.mean((low <= desired) & (desired <= high))),
        scaled=reached(at, ready, ready.max()),
        scaled_forecast=reached(at, forecast.ready[1][place], ready.max()),
    )


def reached(at: Floats, values: Floats, level: float) -> float | None:
    """When `values` first are at `level`."""
    there = np.flatnonzero(values >= level)
    return float(at[there[0]]) if len(there) else None


def filled(values: list[int | None]) -> Floats:
    """Numbers where none were seen: the last that was."""
    last = next((value for value in values if value is not None), 0)
    found = []
    for value in values:
        last = last if value is None else value
        found.append(float(last))
    return np.array(found)
