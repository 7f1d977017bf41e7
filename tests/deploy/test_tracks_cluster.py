"""Versions side by side under load, on a real cluster: switched, tried as a canary, and shadowed.

WHERRY_TEST_LONG=1 runs the long forms, whose figures stand in docs/rollouts.md.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from deploy_parts import SLOW, Load, Versioned

from wherry.contract import project
from wherry.contract.events import Note, Step
from wherry.contract.names import LABEL_TRACK
from wherry.contract.wire import METRICS
from wherry.deploy import life
from wherry.deploy.canary import Canary
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.resources import POD, labels_of, name_of, selector
from wherry.deploy.shadow import deploy_shadow
from wherry.deploy.switching import put_away
from wherry.errors import CanaryAborted

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
RATE = float(os.environ.get("WHERRY_TEST_RATE", 500 if LONG else 100))

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


class Switched(NamedTuple):
    """there, back: when each switch was said to be done. steps: seconds of what was told, by its words."""

    url: str
    reports: list[dict[str, Any]]
    there: float
    back: float
    steps: list[tuple[str, float]]

    @property
    def failed(self) -> int:
        return sum(report["failed"] for report in self.reports)


def switch(cluster: Cluster, images: dict[str, Versioned], rate: float) -> Switched:
    """Version 1 under load, switched to version 2 and back."""
    first = deploy(images["1"].release(cluster.namespace), cluster, images["1"].probe)
    assert first.address is not None
    steps: list[tuple[str, float]] = []

    def tell(event: Any) -> None:
        if isinstance(event, Step) and event.seconds is not None:
            steps.append((event.text, event.seconds))

    with Load(first.address.url, rate) as load:
        time.sleep(2)  # before, as after: what is steady
        there = deploy(images["2"].release(cluster.namespace), cluster, images["2"].probe, blue_green=True, tell=tell)
        switched = time.time()
        assert there.ok
        time.sleep(10 if LONG else 2)
        back = life.rollback(cluster, tell=tell)
        returned = time.time()
        assert (back.ok, back.release) == (True, 3)
        if LONG:
            assert put_away(cluster, "iris", 3, tell)
            assert {labels_of(pod)[LABEL_TRACK] for pod in cluster.list(POD, selector("iris"))} == {"stable"}
        time.sleep(2)
        return Switched(first.address.url, load.stop(), switched, returned, steps)


@pytest.mark.timeout(600)
def test_no_request_is_lost_in_a_switch_there_and_back(
    spaces: Callable[[], Cluster], images: dict[str, Versioned]
) -> None:
    """And where the Service is switched before there are pods to be switched to, the same load does lose some."""
    cluster = spaces()
    seen = switch(cluster, images, RATE)
    print(f"\n{seen.steps}")
    assert seen.failed == 0
    for report in seen.reports:
        assert set(report["answers"]) == {"1", "2"}
        assert report["last"]["2"] <= seen.back, "the version that was left answered after the way back was done"
    assert too_early(cluster, seen.url) > 0, "the load does not see what a careless switch loses"


def too_early(cluster: Cluster, url: str) -> int:
    """How many requests are lost when callers are led to a version that is not up yet, for a second."""
    meta = {"name": "iris", "namespace": cluster.namespace}
    with Load(url, RATE) as load:
        for track in ("next", "stable"):
            led = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {LABEL_TRACK: track}}}
            time.sleep(1)
            cluster.apply(led, manager="by-hand", force=True)
        time.sleep(1)
        return sum(report["failed"] for report in load.stop())


# What makes a worse version, and what the canary is taken away for.
WORSE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "answers otherwise": ({}, {}, "differs"),
    "is slow": ({"container": {"command": ["python3", "-c", SLOW]}}, {"differing": 1.0}, "latency"),
}


class Tried(NamedTuple):
    error: CanaryAborted | None
    seconds: float
    reports: list[dict[str, Any]]
    told: list[str]


def tried(
    cluster: Cluster, images: dict[str, Versioned], how: dict[str, Any], settings: dict[str, Any], seconds: float
) -> Tried:
    """Version 1 under load, and version 2 as one of three pods."""
    first = deploy(images["1"].release(cluster.namespace), cluster, images["1"].probe)
    assert first.address is not None
    told: list[str] = []
    error: CanaryAborted | None = None
    trial = Canary(0.34, project.Canary(seconds=seconds, **settings))
    with Load(first.address.url, 100) as load:
        began = time.monotonic()
        try:
            deploy(
                images["2"].release(cluster.namespace, **how),
                cluster,
                images["2"].probe,
                trial=trial,
                tell=lambda event: told.append(event.text) if isinstance(event, (Note, Step)) else None,
            )
        except CanaryAborted as aborted:
            error = aborted
        took = time.monotonic() - began
        time.sleep(1)
        return Tried(error, took, load.stop(), told)


@pytest.mark.timeout(300)
def test_a_canary_that_is_worse_goes_and_one_that_is_not_stays(
    spaces: Callable[[], Cluster], images: dict[str, Versioned]
) -> None:
    with ThreadPoolExecutor(3) as threads:
        good = threads.submit(tried, spaces(), images, {}, {"differing": 1.0, "slower": 20.0}, 8)
        bad = {
            name: threads.submit(tried, spaces(), images, how, settings, 60)
            for name, (how, settings, _) in WORSE.items()
            if LONG or name == "is slow"
        }
        found = good.result()
        print(f"\ngood: {found.seconds:.1f} s, {found.told}")
        assert found.error is None
        for report in found.reports:
            assert (report["failed"], set(report["answers"])) == (0, {"1", "2"})
        for name, running in bad.items():
            seen = running.result()
            assert seen.error is not None, seen.told
            share = sum(report["answers"].get("2", 0) for report in seen.reports) / sum(
                report["sent"] for report in seen.reports
            )
            print(f"\n{name}: {seen.error}; after {seen.seconds:.1f} s, {share:.1%} of all requests")
            assert seen.error.cause == WORSE[name][2]
            assert share < 0.5
            for report in seen.reports:
                assert report["failed"] == 0


class Shadowed(NamedTuple):
    """without, with_it: the loads' reports before the shadow and beside it. counted: of all pods, by outcome."""

    without: list[dict[str, Any]]
    changing: list[dict[str, Any]]
    with_it: list[dict[str, Any]]
    counted: dict[str, float]
    stored: int


