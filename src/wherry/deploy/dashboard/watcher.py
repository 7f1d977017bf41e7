"""Looks at deployed services again and again: the cluster's word, what metrics-server measures, what the pods count.

A pod's metrics are read over a forward of its admin port, which no network policy stands in the way of.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from wherry.contract.events import PodView
from wherry.contract.names import LABEL_INSTANCE
from wherry.contract.settings import quantity
from wherry.contract.wire import METRICS
from wherry.deploy.address import Address, address_of
from wherry.deploy.cluster import Cluster
from wherry.deploy.conditions import millicores
from wherry.deploy.dashboard import counts
from wherry.deploy.dashboard.counts import Counts
from wherry.deploy.dashboard.seen import Change, Look, PodSeen, Point, Seen, Traffic
from wherry.deploy.names import services, workload
from wherry.deploy.observing import reason
from wherry.deploy.resources import AUTOSCALER, POD_METRICS, Object, labels_of, match, name_of, selector, utc_now
from wherry.deploy.rollout import Rollout, phase_of
from wherry.deploy.status import rollout_of, status_of
from wherry.errors import ClusterFailed, NoCluster, NothingDeployed, NotPermitted
from wherry.release.objects.network import ADMIN

WINDOW = 10.0  # seconds over which rates and latencies are taken
KEPT = 450  # looks whose course is remembered: a quarter of an hour
CHANGES = 20
ADDRESS_EVERY = 15  # looks between two tries of the address
READ_SECONDS = 3.0  # for one pod's metrics
AT_ONCE = 8  # pods that are read at a time


class Watcher:
    """The service called `name`, or all of the namespace. A context, so that nothing is read after it is left."""

    def __init__(self, cluster: Cluster, name: str = "", *, clock: Callable[[], float] = time.time) -> None:
        self.cluster, self.name, self.clock = cluster, name, clock
        self.courses: dict[str, deque[Point]] = {}
        self.changes: deque[Change] = deque(maxlen=CHANGES)
        self._looks = 0
        self._last: Look | None = None
        self._readings: dict[str, deque[tuple[float, Counts]]] = {}  # by pod, within the window
        self._addresses: dict[str, Address | None] = {}
        self._sizes: dict[str, str] = {}
        self._refused: dict[str, str] = {}  # what may not be read, or is not there: not asked again
        self._readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="wherry-metrics")

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *ended: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    def look(self) -> Look:
        """What there is now. While the cluster does not answer, the look before, with the reason.

        Raises at the first look what reaching the cluster raises; NothingDeployed where the named service is not there.
        """
        now = self.clock()
        try:
            seen = tuple(self._see(deployment, now) for deployment in self._found())
        except NoCluster as error:
            if self._last is None:
                raise
            return msgspec.structs.replace(self._last, trouble=str(error))
        self._looks += 1
        found = Look(now, self.cluster.context, self.cluster.namespace, seen, tuple(self.changes))
        self._last = found
        return found

    def _found(self) -> tuple[Object, ...]:
        if not self.name:
            return services(self.cluster)
        try:
            return (workload(self.cluster, self.name),)
        except NothingDeployed:
            if self._last is None:
                raise
            return ()  # it was taken down while somebody watched, and may come back

    def _see(self, deployment: Object, now: float) -> Seen:
        name = labels_of(deployment).get(LABEL_INSTANCE, name_of(deployment))
        rollout = rollout_of(self.cluster, name_of(deployment))
        live = (rollout.snapshot.deployment if rollout.snapshot else None) or deployment
        if self._looks % ADDRESS_EVERY == 0 or name not in self._addresses:
            self._addresses[name] = address_of(self.cluster, name) if rollout.wanted() else None
        troubles: list[str] = []
        scaler = self._autoscaler(name, troubles)
        status = status_of(self.cluster, rollout, live, scaler, self._addresses[name], utc_now())
        self._resized(name, live, scaler, now)
        usage = self._usage(match(live["spec"]["selector"]["matchLabels"]), troubles)
        self._count(rollout, now, troubles)
        pods = tuple(self._pod(view, usage) for view in rollout.view().pods)
        cpu = [one.cpu for one in pods if one.cpu is not None]
        memory = [one.memory for one in pods if one.memory is not None]
        request, limit, most = given(live, len(pods))
        seen = Seen(
            status=status,
            pods=pods,
            cpu=round(sum(cpu), 1) if cpu else None,
            cpu_request=request,
            cpu_limit=limit,
            memory=sum(memory) if memory else None,
            memory_limit=most,
            traffic=self._traffic([one.name for one in pods]),
            troubles=tuple(troubles),
        )
        self.courses.setdefault(name, deque(maxlen=KEPT)).append(point(now, seen))
        return seen

    def _autoscaler(self, name: str, troubles: list[str]) -> Object | None:
        try:
            found = self.cluster.list(AUTOSCALER, selector(name))
        except NotPermitted as error:
            troubles.append(str(error))
            return None
        return found[0] if found else None

    def _resized(self, name: str, live: Object, scaler: Object | None, now: float) -> None:
        """Tells when another number of pods is wanted, and by whom."""
        state = (scaler or {}).get("status") or {}
        wanted = str(state.get("desiredReplicas") if scaler else live["spec"].get("replicas", 1))
        before = self._sizes.get(name)
        self._sizes[name] = wanted
        if before not in (None, wanted):
            text = reason(scaler, before or "") if scaler else f"from {before} to {wanted}"
            self.changes.append(Change(now, name, f"scaled {text}"))

    def _usage(self, labels: str, troubles: list[str]) -> Mapping[str, tuple[float, int]]:
        """Millicores and bytes by pod, as metrics-server has them."""
        if "usage" not in self._refused:
            try:
                found = self.cluster.list(POD_METRICS, labels)
            except NoCluster:
                raise
            except ClusterFailed as error:
                self._refused["usage"] = f"CPU and memory are not known: {error}"
            else:
                return {name_of(one): used(one) for one in found if one.get("containers")}
        troubles.append(self._refused["usage"])
        return {}

    def _count(self, rollout: Rollout, now: float, troubles: list[str]) -> None:
        """Reads every running pod's metrics, several at a time."""
        pods = rollout.snapshot.pods if rollout.snapshot else ()
        ports = {name_of(pod): admin_port(pod) for pod in pods if phase_of(pod) == "Running"}
        asked = {pod: self._readers.submit(self._read, pod, port) for pod, port in ports.items() if port}
        silent = [pod for pod, port in ports.items() if not port]
        for pod, answer in asked.items():
            try:
                found = answer.result()
            except NotPermitted as error:
                self._refused["counts"] = f"what the pods count may not be read: {error}"
                continue
            except ClusterFailed:
                silent.append(pod)  # it starts, or it ends
                continue
            if found is not None:
                readings = self._readings.setdefault(pod, deque())
                readings.append((now, found))
                while len(readings) > 2 and readings[1][0] <= now - WINDOW:
                    readings.popleft()
        self._readings = {pod: kept for pod, kept in self._readings.items() if now - kept[-1][0] <= WINDOW}
        if "counts" in self._refused:
            troubles.append(self._refused["counts"])
        elif silent and len(silent) == len(ports):
            troubles.append(f"no pod tells what it counts: {', '.join(sorted(silent))}")

    def _read(self, pod: str, port: int) -> Counts | None:
        if "counts" in self._refused:
            return None
        answer = self.cluster.ask_pod(pod, port, METRICS, None, {}, seconds=READ_SECONDS)
        return counts.read(answer.body.decode("utf-8", "replace")) if answer.status == 200 else None

    def _pod(self, view: PodView, usage: Mapping[str, tuple[float, int]]) -> PodSeen:
        cpu, memory = usage.get(view.name, (None, None))
        seconds, counted = self._gained(view.name)
        tail = counted.percentile(0.99)
        return PodSeen(
            name=view.name,
            phase=view.phase,
            ready=view.ready,
            new=view.new,
            restarts=view.restarts,
            reason=view.reason,
            cpu=cpu,
            memory=memory,
            rate=round(counted.requests / seconds, 2) if seconds else None,
            failed=round(counted.of("5") / seconds, 2) if seconds else None,
            p99_ms=milliseconds(tail),
        )

    def _gained(self, pod: str) -> tuple[float, Counts]:
        """Over how many seconds, and what was counted in them; 0 where there are no two readings yet."""
        readings = self._readings.get(pod)
        if readings is None or len(readings) < 2:
            return 0.0, Counts()
        (begun, first), (ended, last) = readings[0], readings[-1]
        return ended - begun, last.since(first)

    def _traffic(self, pods: list[str]) -> Traffic | None:
        gained = [(seconds, found) for seconds, found in map(self._gained, pods) if seconds]
        if not gained:
            return None
        merged = counts.together(found for _, found in gained)
        everything = counts.together(self._readings[pod][-1][1] for pod in pods if pod in self._readings)
        return Traffic(
            seconds=round(max(seconds for seconds, _ in gained), 1),
            rate=round(sum(found.requests / seconds for seconds, found in gained), 2),
            failed=round(sum(found.of("5") / seconds for seconds, found in gained), 2),
            refused=round(sum(found.of("4") / seconds for seconds, found in gained), 2),
            p50_ms=milliseconds(merged.percentile(0.5)),
            p90_ms=milliseconds(merged.percentile(0.9)),
            p99_ms=milliseconds(merged.percentile(0.99)),
            in_flight=int(everything.in_flight),
            classes={name: count for name, count in merged.classes.items() if count},
            classes_total=dict(everything.classes),
        )


