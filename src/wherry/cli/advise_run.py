"""One replica under load: what it is sent, how each probe went, what it used meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from wherry.cli.console import Console
from wherry.cli.stress_replay import Load
from wherry.cli.stress_run import Sending, asked, found, plan_of
from wherry.contract.events import silent
from wherry.contract.project import Project
from wherry.contract.settings import quantity
from wherry.errors import UsageRefused

if TYPE_CHECKING:
    from wherry.cli.stress_asks import Asking
    from wherry.cli.stress_cluster import Deployed
    from wherry.stress.advising.knee import Probe
    from wherry.stress.objective import Limit

SETTLE = 1.0  # seconds between two probes, for what is still queued
STEADY = 0.75  # of the knee: the rate at which CPU and memory are seen
STEADY_SECONDS = 40.0  # in a cluster, where usage is told every quarter of a minute
DESK_SECONDS = 5.0
LEFT, LEFT_SECONDS = 0.1, 0.25  # of a probe's time, but so many seconds at least, that it may take to answer the rest
LAG_SHARE = 0.2  # of the objective's latency that the generator may be late by


class Used(NamedTuple):
    """What a replica used: millicores, bytes; None where nobody can tell."""

    cpu: float | None
    memory: int | None


class Subject(NamedTuple):
    """What is measured. name: for a person. there: the deployment, None for an address. pid: of a process here."""

    name: str
    asking: Asking
    there: Deployed | None = None
    pid: int | None = None
    cpu_limit: float | None = None
    start: float | None = None

    @property
    def steady_seconds(self) -> float:
        return STEADY_SECONDS if self.there is not None else DESK_SECONDS


@contextlib.contextmanager
def subject(
    console: Console, where: str, wanted: Project, kubeconfig: Path | None, sending: Sending
) -> Iterator[Subject]:
    """What `where` is: an address, or the name of a deployment of one replica.

    Raises ServiceUnreachable, NotConfirmed, UsageRefused and what reaching a cluster raises.
    """
    from wherry.cli.stress_asks import reachable
    from wherry.stress.shape import constant

    load = Load(constant(1.0, 1.0))
    if "://" in where:
        target = reachable(console, where, sending.allow_remote)
        asking = asked(console, target, load, sending, None)
        pid = listener(target.port) if target.local else None
        yield Subject(target.url, asking, pid=pid)
        return
    with found(console, wanted, where, kubeconfig) as there:
        limit = alone(there)
        target = reachable(console, there.url, sending.allow_remote or there.local)
        asking = asked(console, target, load, sending, there)
        yield Subject(there.name, asking, there, cpu_limit=limit, start=started(there))


def alone(there: Deployed) -> float | None:
    """The CPU limit of the one replica, in millicores. Raises UsageRefused where there are more, or may be."""
    observer = there.observer
    replicas = int(observer.deployment["spec"].get("replicas", 1))
    most = int(observer.autoscaler["spec"]["maxReplicas"]) if observer.autoscaler is not None else replicas
    if replicas != 1 or most != 1:
        has = f"{replicas} replicas" if replicas != 1 else f"an autoscaler that may add up to {most - 1}"
        raise UsageRefused(
            f"{there.name} has {has}: what one holds is measured on one alone",
            hint="WHERRY_DEPLOY_REPLICAS=1 wherry deploy, and wherry deploy when the advice is written",
        )
    limits = observer.deployment["spec"]["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return 1000 * quantity(str(limits["cpu"])) if "cpu" in limits else None


def started(there: Deployed) -> float | None:
    """Seconds from the creation of the pod to its readiness; None where it has lost and regained it since."""
    from wherry.deploy.resources import POD, condition

    took = []
    for pod in there.observer.cluster.list(POD, there.observer.labels):
        ready, containers = condition(pod, "Ready"), pod["status"].get("containerStatuses") or ()
        if ready.get("status") == "True" and not any(one.get("restartCount") for one in containers):
            stamps = (pod["metadata"]["creationTimestamp"], ready["lastTransitionTime"])
            created, up = (datetime.fromisoformat(stamp) for stamp in stamps)
            probe = pod["spec"]["containers"][0].get("startupProbe") or {}
            seconds = (up - created).total_seconds()
            if seconds <= 2 * float(probe.get("failureThreshold", 60)) * float(probe.get("periodSeconds", 2)):
                took.append(seconds)
    return max(1.0, min(took)) if took else None


class Prober:
    """Puts probes on a subject. interrupted: Ctrl-C ended one."""

    def __init__(self, subject: Subject, limits: tuple[Limit, ...], sending: Sending) -> None:
        self.subject, self.limits, self.sending = subject, limits, sending
        self.latency = next(limit for limit in limits if limit.name[0] == "p")
        self.interrupted = False

    def measure(self, rate: float, seconds: float) -> Probe | None:
        """One run at `rate`; None when it was interrupted."""
        from wherry.stress.advising.knee import Probe
        from wherry.stress.load import run
        from wherry.stress.report import report_of
        from wherry.stress.shape import bounded, constant

        time.sleep(SETTLE)
        plan = plan_of(self.subject.asking, Load(bounded(constant(rate, seconds))), self.sending, 0.0)
        begun = time.monotonic()
        report = report_of(plan, run(plan, silent), self.limits)
        if report.interrupted:
            self.interrupted = True
            return None
        # a queue that grows all the time is within a wide objective for as long as a short probe lasts
        kept_up = time.monotonic() - begun - seconds <= max(LEFT * seconds, LEFT_SECONDS)
        lag = report.lag_p99 or 0.0
        return Probe(
            rate=rate,
            seconds=seconds + SETTLE,
            sent=report.sent,
            held=report.met and report.sent > 0 and kept_up,
            throughput=report.throughput,
            tail=next((one.measured for one in report.slo if one.objective == self.latency.text), None),
            errors=report.errors,
            lagged=lag > max(5.0, LAG_SHARE * self.latency.value),
        )

    def used(self, rate: float) -> tuple[Used, Used] | None:
        """What the replica uses without load and at `rate`; None when it was interrupted."""
        if self.subject.there is not None:
            return self.used_in_cluster(rate, self.subject.there)
        pid = self.subject.pid
        if pid is None:
            return Used(None, None), Used(None, None)
        before = processor(pid)
        time.sleep(2 * SETTLE)
        idle = (processor(pid) - before) / (2 * SETTLE) * 1000
        begun, before = time.monotonic(), processor(pid)
        if self.measure(rate, self.subject.steady_seconds) is None:
            return None
        busy = 1000 * (processor(pid) - before) / (time.monotonic() - begun - SETTLE)
        return Used(idle, None), Used(busy, memory(pid))

    def used_in_cluster(self, rate: float, there: Deployed) -> tuple[Used, Used] | None:
        """As the cluster's metrics say; only what they averaged over the load alone counts."""
        observer = there.observer
        with observer:
            begun = time.time() + SETTLE
            if self.measure(rate, self.subject.steady_seconds) is None:
                return None
            ended = time.time()
        busy = [one.millicores for one in observer.cpu if one.scraped - one.window >= begun and one.scraped <= ended]
        seen = [*taken(there)]
        return Used(None, None), Used(sum(busy) / len(busy) if busy else None, max(seen) if seen else None)


