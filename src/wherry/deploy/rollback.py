"""Back to a release that was good, and the list of those that are kept."""

from __future__ import annotations

import msgspec

from wherry.contract.events import Note, Tell, silent
from wherry.contract.names import ANNOTATION_MODEL, ANNOTATION_RELEASE
from wherry.deploy import history, tracks
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import Verdict, deploy
from wherry.deploy.names import service_of, workload
from wherry.deploy.probe import Verify
from wherry.deploy.resources import Object, annotations_of
from wherry.errors import ClusterFailed


class Past(msgspec.Struct, frozen=True):
    """One release as a person wants to see it. now: whether it is what the cluster is to run. made: as UTC."""

    name: str
    number: int
    now: bool
    state: history.State
    model: str
    image: str
    made: str
    cause: str


def releases(cluster: Cluster, name: str = "") -> tuple[Past, ...]:
    """What is kept of the service `name`, or of the only one, newest first. Raises NothingDeployed, NameUnclear."""
    live = workload(cluster, name)
    now = number_of(live)
    return tuple(_past(record, now) for record in reversed(history.read(cluster, service_of(live))))


def rollback(
    cluster: Cluster,
    number: int | None = None,
    name: str = "",
    *,
    token: str = "",
    timeout: float | None = None,
    verify: Verify = "auto",
    tell: Tell = silent,
) -> Verdict:
    """Deploys release `number` again, or the last good one before the one that serves, and proves it.

    Where its pods still stand beside those that serve, the Service is switched to them. While a canary runs, no number
    means that it goes, and after a deploy that was interrupted the last good one before that.
    Raises ReleaseMissing, and what a deploy raises.
    """
    live = workload(cluster, name)
    name = service_of(live)
    records = history.read(cluster, name)
    beside = {one.track: one for one in tracks.beside(cluster, name, tracks.serving(cluster, name))}
    if number is None and "canary" in beside:
        number = number_of(live)  # what a canary is taken away for
    cut_off = records[-1].number if records and records[-1].state == "deploying" else 0
    found = history.pick(records, name, number, max(number_of(live), cut_off))
    tell(Note(f"going back to release {found.number}, {found.release.image}"))
    probe = msgspec.structs.replace(found.probe, token=token)
    kept = [history.numbered(records, one.release) for track, one in beside.items() if track in tracks.WHOLE]
    return deploy(
        found.release,
        cluster,
        probe,
        timeout=timeout,
        verify=verify,
        because=f"release {found.number} again",
        blue_green=any(one is not None and one.release.objects == found.release.objects for one in kept),
        tell=tell,
    )


def ways_back(cluster: Cluster, name: str) -> tuple[str, ...]:
    """What to type so that an interrupted deploy leaves nothing: without a release that was good there is one way."""
    try:
        records = history.read(cluster, name)
    except ClusterFailed:
        return ("wherry releases", "wherry down")
    good = history.last_good(records, records[-1].number + 1) if records else None
    return (f"wherry rollback {good.number}", "wherry down") if good else ("wherry down",)


def number_of(live: Object) -> int:
    """The number of the release that the Deployment holds; 0 where it holds none that is numbered."""
    return int(annotations_of(live).get(ANNOTATION_RELEASE, 0))


def _past(record: history.Record, now: int) -> Past:
    deployment = record.release.workload
    return Past(
        name=record.release.name,
        number=record.number,
        now=record.number == now,
        state=record.state,
        model=annotations_of(deployment).get(ANNOTATION_MODEL, ""),
        image=record.release.image,
        made=record.made,
        cause=record.cause,
    )
