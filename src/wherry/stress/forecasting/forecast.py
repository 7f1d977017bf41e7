"""A trace against a deployment, once for each way in which the autoscaler's turns and the scrapes may fall. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from wherry.errors import DataUnreadable
from wherry.stress.forecasting.autoscaler import Autoscaler
from wherry.stress.forecasting.outcome import Objective, Outcome, outcome_of, slow_shares
from wherry.stress.forecasting.replica import Floats, Replica
from wherry.stress.forecasting.simulation import Cluster, Phases, Run, simulate
from wherry.stress.forecasting.trace import HINT, Trace

# How finely time is cut: (a trace of up to so many seconds, the step, how many ways are tried)
CUTS = ((6 * 3600.0, 1.0, 40), (2 * 86400.0, 5.0, 20), (14 * 86400.0, 15.0, 10), (float("inf"), 15.0, 1))
MOST_STEPS = 6_000_000
LAGS = (0.5, 7.5)  # seconds from a scrape's stamp until the autoscaler can see it
# How far CPU is off what the requests cost: every scrape by itself, and a whole run; as seen in recorded ones.
SCRAPE_NOISE, RUN_NOISE = 0.1, 0.05
SCRAPES = 499
BAND = (5, 50, 95)  # percentiles


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the traffic. pod_hour: the price of one pod's hour. replicas: at the start."""

    replica: Replica
    autoscaler: Autoscaler
    objective: Objective = Objective()
    cluster: Cluster = Cluster()
    pod_hour: float = 0.0
    replicas: int | None = None


@dataclass(frozen=True)
class Forecast:
    """All runs of one trace. The bands have three rows: BAND percentiles over the runs, one column a step."""

    trace: Trace
    setup: Setup
    step: float
    rate: Floats
    runs: int
    desired: Floats
    ready: Floats
    tail: Floats  # seconds that all but the allowed share did not exceed
    missed: Floats  # share of the requests of a step that were slow or refused
    waiting: Floats
    outcomes: tuple[Outcome, ...]

    def figure(self, name: str) -> tuple[float, float, float]:
        """The BAND percentiles of one of the outcomes' figures."""
        values = [float(getattr(outcome, name)) for outcome in self.outcomes]
        low, middle, high = np.percentile(values, BAND).tolist()
        return low, middle, high

    @property
    def met(self) -> bool:
        """Whether the objective held in at least 95 of 100 ways."""
        return sum(outcome.met for outcome in self.outcomes) >= 0.95 * len(self.outcomes)

    @property
    def typical(self) -> Outcome:
        """The run in the middle by the requests that it missed, then by cost."""
        return sorted(self.outcomes, key=lambda outcome: (outcome.missed, outcome.cost))[len(self.outcomes) // 2]


def cut_of(trace: Trace) -> tuple[float, int]:
    """The step and the number of runs for a trace of this length."""
    return next((step, runs) for longest, step, runs in CUTS if trace.seconds <= longest)


def forecast(
    trace: Trace, setup: Setup, phases: Phases | None = None, runs: int | None = None, seed: int = 0
) -> Forecast:
    """What becomes of `trace`. With `phases` one run; without, `runs` of them with phases drawn from `seed`.

    Raises DataUnreadable when the trace is longer than can be simulated.
    """
    step, usual = cut_of(trace)
    if trace.seconds / step > MOST_STEPS:
        most = MOST_STEPS * step / 86400
        raise DataUnreadable("the trace", f"{trace.seconds / 86400:,.0f} days is more than {most:,.0f}", HINT)
    rate = trace.steps(step)
    tried = [phases] if phases is not None else drawn(runs or usual, seed, setup.autoscaler)
    found = [
        simulate(rate, step, setup.replica, setup.autoscaler, each, setup.cluster, setup.replicas) for each in tried
    ]
    return gathered(trace, setup, found)


def drawn(count: int, seed: int, autoscaler: Autoscaler) -> list[Phases]:
    """Phases as they may fall, anywhere in their periods with equal chance, and scrapes as exact as they are."""
    rng = np.random.default_rng(seed)
    every = Phases().every
    return [
        Phases(
            sync=float(rng.uniform(0, autoscaler.sync)),
            scraped=float(rng.uniform(0, every)),
            lag=float(rng.uniform(*LAGS)),
            noise=tuple((rng.lognormal(0, RUN_NOISE) * rng.lognormal(0, SCRAPE_NOISE, SCRAPES)).tolist()),
        )
        for _ in range(count)
    ]


def gathered(trace: Trace, setup: Setup, runs: list[Run]) -> Forecast:
    """Many runs as bands and outcomes."""
    replica = setup.replica
    step, rate = runs[0].step, runs[0].rate
    tails, missed = [], []
    for run in runs:
        ready = np.maximum(run.ready, 1)
        wait = run.waiting / (ready * replica.saturation)
        tails.append(replica.tail(run.served / step / ready, wait))
        lost = slow_shares(run, replica) * run.served + run.refused
        missed.append(np.clip(lost / np.maximum(np.maximum(rate * step, run.served), 1e-9), 0, 1))
    return Forecast(
        trace=trace,
        setup=setup,
        step=step,
        rate=rate,
        runs=len(runs),
        desired=band([run.desired.astype(float) for run in runs]),
        ready=band([run.ready.astype(float) for run in runs]),
        tail=band(tails),
        missed=band(missed),
        waiting=band([run.waiting for run in runs]),
        outcomes=tuple(outcome_of(run, replica, setup.objective, setup.pod_hour) for run in runs),
    )


def band(lines: list[Floats]) -> Floats:
    """The BAND percentiles over the lines, moment by moment; whole replicas stay whole."""
    if len(lines) == 1:
        return np.stack([lines[0]] * len(BAND))
    return np.asarray(np.percentile(np.stack(lines), BAND, axis=0, method="nearest"), dtype=np.float64)
