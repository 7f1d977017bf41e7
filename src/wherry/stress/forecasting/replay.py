"""A recorded run forecast again under its own conditions, and how far the two lie apart. Pure."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from wherry.contract.recording import PodCpu, Recording
from wherry.errors import DataUnreadable
from wherry.stress.forecasting.autoscaler import Autoscaler, behavior_of
from wherry.stress.forecasting.forecast import Forecast, Setup
from wherry.stress.forecasting.replica import HEADROOM, Floats, Replica
from wherry.stress.forecasting.simulation import Phases
from wherry.stress.forecasting.trace import Trace

BUSY = 1000.0  # ms of p99 beyond which requests queued, so that CPU says nothing of what one costs
IDLE = 1.5  # millicores, where nothing was scraped before the load
NEARLY = 0.9  # of the most pods that were ready: the scaling is over but for its last step
RISE = 1.25  # times the rate at the start: the load has risen
READ_EVERY = 2.0  # seconds between two looks at the metrics, so that one is seen half of that late on average


class Compared(msgspec.Struct, frozen=True):
    """A forecast beside what was recorded. Shares are of the instants, times in seconds.

    within_one: the replicas asked for are at most one apart. in_band: the recording lies in the 5 to 95 % band.
    scaled, scaled_forecast: from the rise of the load until NEARLY all pods that ever were are ready; None for never.
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


def replica_of(run: Recording) -> Replica:
    """What one pod did: its CPU without load and a request, as the metrics that were recorded have it."""
    was = run.conditions
    idle, cost = cost_of(run)
    most = was.cpu_limit if was.cpu_limit is not None else 1000.0 * was.workers
    saturation = max((most - idle) / cost, 0.1)
    knee = was.knee if was.knee is not None else HEADROOM * saturation
    start = was.start_seconds if was.start_seconds is not None else 5.0
    return Replica(knee=knee, saturation=saturation, request=was.cpu_request, cost=cost, idle=idle, start=start)


def cost_of(run: Recording) -> tuple[float, float]:
    """Millicores of an idle pod, as scraped before the load, and of a request a second.

    The latter is the median over the scrapes without a queue, each with the weight of its requests: one that caught a
    part of the pods only does not count for much.
    """
    offered = np.array([second.offered for second in run.seconds])
    tail = np.array([second.p99 or 0.0 for second in run.seconds])
    before = [one.millicores for one in run.cpu if one.scraped <= 0]
    idle = float(np.median(before)) if before else IDLE
    costs, weights = [], []
    for stamp, each in scrapes_of(run):
        begin, end = round(stamp - each[0].window), round(stamp)
        if 0 <= begin < end <= len(offered) and np.median(tail[begin:end]) < BUSY:
            asked = max(float(offered[begin:end].mean()), 1e-9)
            costs.append((sum(one.millicores for one in each) - idle * len(each)) / asked)
            weights.append(asked)
    order = np.argsort(costs)
    shares = np.cumsum(np.array(weights)[order]) if weights else np.zeros(1)
    cost = costs[order[int(np.searchsorted(shares, shares[-1] / 2))]] if weights else 0.0
    if cost <= 0:
        raise DataUnreadable("the recording", "it has no CPU to say what a request costs", "record a longer run")
    return idle, float(cost)


def scrapes_of(run: Recording) -> list[tuple[float, list[PodCpu]]]:
    """What each scrape said, pod by pod."""
    found: dict[float, list[PodCpu]] = {}
    for one in run.cpu:
        found.setdefault(float(round(one.scraped)), []).append(one)
    return sorted(found.items())


def setup_of(run: Recording) -> Setup:
    """The autoscaler, the pods and the start that were in force."""
    was = run.conditions
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
    return Setup(replica=replica_of(run), autoscaler=autoscaler, replicas=first)


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
    # a load that begins at once has risen at the start
    risen = int(np.argmax(trace_of(run).rates > RISE * run.seconds[0].offered))
    level = math.floor(NEARLY * ready.max())
    return Compared(
        within_one=float(np.mean(np.abs(middle - desired) <= 1)),
        in_band=float(np.mean((low <= desired) & (desired <= high))),
        scaled=reached(at, ready, level, risen),
        scaled_forecast=reached(at, forecast.ready[1][place], level, risen),
    )


def reached(at: Floats, values: Floats, level: float, since: int) -> float | None:
    """How long after the instant `since` the values first are at `level`."""
    there = np.flatnonzero(values[since:] >= level)
    return float(at[since:][there[0]] - at[since]) if len(there) else None


def filled(values: list[int | None]) -> Floats:
    """Numbers where none were seen: the last that was."""
    last = next((value for value in values if value is not None), 0)
    found = []
    for value in values:
        last = last if value is None else value
        found.append(float(last))
    return np.array(found)
