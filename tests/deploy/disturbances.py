"""Parts of the cluster restarted, slowed and stopped under load: what callers and deploys see of it.

Everybody who shares the cluster sees it too, so no test run collects this file; it is named, with the program that
restarts a part of the cluster (PROGRAM stop|start|restart NAME). At its end is what takes too long for the tests:

    WHERRY_TEST_DISTURB=PROGRAM pytest -s tests/deploy/disturbances.py

Its figures stand in docs/rollouts.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deploy_parts import SICKLY, Serving, Versioned, space
from faulty_parts import Faulty

from wherry.contract.events import Note
from wherry.contract.names import ANNOTATION_RELEASE
from wherry.deploy import life, watching
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.resources import (
    CONFIG_MAP,
    JOB,
    LEASE,
    NETWORK_POLICY,
    NODE,
    POD,
    REPLICA_SET,
    labels_of,
    name_of,
    selector,
)
from wherry.errors import NoCluster, RolloutFailed

PROGRAM = os.environ.get("WHERRY_TEST_DISTURB", "")
RATE = float(os.environ.get("WHERRY_TEST_RATE", 500))

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(390)]


def part(verb: str, name: str) -> None:
    assert PROGRAM, "WHERRY_TEST_DISTURB names the program that restarts a part of the cluster"
    subprocess.run([PROGRAM, verb, name], check=True, timeout=60)


def again_and_again(name: str, times: int, pause: float) -> threading.Thread:
    """Restarts a part of the cluster, beside what the test does."""

    def run() -> None:
        for _ in range(times):
            time.sleep(pause)
            part("restart", name)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def api_answers(cluster: Cluster) -> float:
    """Seconds until it does."""
    began = time.monotonic()
    while time.monotonic() < began + 60:
        with contextlib.suppress(NoCluster):
            cluster.list(POD)
            return round(time.monotonic() - began, 1)
        time.sleep(0.2)
    raise AssertionError("the API server has not come back")


def test_a_deploy_outlives_restarts_of_the_api_server(
    spaces: Callable[[], Cluster], images: dict[str, Versioned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them in one update; without patience the first one ends it."""
    cluster = spaces()
    with Serving(cluster, images, RATE) as serving:
        restarts = again_and_again("apiserver", 3, 3)
        try:
            verdict = serving.update()
        finally:
            restarts.join()
        print(f"\n{verdict.outcome} after {verdict.seconds} s; asked {verdict.requests}, {verdict.failed} failed")
    assert verdict.ok
    assert serving.failed == 0
    monkeypatch.setattr(watching, "BACK_SECONDS", 0)
    monkeypatch.setattr("wherry.deploy.patience.AWAY_SECONDS", 0.0)
    restarts = again_and_again("apiserver", 3, 2)
    try:
        with pytest.raises(NoCluster):
            deploy(images["1"].release(cluster.namespace), cluster, images["1"].probe)
    finally:
        restarts.join()
        print(f"the API answers again after {api_answers(cluster)} s")


def test_a_slow_etcd_costs_time_alone(spaces: Callable[[], Cluster], images: dict[str, Versioned]) -> None:
    """Half a second for each write to its disk, all through an update; the same change is timed without."""
    cluster = spaces()
    with Serving(cluster, images, RATE) as serving:
        usual = noted(cluster)
        with slow_writes():
            slowed = noted(cluster)
            began = time.monotonic()
            verdict = serving.update()
        took = time.monotonic() - began
        print(f"\n{verdict.outcome} after {took:.1f} s; a write takes {slowed:.2f} s, else {usual:.2f} s")
    assert verdict.ok
    assert serving.failed == 0
    assert slowed > 0.5 > usual


def noted(cluster: Cluster) -> float:
    """Seconds that one small write takes."""
    began = time.monotonic()
    meta = {"name": "note", "namespace": cluster.namespace}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"at": str(began)}})
    return time.monotonic() - began


