"""A version that answers copies of requests: behind a Service of its own, called by the pods that serve alone."""

from __future__ import annotations

from typing import Any

from wherry.contract.events import Note, Tell, silent
from wherry.contract.names import ANNOTATION_MODEL
from wherry.deploy import history
from wherry.deploy.canary import apply_beside
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import Verdict, deploy
from wherry.deploy.history import State
from wherry.deploy.names import workload
from wherry.deploy.path import rolled_out
from wherry.deploy.probe import Probe, prove
from wherry.deploy.resources import SERVICE, annotations_of
from wherry.deploy.rollback import number_of
from wherry.deploy.trial import Stage, fit
from wherry.errors import NamespaceMissing, NothingDeployed, UsageRefused
from wherry.release.release import Release
from wherry.release.tracks import name_in, shadow, shadowed

PODS = 1


class Shadow:
    """The trial that what serves must stand to be given a shadow: that comes up, and answers its golden rows."""

    tracks: tuple[str, ...] = ("shadow",)
    stays: bool = True
    state: State = "deploying"

    def __init__(self, release: Release, probe: Probe) -> None:
        self.release, self.probe = release, probe

    def foresee(self, cluster: Cluster, name: str) -> int:
        """Beside any number of pods."""
        return PODS

    def stand(self, stage: Stage) -> None:
        """Brings the shadow up and proves it. Raises what keeps it from that."""
        release, cluster = self.release, stage.cluster
        applied = apply_beside(shadow(release, PODS), cluster)
        rollout = rolled_out(release, applied, cluster, stage.timeout, stage.tell)
        service = release.find(SERVICE.kind) or {}
        prove(
            cluster,
            name_in(release.name, "shadow"),
            self.probe,
            service_port=service["spec"]["ports"][0].get("name") or release.ports.service,
            pods=rollout.new_pods(),
            port=release.ports.serving,
            digest=release.model_digest,
            verify=stage.verify,
            tell=stage.tell,
        )


def deploy_shadow(
    release: Release, cluster: Cluster, probe: Probe, share: float, *, tell: Tell = silent, **how: Any
) -> Verdict:
    """Has `release` answer a copy of `share` of the requests that the version which serves goes on answering.

    Its pods are replaced by ones that send the copies, without losing a request; that is a release of its own, which
    the next deploy ends. Raises UsageRefused where nothing serves, and what a deploy raises.
    """
    fit(release, "--shadow")
    try:
        live = workload(cluster, release.name)
    except (NamespaceMissing, NothingDeployed):
        live = None
    serving = None if live is None else history.numbered(history.read(cluster, release.name), number_of(live))
    if serving is None:
        reason = f"there is no version of {release.name} in namespace {cluster.namespace} that a shadow could follow"
        raise UsageRefused(reason, hint="wherry deploy")
    model = annotations_of(release.workload).get(ANNOTATION_MODEL, release.image)
    verdict = deploy(
        shadowed(serving.release, share),
        cluster,
        Probe(serving.probe.body, serving.probe.predictions, serving.probe.rtol, serving.probe.atol, probe.token),
        because=f"with {model} as its shadow",
        trial=Shadow(release, probe),
        tell=tell,
        **how,
    )
    text = f"copies of {100 * share:.4g}% of the requests go to {model}; its answers are compared and forgotten"
    tell(Note(text, hint="wherry status shows how many differ; the next deploy or rollback ends it"))
    return verdict
