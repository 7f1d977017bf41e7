"""What becomes of a deployment while load is on it: replicas, CPU, the autoscaler and each pod's life, as they happen.

The API is asked twice a second over kept connections, from a thread of its own; the metrics, which are new each quarter
of a minute, every other second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from wherry.contract.events import ClusterView
from wherry.contract.recording import Conditions, Happening, PodCpu, Second
from wherry.deploy.cluster import Cluster
from wherry.deploy.conditions import conditions_of, millicores, utilization
from wherry.deploy.names import workload
from wherry.deploy.resources import AUTOSCALER, DEPLOYMENT, POD, POD_METRICS, Kind, Object, condition, match, name_of
from wherry.errors import ClusterFailed, NoCluster

LOOK_SECONDS = 0.5
LOOKS_A_MEASURE = 4  # looks between two readings of the metrics
Answered = TypeVar("Answered")
MARKS = (("PodScheduled", "pod_scheduled"), ("Ready", "pod_ready"))


class Observer:
    """Looks at the service called `name` from entering to leaving. Times are seconds since the epoch, by our clock.

    Raises NothingDeployed or NameUnclear when it is made. What may not be read, or is not there, stays None.
    """

    def __init__(self, cluster: Cluster, name: str, *, clock: Callable[[], float] = time.time) -> None:
        self.cluster, self.clock = cluster, clock
        self.troubles: dict[str, str] = {}  # by what was asked: why it could not be read
        self._refused: set[str] = set()
        self.deployment = workload(cluster, name)
        self.name = name_of(self.deployment)
        self.labels = match(self.deployment["spec"]["selector"]["matchLabels"])
        self.autoscaler = self._ask(AUTOSCALER)
        self.view = ClusterView(self.name)
        self.seconds: list[Second] = []
        self.cpu: list[PodCpu] = []
        self.happenings: list[Happening] = []
        self._seen: set[tuple[str, str]] = set()  # pods and what was told of each
        self._scrapes: dict[str, str] = {}
        self._synced = self._size = ""
        self._before = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Observer:
        self.look()  # what was there before the load is no news
        self.happenings.clear()
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def conditions(self) -> Conditions | None:
        """What is in force, None without an autoscaler."""
        if self.autoscaler is None:
            return None
        made = conditions_of(self.name, self.deployment, self.autoscaler)
        starts = sorted(self.starts())
        return msgspec.structs.replace(made, start_seconds=starts[len(starts) // 2] if starts else None)

    @property
    def ready(self) -> int:
        """Pods that are ready."""
        return int((self.deployment.get("status") or {}).get("readyReplicas", 0))

    def starts(self) -> list[float]:
        """Seconds from creation to readiness of each pod that became ready meanwhile."""
        created = {one.who: one.at for one in self.happenings if one.kind == "pod_created"}
        ready = {one.who: one.at for one in self.happenings if one.kind == "pod_ready"}
        return [round(ready[pod] - created[pod], 2) for pod in created if pod in ready]

    def _run(self) -> None:
        looks = 0
        while not self._stop.wait(LOOK_SECONDS):
            looks += 1
            self.look(measure=looks % LOOKS_A_MEASURE == 0)

    def look(self, *, measure: bool = True) -> None:
        """One look at everything."""
        deployment, autoscaler = self._ask(DEPLOYMENT), self._ask(AUTOSCALER)
        pods = self._list(POD)
        now = self.clock()
        self.deployment, self.autoscaler = deployment or self.deployment, autoscaler or self.autoscaler
        if pods is not None:
            self._see_pods(pods, now)
        if autoscaler is not None:
            self._see_autoscaler(autoscaler, now)
        if measure:
            self._measure(now)
        self._note(deployment, autoscaler, now)
        self._before = now

    # --- what is seen

    def _see_pods(self, pods: tuple[Object, ...], now: float) -> None:
        there = set()
        for pod in pods:
            name, state = name_of(pod), pod.get("status") or {}
            there.add(name)
            self._happened("pod_created", name, pod["metadata"].get("creationTimestamp"), now)
            for kind, told in MARKS:
                found = condition(pod, kind)
                if found.get("status") == "True":
                    self._happened(told, name, found.get("lastTransitionTime"), now)
            for container in state.get("containerStatuses") or ():
                running = (container.get("state") or {}).get("running")
                if running:
                    self._happened("pod_started", name, running.get("startedAt"), now)
        for name in [who for who, kind in self._seen if kind == "pod_created" and who not in there]:
            self._happened("pod_ended", name, None, now)
            self._seen -= {(name, kind) for kind in ("pod_created", "pod_scheduled", "pod_started", "pod_ready")}

    def _see_autoscaler(self, made: Object, now: float) -> None:
        """A turn of its loop shows as a write of its status; a rescale as another number of replicas."""
        state = made.get("status") or {}
        written = next(
            (one.get("time") for one in made["metadata"].get("managedFields") or () if one.get("subresource")), ""
        )
        version = f"{written} {made['metadata'].get('resourceVersion')}"
        if version != self._synced:
            self._synced = version
            self._tell("synced", name_of(made), written, now)
        wanted = str(state.get("desiredReplicas", ""))
        if wanted != self._size:
            before, self._size = self._size, wanted
            self._tell(
                "rescaled", name_of(made), state.get("lastScaleTime"), now, float(wanted or 0), reason(made, before)
            )

    def _measure(self, now: float) -> None:
        for made in self._list(POD_METRICS) or ():
            name, stamp = name_of(made), str(made.get("timestamp", ""))
            if self._scrapes.get(name) == stamp:
                continue
            self._scrapes[name] = stamp
            used = sum(millicores(str(one["usage"]["cpu"])) for one in made.get("containers") or ())
            window = float(str(made.get("window", "15s")).rstrip("s") or 15)
            self.cpu.append(PodCpu(at=now, scraped=epoch(stamp), pod=name, millicores=round(used, 2), window=window))

    def _note(self, deployment: Object | None, autoscaler: Object | None, now: float) -> None:
        """The look as a value of the recording, and for the screen."""
        if deployment is None:
            return
        state, scaling = deployment.get("status") or {}, (autoscaler or {}).get("status") or {}
        current, target = utilization(autoscaler) if autoscaler else (None, None)
        second = Second(
            at=now,
            desired=int(deployment["spec"].get("replicas", 1)),
            created=int(state.get("replicas", 0)),
            ready=int(state.get("readyReplicas", 0)),
            hpa_current=None if current is None else float(current),
            hpa_desired=int(scaling["desiredReplicas"]) if scaling.get("desiredReplicas") is not None else None,
        )
        self.seconds.append(second)
        latest = {one.pod: one.millicores for one in self.cpu}
        alive = {who for who, kind in self._seen if kind == "pod_created"}
        used = [value for pod, value in latest.items() if pod in alive]
        most = int(autoscaler["spec"]["maxReplicas"]) if autoscaler else None
        self.view = ClusterView(
            self.name,
            second.desired or 0,
            second.ready or 0,
            most,
            round(sum(used)) if used else None,
            current,
            target,
        )

    def _happened(self, kind: Any, who: str, stamp: str | None, now: float) -> None:
        """Told once a pod."""
        if (who, kind) not in self._seen:
            self._seen.add((who, kind))
            self._tell(kind, who, stamp, now)

    def _tell(
        self, kind: Any, who: str, stamp: str | None, now: float, value: float | None = None, text: str = ""
    ) -> None:
        self.happenings.append(
            Happening(at=moment(stamp, self._before, now), kind=kind, who=who, value=value, text=text)
        )

    # --- asking

    def _ask(self, kind: Kind) -> Object | None:
        return self._try(kind, lambda: self.cluster.get(kind, self.name))

    def _list(self, kind: Kind) -> tuple[Object, ...] | None:
        return self._try(kind, lambda: self.cluster.list(kind, self.labels))

    def _try(self, kind: Kind, ask: Callable[[], Answered]) -> Answered | None:
        """What is answered; None, and why, when it is not. What is not permitted is not asked again."""
        if kind.resource in self._refused:
            return None
        try:
            return ask()
        except NoCluster as error:
            self.troubles[kind.resource] = str(error)  # it may be back for the next look
        except ClusterFailed as error:
            self.troubles[kind.resource] = str(error)
            self._refused.add(kind.resource)
        return None


def moment(stamp: str | None, before: float, now: float) -> float:
    """When something happened that is stamped to the second, was not there at `before` and is at `now`."""
    if not stamp:
        return round((before + now) / 2, 3) if before else now
    second = epoch(stamp)
    low, high = max(second, before), min(second + 1, now)
    if low <= high:
        return round((low + high) / 2, 3)
    return round(min(now, max(second + 0.5, before)), 3)


def epoch(stamp: str) -> float:
    """Seconds since the epoch of a time as the API writes it."""
    return datetime.fromisoformat(stamp).timestamp()


def reason(autoscaler: Object, before: str) -> str:
    """A rescale in words."""
    current, target = utilization(autoscaler)
    wanted = (autoscaler.get("status") or {}).get("desiredReplicas")
    seen = f": CPU {current} % of the request, aiming at {target} %" if current is not None else ""
    return f"from {before or '?'} to {wanted}{seen}"