@contextlib.contextmanager
def slow_writes() -> Iterator[None]:
    found = [one.name for one in Path("/proc").iterdir() if one.name.isdigit() and program(one) == "etcd"]
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"]
    tracer = subprocess.Popen(["timeout", "90", *slow, "inject=fdatasync:delay_enter=500000", "-p", found[0]])
    try:
        time.sleep(1)
        assert tracer.poll() is None
        yield
    finally:
        tracer.send_signal(signal.SIGTERM)
        tracer.wait(10)


def program(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


@pytest.mark.parametrize("name", ["kubelet", "containerd"])
def test_callers_notice_no_restart_of(name: str, spaces: Callable[[], Cluster], images: dict[str, Versioned]) -> None:
    """Three restarts, and no pod restarts; where both pods are killed at once the same load does lose some."""
    cluster = spaces()
    with Serving(cluster, images, RATE) as serving:
        before = serving.pods
        again_and_again(name, 3, 3).join()
        time.sleep(8)  # as long as the kubelet takes to look at every pod again
        assert serving.pods == before
        assert set(before.values()) == {0}
    print(f"\n{name}: {serving.failed} failed")
    assert serving.failed == 0
    with Serving(cluster, images, 100) as careless:
        at_once = ["delete", "pod", "--force", "--grace-period=0", *before]
        subprocess.run([*cluster.kubectl.split(), *at_once], check=True, capture_output=True)
    assert careless.failed > 0, "the load does not see pods that go"


def test_a_pod_that_is_leaving_ends_in_time_whatever_restarts(
    spaces: Callable[[], Cluster], images: dict[str, Versioned]
) -> None:
    """containerd and kubelet restart in the middle of a termination: its time may begin again, once."""
    cluster = spaces()
    with Serving(cluster, images, RATE) as serving:
        pod = next(iter(serving.pods))
        grace = cluster.get(POD, pod)["spec"]["terminationGracePeriodSeconds"]
        began = time.monotonic()
        cluster.delete(POD, pod)
        for name in ("containerd", "kubelet"):
            time.sleep(1)
            part("restart", name)
        while cluster.get(POD, pod) is not None:
            assert time.monotonic() < began + 2 * grace + 5
            time.sleep(0.2)
        took = time.monotonic() - began
    print(f"\nended after {took:.1f} s of {grace} s; {serving.failed} failed")
    assert took <= 2 * grace
    assert serving.failed == 0


def test_without_names_a_service_answers_on(spaces: Callable[[], Cluster], images: dict[str, Versioned]) -> None:
    """The cluster's DNS away for 30 s, and nothing of the path to an answer takes a name."""
    cluster = spaces()
    with Serving(cluster, images, RATE) as serving:
        part("stop", "coredns")
        try:
            time.sleep(1)
            pod = next(iter(serving.pods))
            ask = [*cluster.kubectl.split(), "exec", pod, "--", "python3", "-c", LOOK_UP]
            found = subprocess.run(ask, check=False, capture_output=True, text=True, timeout=60)
            time.sleep(25)
        finally:
            part("start", "coredns")
    print(f"\n{serving.failed} failed")
    assert "gaierror" in found.stderr, "the control: no name can be looked up"
    assert serving.failed == 0


LOOK_UP = "import socket; socket.getaddrinfo('iris', 80)"


# --- too long for the tests, and rude to nobody ---------------------------------------------------------------------


@pytest.fixture
def registry(cluster: Any) -> Iterator[Faulty]:
    """Another way to the registry, by a port of this machine's own."""
    proxy = Faulty(int(cluster.registry.rpartition(":")[2]), "none")
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()


def by(proxy: Faulty, version: Versioned) -> Versioned:
    """The same image, to be pulled through the proxy: by a name that the node does not know yet."""
    path = version.image.partition("/")[2]
    return msgspec.structs.replace(version, image=f"localhost:{proxy.server_address[1]}/{path}")


def test_a_registry_that_fails_costs_no_request(
    spaces: Callable[[], Cluster], images: dict[str, Versioned], registry: Faulty
) -> None:
    """Slow, then refusing what a node lacks, then away altogether, when what the node has still starts."""
    named = {version: by(registry, one) for version, one in images.items()}
    registry.fault = "slow"
    with Serving(spaces(), named, 100) as serving:
        assert registry.faults > 0, "the node pulls through the proxy"
        registry.fault = "refusing"
        began = time.monotonic()
        with pytest.raises(RolloutFailed) as refused:
            serving.update()
        print(f"\nrefusing: {refused.value.cause} after {time.monotonic() - began:.1f} s: {refused.value}")
        registry.shutdown()
        registry.server_close()
        with pytest.raises(RolloutFailed) as away:
            serving.update()
        print(f"\naway: {away.value.cause}: {away.value}")
        assert serving.update("1", serve={"page": False}).ok, "with what the node has it needs no registry"
    assert (refused.value.cause, refused.value.outcome) == ("image_pull", "restored")
    assert (away.value.cause, away.value.outcome) == ("image_pull", "restored")
    assert serving.failed == 0


@pytest.mark.timeout(600)
def test_the_way_back_outlives_its_image_in_the_registry(
    spaces: Callable[[], Cluster], images: dict[str, Versioned], registry: Faulty
) -> None:
    """Three releases back, more pods than it began with, its tag and manifest deleted: what the node has is gone back
    to, scaled and restarted; what it lacks is named."""
    cluster, named = spaces(), {version: by(registry, one) for version, one in images.items()}
    with Serving(cluster, named, 100, replicas=None, autoscale={"min": 2, "max": 4}) as serving:
        for settings in ({"page": False}, {"docs": False}, {"page": False, "docs": False}):
            assert serving.update("1", serve=settings).ok
        until(lambda: life.status(cluster)[0].ready > 2, 150)  # the autoscaler's doing
        registry.fault = "deleted"
        began = time.monotonic()
        back = life.rollback(cluster, 1)
        assert (back.ok, back.image, back.release) == (True, named["1"].image, 5)
        took = time.monotonic() - began
        assert life.status(cluster)[0].ready > 2, "what the autoscaler made of it stays"
        scaled = life.scale(cluster, 4)
        gone = next(iter(serving.pods))
        cluster.delete(POD, gone)
        until(lambda: gone not in serving.pods and len(serving.pods) == 4 and life.status(cluster)[0].ready == 4)
        assert registry.faults == 0, "nothing of this asks the registry"
        with pytest.raises(RolloutFailed) as lacking:
            serving.update("2")
        print(f"\nback after {took:.1f} s, scaled after {scaled.seconds} s; what no node has: {lacking.value}")
    assert registry.faults > 0, "the control: the registry does say that it has it no more"
    assert (lacking.value.cause, lacking.value.outcome) == ("image_pull", "restored")
    assert serving.failed == 0


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds:.0f} s"
        time.sleep(0.3)


