"""One deploy at a time: who holds the lock, when it is forgotten, and that nothing of it stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wherry.cli.failures import LOCKED, exit_code
from wherry.contract.events import Note
from wherry.deploy import lease
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.deploy.resources import CONFIG_MAP, LEASE, selector
from wherry.errors import DeployHeld
from wherry.testing import FakeApiServer

TTL = 1.5


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as made:
        made.api.put("namespaces", {"metadata": {"name": "boats"}})
        yield made


def left_behind(cluster: Cluster, holder: str = "ada@desk, process 7, 12345678") -> None:
    """The Lease of a deploy that was killed."""
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 1,
        "acquireTime": "2026-01-02T03:04:05.000000Z",
        "renewTime": "2026-01-02T03:04:05.000000Z",
    }
    cluster.create(
        {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": {"name": "ferry-deploy"}, "spec": spec}
    )


def test_nothing_of_a_lock_stays(fake: Cluster) -> None:
    with lease.hold(fake, "ferry") as lock:
        (live,) = fake.list(LEASE)
        assert live["spec"]["holderIdentity"] == lock.holder
        assert live["spec"]["leaseDurationSeconds"] == 15
        lock.check()
    assert fake.list(LEASE) == ()


def test_a_lock_that_is_held_names_its_holder(fake: Cluster) -> None:
    began = time.monotonic()
    with (
        lease.hold(fake, "ferry", ttl=TTL) as first,
        pytest.raises(DeployHeld) as held,
        lease.hold(fake, "ferry", ttl=TTL),
    ):
        pass
    assert held.value.holder == lease.told(first.holder)
    assert "process" in held.value.holder
    assert exit_code(held.value) == LOCKED == 3
    assert held.value.outcome == "unchanged"
    assert time.monotonic() - began < TTL, "a holder who is alive is known before its time is over"
    with lease.hold(fake, "ferry"), lease.hold(fake, "other"):
        pass  # another service is another lock


def test_a_holder_that_is_gone_is_forgotten(fake: Cluster, told: list[Any]) -> None:
    left_behind(fake)
    began = time.monotonic()
    with lease.hold(fake, "ferry", told.append):
        waited = time.monotonic() - began
    assert 1.0 <= waited < 3, "by our own clock: that of the other may be years off"
    assert [event.text for event in told if isinstance(event, Note)] == [
        "ferry was being changed by ada@desk, process 7; seeing whether it still is",
        "ada@desk, process 7 is gone; going on in its place",
    ]


def test_a_lock_is_renewed_as_long_as_it_is_held(fake: Cluster) -> None:
    with lease.hold(fake, "ferry", ttl=0.5) as lock:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            lock.check()
            time.sleep(0.05)


def test_a_lock_that_was_taken_over_is_noticed(fake: Cluster) -> None:
    with lease.hold(fake, "ferry", ttl=0.5) as lock:
        (live,) = fake.list(LEASE)
        live["spec"]["holderIdentity"] = "eve@desk, process 8, 12345678"
        del live["metadata"]["resourceVersion"]
        fake.replace(live)
        until = time.monotonic() + 5
        with pytest.raises(DeployHeld, match="eve@desk, process 8"):
            while time.monotonic() < until:
                lock.check()
                time.sleep(0.02)
    assert len(fake.list(LEASE)) == 1, "what is another's is left alone"


def test_of_two_that_find_a_dead_holder_one_goes_on(fake: Cluster) -> None:
    left_behind(fake)
    inside: list[str] = []
    refused: list[DeployHeld] = []
    done = threading.Event()

    def one() -> None:
        try:
            with lease.hold(fake, "ferry", ttl=TTL) as lock:
                inside.append(lock.holder)
                done.wait(20)
        except DeployHeld as held:
            refused.append(held)
            done.set()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(inside) == 1
    assert [held.holder for held in refused] == [lease.told(inside[0])]


def test_a_deploy_under_way_stops_a_second_one(fake: Cluster, make_release: Any, probe: Probe) -> None:
    with lease.hold(fake, "ferry", ttl=TTL), pytest.raises(DeployHeld):
        deploy(make_release("boats"), fake, probe)
    assert fake.list(CONFIG_MAP, selector("ferry")) == ()
