"""Two versions compared by what their pods have counted. Pure: texts of /metrics in, figures and a judgement out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from wherry.contract.exposition import samples
from wherry.contract.names import METRIC_LATENCY, METRIC_REQUESTS, METRIC_SHADOW_REQUESTS

PROBES = "other"  # the door of what asks for no prediction
FEW_FAILURES = 3  # fewer may be chance, whatever their share
LEAST_TIMED = 50  # answers of a version before its p99 says anything
FEW_SLOW = 5  # answers later than stable's p99 allows: fewer may be chance, whatever share of a short time they are
FLOOR_SECONDS = 0.005  # p99s that differ by less differ by what else the node does


class Counted(msgspec.Struct, frozen=True):
    """What pods have answered. failed: with 500 and more. buckets: answers by the highest seconds they took."""

    requests: float = 0.0
    failed: float = 0.0
    buckets: Mapping[float, float] = {}

    def __add__(self, other: Counted) -> Counted:
        return self._with(other, 1)

    def __sub__(self, other: Counted) -> Counted:
        return self._with(other, -1)

    def _with(self, other: Counted, sign: int) -> Counted:
        bounds = {*self.buckets, *other.buckets}
        return Counted(
            self.requests + sign * other.requests,
            self.failed + sign * other.failed,
            {bound: self.buckets.get(bound, 0.0) + sign * other.buckets.get(bound, 0.0) for bound in bounds},
        )

    @property
    def share_failed(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    @property
    def p99(self) -> float:
        """Seconds, as far as buckets tell: within the one that holds it answers count as evenly spread."""
        total = max(self.buckets.values(), default=0.0)
        below, low = 0.0, 0.0
        for bound, upto in sorted(self.buckets.items()):
            if upto >= 0.99 * total and upto > below:
                high = bound if bound != float("inf") else 2 * low
                return low + (high - low) * (0.99 * total - below) / (upto - below)
            below, low = upto, bound
        return 0.0

    def later_than(self, seconds: float) -> float:
        """Answers that certainly took longer."""
        total = max(self.buckets.values(), default=0.0)
        return total - min((upto for bound, upto in self.buckets.items() if bound >= seconds), default=total)


class Limits(msgspec.Struct, frozen=True):
    """errors: share of failures beyond stable's. slower: how many times stable's p99. differing: share of rows."""

    errors: float
    slower: float
    differing: float


def read(text: str) -> Counted:
    """What a pod's /metrics says of its predictions."""
    requests = failed = 0.0
    buckets: dict[float, float] = {}
    for name, labels, value in samples(text):
        if labels.get("door") == PROBES:
            continue
        if name == METRIC_REQUESTS:
            requests += value
            failed += value if int(labels["status"]) >= 500 else 0.0
        elif name == f"{METRIC_LATENCY}_bucket":
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
    return Counted(requests, failed, buckets)


def copies(text: str) -> dict[str, int]:
    """What came of the copies that a pod sent to a shadow, by outcome."""
    found = (one for one in samples(text) if one.name == METRIC_SHADOW_REQUESTS)
    return {one.labels["outcome"]: int(one.value) for one in found}


def since(now: Mapping[str, Counted], before: Mapping[str, Counted]) -> Counted:
    """What all pods counted together since `before`; a pod that is not in it counts from its start."""
    return added(now[pod] - before.get(pod, Counted()) for pod in now)


def added(each: Iterable[Counted]) -> Counted:
    total = Counted()
    for one in each:
        total += one
    return total


def judge(canary: Counted, stable: Counted, limits: Limits) -> tuple[str, str]:
    """Why the canary is worse than stable, as a stable word and in words; empty when it is not, as far as is known."""
    allowed = stable.share_failed + limits.errors
    if canary.failed >= FEW_FAILURES and canary.share_failed > allowed:
        words = f"{canary.failed:.0f} of its {canary.requests:.0f} requests failed ({canary.share_failed:.1%}), "
        return "errors", words + f"of stable's {stable.share_failed:.1%}"
    timed = min(canary.requests, stable.requests) >= LEAST_TIMED
    slow, usual = canary.p99, stable.p99
    bound = max(limits.slower * usual, usual + FLOOR_SECONDS)
    if timed and slow > bound and canary.later_than(bound) >= FEW_SLOW:
        return "latency", f"its p99 is {1000 * slow:.1f} ms, stable's {1000 * usual:.1f} ms"
    return "", ""
