"""Every cause has words, says what serves, and ends with something to type."""

from __future__ import annotations

from typing import get_args

import pytest

from wherry.deploy.diagnose import Facts, causes, diagnose, serves
from wherry.deploy.troubles import Cause, CauseName

IMAGE = "registry.example/ferry:tls-not-found"
FACTS = Facts("ferry", "boats", IMAGE, memory="256Mi")


def said(name: CauseName, message: str = "", **more: object) -> tuple[str, str]:
    error = diagnose(Cause(name, message, "ferry-1", seconds=30, restarts=2, exit_code=1, **more), FACTS)
    return str(error), error.hint


@pytest.mark.parametrize("name", get_args(CauseName))
def test_every_cause_has_words_and_a_hint(name: CauseName) -> None:
    sentence, hint = said(name, "what the cluster says")
    assert name in causes()
    assert "nothing serves" in sentence
    assert "what the cluster says" in sentence
    assert hint


@pytest.mark.parametrize(
    ("message", "sentence", "hint"),
    [
        (f'failed to pull "{IMAGE}": not found', "is not in its registry", "docker manifest inspect"),
        (f'pulling "{IMAGE}": manifest unknown', "is not in its registry", "docker manifest inspect"),
        (f'pull "{IMAGE}": 401 Unauthorized', "may not pull", "create secret docker-registry"),
        ("dial tcp: lookup registry.example: no such host", "cannot reach the registry", "--image"),
        ("server gave HTTP response to HTTPS client", "cannot reach the registry", "--image"),
        ("no match for platform in manifest: not found", "architecture", "--platform"),
        (f'failed to pull "{IMAGE}": odd', "cannot be pulled", "describe pod ferry-1"),
    ],
)
def test_why_an_image_is_not_pulled(message: str, sentence: str, hint: str) -> None:
    """The image's own name holds words of other reasons, which must not be taken for one."""
    found = said("image_pull", message)
    assert sentence in found[0]
    assert hint in found[1]


@pytest.mark.parametrize(
    ("name", "message", "sentence", "hint"),
    [
        ("container_config", 'secret "key" not found', "need Secret key", "create secret generic key"),
        ("container_config", 'configmap "c" not found', "need ConfigMap c", "deploy again"),
        ("container_config", "container has runAsNonRoot and image will run as root", "runs as root", "USER"),
        ("never_ready", "dial tcp 10.0.0.1:8080: connection refused", "start-up budget of 30 s", "[serve] port"),
        ("never_ready", 'Get "http://10.0.0.1:8080/readyz": dial tcp: connection refused', "on port 8080", "port"),
        ("never_ready", "context deadline exceeded", "does not answer its probe in time", "wherry logs ferry"),
        ("unschedulable", "1 Insufficient cpu, 1 Insufficient memory.", "enough cpu and memory", "[deploy.resources]"),
        ("unschedulable", "pod has unbound immediate PersistentVolumeClaims", "waits for a volume", "get pvc"),
        ("unschedulable", "1 node(s) had untolerated taint", "no node accepts", "Taints"),
        ("mount", 'secret "key" not found', "mount secret key", "create secret generic key"),
        ("mount", 'configmap "c" not found', "mount configmap c", "create configmap c"),
        ("mount", 'persistentvolumeclaim "data" not found', "mount persistentvolumeclaim data", "get pvc"),
        ("pods_refused", "violates PodSecurity restricted", "Pod Security", "get namespace boats"),
        ("out_of_memory", "", "limit of 256Mi", 'memory = "512Mi"'),
        ("crash", "", "exit code 1 and was restarted 2 times", "logs ferry-1 --previous"),
    ],
)
def test_what_a_cause_says(name: CauseName, message: str, sentence: str, hint: str) -> None:
    found = said(name, message)
    assert sentence in found[0]
    assert hint in found[1]


def test_the_log_is_shown_at_its_end() -> None:
    facts = Facts("ferry", "boats", IMAGE, log=tuple(f"line {n}" for n in range(30)))
    error = diagnose(Cause("crash", "", "ferry-1", restarts=2, exit_code=1), facts)
    assert error.evidence[-1] == "  line 29"
    assert "line 14" not in str(error)


def test_another_processor_is_read_from_the_log() -> None:
    facts = Facts("ferry", "boats", IMAGE, log=("exec /usr/bin/python: exec format error",))
    error = diagnose(Cause("crash", "", "ferry-1", restarts=2, exit_code=1), facts)
    assert "another processor" in str(error)
    assert "--platform" in error.hint


@pytest.mark.parametrize(
    ("old", "new", "outcome", "words"),
    [
        (2, 0, "unchanged", "the version before still serves (2 pods)"),
        (1, 1, "unchanged", "the version before still serves (1 pod)"),
        (0, 1, "partly_serving", "only 1 pod of the new version"),
        (0, 0, "nothing_serving", "nothing serves"),
    ],
)
def test_what_serves_is_said(old: int, new: int, outcome: str, words: str) -> None:
    assert serves(old, new)[0] == outcome
    assert words in serves(old, new)[1]
