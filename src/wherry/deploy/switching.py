"""From one whole version to another in one change of the Service's selector, and back the same way."""

from __future__ import annotations

import contextlib
import time

from wherry.contract import wire
from wherry.contract.events import Note, Step, Tell
from wherry.deploy import tracks
from wherry.deploy.cluster import Cluster
from wherry.deploy.probe import ASK_AGAIN, SETTLE_SECONDS, NoRoute, Probe, Verify, prove, settle
from wherry.deploy.resources import DEPLOYMENT, POD, SERVICE, Object, match, name_of
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
    ask = lambda: cluster.ask_service(release.name, port, wire.PREDICT, probe.body, probe.headers)  # noqa: E731  # asked again and again
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
    tell(Step("waiting for kept connections to come over"))
    began = time.monotonic()
    labels = match(live["spec"]["selector"]["matchLabels"])
    going = cluster.list(POD, labels)
    try:
        for pod in going:
            cluster.delete(POD, name_of(pod))
    except NotPermitted as error:
        words = f"kept connections stay with the version before until their clients close them: {error}"
        tell(Note(words, warn=True, hint=error.hint))
        return
    until = began + float(live["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)) + SETTLE_SECONDS
    uids = {pod["metadata"]["uid"] for pod in going}
    while time.monotonic() < until and any(pod["metadata"]["uid"] in uids for pod in cluster.list(POD, labels)):
        time.sleep(ASK_AGAIN)
    tell(Step("waiting for kept connections to come over", round(time.monotonic() - began, 2)))


def size(cluster: Cluster, name: str, track: str) -> int:
    """How many pods the callers of the service have now in `track`, so that a switch gives them no fewer."""
    live = cluster.get(DEPLOYMENT, name_in(name, track))
    return int(live["spec"].get("replicas", 1)) if live else 0
