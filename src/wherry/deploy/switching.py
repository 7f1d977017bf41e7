"""From one whole version to another in one change of the Service's selector, and back the same way."""

from __future__ import annotations

import contextlib
import time
from functools import partial

from wherry.contract import wire
from wherry.contract.events import Note, Step, Tell
from wherry.contract.names import ANNOTATION_RELEASE
from wherry.deploy import lease, tracks
from wherry.deploy.cluster import Cluster
from wherry.deploy.ownership import LET_GO_MANAGER, only_replicas
from wherry.deploy.probe import ASK_AGAIN, SETTLE_SECONDS, NoRoute, Probe, Verify, prove, settle
from wherry.deploy.resources import DEPLOYMENT, POD, SERVICE, Object, annotations_of, match, name_of
from wherry.deploy.rollout import Rollout
from wherry.errors import NotPermitted
from wherry.release.release import Release
from wherry.release.tracks import name_in, preview, selecting

IN_A_ROW = 5  # answers of the new version before the switch counts as seen


def held(wanted: tuple[Object, ...], name: str, track: str) -> tuple[Object, ...]:
    """The objects with the Service still finding the pods of `track`, whatever else becomes of it."""
    return tuple(
        selecting(made, track) if made["kind"] == SERVICE.kind and name_of(made) == name else made for made in wanted
    )


def switch(
    release: Release, cluster: Cluster, rollout: Rollout, probe: Probe, track: str, verify: Verify, tell: Tell
) -> float:
    """Callers reach `track` and nothing else from now on; seconds until each new connection did.

    Before that its pods have answered the golden rows through a Service of their own. Raises ProbeFailed.
    """
    service = release.find(SERVICE.kind) or {}
    port = service["spec"]["ports"][0].get("name") or release.ports.service
    began = time.monotonic()
    cluster.apply(preview(release, track))
    prove(
        cluster,
        tracks.preview_name(release.name),
        probe,
        service_port=port,
        pods=rollout.new_pods(),
        port=release.ports.serving,
        digest=release.model_digest,
        verify=verify,
        tell=tell,
    )
    tell(Step("the new version answers right before anybody calls it", round(time.monotonic() - began, 2)))
    began = time.monotonic()
    cluster.apply(selecting(service, track))
    ask = partial(cluster.ask_service, release.name, port, wire.PREDICT, probe.body, probe.headers)
    with contextlib.suppress(NotPermitted, NoRoute):  # nobody asks through the API server: each pod is proven again
        settle(ask, release.model_digest, IN_A_ROW)
    took = round(time.monotonic() - began, 2)
    tell(Step("switched the Service to the new version", took))
    return took


def let_go(cluster: Cluster, name: str, track: str, tell: Tell) -> None:
    """Has whoever is still connected to `track` come over, and waits: its pods say goodbye, others take their place.

    A kept connection stays with its pod whatever the Service selects; only the pod itself can end it politely.
    """
    live = cluster.get(DEPLOYMENT, name_in(name, track))
    if live is None:
        return
    told = "waiting for kept connections to come over"
    tell(Step(told))
    began = time.monotonic()
    going = _pods(cluster, live)
    try:
        for pod in going:
            cluster.delete(POD, name_of(pod))
    except NotPermitted as error:
        words = f"kept connections stay with the version before until their clients close them: {error}"
        tell(Note(words, warn=True, hint=error.hint))
        return
    _gone(cluster, live, going)
    tell(Step(told, round(time.monotonic() - began, 2)))


def put_away(cluster: Cluster, name: str, number: int, tell: Tell) -> bool:
    """Leaves no pods of the version before release `number`, if that still serves; whether it does.

    Its objects stay, so that a rollback has it come up and switches to it as before.
    """
    with lease.hold(cluster, name, tell):
        serving = tracks.serving(cluster, name)
        now = cluster.get(DEPLOYMENT, name_in(name, serving))
        if now is None or annotations_of(now).get(ANNOTATION_RELEASE) != str(number):
            return False
        for track, live in tracks.others(cluster, name, serving).items():
            if track not in tracks.WHOLE:
                continue
            told = f"letting the pods of the {track} version before go"
            tell(Step(told))
            began, going = time.monotonic(), _pods(cluster, live)
            cluster.apply(only_replicas(live, 0), manager=LET_GO_MANAGER, force=True)
            _gone(cluster, live, going)
            tell(Step(told, round(time.monotonic() - began, 2)))
        return True


def _pods(cluster: Cluster, live: Object) -> tuple[Object, ...]:
    return cluster.list(POD, match(live["spec"]["selector"]["matchLabels"]))


def _gone(cluster: Cluster, live: Object, going: tuple[Object, ...]) -> None:
    """Returns when these pods have ended, or have had their time to."""
    grace = float(live["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30))
    until = time.monotonic() + grace + SETTLE_SECONDS
    uids = {pod["metadata"]["uid"] for pod in going}
    while time.monotonic() < until and any(pod["metadata"]["uid"] in uids for pod in _pods(cluster, live)):
        time.sleep(ASK_AGAIN)


def size(cluster: Cluster, name: str, track: str) -> int:
    """How many pods the callers of the service have now in `track`, so that a switch gives them no fewer."""
    live = cluster.get(DEPLOYMENT, name_in(name, track))
    return int(live["spec"].get("replicas", 1)) if live else 0
