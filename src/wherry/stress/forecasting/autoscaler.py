"""The HorizontalPodAutoscaler's decision as kube-controller-manager makes it on CPU, step by step. Pure.

Each function is one of the controller's, in its order: `recommended` (replica_calculator.go), then `Loop.settle`, which
is its stabilization and its scaling policies (horizontal.go). Rounding is the controller's too: utilization is cut to a
whole percent before it is compared.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Literal

import msgspec


class Policy(msgspec.Struct, frozen=True):
    """At most `value` pods, or percent of the pods, within `seconds`."""

    type: Literal["Pods", "Percent"]
    value: int
    seconds: int


class Rules(msgspec.Struct, frozen=True):
    """One direction of scaling. window: seconds over which the most cautious recommendation is taken."""

    window: int
    policies: tuple[Policy, ...]
    select: Literal["Max", "Min", "Disabled"] = "Max"


class Behavior(msgspec.Struct, frozen=True):
    """Both directions; the defaults are those of Kubernetes."""

    up: Rules = Rules(0, (Policy("Percent", 100, 15), Policy("Pods", 4, 15)))
    down: Rules = Rules(300, (Policy("Percent", 100, 15),))


class Autoscaler(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an autoscaler on CPU, and those of the controller that runs it (in seconds)."""

    min: int
    max: int
    target: int  # percent of the CPU request
    behavior: Behavior = Behavior()
    sync: float = 15.0
    tolerance: float = 0.1
    initial_readiness: float = 30.0
    initialization: float = 300.0


class Pods(msgspec.Struct, frozen=True):
    """What the controller sees of the pods at one turn.

    counted: ready, with a metric that counts. unready: pending, or too young for their metric to count. missing:
    running without a metric. usage: mean CPU of the counted, in percent of the request; None when there is no metric.
    """

    counted: int
    usage: float | None
    unready: int = 0
    missing: int = 0


def behavior_of(given: dict[str, Any]) -> Behavior:
    """From `spec.behavior` as a cluster has it; what it leaves out is Kubernetes' default."""
    known = Behavior()
    return Behavior(rules_of(given.get("scaleUp") or {}, known.up), rules_of(given.get("scaleDown") or {}, known.down))


def rules_of(given: dict[str, Any], known: Rules) -> Rules:
    policies = tuple(Policy(each["type"], each["value"], each["periodSeconds"]) for each in given.get("policies") or ())
    window = given.get("stabilizationWindowSeconds")
    return Rules(
        known.window if window is None else window, policies or known.policies, given.get("selectPolicy") or "Max"
    )


def recommended(current: int, pods: Pods, target: int, tolerance: float) -> int | None:
    """Replicas that the metrics ask for, before any limit; None when there is no metric to go by.

    Pods that are not ready, and pods without a metric, count as idle when the others ask for more, and pods without a
    metric as fully busy when the others ask for less, so that a guess never enlarges a change nor turns it round.
    """
    if pods.usage is None or not pods.counted:
        return None
    ratio = int(pods.usage) / target
    raise_with_unready = pods.unready > 0 and ratio > 1
    if not raise_with_unready and not pods.missing:
        return current if 1 - tolerance <= ratio <= 1 + tolerance else math.ceil(ratio * pods.counted)
    total, count = pods.usage * pods.counted, pods.counted
    if pods.missing and ratio != 1:
        count += pods.missing
        if ratio < 1:
            total += max(100, target) * pods.missing
    if raise_with_unready:
        count += pods.unready
    again = int(total / count) / target
    if 1 - tolerance <= again <= 1 + tolerance or (ratio < 1 < again) or (again < 1 < ratio):
        return current
    wanted = math.ceil(again * count)
    if (again < 1 and wanted > current) or (again > 1 and wanted < current):
        return current
    return wanted


class Loop:
    """The controller's memory of one autoscaler: past recommendations, past changes."""

    def __init__(self, settings: Autoscaler) -> None:
        self.settings = settings
        up, down = settings.behavior.up, settings.behavior.down
        # the recommendations that can still be a window's least or most, with the time until which they count
        self.lowest: deque[tuple[float, int]] = deque()
        self.highest: deque[tuple[float, int]] = deque()
        self.period = max((policy.seconds for policy in (*up.policies, *down.policies)), default=0)
        self.added: deque[tuple[float, int]] = deque()
        self.removed: deque[tuple[float, int]] = deque()

    def decide(self, now: float, current: int, pods: Pods) -> int:
        """Replicas to set at this turn of the loop."""
        settings = self.settings
        if current > settings.max:
            wanted = settings.max
        elif current < settings.min:
            wanted = settings.min
        else:
            asked = recommended(current, pods, settings.target, settings.tolerance)
            if asked is None:
                return current
            wanted = self.settle(now, current, asked)
        if wanted > current:
            self.added.append((now, wanted - current))
        elif wanted < current:
            self.removed.append((now, current - wanted))
        return wanted

    def settle(self, now: float, current: int, asked: int) -> int:
        """What stabilization and policies leave of `asked`."""
        steady = self.stabilize(now, current, asked)
        settings = self.settings
        if steady > current:
            limit = max(current, self.limit(now, current, settings.behavior.up, 1))
            return min(steady, limit, settings.max)
        if steady < current:
            limit = min(current, self.limit(now, current, settings.behavior.down, -1))
            return max(steady, limit, settings.min)
        return steady

    def stabilize(self, now: float, current: int, asked: int) -> int:
        """`current`, moved into what the windows allow: no higher than their least, no lower than their most."""
        behavior, lowest, highest = self.settings.behavior, self.lowest, self.highest
        while lowest and lowest[-1][1] >= asked:
            lowest.pop()
        while highest and highest[-1][1] <= asked:
            highest.pop()
        lowest.append((now + behavior.up.window, asked))
        highest.append((now + behavior.down.window, asked))
        while lowest[0][0] <= now and len(lowest) > 1:
            lowest.popleft()
        while highest[0][0] <= now and len(highest) > 1:
            highest.popleft()
        least, most = lowest[0][1], highest[0][1]
        return least if current < least else most if current > most else current

    def limit(self, now: float, current: int, rules: Rules, sign: int) -> int:
        """How far the policies let it go in this direction (`sign` 1 up, -1 down) in one step."""
        if rules.select == "Disabled":
            return current
        proposals = []
        for policy in rules.policies:
            since = now - policy.seconds
            begun = current - changed(self.added, since) + changed(self.removed, since)
            if policy.type == "Pods":
                proposals.append(begun + sign * policy.value)
            elif sign > 0:
                proposals.append(math.ceil(begun * (1 + policy.value / 100)))
            else:
                proposals.append(int(begun * (1 - policy.value / 100)))
        for events in (self.added, self.removed):
            while events and events[0][0] <= now - self.period:
                events.popleft()
        farthest = (rules.select == "Max") == (sign > 0)
        return max(proposals) if farthest else min(proposals)


def changed(events: deque[tuple[float, int]], since: float) -> int:
    """Replicas of the changes later than `since`."""
    return sum(count for at, count in events if at > since)
