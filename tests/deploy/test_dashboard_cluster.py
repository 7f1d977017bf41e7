"""The dashboard of a service that really runs: figures that only a real pod, metrics-server and load can make."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_parts import RIGHT, ROW, Versioned, versions

from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
PATIENCE = 90.0


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory, cluster: Any) -> Versioned:
    if not cluster.registry:
        pytest.skip("needs a registry: WHERRY_TEST_REGISTRY names none")
    return versions(tmp_path_factory.mktemp("iris"), cluster.registry)["1"]


@pytest.fixture
def watching(tmp_path: Path, cluster: Any, namespace: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`wherry status --watch --json` in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WHERRY_")} | cluster.environ
        command = [sys.executable, "-m", "wherry", "status", "-n", namespace, "--watch", "--json", *words]
        started.append(
            subprocess.Popen(command, cwd=tmp_path, env=environ, text=True, stdout=subprocess.PIPE, stderr=sys.stderr)
        )
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            each.kill()
        each.communicate()


def looks(process: subprocess.Popen[str], met: Callable[[Any], bool], between: Callable[[], None]) -> Any:
    """The first look of which `met` is true."""
    until = time.monotonic() + PATIENCE
    assert process.stdout is not None
    for line in process.stdout:
        look = json.loads(line)
        if met(look):
            return look
        assert time.monotonic() < until, f"never met; the last look: {line}"
        between()
    pytest.fail("it ended by itself")


def test_a_live_service_is_seen_whole(
    iris: Versioned, real: Cluster, namespace: str, watching: Callable[..., subprocess.Popen[str]]
) -> None:
    deploy(iris.release(namespace, replicas=2), real, iris.probe)
    process = watching("iris")
    body = json.dumps(ROW).encode()

    def load() -> None:
        for _ in range(20):
            answer = real.ask_service("iris", "http", "/predict", body, {"Content-Type": "application/json"})
            assert json.loads(answer.body) == RIGHT["1"]
        assert real.ask_service("iris", "http", "/predict", b"{", {}).status == 400

    def whole(look: Any) -> bool:
        [one] = look["services"]
        found = one["traffic"]
        return bool(found and found["rate"] and found["refused"] and one["cpu"] is not None)

    look = looks(process, whole, load)
    [one] = look["services"]
    assert (look["namespace"], look["trouble"], one["troubles"]) == (namespace, "", [])
    assert (one["status"]["ready"], one["status"]["problems"]) == (2, [])
    assert one["traffic"]["failed"] == 0
    assert 0 < one["traffic"]["p50_ms"] <= one["traffic"]["p99_ms"]
    assert set(one["traffic"]["classes"]) == {RIGHT["1"]["prediction"]}
    assert one["memory"] > 10 * 2**20
    assert one["cpu_request"] == 40
    assert [pod["ready"] for pod in one["pods"]] == [True, True]
    assert all(pod["rate"] is not None and pod["memory"] for pod in one["pods"])
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0, "Ctrl-C is how it ends"


def test_the_page_of_a_live_service_tells_the_same(
    iris: Versioned, real: Cluster, namespace: str, watching: Callable[..., subprocess.Popen[str]]
) -> None:
    import urllib.request

    deploy(iris.release(namespace, replicas=1), real, iris.probe)
    process = watching("--page")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}data", timeout=30) as reply:
        [one] = json.load(reply)["services"]
    assert (one["status"]["name"], one["healthy"], one["status"]["ready"]) == ("iris", True, 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
