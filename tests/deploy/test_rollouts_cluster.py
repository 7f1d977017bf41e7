"""Rollouts of real images under load: no request is lost, and what was restored serves.

WHERRY_TEST_LONG=1 runs the long forms: 500 requests a second for a minute, with two updates.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from deploy_parts import Load, Versioned, versions

from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.deploy import deploy

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
RATE = 500 if LONG else 200

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def images(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Versioned]:
    if not cluster.registry:
        pytest.skip("needs a registry: WHERRY_TEST_REGISTRY names none")
    return versions(tmp_path_factory.mktemp("images"), cluster.registry)


@pytest.fixture
def spaces(kube: Any) -> Iterator[Callable[[], Cluster]]:
    """spaces(): the cluster at one more namespace of the test's own, with the strictest Pod Security."""
    with contextlib.ExitStack() as stack:

        def make() -> Cluster:
            name = f"wherry-d2-{uuid.uuid4().hex[:8]}"
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
            stack.callback(kube.call, "DELETE", f"/api/v1/namespaces/{name}")
            return stack.enter_context(connect(namespace=name, kubeconfig=os.environ["WHERRY_TEST_KUBECONFIG"]))

        yield make


class Updated(NamedTuple):
    """What the loads of both modes saw of one or more updates, and when each was said to be done."""

    reports: list[dict[str, Any]]
    done: list[float]

    @property
    def sent(self) -> int:
        return sum(report["sent"] for report in self.reports)

    @property
    def failed(self) -> int:
        return sum(report["failed"] for report in self.reports)


def update(cluster: Cluster, images: dict[str, Versioned], updates: int, rate: float, **how: Any) -> Updated:
    """Version 1 under load, replaced `updates` times."""
    first = deploy(images["1"].release(cluster.namespace, **how), cluster, images["1"].probe)
    assert first.address is not None
    done = []
    with Load(first.address.url, rate) as load:
        time.sleep(2)  # before, as after: what is steady
        for number in range(updates):
            version = images["12"[number % 2 == 0]]
            verdict = deploy(version.release(cluster.namespace, **how), cluster, version.probe)
            assert verdict.ok
            done.append(time.time())
        time.sleep(1)
        return Updated(load.stop(), done)


@pytest.mark.timeout(600)
def test_no_request_is_lost_in_an_update(spaces: Callable[[], Cluster], images: dict[str, Versioned]) -> None:
    """Both modes of clients at the NodePort; and without preStop and drain the same load does lose some."""
    with ThreadPoolExecutor(2) as threads:
        careful = threads.submit(update, spaces(), images, 2 if LONG else 1, RATE)
        careless = threads.submit(until_lost, spaces(), images)
        seen = careful.result()
        assert careless.result() > 0, "the load does not see what a careless update loses"
    assert seen.failed == 0
    assert seen.sent > 15 * RATE
    for report in seen.reports:
        assert set(report["answers"]) == {"1", "2"}
        if not LONG:
            assert report["last"]["1"] <= seen.done[0], "the old version answered after the update was done"


def until_lost(cluster: Cluster, images: dict[str, Versioned]) -> int:
    """How many requests a Deployment without preStop and drain loses: single ones, so an update may be lucky."""
    how: dict[str, Any] = {"careless": True, "serve": {"drain_seconds": 0}}
    return next((lost for _ in range(3) if (lost := update(cluster, images, 1, 200, **how).failed)), 0)
