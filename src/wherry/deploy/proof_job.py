"""The golden rows asked by a Job of the same image in the same namespace, where nobody outside reaches the pods.

Its pod is the service's own in all that admission looks at; it mounts nothing of it but the token, and the model where
that is on a volume. It is deleted
afterwards, and by the cluster itself where wherry is cut off.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec

from wherry.contract import wire
from wherry.contract.events import Note, Tell
from wherry.contract.names import HEADER_MODEL_DIGEST, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME, MANAGER
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.diagnose import Facts, words_of
from wherry.deploy.resources import JOB, POD, SERVICE, Object, match, name_of
from wherry.deploy.rollout import ENDED, phase_of
from wherry.deploy.troubles import last_end, of_pod
from wherry.errors import ClusterFailed, NoCluster, ProofUnmade
from wherry.release.objects.config import TOKEN_DIR, TOKEN_KEY
from wherry.release.objects.model import VOLUME

CONTAINER = "proof"
RUN_SECONDS = 120  # for all of it, a pull of the image included
KEPT_SECONDS = 300  # by the cluster, should wherry be cut off before it deletes the Job
LOOK_SECONDS = 0.3
REFUSED_SECONDS = 5.0  # pods that the cluster refuses may be let in after all: a quota is recounted
RESOURCES = {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "16Mi"}
NAME_LENGTH = 63 - len("-proof-") - 6


class Reply(msgspec.Struct, frozen=True):
    """What the Job was answered once. ms: as it measured; error: why there was no answer, empty where there was."""

    answer: Answer
    ms: float = 0.0
    error: str = ""


def ask(
    cluster: Cluster,
    service: str,
    headers: Mapping[str, str],
    pod: Object,
    *,
    requests: int,
    settle: float,
    tell: Tell,
) -> tuple[Reply, ...]:
    """What a Job like `pod` is answered by the Service called `service`. Raises ProofUnmade, NotPermitted, NoCluster.

    settle: seconds that the first answer may take.
    """
    made = job(service, url(cluster, service), headers, pod, requests=requests, settle=settle)
    name = name_of(cluster.create(made))
    try:
        asking = _ended(cluster, name)
        lines = list(cluster.logs(name_of(asking), container=CONTAINER))
        replies = tuple(filter(None, map(reply, lines)))
        if phase_of(asking) == "Failed" and not any(one.answer.status for one in replies):
            raise ProofUnmade(service, cause_of(asking, replies, lines), hint=f"{cluster.kubectl} get svc,endpoints")
        return replies
    finally:
        _delete(cluster, name, tell)


def url(cluster: Cluster, service: str) -> str:
    """Where the pods of the namespace find the Service. Raises ProofUnmade."""
    live = cluster.get(SERVICE, service)
    if live is None:
        raise ProofUnmade(service, "its Service is gone", hint="wherry deploy")
    return f"http://{service}:{live['spec']['ports'][0]['port']}{wire.PREDICT}"


def job(service: str, url: str, headers: Mapping[str, str], pod: Object, *, requests: int, settle: float) -> Object:
    """The Job: a pod as the service's, but for what it runs."""
    name = f"{service[:NAME_LENGTH].rstrip('-')}-proof-{secrets.token_hex(3)}"
    # Neither the Service nor the service's own policies may take its pod for one of theirs.
    labels = {LABEL_NAME: f"{service[:NAME_LENGTH]}-proof", LABEL_INSTANCE: service, LABEL_MANAGED_BY: MANAGER}
    spec, served = pod["spec"], pod["spec"]["containers"][0]
    asks = "X-Api-Key" in headers
    held = {volume["name"]: volume for volume in spec.get("volumes") or ()}
    mounted = [name for name in (VOLUME, "token") if name in held]
    wish = {
        "url": url,
        "headers": {key: value for key, value in headers.items() if key != "X-Api-Key"},
        "requests": requests,
        "settle": settle,
        "digest": HEADER_MODEL_DIGEST,
        "token_file": f"{TOKEN_DIR}/{TOKEN_KEY}" if "token" in held and asks else "",
    }
    limits = (served.get("resources") or {}).get("limits") or {}
    container = {
        "name": CONTAINER,
        "image": served["image"],
        "imagePullPolicy": served.get("imagePullPolicy", "IfNotPresent"),
        "command": ["python3", "-c", program(), json.dumps(wish)],
        "resources": {"requests": RESOURCES, "limits": {**RESOURCES, "cpu": limits["cpu"]}}
        if "cpu" in limits
        else {"requests": RESOURCES, "limits": {key: RESOURCES[key] for key in ("memory", "ephemeral-storage")}},
        "securityContext": served.get("securityContext") or {},
        "volumeMounts": [mount for mount in served.get("volumeMounts") or () if mount["name"] in mounted],
        **({"envFrom": served["envFrom"]} if VOLUME in held else {}),  # they say where in the volume it is
    }
    same = (
        "serviceAccountName",
        "imagePullSecrets",
        "securityContext",
        "nodeSelector",
        "tolerations",
        "runtimeClassName",
    )
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": RUN_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    **{key: spec[key] for key in same if key in spec},
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "restartPolicy": "Never",
                    "containers": [container],
                    "volumes": [held[name] for name in mounted],
                },
            },
        },
    }


