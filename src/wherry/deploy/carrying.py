"""A bundle copied onto the claim that pods read it from, through a pod that lives as long as that takes.

The pod meets the restricted Pod Security Standard, is as the service's in what decides where it runs, and is reached by
a forward through the API server alone: no network policy has to let it through.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from importlib import resources
from pathlib import Path
from typing import Any

from wherry.contract.events import Note, Step, Tell
from wherry.contract.manifest import Manifest
from wherry.contract.names import LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME, MANAGER, MANIFEST_FILE, MODEL_DIR
from wherry.deploy.carrying_in import LISTENING
from wherry.deploy.cluster import Cluster
from wherry.deploy.preflight import namespace_of
from wherry.deploy.proof_job import NAME_LENGTH, RESOURCES, stuck
from wherry.deploy.resources import CLAIM, NAMESPACE, POD, Object, name_of
from wherry.deploy.rollout import ENDED, phase_of
from wherry.errors import ClusterFailed, CopyFailed
from wherry.release.objects.model import VOLUME
from wherry.release.release import Release

PORT = 8080
LEAST_SIZE = 2**30
KEPT_MODELS = 4  # of this size, that a claim made here has room for
RUN_SECONDS = 600  # for all of it; then the cluster itself ends the pod
START_SECONDS = 120
LOOK_SECONDS = 0.3
CHUNK = 1 << 18


def carry(bundle: Path, manifest: Manifest, release: Release, cluster: Cluster, tell: Tell) -> None:
    """Has the release's claim hold the bundle, in the folder that its pods read; makes the claim where there is none.

    Raises CopyFailed, NotPermitted, NoCluster; what was there before is whole then.
    """
    began = time.monotonic()
    claim, files = release.model.claim, [(path, bundle / path) for path in (MANIFEST_FILE, *sorted(manifest.files))]
    size = sum(file.stat().st_size for _, file in files)
    space = release.find(NAMESPACE.kind)
    if space is not None and namespace_of(cluster) is None:
        cluster.apply(space)
    if cluster.get(CLAIM, claim) is None:
        cluster.apply(claim_of(release, max(LEAST_SIZE, KEPT_MODELS * size)))
        tell(Note(f"made the claim {claim}; `wherry down` keeps it"))
    made = cluster.create(pod_of(release))
    try:
        started(cluster, name_of(made), claim)
        with contextlib.closing(cluster.tunnel(name_of(made), PORT)) as far:
            sent(far, files, claim)
    finally:
        with contextlib.suppress(ClusterFailed):  # it ends by itself
            cluster.delete(POD, name_of(made))
    tell(Step(f"copied the bundle to {release.model.folder} of claim {claim}", round(time.monotonic() - began, 2)))


def claim_of(release: Release, size: int) -> Object:
    """A claim with room for some models, that `down` finds again."""
    return {
        "apiVersion": "v1",
        "kind": CLAIM.kind,
        "metadata": {
            "name": release.model.claim,
            "namespace": release.namespace,
            "labels": {LABEL_NAME: release.name, LABEL_INSTANCE: release.name, LABEL_MANAGED_BY: MANAGER},
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": str(size)}}},
    }


def pod_of(release: Release) -> Object:
    """The pod: as the service's, but that it may write to the claim, and for what it runs."""
    spec = release.workload["spec"]["template"]["spec"]
    (served,) = spec["containers"]
    program = resources.files("wherry.deploy").joinpath("carrying_in.py").read_text(encoding="utf-8")
    wish = {"port": PORT, "volume": MODEL_DIR, "folder": release.model.folder}
    name = f"{release.name[:NAME_LENGTH].rstrip('-')}-model-{secrets.token_hex(3)}"
    same = ("imagePullSecrets", "securityContext", "nodeSelector", "tolerations", "runtimeClassName")
    return {
        "apiVersion": "v1",
        "kind": POD.kind,
        "metadata": {
            "name": name,
            # Neither the Service nor its policies may take it for a pod of the service.
            "labels": {LABEL_NAME: f"{release.name[:NAME_LENGTH]}-model", LABEL_INSTANCE: release.name},
        },
        "spec": {
            **{key: spec[key] for key in same if key in spec},
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": RUN_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": VOLUME,
                    "image": served["image"],
                    "imagePullPolicy": served["imagePullPolicy"],
                    "command": ["python3", "-c", program, json.dumps(wish)],
                    "resources": {"requests": RESOURCES, "limits": {**RESOURCES, "cpu": "500m", "memory": "128Mi"}},
                    "securityContext": served["securityContext"],
                    "volumeMounts": [{"name": VOLUME, "mountPath": MODEL_DIR}],
                }
            ],
            "volumes": [{"name": VOLUME, "persistentVolumeClaim": {"claimName": release.model.claim}}],
        },
    }


def started(cluster: Cluster, name: str, claim: str) -> None:
    """Returns once the pod's program listens. Raises CopyFailed with what keeps it from that."""
    began, first = time.monotonic(), dict[str, float]()
    while time.monotonic() - began < START_SECONDS:
        live = cluster.get(POD, name)
        if live is None or phase_of(live) in ENDED:
            raise CopyFailed(claim, f"the pod {name} has ended", f"{cluster.kubectl} logs {name}")
        if phase_of(live) == "Running" and LISTENING in cluster.logs(name, container=VOLUME):
            return
        stuck(cluster, live, first)
        time.sleep(LOOK_SECONDS)
    raise CopyFailed(claim, f"the pod {name} did not start", f"{cluster.kubectl} describe pvc {claim}")


def sent(far: Any, files: list[tuple[str, Path]], claim: str) -> None:
    """Writes the files and reads what came of them. Raises CopyFailed."""
    head = json.dumps([[path, file.stat().st_size] for path, file in files])
    try:
        far.sendall(f"{head}\n".encode())
        for _, file in files:
            with file.open("rb") as held:
                while piece := held.read(CHUNK):
                    far.sendall(piece)
        reply = b""
        while not reply.endswith(b"\n") and (piece := far.recv(65536)):
            reply += piece
    except OSError as error:
        raise CopyFailed(claim, f"the connection broke: {error}", "wherry deploy --copy-model") from error
    if not reply:
        raise CopyFailed(claim, "the connection broke before the end", "wherry deploy --copy-model")
    if said := json.loads(reply)["error"]:
        raise CopyFailed(claim, said)
