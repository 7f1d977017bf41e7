"""What stands beside the stable version: found by its label, switched to, and taken away whole."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping

import msgspec

from wherry.contract.events import Note, Step, Tell
from wherry.contract.names import ANNOTATION_IMAGE, ANNOTATION_MODEL, ANNOTATION_RELEASE, LABEL_TRACK
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    HTTP_ROUTE,
    NETWORK_POLICY,
    SCALED_OBJECT,
    SERVICE,
    Object,
    annotations_of,
    is_ours,
    labels_of,
    name_of,
    selector,
)
from wherry.errors import NotPermitted, ObjectRefused, StillThere
from wherry.release.tracks import divided, is_divided, name_in, track_of

STABLE = "stable"
WHOLE = (STABLE, "green")  # the tracks of which one serves and the other is the way back
PREVIEW = "preview"  # the Service by which a track is asked before it serves
GONE_SECONDS = 120.0
LOOK_AGAIN = 0.3
AROUND = (AUTOSCALER, SCALED_OBJECT, SERVICE, NETWORK_POLICY)  # what a track may have beside its Deployment


class Beside(msgspec.Struct, frozen=True):
    """A version that runs beside the one that serves. release: its number, 0 where it has none.

    copies: of a shadow, what came of the copies of requests, by outcome.
    """

    track: str
    release: int
    model: str
    image: str
    wanted: int
    ready: int
    copies: Mapping[str, int] = {}

    @property
    def words(self) -> str:
        """What it is and what may be done about it."""
        said = f"{self.track}: {self.model}, {self.ready} of {self.wanted} pods ready"
        if self.track in WHOLE and not self.wanted:
            return f"{self.track}: {self.model}, without pods; wherry rollback {self.release} has it come up and serve"
        if self.track in WHOLE:
            return f"{said}, called by nobody; wherry rollback {self.release} switches to it"
        if self.track == "shadow":
            answered = sum(self.copies.get(outcome, 0) for outcome in ("same", "differs"))
            lost = ", ".join(f"{self.copies.get(each, 0)} {each}" for each in ("refused", "failed", "dropped"))
            return f"{said}; {self.copies.get('differs', 0)} of {answered} copies answered otherwise, {lost}"
        return said


def marked(cluster: Cluster, name: str) -> tuple[Object, ...]:
    """The Deployments of `name` that are in a track other than stable."""
    return tuple(made for made in cluster.list(DEPLOYMENT, selector(name)) if labels_of(made).get(LABEL_TRACK))


def others(cluster: Cluster, name: str, serving: str) -> dict[str, Object]:
    """The Deployments beside the track that serves, the old version that can be switched back to included."""
    found = {labels_of(made)[LABEL_TRACK]: made for made in marked(cluster, name)}
    stable = cluster.get(DEPLOYMENT, name) if serving != STABLE else None
    if stable is not None:
        found[STABLE] = stable
    return {track: made for track, made in sorted(found.items()) if track != serving}


def beside(cluster: Cluster, name: str, serving: str) -> Iterator[Beside]:
    """What runs beside the track that serves."""
    for track, made in others(cluster, name, serving).items():
        said = annotations_of(made)
        yield Beside(
            track,
            int(said.get(ANNOTATION_RELEASE, 0)),
            said.get(ANNOTATION_MODEL, ""),
            said.get(ANNOTATION_IMAGE, ""),
            int(made["spec"].get("replicas", 1)),
            int((made.get("status") or {}).get("readyReplicas", 0)),
        )


def serving(cluster: Cluster, name: str) -> str:
    """The track that the service's callers reach."""
    return track_of(_selector(cluster, name))


def narrowed(cluster: Cluster, name: str) -> bool:
    """Whether the Service finds one track alone, as after a switch."""
    return LABEL_TRACK in _selector(cluster, name)


def _selector(cluster: Cluster, name: str) -> Mapping[str, str]:
    try:
        service = cluster.get(SERVICE, name) or {"spec": {}}
    except NotPermitted:
        return {}  # who may not see Services has switched none
    return service["spec"].get("selector") or {}


def route(cluster: Cluster, name: str) -> Object | None:
    """The HTTPRoute by which a Gateway finds the service; None where wherry made none or it may not be read."""
    try:
        live = cluster.get(HTTP_ROUTE, name)
    except (NotPermitted, ObjectRefused):
        return None  # without a right to routes, or a cluster that knows none, this deploy has made none
    return live if live is not None and is_ours(live, name) else None


def _rejoin(cluster: Cluster, name: str) -> None:
    """Has a Gateway send all to the stable version again, before the canary's pods go."""
    live = route(cluster, name)
    if live is not None and is_divided(live, name):
        cluster.apply(divided(live, name, 0), force=True)


def clear(cluster: Cluster, name: str, tell: Tell, keep: Collection[str] = ()) -> None:
    """Takes every track away but the stable one and `keep`, and waits until their pods have ended.

    The Deployment last: as long as it is there, an interrupted removal is seen and goes on.
    """
    going = [made for made in marked(cluster, name) if labels_of(made)[LABEL_TRACK] not in keep]
    if not going:
        return
    began = time.monotonic()
    tracks = {labels_of(made)[LABEL_TRACK] for made in going}
    if not keep:
        tracks.add(PREVIEW)
    told = "removing the " + " and the ".join(sorted(tracks - {PREVIEW}))
    tell(Step(told))
    if "canary" in tracks:
        _rejoin(cluster, name)
    for kind in AROUND:
        try:
            for made in cluster.list(kind, selector(name)):
                if labels_of(made).get(LABEL_TRACK) in tracks:
                    cluster.delete(kind, name_of(made))
        except (NotPermitted, ObjectRefused) as error:
            if kind is not SCALED_OBJECT:  # which only clusters with KEDA know
                tell(Note(f"what a track left of {kind.plural} stays: {error}", warn=True, hint=error.hint))
    for made in going:
        cluster.delete(DEPLOYMENT, name_of(made), "Foreground")
    until = time.monotonic() + GONE_SECONDS
    while left := [name_of(made) for made in going if cluster.get(DEPLOYMENT, name_of(made)) is not None]:
        if time.monotonic() > until:
            raise StillThere(", ".join(f"deployment/{one}" for one in left), cluster.namespace, GONE_SECONDS)
        time.sleep(LOOK_AGAIN)
    tell(Step(told, round(time.monotonic() - began, 2)))


def preview_name(name: str) -> str:
    return name_in(name, PREVIEW)
