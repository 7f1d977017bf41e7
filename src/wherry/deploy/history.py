"""Past releases, kept in the cluster: an immutable ConfigMap each, with the objects as they were applied and the proof.

What became of a release stands in its annotations, so that a client that was killed leaves the truth behind.
"""

from __future__ import annotations

import copy
import json
from typing import Literal, TypeAlias

import msgspec

from wherry.contract.events import Note, Tell
from wherry.contract.names import (
    ANNOTATION_CAUSE,
    ANNOTATION_RELEASE,
    ANNOTATION_STATE,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    MANAGER,
)
from wherry.deploy.cluster import Cluster
from wherry.deploy.probe import Probe
from wherry.deploy.resources import CONFIG_MAP, Object, annotations_of, labels_of, selector
from wherry.errors import ClusterFailed, NotPermitted, ReleaseMissing
from wherry.release.release import Release

KEEP = 10
LARGEST_PROBE = 256 * 1024  # a ConfigMap holds a MiB
STATE_MANAGER = "wherry-history"
_RELEASE, _PROBE = "release.json", "probe.json"

# deploying: under way, or its client was killed. unproven: applied with no pod to ask, as while it is paused.
# canary: beside what serves, or its client was killed. aborted: taken away again before it served everybody.
State: TypeAlias = Literal["deploying", "deployed", "failed", "unproven", "canary", "aborted"]


class Record(msgspec.Struct, frozen=True):
    """One release that was deployed. cause: why it failed, or which one it brought back. made: when, as UTC."""

    number: int
    state: State
    release: Release
    probe: Probe
    cause: str = ""
    made: str = ""


def read(cluster: Cluster, name: str) -> tuple[Record, ...]:
    """What is kept of the service called `name`, oldest first."""
    found = [
        _record(made) for made in cluster.list(CONFIG_MAP, selector(name)) if ANNOTATION_RELEASE in labels_of(made)
    ]
    return tuple(sorted(found, key=lambda record: record.number))


def last_good(records: tuple[Record, ...], before: int) -> Record | None:
    """The newest release before number `before` that was proven."""
    return next((one for one in reversed(records) if one.number < before and one.state == "deployed"), None)


def pick(records: tuple[Record, ...], name: str, number: int | None, now: int) -> Record:
    """Release `number`, or the last good one before the release `now`. Raises ReleaseMissing."""
    found = last_good(records, now) if number is None else numbered(records, number)
    if found is None:
        raise ReleaseMissing(name, number, tuple(one.number for one in records))
    return found


def numbered(records: tuple[Record, ...], number: int) -> Record | None:
    """Release `number`, None where it is not kept."""
    return next((one for one in records if one.number == number), None)


def begin(records: tuple[Record, ...], release: Release, probe: Probe, cause: str) -> Record:
    """The record of a deploy that begins; what is deployed again, unchanged, keeps its number."""
    newest = records[-1] if records else None
    if newest is not None and newest.release.objects == release.objects:
        return newest if newest.state == "deployed" else msgspec.structs.replace(newest, cause=cause)
    number = newest.number + 1 if newest else 1
    return Record(number, "deploying", release, cut(msgspec.structs.replace(probe, token="")), cause)


def keep(cluster: Cluster, record: Record, records: tuple[Record, ...], tell: Tell) -> None:
    """Writes the record of a release that is about to be applied."""
    if all(one.number != record.number for one in records):
        try:
            cluster.create(_config_map(record))
        except ClusterFailed as error:
            tell(
                Note(f"this release cannot be kept, so it cannot be brought back: {error}", warn=True, hint=error.hint)
            )
            return
    if record.state != "deployed":
        mark(cluster, record, "deploying", record.cause)


def mark(cluster: Cluster, record: Record, state: State, cause: str = "") -> None:
    """Says what became of a release."""
    said = {ANNOTATION_STATE: state, ANNOTATION_CAUSE: cause}
    wish = {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {"name": _name(record), "namespace": record.release.namespace, "annotations": said},
    }
    if cluster.get(CONFIG_MAP, _name(record)) is not None:
        cluster.apply(wish, manager=STATE_MANAGER, force=True)


def interrupted(cluster: Cluster, records: tuple[Record, ...], now: Record) -> None:
    """Says of canaries whose client was killed that nothing came of them: another deploy has begun."""
    for record in records:
        if record.state == "canary" and record.number != now.number:
            mark(cluster, record, "aborted", "interrupted")


def trim(cluster: Cluster, name: str, tell: Tell) -> None:
    """Forgets all but the newest ten."""
    try:
        for record in read(cluster, name)[:-KEEP]:
            cluster.delete(CONFIG_MAP, _name(record))
    except NotPermitted as error:
        tell(Note(f"old releases stay: {error}", warn=True, hint=error.hint))


def stamped(record: Record) -> Release:
    """The release, its workload saying which number it is."""
    objects = []
    for made in record.release.objects:
        if made is record.release.workload:
            made = copy.deepcopy(made)
            made["metadata"].setdefault("annotations", {})[ANNOTATION_RELEASE] = str(record.number)
        objects.append(made)
    return msgspec.structs.replace(record.release, objects=tuple(objects))


def cut(probe: Probe) -> Probe:
    """The probe with no more golden rows than a ConfigMap has room for, one at least."""
    if len(probe.body) <= LARGEST_PROBE:
        return probe
    body = json.loads(probe.body)
    rows = max(1, int(len(body["rows"]) * LARGEST_PROBE / len(probe.body)))
    fewer = json.dumps({**body, "rows": body["rows"][:rows]}).encode()
    return msgspec.structs.replace(probe, body=fewer, predictions=probe.predictions[:rows])


def _name(record: Record) -> str:
    return f"{record.release.name}-release-{record.number}"


def _config_map(record: Record) -> Object:
    name = record.release.name
    labels = {LABEL_NAME: name, LABEL_INSTANCE: name, LABEL_MANAGED_BY: MANAGER, ANNOTATION_RELEASE: str(record.number)}
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {"name": _name(record), "namespace": record.release.namespace, "labels": labels},
        "immutable": True,
        "data": {
            _RELEASE: msgspec.json.encode(record.release).decode(),
            _PROBE: msgspec.json.encode(record.probe).decode(),
        },
    }


def _record(made: Object) -> Record:
    said = annotations_of(made)
    return Record(
        number=int(labels_of(made)[ANNOTATION_RELEASE]),
        state=msgspec.convert(said.get(ANNOTATION_STATE, "deploying"), State),
        release=msgspec.json.decode(made["data"][_RELEASE], type=Release),
        probe=msgspec.json.decode(made["data"][_PROBE], type=Probe),
        cause=said.get(ANNOTATION_CAUSE, ""),
        made=str(made["metadata"].get("creationTimestamp", "")),
    )
