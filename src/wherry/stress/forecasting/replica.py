"""One replica as a queue: how many requests it answers in a second, what CPU they cost, who waits too long. Pure."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HEADROOM = 0.9  # knee over saturation, where the saturation was not measured


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """What one pod does. Rates are requests a second, CPU in millicores, times in seconds.

    knee: highest rate at which the objective holds. saturation: highest rate at all. cost: CPU of one request, in
    millicore-seconds (which is millicores a request a second). idle: CPU without load. start: from a pod's creation to
    its readiness. running: from its creation until its container runs. limit, quick: the objective's latency and the
    latency of an idle replica. share: of the requests that the objective allows to be slower. patience: how long a
    request waits in the queue before it is refused.
    """

    knee: float
    saturation: float
    request: float
    cost: float
    idle: float = 1.0
    start: float = 5.0
    running: float = 1.5
    limit: float = 0.05
    quick: float = 0.005
    share: float = 0.01
    patience: float = 7.5

    @property
    def steepness(self) -> float:
        """How fast waiting grows with load, so that exactly `share` is too slow at the knee."""
        load = min(self.knee / self.saturation, 0.999)
        return math.log(load / self.share) / (1 - load)

    def slow(self, rate: Floats, wait: Floats) -> Floats:
        """The share of requests slower than the limit at `rate` a replica, behind a queue of `wait` seconds.

        The tail of a single queue: it falls by the same factor for each further second, and faster the idler it is.
        """
        load = np.clip(rate / self.saturation, 1e-9, 1.0)
        room = np.maximum(0.0, 1 - wait / max(self.limit - self.quick, 1e-9))
        return np.asarray(np.minimum(1.0, load * np.exp(-self.steepness * (1 - load) * room)), dtype=np.float64)

    def tail(self, rate: Floats, wait: Floats) -> Floats:
        """The latency, in seconds, that all but `share` of the requests do not exceed."""
        load = np.clip(rate / self.saturation, 1e-9, 0.999)
        spread = (self.limit - self.quick) / (self.steepness * (1 - load))
        above = np.maximum(0.0, spread * np.log(np.maximum(load / self.share, 1.0)))
        return np.asarray(np.minimum(self.quick + wait + above, self.patience + self.limit), dtype=np.float64)


def replica_of(
    *,
    knee: float,
    request: float,
    cpu_limit: float | None = None,
    cost: float | None = None,
    idle: float = 1.0,
    start: float = 5.0,
    limit: float = 0.05,
    share: float = 0.01,
    workers: int = 1,
) -> Replica:
    """A replica from what is known of it.

    Without a measured cost it is taken to use its whole CPU limit at saturation, or a core a worker without a limit.
    """
    saturation = knee / HEADROOM
    if cost is None:
        cost = max((cpu_limit or 1000.0 * workers) - idle, 1.0) / saturation
    return Replica(
        knee=knee,
        saturation=saturation,
        request=request,
        cost=cost,
        idle=idle,
        start=start,
        limit=limit,
        quick=min(limit / 4, 0.02),
        share=share,
    )
