"""What a simulated run means: requests that were too slow or refused, replicas, what it costs. Pure."""

from __future__ import annotations

import msgspec
import numpy as np

from wherry.stress.forecasting.replica import Floats, Replica
from wherry.stress.forecasting.simulation import Run

HOUR = 3600.0


class Price(msgspec.Struct, frozen=True):
    """What an hour costs, in whatever money: of a pod, of a core that it requests, of a GiB that it requests."""

    pod: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0

    def of_pod(self, millicores: float, gibibytes: float) -> float:
        """An hour of one pod."""
        return self.pod + self.cpu * millicores / 1000 + self.memory * gibibytes


class Objective(msgspec.Struct, frozen=True):
    """slow: the share of requests that may be slower than the limit. failed: the share that may be refused."""

    slow: float = 0.01
    failed: float = 0.001


class Outcome(msgspec.Struct, frozen=True):
    """A run in figures. slow, refused: requests. missed_seconds: time in which the objective did not hold by itself.

    worst: the second of the trace with the largest share of requests missed, None when none was.
    """

    requests: float
    slow: float
    refused: float
    missed_seconds: float
    worst: float | None
    pods_least: int
    pods_most: int
    pods_mean: float
    pod_hours: float
    cost: float
    met: bool

    @property
    def missed(self) -> float:
        """Requests that were slow or refused."""
        return self.slow + self.refused


def slow_shares(run: Run, replica: Replica) -> Floats:
    """Of the requests answered in each step, the share that was slower than the limit."""
    ready = np.maximum(run.ready, 1)
    wait = run.waiting / (ready * replica.saturation)
    return replica.slow(run.served / run.step / ready, wait)


def outcome_of(run: Run, replica: Replica, objective: Objective, pod_hour: float) -> Outcome:
    """Judge a run as a whole: the shares of all its requests together. `pod_hour`: the price of one pod's hour."""
    requests = float(run.rate.sum() * run.step)
    slow = slow_shares(run, replica) * run.served
    arrived = np.maximum(run.rate * run.step, 1e-9)
    bad = np.clip((slow + run.refused) / np.maximum(arrived, run.served), 0, 1)
    missed = (slow > objective.slow * run.served + 1e-9) | (run.refused > objective.failed * arrived + 1e-9)
    hours = float(run.desired.sum()) * run.step / HOUR
    total_slow, total_refused = float(slow.sum()), float(run.refused.sum())
    met = total_slow <= objective.slow * requests + 1e-9 and total_refused <= objective.failed * requests + 1e-9
    return Outcome(
        requests=requests,
        slow=total_slow,
        refused=total_refused,
        missed_seconds=float(np.count_nonzero(missed)) * run.step,
        worst=float(np.argmax(bad)) * run.step if missed.any() else None,
        pods_least=int(run.desired.min()),
        pods_most=int(run.desired.max()),
        pods_mean=float(run.desired.mean()),
        pod_hours=hours,
        cost=hours * pod_hour,
        met=met,
    )
