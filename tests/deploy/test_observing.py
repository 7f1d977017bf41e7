"""What is seen of a deployment while it scales: from objects as the API has them, a cluster of them made by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from wherry.contract.names import LABEL_MANAGED_BY
from wherry.deploy.conditions import conditions_of
from wherry.deploy.observing import Observer, moment
from wherry.errors import NoCluster, NotPermitted

STAMP = "2026-01-31T08:00:10Z"
SECOND = 1769846410.0  # the same, since 1970

DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "m", "labels": {LABEL_MANAGED_BY: "wherry"}},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "m"}},
        "template": {
            "spec": {
                "containers": [
                    {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "0.25", "memory": "64Mi"}}}
                ]
            }
        },
    },
    "status": {"replicas": 1, "readyReplicas": 1},
}
AUTOSCALER: dict[str, Any] = {
    "metadata": {"name": "m", "resourceVersion": "1", "managedFields": [{"subresource": "status", "time": STAMP}]},
    "spec": {
        "minReplicas": 1,
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    },
    "status": {
        "desiredReplicas": 1,
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}}],
    },
}
METRICS = {
    "metadata": {"name": "m-a"},
    "timestamp": STAMP,
    "window": "15.01s",
    "containers": [{"usage": {"cpu": "123456789n"}}],
}


def pod(name: str, *conditions: str, started: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {
        "metadata": {"name": name, "creationTimestamp": STAMP},
        "status": {"conditions": [{"type": one, "status": "True", "lastTransitionTime": STAMP} for one in conditions]},
    }
    if started:
        made["status"]["containerStatuses"] = [{"state": {"running": {"startedAt": STAMP}}}]
    return made


class Fake:
    """A cluster whose objects a test changes between two looks."""

    namespace, context, is_local = "models", "test", True

    def __init__(self) -> None:
        self.deployment, self.autoscaler = copy.deepcopy(DEPLOYMENT), copy.deepcopy(AUTOSCALER)
        self.pods = [pod("m-a", "PodScheduled", "Ready", started=True)]
        self.metrics = [copy.deepcopy(METRICS)]
        self.error: Exception | None = None
        self.asked: list[str] = []

    def get(self, kind: Any, name: str) -> Any:
        return self.autoscaler if kind.kind == "HorizontalPodAutoscaler" else self.deployment

    def list(self, kind: Any, labels: str = "") -> Any:
        self.asked.append(kind.kind)
        assert labels == "app=m"
        if kind.kind == "PodMetrics":
            if self.error is not None:
                raise self.error
            return tuple(self.metrics)
        return tuple(self.pods)


class Clock:
    now = SECOND - 10

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seen() -> tuple[Fake, Observer, Clock]:
    fake, clock = Fake(), Clock()
    observer = Observer(fake, "m", clock=clock)
    observer.look()
    observer.happenings.clear()
    clock.now = SECOND + 0.4
    return fake, observer, clock


def test_a_rescale_and_the_life_of_its_pod_are_seen(seen: tuple[Fake, Observer, Clock]) -> None:
    fake, observer, clock = seen
    fake.autoscaler["status"]["desiredReplicas"] = 2
    fake.autoscaler["metadata"]["resourceVersion"] = "2"
    fake.pods.append(pod("m-b"))
    observer.look()
    clock.now += 2
    fake.pods[1] = pod("m-b", "PodScheduled", "Ready", started=True)
    observer.look()
    clock.now += 60
    del fake.pods[1]
    observer.look()
    told = [(one.kind, one.who) for one in observer.happenings]
    assert told == [
        ("pod_created", "m-b"),
        ("synced", "m"),
        ("rescaled", "m"),
        ("pod_scheduled", "m-b"),
        ("pod_ready", "m-b"),
        ("pod_started", "m-b"),
        ("pod_ended", "m-b"),
    ]
    rescaled = observer.happenings[2]
    assert (rescaled.value, rescaled.text) == (2.0, "from 1 to 2: CPU 12 % of the request, aiming at 60 %")


def test_a_look_is_kept_and_shown(seen: tuple[Fake, Observer, Clock]) -> None:
    _, observer, _ = seen
    second = observer.seconds[-1]
    assert (second.desired, second.created, second.ready) == (1, 1, 1)
    assert (second.hpa_current, second.hpa_desired) == (12.0, 1)
    view = observer.view
    assert (view.wanted, view.ready, view.most, view.cpu, view.current, view.target) == (1, 1, 3, 123, 12, 60)


def test_each_scrape_is_kept_once(seen: tuple[Fake, Observer, Clock]) -> None:
    fake, observer, _ = seen
    observer.look()
    assert [(one.pod, one.millicores, one.window, one.scraped) for one in observer.cpu] == [
        ("m-a", 123.46, 15.01, SECOND)
    ]
    fake.metrics[0]["timestamp"] = "2026-01-31T08:00:25Z"
    observer.look()
    assert len(observer.cpu) == 2


def test_what_is_not_permitted_is_asked_once_and_said(seen: tuple[Fake, Observer, Clock]) -> None:
    fake, observer, _ = seen
    fake.error = NotPermitted((), "models")
    observer.look()
    fake.asked.clear()
    observer.look()
    assert "PodMetrics" not in fake.asked and "Pod" in fake.asked
    assert list(observer.troubles) == ["pods.metrics.k8s.io"]


def test_what_is_away_for_a_moment_is_asked_again(seen: tuple[Fake, Observer, Clock]) -> None:
    fake, observer, _ = seen
    fake.error = NoCluster("gone")
    observer.look()
    fake.asked.clear()
    observer.look()
    assert "PodMetrics" in fake.asked


def test_conditions_are_read_from_the_objects() -> None:
    found = conditions_of("m", DEPLOYMENT, AUTOSCALER)
    assert (found.cpu_request, found.cpu_limit, found.memory) == (100.0, 250.0, 64 * 2**20)
    assert (found.min_replicas, found.max_replicas, found.cpu_target) == (1, 3, 60)
    assert found.behavior["scaleDown"]["stabilizationWindowSeconds"] == 300


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (SECOND - 0.3, SECOND + 0.2, SECOND + 0.1),  # in the second that is stamped, and before it was seen
        (SECOND + 0.4, SECOND + 0.9, SECOND + 0.65),
        (SECOND - 5, SECOND - 4, SECOND - 4),  # the cluster's clock is ahead of ours
        (SECOND + 30, SECOND + 31, SECOND + 30),  # or behind
        (0.0, SECOND + 30, SECOND + 0.5),  # there before the first look
        (0.0, SECOND - 30, SECOND - 30),  # the same, and the cluster's clock is ahead
    ],
)
def test_a_moment_lies_between_two_looks_and_in_its_second(before: float, now: float, found: float) -> None:
    assert moment(STAMP, before, now) == pytest.approx(found)