CALL = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=3).status)
"""


def test_whether_anything_enforces_network_policies_is_reported(
    spaces: Callable[[], Cluster], images: dict[str, Versioned]
) -> None:
    """A neighbour is to reach a service, a stranger of another namespace is not; with a policy that lets nobody in as
    the control: where the neighbour passes that, nothing enforces any, and wherry is to have said so."""
    ours, strangers, told = spaces(), spaces(), []
    one = images["1"]
    deploy(one.release(ours.namespace, service={"type": "ClusterIP"}, replicas=1), ours, one.probe, tell=told.append)
    for cluster in (ours, strangers):
        other = one.release(cluster.namespace, service={"type": "ClusterIP"}, replicas=1, name="caller")
        deploy(other, cluster, one.probe)
    # a caller's own policy lets it call nobody, so it goes: what is asked is who may come in
    for cluster in (ours, strangers):
        cluster.delete(NETWORK_POLICY, "caller")
    reached = {"neighbour": called(ours, ours), "stranger": called(strangers, ours)}
    meta = {"name": "nobody", "namespace": ours.namespace}
    nobody = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}
    ours.delete(NETWORK_POLICY, "iris")
    ours.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": nobody})
    time.sleep(5)  # as long as a network may take to learn of it
    enforced = not called(ours, ours)
    words = [event.text for event in told if isinstance(event, Note) and "network policies" in event.text]
    print(f"\nreached {reached}; enforced: {enforced}; said: {words}")
    assert reached["neighbour"]
    assert reached["stranger"] is not enforced
    assert bool(words) is not enforced


def called(caller: Cluster, service: Cluster) -> bool:
    """Whether the pods called `caller` of one namespace get an answer of the service in another."""
    (pod,) = caller.list(POD, selector("caller"))
    url = f"http://iris.{service.namespace}/readyz"
    ask = [*caller.kubectl.split(), "exec", name_of(pod), "--", "python3", "-c", CALL, url]
    return subprocess.run(ask, check=False, capture_output=True, text=True, timeout=60).stdout.strip() == "200"


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_node_is_drained(replicas: int, spaces: Callable[[], Cluster], images: dict[str, Versioned]) -> None:
    """By `kubectl drain`, of the service's pods alone, on a cluster of two nodes; the control kills them instead."""
    cluster = spaces()
    needs_two_nodes(cluster)
    with Serving(cluster, images, 100, replicas=replicas) as serving:
        where = places(cluster)
        assert len(set(where.values())) == replicas, "they are spread over the nodes"
        drained = next(iter(where.values()))
        with uncordoned(cluster, drained):
            took = drain(cluster, drained)
            assert took is not None
            until(lambda: life.status(cluster)[0].ready == replicas)
            assert drained not in places(cluster).values()
    print(f"\n{replicas} replicas: drained after {took:.1f} s, {serving.failed} failed")
    assert serving.failed == 0 or replicas == 1
    with Serving(cluster, images, 100, replicas=replicas) as careless:
        kubectl(cluster, "delete", "pod", "--force", "--grace-period=0", *careless.pods)
    assert careless.failed > 0, "the load does not see pods that go"


