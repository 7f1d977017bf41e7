"""From one whole version to another in one change of the Service's selector, and back the same way."""

from __future__ import annotations

import time
from collections.abc import Callable

from wherry.contract import wire
from wherry.contract.events import Note, Step, Tell
from wherry.contract.names import HEADER_MODEL_DIGEST
from wherry.deploy import tracks
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.probe import Probe, Verify, from_api_server, prove
from wherry.deploy.resources import DEPLOYMENT, POD, SERVICE, Object, match, name_of
from wherry.deploy.rollout import Rollout
from wherry.errors import NotPermitted, ProbeFailed
from wherry.release.release import Release
from wherry.release.tracks import name_in, preview, selecting

SETTLE_SECONDS = 15.0
IN_A_ROW = 5  # answers of the new version before the switch counts as seen
ASK_AGAIN = 0.1


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
    _seen(release, ask)
    took = round(time.monotonic() - began, 2)
    tell(Step("switched the Service to the new version", took))
    return took


def _seen(release: Release, ask: Callable[[], Answer]) -> None:
    """Until the Service gives answers of the model alone. Raises ProbeFailed."""
    until, right = time.monotonic() + SETTLE_SECONDS, 0
    while right < IN_A_ROW:
        try:
            answer = ask()
        except NotPermitted:
            return  # nobody may ask through the API server: each pod was asked, and is proven again
        digest = answer.headers.get(HEADER_MODEL_DIGEST.lower(), release.model_digest)
        right = right + 1 if answer.status == 200 and digest == release.model_digest else 0
        if right == 0:
            if time.monotonic() > until:
                if from_api_server(answer):
                    return  # the API server has no way to the pods: as above
                raise ProbeFailed(release.name, f"{digest[:12]} still answers", requests=1, failed=1)
            time.sleep(ASK_AGAIN)


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
