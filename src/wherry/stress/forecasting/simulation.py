"""A deployment under a trace: pods come and go as the autoscaler decides, queues fill and drain. Pure.

Time goes in steps. In each, in this order: pods become ready, metrics are scraped, the autoscaler takes its turn, and
requests of the step are answered, wait, or are refused.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from wherry.stress.forecasting.autoscaler import Autoscaler, Loop, Pods
from wherry.stress.forecasting.replica import Replica

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

NEVER = float("inf")


class Phases(msgspec.Struct, frozen=True):
    """When the autoscaler's turns and the scrapes fall, in seconds from the start of the trace.

    scraped: the time stamp of a scrape. window: what it averages over. lag: from its stamp until it can be seen.
    noise: by which factors successive scrapes are off, again from the first after the last; empty for exact ones.
    """

    sync: float = 0.0
    scraped: float = 0.0
    every: float = 15.0
    window: float = 15.0
    lag: float = 3.0
    noise: tuple[float, ...] = ()


class Cluster(msgspec.Struct, frozen=True):
    """What the cluster has room for: `pods` at once (None: any number), and more after `node` seconds (None: never)."""

    pods: int | None = None
    node: float | None = None


@dataclass(frozen=True)
class Run:
    """What became of every step. `step` is in seconds; the others have one entry a step.

    rate: offered. desired: replicas asked for. ready: those that answered. served, refused: requests. waiting: in the
    queues at the end of the step. usage: CPU that the autoscaler last saw, in percent of the request, NaN when nothing.
    """

    step: float
    rate: Floats
    desired: Counts
    ready: Counts
    served: Floats
    refused: Floats
    waiting: Floats
    usage: Floats


def simulate(
    rate: Floats,
    step: float,
    replica: Replica,
    autoscaler: Autoscaler,
    phases: Phases,
    cluster: Cluster | None = None,
    replicas: int | None = None,
) -> Run:
    """Put `rate` (requests a second, one entry a step) on `replicas` pods, by default the autoscaler's fewest.

    They are ready and measured when the trace begins.
    """
    steps = len(rate)
    # arrays of the standard library: an element of numpy's costs several times as much to write
    desired, ready = array("q", bytes(8 * steps)), array("q", bytes(8 * steps))
    served, refused, waiting, seen_usage = (array("d", bytes(8 * steps)) for _ in range(4))
    loop = Loop(autoscaler)
    fleet = Fleet(replica, cluster or Cluster(), autoscaler.min if replicas is None else replicas)
    saturation, cost, idle, percent = replica.saturation, replica.cost, replica.idle, 100 / replica.request
    seen: deque[tuple[float, float, float]] = deque()  # scrapes nobody has read: stamp, visible from, usage
    stamp, usage = NEVER, float("nan")
    # CPU that each replica that was ready used until now (percent-seconds), at past steps: what a scrape averages over
    spent, past = 0.0, deque([(-phases.window, 0.0)])
    window, lag, every, turn = phases.window, phases.lag, phases.every, autoscaler.sync
    next_sync, next_scrape = phases.sync % turn, phases.scraped % every
    noise, scrape = phases.noise or (1.0,), 0
    queue, count = 0.0, fleet.ready
    last_wait = replica.patience * saturation
    offered = rate.tolist()
    for place in range(steps):
        now = place * step
        if now >= fleet.next_ready:
            count = fleet.advance(now)
        if now >= next_scrape:
            while len(past) > 1 and past[1][0] <= now - window:
                past.popleft()
            begun, before = past[0]
            if now > begun:
                off = noise[scrape % len(noise)]
                seen.append((now, now + lag, off * (spent - before) / (now - begun)))
                scrape += 1
            next_scrape += every
        if now >= next_sync:
            while seen and seen[0][1] <= now:
                stamp, _, usage = seen.popleft()
                fleet.measured(stamp, window)
            if stamp is not NEVER:
                current = fleet.replicas
                wanted = loop.decide(now, current, fleet.view(now, stamp, usage))
                if wanted != current:
                    fleet.resize(now, wanted)
                    count = fleet.advance(now)
            next_sync += turn
        arrived = offered[place] * step
        capacity = count * saturation * step
        queue += arrived
        if queue <= capacity:
            done, lost, queue = queue, 0.0, 0.0
        else:
            done = capacity
            queue -= done
            longest = count * last_wait
            lost = max(0.0, queue - longest)
            queue -= lost
        if count:
            spent += (idle + cost * done / (step * count)) * percent * step
        past.append((now + step, spent))
        desired[place], ready[place], served[place] = fleet.replicas, count, done
        refused[place], waiting[place], seen_usage[place] = lost, queue, usage
    flows = (np.frombuffer(each) for each in (served, refused, waiting, seen_usage))
    return Run(step, rate, np.frombuffer(desired, np.int64), np.frombuffer(ready, np.int64), *flows)


class Fleet:
    """The pods of the deployment, in groups that were created together; the oldest first."""

    def __init__(self, replica: Replica, cluster: Cluster, replicas: int) -> None:
        self.replica, self.cluster = replica, cluster
        self.replicas = replicas
        # ready, and their metric counts; what the cluster has no room for waits for a node, as later ones do
        self.settled = replicas if cluster.pods is None else min(replicas, cluster.pods)
        self.young: list[Group] = []  # ready, and their metric does not count yet
        self.coming: list[Group] = []  # not ready
        self.next_ready = NEVER
        if self.settled < replicas:
            self.wait_for_node(0.0, replicas - self.settled)
            self.advance(0.0)

    @property
    def ready(self) -> int:
        return self.settled + sum(group.count for group in self.young)

    def advance(self, now: float) -> int:
        """Let every pod become ready whose time has come; how many are."""
        arrived = [group for group in self.coming if group.ready <= now]
        if arrived:
            self.coming = [group for group in self.coming if group.ready > now]
            self.young += arrived
        self.next_ready = min((group.ready for group in self.coming), default=NEVER)
        return self.ready

    def measured(self, stamp: float, window: float) -> None:
        """A scrape of `stamp` is seen: the pods that were ready all through its window count from here on."""
        if self.young:
            self.settled += sum(group.count for group in self.young if group.ready <= stamp - window)
            self.young = [group for group in self.young if group.ready > stamp - window]

    def view(self, now: float, stamp: float, usage: float) -> Pods:
        """What the controller sees."""
        if not self.young and not self.coming:
            return Pods(self.settled, usage)
        unready = missing = 0
        for group in (*self.young, *self.coming):
            if group.running <= now and stamp < group.running:
                missing += group.count
            else:
                unready += group.count
        return Pods(self.settled, usage, unready, missing)

    def resize(self, now: float, wanted: int) -> None:
        """Create or remove pods. Those not ready go first, then the newest."""
        if wanted > self.replicas:
            self.create(now, wanted - self.replicas)
        else:
            leaving = self.replicas - wanted
            for groups in (self.coming, self.young):
                while leaving and groups:
                    gone = min(leaving, groups[-1].count)
                    groups[-1].count -= gone
                    leaving -= gone
                    if not groups[-1].count:
                        groups.pop()
            self.settled -= leaving
        self.replicas = wanted

    def create(self, now: float, count: int) -> None:
        room = count if self.cluster.pods is None else max(0, min(count, self.cluster.pods - self.replicas))
        if room:
            self.coming.append(Group(room, now + self.replica.running, now + self.replica.start))
        if count > room:
            self.wait_for_node(now, count - room)

    def wait_for_node(self, now: float, count: int) -> None:
        """Pods that are pending until a node comes."""
        begun = now + (NEVER if self.cluster.node is None else self.cluster.node)
        self.coming.append(Group(count, begun + self.replica.running, begun + self.replica.start))


@dataclass
class Group:
    """Pods created together: how many, when their containers run, when they are ready."""

    count: int
    running: float
    ready: float