def test_a_node_is_drained_of_pods_that_are_sick(spaces: Callable[[], Cluster], images: dict[str, Versioned]) -> None:
    """Two of three are not ready: they go, and the last keeps serving; under the control, a budget that protects sick
    pods too, the same drain does not end."""
    cluster = spaces()
    needs_two_nodes(cluster)
    with Serving(cluster, images, 100, replicas=3, container={"command": ["python3", "-c", SICKLY]}) as serving:
        where = places(cluster)
        drained, other = (node for node, _ in Counter(where.values()).most_common())
        sick = [pod for pod, node in where.items() if node == drained]
        assert len(sick) == 2, "they are spread over the nodes"
        for pod in sick:
            kubectl(cluster, "exec", pod, "--", "python3", "-c", "open('/tmp/sick', 'w')")
        until(lambda: life.status(cluster)[0].ready == 1)
        with uncordoned(cluster, drained):
            protect(cluster, "IfHealthyBudget")
            assert drain(cluster, drained, 20) is None, "the control: the budget refuses it"
            assert set(sick) <= set(places(cluster))
            protect(cluster, "AlwaysAllow")
            took = drain(cluster, drained)
            assert took is not None
            until(lambda: life.status(cluster)[0].ready == 3)
            assert set(places(cluster).values()) == {other}
    print(f"\ntwo of three sick: drained after {took:.1f} s, {serving.failed} failed")
    assert serving.failed == 0


def needs_two_nodes(cluster: Cluster) -> None:
    if len(cluster.list(NODE)) < 2:
        pytest.skip("needs two nodes: PROGRAM up --nodes 2")


def kubectl(cluster: Cluster, *words: str, check: bool = True) -> int:
    done = subprocess.run([*cluster.kubectl.split(), *words], check=check, capture_output=True, timeout=180)
    return done.returncode


def places(cluster: Cluster) -> dict[str, str]:
    """The node of each pod of the service."""
    return {name_of(pod): pod["spec"]["nodeName"] for pod in cluster.list(POD, selector("iris"))}