def used(metrics: Object) -> tuple[float, int]:
    """Millicores and bytes of one pod."""
    usage = [one["usage"] for one in metrics["containers"]]
    return round(sum(millicores(one["cpu"]) for one in usage), 1), int(sum(quantity(one["memory"]) for one in usage))


def given(deployment: Object, pods: int) -> tuple[float | None, float | None, int | None]:
    """CPU request, CPU limit and memory limit of so many pods; None for what is not stated."""
    resources = deployment["spec"]["template"]["spec"]["containers"][0].get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    return (
        pods * millicores(requests["cpu"]) if "cpu" in requests else None,
        pods * millicores(limits["cpu"]) if "cpu" in limits else None,
        int(pods * quantity(limits["memory"])) if "memory" in limits else None,
    )


def admin_port(pod: Object) -> int:
    """Where a pod tells what it counts; 0 where it names no such port."""
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports") or ())
    return next((int(port["containerPort"]) for port in ports if port.get("name") == ADMIN), 0)


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def point(now: float, seen: Seen) -> Point:
    found = seen.traffic
    return Point(
        round(now, 1),
        found.rate if found else None,
        found.failed if found else None,
        found.p50_ms if found else None,
        found.p90_ms if found else None,
        found.p99_ms if found else None,
        seen.cpu,
        seen.memory,
        seen.status.ready,
        seen.status.wanted,
    )
