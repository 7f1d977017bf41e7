"""What a run leaves behind: counts by time and by latency, small whatever the number of requests. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wherry.stress.outcomes import FAILURES

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# A histogram of latencies: a bin is 1/128 of a doubling wide, so that a percentile is at most 0.55 % too high.
PER_DOUBLING = 128
FLOOR = 1e-6  # seconds; what is faster counts as this
BINS = 32 * PER_DOUBLING
EDGES = FLOOR * 2.0 ** (np.arange(1, BINS + 1) / PER_DOUBLING)

LEAST_WINDOW = 0.1  # seconds
MOST_WINDOWS = 120
LAG_SUSPECT = 0.002  # seconds at p99: a generator as exact as it should be stays under this
LAG_LIMIT = 0.005  # over this the run says more about the generator than about the service


def bins_of(seconds: Floats) -> npt.NDArray[np.intp]:
    scaled = np.ceil(np.log2(np.maximum(seconds, FLOOR) / FLOOR) * PER_DOUBLING) - 1
    found: npt.NDArray[np.intp] = np.clip(scaled, 0, BINS - 1).astype(np.intp)
    return found


def percentile(counts: Counts, share: float, largest: float) -> float | None:
    """Seconds that `share` (0 to 100) of what was counted did not exceed; `largest` bounds it. None: nothing counted.

    The bin's upper edge is given, so it is never too low.
    """
    total = int(counts.sum())
    if not total:
        return None
    rank = max(1, math.ceil(total * share / 100 - 1e-9))
    place = int(np.searchsorted(np.cumsum(counts), rank))
    return min(float(EDGES[place]), largest)


def window_width(seconds: float) -> float:
    """How wide a window of time is, so that a run has at most MOST_WINDOWS of them."""
    for width in (LEAST_WINDOW, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0):
        if seconds <= width * MOST_WINDOWS:
            return width
    return math.ceil(seconds / MOST_WINDOWS)


@dataclass
class Tally:
    """Everything that is counted of a run. Windows are `width` seconds wide, by when a request was due.

    latency: windows x BINS, of right answers and timeouts: a failure that came fast must not flatter, a timeout must
    not vanish. worst: each window's largest, in seconds. ok, failed: requests a window, by how they ended.
    lag: BINS, of how late requests were sent. unfinished: cut off when the run was interrupted, counted nowhere else.
    """

    width: float
    windows: int
    start: float = 0.0  # when the first request came due, in seconds since the epoch
    latency: Counts = field(init=False)
    worst: Floats = field(init=False)
    ok: Counts = field(init=False)
    failed: dict[str, Counts] = field(init=False)
    lag: Counts = field(init=False)
    lag_worst: float = 0.0
    latency_sum: float = 0.0
    elapsed: float = 0.0  # seconds from the first to the last moment at which requests came due
    connections: int = 0  # opened in all
    waited: int = 0  # requests that found every connection busy
    unfinished: int = 0
    interrupted: bool = False
    checked: int = 0  # answers compared with golden ones
    remark: str = ""  # the first failure's own words

    def __post_init__(self) -> None:
        self.latency = np.zeros((self.windows, BINS), np.int64)
        self.worst = np.zeros(self.windows)
        self.ok = np.zeros(self.windows, np.int64)
        self.failed = {kind: np.zeros(self.windows, np.int64) for kind in FAILURES}
        self.lag = np.zeros(BINS, np.int64)

    def places(self, due: Floats) -> npt.NDArray[np.intp]:
        """The windows that these moments lie in."""
        return np.clip(due / self.width, 0, self.windows - 1).astype(np.intp)

    def add_latencies(self, due: Floats, seconds: Floats) -> None:
        places = self.places(due)
        np.add.at(self.latency, (places, bins_of(seconds)), 1)
        np.maximum.at(self.worst, places, seconds)
        self.latency_sum += float(seconds.sum())

    def add_right(self, due: Floats) -> None:
        np.add.at(self.ok, self.places(due), 1)

    def add_failure(self, kind: str, due: float) -> None:
        self.failed[kind][min(self.windows - 1, max(0, int(due / self.width)))] += 1

    def add_lags(self, seconds: Floats) -> None:
        self.lag += np.bincount(bins_of(seconds), minlength=BINS)
        self.lag_worst = max(self.lag_worst, float(seconds.max(initial=0.0)))


def tally_for(seconds: float, width: float = 0.0) -> Tally:
    """A tally of a run that is `seconds` long, in windows of `width`, or of what suits its length."""
    width = width or window_width(seconds)
    return Tally(width, max(1, math.ceil(seconds / width - 1e-9)))
