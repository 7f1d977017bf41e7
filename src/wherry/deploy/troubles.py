"""What is wrong with a rollout at this moment, pod by pod. Pure: from objects as the API gives them to named causes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from wherry.deploy.resources import Object, condition, name_of

CauseName: TypeAlias = Literal[
    "image_pull",
    "image_name",
    "container_config",
    "container_start",
    "crash",
    "out_of_memory",
    "never_ready",
    "unschedulable",
    "mount",
    "evicted",
    "pods_refused",
    "quota",
    "wrong_image",
    "superseded",
    "paused",
    "gone",
    "no_progress",
]

PULL_ATTEMPTS = 3
PULL_SECONDS = 32.0  # the bound while attempts are not counted: the third one comes after half a minute
CRASH_RESTARTS = 2
UNSCHEDULABLE_SECONDS = 60.0
# A Secret or a quota may be on its way from the same hand that deploys: a short grace, not none.
CONFIG_SECONDS = 5.0
START_SECONDS = 10.0
MOUNT_SECONDS = 20.0


class Cause(msgspec.Struct, frozen=True):
    """Why a rollout fails. message: the cluster's or the runtime's own words. exit_code: of the last crash."""

    name: CauseName
    message: str
    pod: str = ""
    container: str = ""
    restarts: int = 0
    exit_code: int | None = None
    seconds: float = 0.0


class Trouble(msgspec.Struct, frozen=True):
    """A cause that becomes final once it has held for `grace` seconds. key: the same trouble keeps the same key."""

    key: str
    grace: float
    cause: Cause


def of_deployment(deployment: Object) -> Iterator[Trouble]:
    """What the Deployment says of itself: pods that may not be made, no progress, paused."""
    refused = condition(deployment, "ReplicaFailure")
    if refused.get("status") == "True":
        message = str(refused.get("message", ""))
        name: CauseName = "quota" if "exceeded quota" in message else "pods_refused"
        yield Trouble("replicas", CONFIG_SECONDS, Cause(name, message))
    progressing = condition(deployment, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        yield Trouble("deadline", 0, Cause("no_progress", str(progressing.get("message", ""))))
    if deployment["spec"].get("paused"):
        yield Trouble("paused", 0, Cause("paused", "the Deployment is paused"))


def of_pod(pod: Object, events: Sequence[Object], startup: float) -> Iterator[Trouble]:
    """What keeps this pod from being ready. events: warnings about it. startup: seconds it may take once it runs."""
    name, uid = name_of(pod), pod["metadata"]["uid"]
    status = pod.get("status") or {}
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        message = str(scheduled.get("message", ""))
        yield Trouble(f"{uid}/schedule", UNSCHEDULABLE_SECONDS, Cause("unschedulable", message, name))
    containers = status.get("containerStatuses") or ()
    for container in containers:
        yield from _of_container(container, name, uid, events, startup)
    mounts = [event for event in events if event.get("reason") in ("FailedMount", "FailedAttachVolume")]
    if mounts and not any(_has_run(container) for container in containers):
        yield Trouble(f"{uid}/mount", MOUNT_SECONDS, Cause("mount", str(mounts[-1].get("message", "")), name))


def _of_container(
    container: Mapping[str, Any], pod: str, uid: str, events: Sequence[Object], startup: float
) -> Iterator[Trouble]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    restarts = int(container.get("restartCount", 0))
    ended = last_end(container)
    own = str(container["name"])

    def cause(name: CauseName, words: str) -> Cause:
        return Cause(name, words, pod, own, restarts, ended.get("exitCode"), startup)

    if reason in ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"):
        tried, words = pulls(events)
        grace = 0.0 if tried >= PULL_ATTEMPTS else PULL_SECONDS
        yield Trouble(f"{uid}/pull", grace, cause("image_pull", words or message))
    elif reason == "InvalidImageName":
        yield Trouble(f"{uid}/name", 0, cause("image_name", message))
    elif reason == "CreateContainerConfigError":
        yield Trouble(f"{uid}/config", CONFIG_SECONDS, cause("container_config", message))
    elif reason in ("CreateContainerError", "RunContainerError"):
        yield Trouble(f"{uid}/start", START_SECONDS, cause("container_start", message))
    if container.get("ready"):
        return
    if ended.get("reason") == "OOMKilled":
        yield Trouble(f"{uid}/memory", 0, cause("out_of_memory", str(ended.get("message", ""))))
    elif ended.get("reason") in ("StartError", "ContainerCannotRun"):
        yield Trouble(f"{uid}/start", START_SECONDS, cause("container_start", str(ended.get("message", ""))))
    elif restarts >= CRASH_RESTARTS:
        yield Trouble(f"{uid}/crash", 0, cause("crash", str(ended.get("message") or message)))
    if _has_run(container):
        yield Trouble(f"{uid}/ready", startup, cause("never_ready", unhealthy(events)))


def last_end(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the container ended the last time, empty when it never has."""
    for state in (container.get("state"), container.get("lastState")):
        ended = (state or {}).get("terminated")
        if ended:
            return dict(ended)
    return {}


def pulls(events: Iterable[Object]) -> tuple[int, str]:
    """How often pulling an image failed, and the words of the last failure."""
    failed = [event for event in events if str(event.get("message", "")).startswith("Failed to pull image")]
    tried = sum(int(event.get("count") or 1) for event in failed)
    return tried, str(failed[-1]["message"]) if failed else ""


def unhealthy(events: Iterable[Object]) -> str:
    """What the last probe that failed said, empty when none did."""
    said = [str(event.get("message", "")) for event in events if event.get("reason") == "Unhealthy"]
    return re.sub(r"\s+", " ", said[-1]).strip() if said else ""


def _has_run(container: Mapping[str, Any]) -> bool:
    state = container.get("state") or {}
    return bool("running" in state or int(container.get("restartCount", 0)) or last_end(container))