def program() -> str:
    """The text of `proof_asking`."""
    return resources.files("wherry.deploy").joinpath("proof_asking.py").read_text(encoding="utf-8")


def reply(line: str) -> Reply | None:
    """A line of the Job's log; None where it is none of the program's."""
    try:
        said = json.loads(line)
        if "error" in said:
            return Reply(Answer(0, {}, b""), error=str(said["error"]))
        fields = {HEADER_MODEL_DIGEST.lower(): str(said["digest"])} if said["digest"] else {}
        return Reply(Answer(int(said["status"]), fields, said["body"].encode()), float(said["ms"]))
    except (ValueError, KeyError, TypeError):
        return None


def _ended(cluster: Cluster, name: str) -> Object:
    """The Job's pod once it has ended. Raises ProofUnmade with what keeps it from running."""
    began = time.monotonic()
    first: dict[str, float] = {}  # when each trouble was first seen
    while time.monotonic() - began < RUN_SECONDS:
        pods = cluster.list(POD, match({"job-name": name}))
        for pod in pods:
            if phase_of(pod) in ENDED:
                return pod
            stuck(cluster, pod, first)
        if not pods and (refused := _refusal(cluster, name)):
            first.setdefault("refused", time.monotonic())
            if time.monotonic() - first["refused"] > REFUSED_SECONDS:
                raise ProofUnmade(name, f"the cluster refuses its pod: {refused}")
        time.sleep(LOOK_SECONDS)
    raise ProofUnmade(name, f"it has not ended within {RUN_SECONDS} s", hint=f"{cluster.kubectl} get events")


def stuck(cluster: Cluster, pod: Object, first: dict[str, float]) -> None:
    """Raises ProofUnmade once a pod has been kept from running for longer than its trouble may last."""
    events = [one for one in cluster.warnings() if one["involvedObject"].get("uid") == pod["metadata"]["uid"]]
    for trouble in of_pod(pod, events, RUN_SECONDS):
        if time.monotonic() - first.setdefault(trouble.key, time.monotonic()) >= trouble.grace:
            image = str(pod["spec"]["containers"][0]["image"])
            words = words_of(trouble.cause, Facts(name_of(pod), cluster.namespace, image))
            raise ProofUnmade(name_of(pod), f"{words.sentence}: {trouble.cause.message}", hint=words.hint)


def _refusal(cluster: Cluster, name: str) -> str:
    """Why the cluster makes no pod of the Job, empty where it says nothing."""
    return next(
        (str(one.get("message", "")) for one in cluster.warnings() if one["involvedObject"].get("name") == name), ""
    )


def cause_of(pod: Object, replies: Sequence[Reply], lines: Sequence[str]) -> str:
    """Why a Job that ran has no answer to tell of."""
    if replies:
        return f"from inside the cluster it cannot be reached: {replies[-1].error}"
    ended: Mapping[str, Any] = next(
        (last_end(one) for one in (pod.get("status") or {}).get("containerStatuses") or ()), {}
    )
    why = ended.get("reason") or (pod.get("status") or {}).get("reason") or "no reason given"
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f"the Job's pod ended with exit code {ended.get('exitCode', '?')} ({why})" + (f": {last}" if last else "")


def _delete(cluster: Cluster, name: str, tell: Tell) -> None:
    try:
        cluster.delete(JOB, name)
    except NoCluster:
        raise
    except ClusterFailed as error:
        tell(Note(f"Job {name} stays for {KEPT_SECONDS} s, and goes by itself then: {error}"))