def shadowed(cluster: Cluster, images: dict[str, Versioned], rate: float, seconds: float, share: float) -> Shadowed:
    """Version 1 under load: alone, while it is given version 2 as a shadow, and with that."""
    first = deploy(images["1"].release(cluster.namespace), cluster, images["1"].probe)
    assert first.address is not None

    def steady() -> list[dict[str, Any]]:
        with Load(first.address.url, rate) as load:
            time.sleep(seconds)
            return load.stop()

    without = steady()
    with Load(first.address.url, rate) as load:
        time.sleep(1)
        assert deploy_shadow(images["2"].release(cluster.namespace), cluster, images["2"].probe, share).ok
        time.sleep(1)
        changing = load.stop()
    with_it = steady()
    counted: Counter[str] = Counter()
    stored = 0.0
    for pod in cluster.list(POD, "wherry.dev/track"):
        text = cluster.ask_pod(name_of(pod), 8082, METRICS, None, {}).body.decode()
        if "-shadow-" in name_of(pod):
            stored += sum(map(float, re.findall(r'wherry_store_rows\{state="accepted"\} (\S+)', text)))
        for outcome, count in re.findall(r'wherry_shadow_requests_total\{outcome="(\w+)"\} (\S+)', text):
            counted[outcome] += float(count)
    return Shadowed(without, changing, with_it, dict(counted), int(stored))


@pytest.mark.timeout(600)
def test_a_shadow_is_asked_and_costs_no_request(spaces: Callable[[], Cluster], images: dict[str, Versioned]) -> None:
    """Every answer of version 2 differs from that of version 1, and none ever reaches a caller."""
    seen = shadowed(spaces(), images, RATE, 60 if LONG else 5, 0.1)
    print(f"\n{seen.counted}")
    for reports in (seen.without, seen.changing, seen.with_it):
        for report in reports:
            assert (report["failed"], set(report["answers"])) == (0, {"1"})
    sent = sum(report["sent"] for report in seen.with_it)
    assert seen.counted["same"] == 0
    assert seen.counted["failed"] == 0
    assert 0.05 * sent < seen.counted["differs"], "the share of copies that it was given"
    assert seen.counted["differs"] + seen.counted["dropped"] < 0.2 * (sent + sum(r["sent"] for r in seen.changing))
    assert seen.stored == 0
