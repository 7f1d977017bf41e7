"""Rollouts of real images under load: no request is lost, and what was restored serves.

WHERRY_TEST_LONG=1 runs the long forms: 500 requests a second for a minute, with two updates.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from deploy_parts import Load, Serving, Versioned

from wherry.cli.failures import exit_code
from wherry.contract.events import Step
from wherry.deploy import life
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.deploy.resources import POD, name_of, selector
from wherry.errors import RolloutFailed

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
RATE = 500 if LONG else 200

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


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


# What makes a bad version of a good one: the cause that is to be named, and what its container has otherwise.
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "not in the registry": ("image_pull", {"image": f"@sha256:{'0' * 64}"}),
    "crashes": ("crash", {"command": ["python", "-c", "raise SystemExit('no such cargo')"]}),
    "out of memory": ("out_of_memory", {"command": ["python", "-c", "held = b'x' * 2**30"]}),
    "never ready": ("never_ready", {"command": ["python", "-c", "import time; time.sleep(600)"]}),
    "another port": ("never_ready", {"env": [{"name": "WHERRY_SERVE_PORT", "value": "8090"}]}),
    "no such Secret": (
        "container_config",
        {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "not-there", "key": "key"}}}]},
    ),
}
RECREATED = "crashes, once the old pods are gone"  # the control: what a rollout without a surge costs
BAD[RECREATED] = BAD["crashes"]


class Failed(NamedTuple):
    error: RolloutFailed
    seconds: float  # until the bad version was given up
    total: float
    reports: list[dict[str, Any]]
    version: str
    releases: list[tuple[int, bool, str, str]]


def fail(cluster: Cluster, images: dict[str, Versioned], name: str) -> Failed:
    """Version 1 under load, and a bad version 2 in its place."""
    replicas = 2 if LONG else 1
    good = deploy(images["1"].release(cluster.namespace, replicas=replicas), cluster, images["1"].probe)
    assert good.address is not None
    container = dict(BAD[name][1])
    if "image" in container:
        container["image"] = images["2"].image.partition("@")[0] + container["image"]
    bad = images["2"].release(cluster.namespace, replicas=replicas, container=container)
    spec = bad.find("Deployment")["spec"]
    spec["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] = 1
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = 2
    if name == RECREATED:
        spec["strategy"] = {"type": "Recreate"}
    given_up: list[float] = []

    def tell(event: Any) -> None:
        if isinstance(event, Step) and event.text.startswith("bringing release 1 back") and event.seconds is None:
            given_up.append(time.monotonic() - began)

    with Load(good.address.url, 200 if LONG else 15) as load:
        began = time.monotonic()
        with pytest.raises(RolloutFailed) as failed:
            deploy(bad, cluster, images["2"].probe, tell=tell)
        total = time.monotonic() - began
        time.sleep(1)
        reports = load.stop()
    kept = [(one.number, one.now, one.state, one.cause) for one in life.releases(cluster)]
    version = life.status(cluster)[0].version
    return Failed(failed.value, given_up[0], total, reports, version, kept)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", [[name] for name in BAD] if LONG else [list(BAD)], ids=list(BAD) if LONG else ["all"])
def test_a_bad_version_under_load_costs_no_request_and_goes_again(
    names: list[str], spaces: Callable[[], Cluster], images: dict[str, Versioned]
) -> None:
    """All at once, each in a namespace of its own; or one after the other under 200 requests a second."""
    with ThreadPoolExecutor(len(names)) as threads:
        made = [spaces() for _ in names]
        ended = threads.map(lambda place, name: fail(place, images, name), made, names)
        failures = dict(zip(names, ended, strict=True))
    for name, failed in failures.items():
        print(f"\n{name}: given up after {failed.seconds:.1f} s, restored after {failed.total:.1f} s\n{failed.error}")
        cause = BAD[name][0]
        assert (failed.error.cause, failed.error.outcome) == (cause, "restored")
        assert exit_code(failed.error) == 1
        assert "; release 1 is back and serves; " in str(failed.error)
        assert failed.seconds < 45 or not LONG, "all at once they wait for each other"
        assert failed.version == "1"
        assert failed.releases == [(2, False, "failed", cause), (1, True, "deployed", "")]
        lost = sum(report["failed"] for report in failed.reports)
        if name == RECREATED:
            assert lost > 0, "the load does not see an old version that goes"
            continue
        assert lost == 0
        assert "meanwhile, 0 failed" in str(failed.error)
        for report in failed.reports:
            assert set(report["answers"]) == {"1"}
            assert report["sent"] > 50


def evicted(kube: Any, namespace: str, pod: str) -> int:
    """What the eviction API says, as `kubectl drain` and a node without memory hear it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    try:
        kube.call("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)
    except AssertionError as error:
        return int(str(error).split(": ")[1].split()[0])
    return 201


@pytest.mark.timeout(300)
def test_evicted_pods_cost_no_request(
    spaces: Callable[[], Cluster], images: dict[str, Versioned], make_release: Any, probe: Any, kube: Any
) -> None:
    """Both of two, the second as soon as it may go; one alone goes too; where both are killed, requests are lost."""
    alone = spaces()
    deploy(make_release(alone.namespace, replicas=1), alone, probe)
    with Serving(spaces(), images, 100) as serving:
        (single,) = [name_of(pod) for pod in alone.list(POD)]
        assert evicted(kube, alone.namespace, single) == 201, "a single replica does not keep a node from being drained"
        began, refused = time.monotonic(), 0
        before = dict(serving.pods)
        for pod in before:
            while (said := evicted(kube, serving.cluster.namespace, pod)) != 201:
                assert said == 429, "the budget lets one go at a time"
                assert time.monotonic() < began + 120
                refused += 1
                time.sleep(0.2)
        while set(serving.pods) & set(before) or life.status(serving.cluster)[0].ready < 2:
            assert time.monotonic() < began + 120
            time.sleep(0.2)
        print(f"\ndrained after {time.monotonic() - began:.1f} s")
    assert refused > 0
    assert serving.failed == 0
    with Serving(serving.cluster, images, 100) as careless:
        for pod in careless.pods:
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
            kube.call("DELETE", f"/api/v1/namespaces/{careless.cluster.namespace}/pods/{pod}", options)
    assert careless.failed > 0, "the load does not see pods that are killed"


def test_an_unhealthy_pod_holds_no_drain_up_and_the_last_healthy_one_does(
    real: Cluster, make_release: Any, probe: Probe, kube: Any
) -> None:
    """With one node as with many: the control is the budget without its policy, under which nothing may go."""
    deploy(make_release(real.namespace, replicas=2), real, probe)
    sick, last = (name_of(pod) for pod in real.list(POD, selector("ferry")))
    path = f"/apis/policy/v1/namespaces/{real.namespace}/poddisruptionbudgets/ferry"

    def kubectl(*words: str) -> None:
        subprocess.run([*real.kubectl.split(), *words], check=True, timeout=60)

    def fall_ill(pod: str, healthy: int) -> None:
        kubectl("exec", pod, "--", "touch", "/tmp/sick")
        settled(lambda status: status["currentHealthy"] == healthy)

    def settled(true: Callable[[Any], bool]) -> None:
        deadline = time.monotonic() + 90
        while (found := kube.get(path))["status"]["observedGeneration"] != found["metadata"]["generation"] or not true(
            found["status"]
        ):
            assert time.monotonic() < deadline, found["status"]
            time.sleep(0.2)

    def policy(name: str) -> None:
        spec = {"unhealthyPodEvictionPolicy": name}
        kubectl("patch", "poddisruptionbudget", "ferry", "--type=merge", "-p", json.dumps({"spec": spec}))
        settled(lambda status: status["disruptionsAllowed"] == 0)

    fall_ill(sick, 1)
    assert evicted(kube, real.namespace, last) == 429, "the last that serves stays until another does"
    fall_ill(last, 0)
    policy("IfHealthyBudget")
    assert [evicted(kube, real.namespace, pod) for pod in (sick, last)] == [429, 429]
    policy("AlwaysAllow")
    assert [evicted(kube, real.namespace, pod) for pod in (sick, last)] == [201, 201]
