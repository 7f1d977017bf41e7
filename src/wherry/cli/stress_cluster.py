"""Load on a deployment: its address found through `deploy`, what becomes of it watched meanwhile, both put together.

`stress` and `deploy` do not know each other; here they are joined.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from wherry.cli.clusters import connected, own_name
from wherry.cli.console import Console
from wherry.contract.events import Event, StressView, Tell
from wherry.contract.golden import GoldenRows
from wherry.contract.project import Project
from wherry.contract.recording import Conditions, Recording, Second
from wherry.errors import ClusterFailed, ServiceUnreachable

if TYPE_CHECKING:
    from wherry.deploy.cluster import Cluster
    from wherry.deploy.observing import Observer
    from wherry.deploy.probe import Probe
    from wherry.stress.report import Report

SWITCH_SECONDS = 0.0005  # how long the observer's thread may keep the processor from the generator


class Deployed(NamedTuple):
    """A service in a cluster, as load needs to know it. local: whether the cluster is this machine's
    own. probe: its golden rows as its release keeps them."""

    name: str
    url: str
    local: bool
    digest: str
    probe: Probe | None
    observer: Observer


@contextlib.contextmanager
def deployed(console: Console, project: Project, name: str, kubeconfig: Path | None) -> Iterator[Deployed]:
    """The service called `name` (the project's own, or the only one, where it is empty), and what watches it.

    Raises NothingDeployed, NameUnclear, ServiceUnreachable and what reaching a cluster raises.
    """
    from wherry.deploy.observing import Observer

    with connected(console, project, kubeconfig) as cluster:
        observer = Observer(cluster, name or own_name(project))
        if not observer.deployment["spec"].get("replicas", 1):
            raise ServiceUnreachable(observer.name, "it is paused, with no pods", f"wherry scale {observer.name} 1")
        url = address(cluster, observer.name)
        yield Deployed(observer.name, url, cluster.is_local, digest(observer), probe(cluster, observer.name), observer)


def address(cluster: Cluster, name: str) -> str:
    """Where the service answers from here. Raises ServiceUnreachable."""
    from wherry.deploy.address import address_of

    found = address_of(cluster, name)
    if found is None:
        raise ServiceUnreachable(name, "it has no Service", "wherry deploy")
    if found.reach != "here":
        reason = (
            "its address is known inside the cluster alone" if found.reach == "cluster" else "not from this machine"
        )
        raise ServiceUnreachable(
            f"{name} ({found.url})", reason, f"{found.hint}\n  wherry stress http://127.0.0.1:8080, in another terminal"
        )
    return found.url


def digest(observer: Observer) -> str:
    """The digest of the model that must answer."""
    from wherry.contract.names import ANNOTATION_DIGEST
    from wherry.deploy.resources import annotations_of

    return annotations_of(observer.deployment).get(ANNOTATION_DIGEST, "")


def probe(cluster: Cluster, name: str) -> Probe | None:
    """The golden rows that prove the newest release, None where none is kept or it may not be read."""
    from wherry.deploy.history import read

    try:
        records = read(cluster, name)
    except ClusterFailed:
        return None
    return records[-1].probe if records and records[-1].probe.predictions else None


def golden(probe: Probe) -> GoldenRows | None:
    """The rows of a probe with their answers; None where its body is of another shape."""
    try:
        body = msgspec.json.decode(probe.body)
        rows = tuple(tuple(row) for row in body["rows"])
        return GoldenRows(columns=tuple(body["columns"]), rows=rows, predictions=probe.predictions)
    except (msgspec.DecodeError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def watched(observer: Observer, tell: Tell) -> Iterator[Tell]:
    """A tell that shows the deployment beside the load; the observer looks meanwhile."""

    def both(event: Event) -> None:
        tell(msgspec.structs.replace(event, cluster=observer.view) if isinstance(event, StressView) else event)

    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with observer:
            yield both
    finally:
        sys.setswitchinterval(before)


def recording_of(report: Report, start: float, observer: Observer) -> Recording:
    """Load and deployment as one value, times from the load's start."""
    from wherry.stress.seconds import seconds_of

    made = observer.conditions or Conditions(
        name=observer.name, cpu_request=0, min_replicas=0, max_replicas=0, cpu_target=0
    )
    conditions = msgspec.structs.replace(made, connections=report.connections, machine=machine())
    return Recording(
        start=start,
        load=f"{report.shape} for {report.seconds:.0f} s",
        conditions=conditions,
        seconds=joined(seconds_of(report), [since(one, start) for one in observer.seconds]),
        cpu=tuple(
            msgspec.structs.replace(one, at=round(one.at - start, 3), scraped=round(one.scraped - start, 3))
            for one in observer.cpu
        ),
        happenings=tuple(since(one, start) for one in sorted(observer.happenings, key=lambda one: one.at)),
    )


def since(one: Any, start: float) -> Any:
    return msgspec.structs.replace(one, at=round(one.at - start, 3))


def joined(load: Sequence[Second], cluster: Sequence[Second]) -> tuple[Second, ...]:
    """Each second of the load with the last look at the cluster before its end."""
    made, place, look = [], 0, None
    for second in load:
        while place < len(cluster) and cluster[place].at < second.at + 1:
            look = cluster[place]
            place += 1
        seen = {} if look is None else {key: getattr(look, key) for key in CLUSTER_FIELDS}
        made.append(msgspec.structs.replace(second, **seen))
    return tuple(made)


CLUSTER_FIELDS = ("desired", "created", "ready", "hpa_current", "hpa_desired")


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