def taken(there: Deployed) -> Iterator[int]:
    """Bytes of each pod."""
    from wherry.deploy.resources import POD_METRICS
    from wherry.errors import ClusterFailed

    with contextlib.suppress(ClusterFailed):
        for made in there.observer.cluster.list(POD_METRICS, there.observer.labels):
            yield int(sum(quantity(str(one["usage"]["memory"])) for one in made.get("containers") or ()))


def listener(port: int) -> int | None:
    """The process of this machine that listens on `port`, as far as this user may know."""
    from wherry.server.ports import links, listening

    inodes = listening(port)
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with contextlib.suppress(OSError):
            if inodes & links(process):
                return int(process.name)
    return None


def family(pid: int) -> Iterator[Path]:
    """The process and its children, as folders of /proc."""
    yield Path("/proc") / str(pid)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                yield process


def processor(pid: int) -> float:
    """Seconds of processor time that the process and its children have used."""
    total = 0.0
    for process in family(pid):
        with contextlib.suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory(pid: int) -> int:
    """Bytes that they hold."""
    total = 0
    for process in family(pid):
        with contextlib.suppress(OSError):
            total += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def with_cost(measured: Any, idle: Used, busy: Used, rate: float) -> Any:
    """`measured` with what a request costs, from what the replica used without load and at `rate`."""
    found: Mapping[str, Any] = {"memory": busy.memory}
    if busy.cpu is not None:
        rest = idle.cpu if idle.cpu is not None else 1.0
        found = {**found, "idle": rest, "cost": max(busy.cpu - rest, 0.001) / rate}
    return msgspec.structs.replace(measured, **found)
