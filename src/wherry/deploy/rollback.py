"""Back to a release that was good, and the list of those that are kept."""

from __future__ import annotations

import msgspec

from wherry.contract.events import Note, Tell, silent
from wherry.contract.names import ANNOTATION_MODEL, ANNOTATION_RELEASE
from wherry.deploy import history
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import Verdict, Verify, deploy
from wherry.deploy.names import workload
from wherry.deploy.resources import Object, annotations_of, name_of


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
    now = _number(live)
    return tuple(_past(record, now) for record in reversed(history.read(cluster, name_of(live))))


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

    Raises ReleaseMissing, and what a deploy raises.
    """
    live = workload(cluster, name)
    found = history.pick(history.read(cluster, name_of(live)), name_of(live), number, _number(live))
    tell(Note(f"going back to release {found.number}, {found.release.image}"))
    probe = msgspec.structs.replace(found.probe, token=token)
    because = f"release {found.number} again"
    return deploy(found.release, cluster, probe, timeout=timeout, verify=verify, because=because, tell=tell)


def _number(live: Object) -> int:
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
