"""The logs of all pods of a service, each line with its pod."""

from __future__ import annotations

import threading

from wherry.contract.events import Note, Output, Tell
from wherry.deploy.cluster import Cluster
from wherry.deploy.names import service_of, workload
from wherry.deploy.resources import POD, Object, match, name_of, utc_now
from wherry.deploy.scheduled import pods_of, scheduled
from wherry.errors import ClusterFailed, UsageRefused

NEW_PODS_SECONDS = 2.0


def logs(
    cluster: Cluster,
    name: str = "",
    *,
    work: str = "",
    follow: bool = False,
    tail: int | None = None,
    tell: Tell,
    stop: threading.Event | None = None,
) -> int:
    """Tells every line as an Output whose source is the pod; how many pods there were.

    work: of [deploy.schedule], whose runs are meant in the place of the service. follow: goes on with pods old and new
    until `stop` is set or the caller is interrupted. Raises NothingDeployed, UsageRefused where there is no such work.
    """
    live = workload(cluster, name)
    labels = match(live["spec"]["selector"]["matchLabels"])
    if work:
        labels = of_runs(cluster, service_of(live), work)
    if not follow:
        pods = sorted((pod for pod in cluster.list(POD, labels) if not _is_leaving(pod)), key=name_of)
        for pod in pods:
            _read(cluster, pod, False, tail, tell)
        if not pods:
            none = f"no run of {work} is kept" if work else f"{name_of(live)} has no pods"
            tell(Note(none, hint="wherry status says when it runs" if work else "wherry scale 2"))
        return len(pods)
    return _follow(cluster, labels, tail, tell, stop or threading.Event())


def of_runs(cluster: Cluster, service: str, work: str) -> str:
    """The label selector for the pods of a work's runs. Raises UsageRefused with those that there are."""
    known = [one.name for one in scheduled(cluster, service, utc_now())]
    if work not in known:
        there = f"it has {', '.join(known)}" if known else "it has none: [deploy.schedule.NAME] in wherry.toml"
        raise UsageRefused(f"{service} has no work {work} at set times", hint=there)
    return pods_of(service, work)


def _follow(cluster: Cluster, labels: str, tail: int | None, tell: Tell, stop: threading.Event) -> int:
    one_at_a_time = threading.Lock()

    def told(event: Output | Note) -> None:
        with one_at_a_time:
            if not stop.is_set():
                tell(event)

    readers: dict[str, threading.Thread] = {}
    lines = tail  # of the pods that are there; those that come later are shown from their first line
    while True:
        for pod in cluster.list(POD, labels):
            if pod["metadata"]["uid"] not in readers and _has_started(pod):
                reader = threading.Thread(target=_read, args=(cluster, pod, True, lines, told), daemon=True)
                readers[pod["metadata"]["uid"]] = reader
                reader.start()
        lines = None
        if stop.wait(NEW_PODS_SECONDS):
            return len(readers)


def _read(cluster: Cluster, pod: Object, follow: bool, tail: int | None, tell: Tell) -> None:
    try:
        for line in cluster.logs(name_of(pod), follow=follow, tail=tail):
            tell(Output(name_of(pod), line))
    except ClusterFailed as error:
        tell(Note(f"no log of pod {name_of(pod)}: {error}", warn=True))


def _is_leaving(pod: Object) -> bool:
    """Ended and deleted: the cluster only has not forgotten it yet."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return ended and "deletionTimestamp" in pod["metadata"]


def _has_started(pod: Object) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("waiting" not in (one.get("state") or {"waiting": {}}) for one in containers)
