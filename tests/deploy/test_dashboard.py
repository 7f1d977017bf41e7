"""A deployed service as it is doing now: what pods count, what a look finds, and the page that shows it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.dashboard import counts
from wherry.deploy.dashboard.seen import Look
from wherry.deploy.dashboard.site import Site, serving
from wherry.deploy.dashboard.watcher import KEPT, Watcher
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.errors import AccessRule, NoCluster, NothingDeployed, NotPermitted, PortTaken
from wherry.testing import FakeApiServer

TEXT = """# HELP wherry_requests_total Requests answered, by door and status.
# TYPE wherry_requests_total counter
wherry_requests_total{{door="native",status="200"}} {ok}
wherry_requests_total{{door="query",status="200"}} 5
wherry_requests_total{{door="native",status="422"}} {refused}
wherry_requests_total{{door="native",status="503"}} {failed}
wherry_requests_total{{door="other",status="200"}} 99999
wherry_request_seconds_bucket{{door="native",le="0.001"}} {fast}
wherry_request_seconds_bucket{{door="native",le="0.01"}} {ok}
wherry_request_seconds_bucket{{door="native",le="+Inf"}} {ok}
wherry_request_seconds_bucket{{door="other",le="0.001"}} 99999
wherry_request_seconds_count{{door="native"}} {ok}
wherry_predictions_total{{class="B"}} {ok}
wherry_predictions_total{{class="a \\"b\\"\\\\c\\nd"}} 1
wherry_requests_in_flight 3
something_else{{a="b"}} NaN
"""


def told(ok: int = 0, fast: int = 0, failed: int = 0, refused: int = 0) -> str:
    return TEXT.format(ok=ok, fast=fast, failed=failed, refused=refused)


# --- what a pod counts


def test_counts_are_of_predictions_alone() -> None:
    found = counts.read(told(ok=40, fast=10, failed=2, refused=3))
    assert found.requests == 50
    assert (found.of("2"), found.of("4"), found.of("5"), found.in_flight) == (45, 3, 2, 3)
    assert found.buckets == {0.001: 10, 0.01: 40, float("inf"): 40}
    assert found.classes == {"B": 40, 'a "b"\\c\nd': 1}


def test_what_was_added_between_two_readings() -> None:
    first, second = counts.read(told(ok=10, fast=10)), counts.read(told(ok=30, fast=10, failed=4))
    gained = second.since(first)
    assert (gained.requests, gained.of("5"), gained.classes["B"]) == (24, 4, 20)
    assert gained.buckets == {0.001: 0, 0.01: 20, float("inf"): 20}
    restarted = counts.read(told(ok=2))
    assert restarted.since(second) == restarted


def test_percentiles_lie_within_their_bucket() -> None:
    found = counts.read(told(ok=100, fast=50))
    assert found.percentile(0.25) == pytest.approx(0.0005)
    assert found.percentile(0.5) == pytest.approx(0.001)
    assert found.percentile(0.75) == pytest.approx(0.0055)
    assert counts.Counts().percentile(0.5) is None
    beyond = counts.Counts(buckets={0.001: 1, float("inf"): 4})
    assert beyond.percentile(0.99) == 0.001, "the last bound is all that is known of what took longer"


def test_pods_are_added_up() -> None:
    both = counts.together([counts.read(told(ok=10)), counts.read(told(ok=20))])
    assert (both.of("2"), both.buckets[0.01], both.classes["B"], both.in_flight) == (40, 30, 30, 6)


# --- what a look finds


class Pods:
    """What the pods count, by name; a test changes it between two looks."""

    def __init__(self) -> None:
        self.text: Callable[[str], str] = lambda pod: told()
        self.error: Exception | None = None
        self.asked: list[tuple[str, int, str, bytes | None]] = []

    def __call__(self, pod: str, port: int, path: str, body: bytes | None, headers: Any, seconds: float = 1) -> Answer:
        self.asked.append((pod, port, path, body))
        if self.error is not None:
            raise self.error
        return Answer(200, {}, self.text(pod).encode())


class Clock:
    now = 1_769_846_410.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pods(fake: Cluster, monkeypatch: pytest.MonkeyPatch) -> Pods:
    made = Pods()
    monkeypatch.setattr(fake, "ask_pod", made)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watcher(fake: Cluster, make_release: Any, probe: Probe, pods: Pods, clock: Clock) -> Iterator[Watcher]:
    """Two pods of ferry, looked at for the first time by the test."""
    deploy(make_release("boats", replicas=2), fake, probe)
    with Watcher(fake, "ferry", clock=clock) as made:
        yield made


def later(watcher: Watcher, clock: Clock, seconds: float = 2.0) -> Look:
    clock.now += seconds
    return watcher.look()


def test_a_look_finds_pods_use_and_traffic(server: FakeApiServer, watcher: Watcher, pods: Pods, clock: Clock) -> None:
    names = [pod["metadata"]["name"] for pod in server.api.all("pods", "boats")]
    server.api.usage = {names[0]: ("12500000n", "20Mi"), names[1]: ("7m", "22Mi")}
    first = watcher.look()
    [seen] = first.services
    assert (first.context, first.namespace, first.trouble) == ("fake", "boats", "")
    assert (seen.status.name, seen.status.ready, seen.status.wanted, seen.status.healthy) == ("ferry", 2, 2, True)
    assert seen.traffic is None, "one reading says nothing of a rate"
    assert (seen.cpu, seen.memory) == (19.5, 42 * 2**20)
    assert (seen.cpu_request, seen.cpu_limit, seen.memory_limit) == (40, None, 96 * 2**20)
    pods.text = lambda pod: told(ok=20, fast=20) if pod == names[0] else told(ok=40, failed=2, refused=4)
    [seen] = later(watcher, clock).services
    assert seen.traffic is not None
    assert (seen.traffic.rate, seen.traffic.failed, seen.traffic.refused) == (33.0, 1.0, 2.0)
    assert seen.traffic.p50_ms == pytest.approx(3.25)
    assert seen.traffic.classes == {"B": 60}
    assert seen.traffic.classes_total == {"B": 60, 'a "b"\\c\nd': 2}
    assert [(one.rate, one.failed, one.ready, one.new) for one in sorted(seen.pods, key=lambda one: one.rate or 0)] == [
        (10.0, 0.0, True, True),
        (23.0, 1.0, True, True),
    ]
    assert {(port, path, body) for _, port, path, body in pods.asked} == {(8082, "/metrics", None)}
    assert [(one.rate, one.ready) for one in watcher.courses["ferry"]] == [(None, 2), (33.0, 2)]


def test_rates_are_of_the_last_seconds_and_the_course_is_bounded(watcher: Watcher, pods: Pods, clock: Clock) -> None:
    watcher.look()
    pods.text = lambda pod: told(ok=1000)
    later(watcher, clock)
    for _ in range(KEPT + 20):
        found = later(watcher, clock)
    [seen] = found.services
    assert seen.traffic is not None
    assert seen.traffic.rate == 0
    assert seen.traffic.seconds == 10
    assert len(watcher.courses["ferry"]) == KEPT


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(
    fake: Cluster, watcher: Watcher, pods: Pods, clock: Clock
) -> None:
    pods.error = NotPermitted((AccessRule("create", "", "pods/portforward"),), "boats")
    watcher.look()
    asked = len(pods.asked)
    [seen] = later(watcher, clock).services
    assert len(pods.asked) == asked, "what is forbidden is not asked again"
    assert seen.status.ready == 2
    assert seen.cpu is None
    usage, forbidden = seen.troubles
    assert usage.startswith("CPU and memory are not known")
    assert "may not be read" in forbidden
    assert "pods/portforward" in forbidden


def test_a_pod_that_does_not_answer_is_no_trouble_unless_none_does(
    server: FakeApiServer, watcher: Watcher, pods: Pods
) -> None:
    server.api.usage = {}
    names = [pod["metadata"]["name"] for pod in server.api.all("pods", "boats")]

    def ask(pod: str, *more: Any, **named: Any) -> Answer:
        if pod == names[0]:
            raise NoCluster("it starts")
        return Answer(200, {}, told().encode())

    watcher.cluster.ask_pod = ask
    assert watcher.look().services[0].troubles == ()
    pods.error = NoCluster("gone")
    watcher.cluster.ask_pod = pods
    assert "no pod tells" in watcher.look().services[0].troubles[0]


def test_a_rescale_is_told(fake: Cluster, watcher: Watcher, clock: Clock, make_release: Any, probe: Probe) -> None:
    assert watcher.look().changes == ()
    deploy(make_release("boats", replicas=3), fake, probe)
    found = later(watcher, clock)
    assert [(one.service, one.text) for one in found.changes] == [("ferry", "scaled from 2 to 3")]
    assert later(watcher, clock).changes == found.changes


def test_a_cluster_that_goes_away_leaves_the_last_look(
    fake: Cluster, server: FakeApiServer, watcher: Watcher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = watcher.look()

    def away(*asked: Any, **named: Any) -> Any:
        raise NoCluster("connection refused", server="https://10.0.0.1")

    with monkeypatch.context() as patch:
        patch.setattr(fake, "get", away)
        second = later(watcher, clock)
    assert "connection refused" in second.trouble
    assert (second.services, second.at) == (first.services, first.at)
    assert later(watcher, clock).trouble == ""


def test_what_was_taken_down_is_gone_and_what_never_was_is_an_error(
    fake: Cluster, server: FakeApiServer, watcher: Watcher, clock: Clock
) -> None:
    watcher.look()
    server.api.remove("deployments", "ferry", "boats")
    assert later(watcher, clock).services == ()
    with Watcher(fake, "barge") as other, pytest.raises(NothingDeployed):
        other.look()


def test_without_a_name_all_are_seen(fake: Cluster, watcher: Watcher, make_release: Any, probe: Probe) -> None:
    deploy(make_release("boats", name="barge"), fake, probe)
    with Watcher(fake) as other:
        assert [one.status.name for one in other.look().services] == ["barge", "ferry"]


# --- the page's door


def fetch(url: str, **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.fixture
def site(watcher: Watcher) -> Iterator[Site]:
    with serving() as made:
        made.show(watcher.look(), watcher.courses)
        yield made


def test_the_page_is_complete_and_allows_nothing_else(site: Site) -> None:
    status, headers, body = fetch(site.url)
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in body
    status, headers, body = fetch(f"{site.url}data")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    [service] = json.loads(body)["services"]
    assert (service["status"]["name"], service["healthy"], len(service["course"])) == ("ferry", True, 1)


def test_only_who_has_the_address_is_answered(site: Site) -> None:
    root = f"http://127.0.0.1:{site.port}"
    for path in ("/", "/data", f"/{'x' * len(site.word)}/data", f"/{site.word}", f"/{site.word}/data/"):
        status, _, body = fetch(root + path)
        assert status == 404, path
        assert site.word.encode() not in body
    with serving() as other:
        assert other.word != site.word


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_is_refused(site: Site, host: str) -> None:
    assert fetch(site.url, Host=host.format(port=site.port))[0] == 421
    assert fetch(site.url, Host=f"localhost:{site.port}")[0] == 200


def test_the_page_listens_on_loopback_alone_and_a_taken_port_is_said(site: Site) -> None:
    assert site.url.startswith("http://127.0.0.1:")
    with pytest.raises(PortTaken), serving(site.port):
        pytest.fail("two cannot listen on one port")