def drain(cluster: Cluster, node: str, seconds: int = 120) -> float | None:
    """Takes the service's pods from a node as `kubectl drain` does; how long it took, None where it did not end."""
    began = time.monotonic()
    words = ["drain", node, "--delete-emptydir-data", "--pod-selector=app.kubernetes.io/instance=iris"]
    code = kubectl(cluster, *words, f"--timeout={seconds}s", check=False)
    return time.monotonic() - began if code == 0 else None


@contextlib.contextmanager
def uncordoned(cluster: Cluster, node: str) -> Iterator[None]:
    """Afterwards."""
    try:
        yield
    finally:
        kubectl(cluster, "uncordon", node)


def protect(cluster: Cluster, policy: str) -> None:
    """Sets what the service's budget says of pods that are not healthy."""
    spec = {"spec": {"unhealthyPodEvictionPolicy": policy}}
    kubectl(cluster, "patch", "poddisruptionbudget", "iris", "--type=merge", "-p", json.dumps(spec))


def test_changed_settings_restart_the_pods_and_the_same_do_not(
    spaces: Callable[[], Cluster], images: dict[str, Versioned]
) -> None:
    with Serving(spaces(), images, RATE) as serving:
        before = set(serving.pods)
        assert serving.update("1").ok
        assert set(serving.pods) == before
        assert serving.update("1", serve={"page": False}).ok
        assert not set(serving.pods) & before
        began = time.monotonic()
        assert life.rollback(serving.cluster, 1).ok
        print(f"\nthe way back took {time.monotonic() - began:.1f} s")
    assert serving.failed == 0


@pytest.fixture(scope="module")
def soaked(kube: Any) -> Iterator[Cluster]:
    """One namespace for all of the soak."""
    with space(kube) as cluster:
        yield cluster


@pytest.mark.parametrize("tenth", range(0, 50, 10))
def test_fifty_changes_lose_no_request_and_leave_nothing(
    tenth: int, soaked: Cluster, images: dict[str, Versioned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deploys and rollbacks in turn under 200 requests a second, ten a test: whoever measures finds a pause between."""
    with Serving(soaked, images, 200, replicas=1) as serving:
        assert serving.update("1", serve={"page": False}).ok
        before, began = held(), time.monotonic()
        for number in range(tenth, tenth + 10):
            if number % 3 == 2:
                assert life.rollback(soaked).ok
            else:
                assert serving.update(str(1 + number % 2), serve={"page": number % 4 < 2}).ok
        took, after = (time.monotonic() - began) / 10, held()
        until(lambda: len(soaked.list(POD)) == 1)  # what has ended is there a moment longer
        left = leftovers(soaked)
        if tenth == 40:
            monkeypatch.setattr("wherry.deploy.history.KEEP", 1000)
            assert serving.update("2", serve={"docs": False}).ok
            assert leftovers(soaked)["releases"] > left["releases"], (
                "the control: releases that are not forgotten are seen"
            )
    print(f"\nafter {tenth + 10}: {took:.1f} s each; {serving.failed} failed; left {left}; {before} -> {after}")
    assert serving.failed == 0
    assert left["releases"] <= 10
    assert left["replicasets"] <= 11
    assert left["settings"] <= 11
    assert (left["pods"], left["leases"], left["jobs"]) == (1, 0, 0)
    assert after["files"] <= before["files"] + 2
    assert after["threads"] <= before["threads"]
    assert after["memory_mb"] < before["memory_mb"] + 20


def leftovers(cluster: Cluster) -> dict[str, int]:
    """What there is in the namespace of each kind that deploys make anew."""
    settings = cluster.list(CONFIG_MAP, selector("iris"))
    past = [one for one in settings if ANNOTATION_RELEASE in labels_of(one)]
    found = {kind.plural: len(cluster.list(kind)) for kind in (REPLICA_SET, POD, LEASE, JOB)}
    return found | {"releases": len(past), "settings": len(settings) - len(past)}


def held() -> dict[str, int]:
    """What this process, in which wherry's deploys run, has of the machine."""
    said = Path("/proc/self/status").read_text()
    memory = int(said.partition("VmRSS:")[2].split()[0]) // 1024
    return {
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "memory_mb": memory,
    }
