"""Versions beside the one that serves, against an API in this process: canaries, switches, shadows, and their ends."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fake_parts import answers

from wherry.cli.beside import let_go
from wherry.cli.console import Console
from wherry.cli.failures import exit_code
from wherry.contract import project
from wherry.contract.events import Note, Step
from wherry.contract.names import HEADER_MODEL_DIGEST, LABEL_TRACK
from wherry.deploy import canary as canaries
from wherry.deploy import life, measuring
from wherry.deploy.canary import Canary, Shares, shares
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.measuring import Counted, Limits, judge, read
from wherry.deploy.names import workload
from wherry.deploy.probe import Probe
from wherry.deploy.resources import DEPLOYMENT, SERVICE, name_of
from wherry.deploy.rollback import releases
from wherry.deploy.shadow import deploy_shadow
from wherry.deploy.switching import put_away
from wherry.errors import CanaryAborted, NotPermitted, ProbeFailed, RolloutFailed, UsageRefused
from wherry.release.tracks import name_in
from wherry.testing import READY, FakeApiServer

LIMITS = Limits(errors=0.01, slower=2.0, differing=0.1)


def metrics(requests: int, failed: int = 0, slow: int = 0) -> str:
    """What a pod says that answered so many in under a millisecond, and `slow` of them in 50 to 100."""
    quick = requests - slow
    buckets = "".join(
        f'wherry_request_seconds_bucket{{door="native",le="{bound}"}} {count}\n'
        for bound, count in (("0.001", quick), ("0.05", quick), ("0.1", requests), ("+Inf", requests))
    )
    counts = f'wherry_requests_total{{door="native",status="200"}} {requests - failed}\n'
    counts += f'wherry_requests_total{{door="native",status="500"}} {failed}\n'
    return buckets + counts + 'wherry_requests_total{door="other",status="503"} 999\n'


class Pods:
    """What pods answer when each is asked at its own port, by the track that their names tell."""

    def __init__(self) -> None:
        self.canary = metrics(100)
        self.asked_stable = itertools.count(1)  # which goes on answering while it is looked at
        self.said: Callable[[str], str] | None = None  # in the place of these
        self.answers: dict[str, Callable[[bytes], tuple[int, Any]]] = {}

    def __call__(
        self, cluster: Cluster, pod: str, port: int, path: str, body: bytes | None, headers: Any, seconds: float = 30.0
    ) -> Answer:
        track = "canary" if "-canary-" in pod else "stable"
        if body is None and self.said is not None:
            return Answer(200, {}, self.said(track).encode())
        if body is None:
            counted = self.canary if track == "canary" else metrics(1000 * next(self.asked_stable))
            return Answer(200, {}, counted.encode())
        if track in self.answers:
            status, found = self.answers[track](body)
            return Answer(status, {}, json.dumps(found).encode())
        return Answer(*answers(pod, body))


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch) -> Pods:
    made = Pods()
    monkeypatch.setattr(Cluster, "ask_pod", lambda self, *args, **how: made(self, *args, **how))
    monkeypatch.setattr(canaries, "LOOK_SECONDS", 0.05)
    return made


def trial(share: float = 0.34, seconds: float = 0.2, **how: Any) -> Canary:
    return Canary(share, project.Canary(seconds=seconds), **how)


def names(server: FakeApiServer, plural: str) -> set[str]:
    return {name_of(one) for one in server.api.all(plural, "boats")}


def model(cluster: Cluster, name: str = "ferry") -> str:
    return str((cluster.get(DEPLOYMENT, name) or {})["metadata"]["annotations"]["wherry.dev/model"])


def track(cluster: Cluster) -> str | None:
    return (cluster.get(SERVICE, "ferry") or {})["spec"]["selector"].get(LABEL_TRACK)


def states(cluster: Cluster) -> list[tuple[int, bool, str, str]]:
    return [(one.number, one.now, one.state, one.cause) for one in releases(cluster)]


# --- shares and figures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "stable", "found"),
    [(0.34, 2, Shares(1, 0)), (0.5, 2, Shares(2, 0)), (0.1, 9, Shares(1, 0)), (0.2, 9, Shares(2, 0))],
)
def test_as_many_pods_as_the_share_allows(share: float, stable: int, found: Shares) -> None:
    assert shares(share, stable) == found


def test_a_share_that_one_pod_exceeds_is_refused_with_the_one_to_be_had() -> None:
    with pytest.raises(UsageRefused, match=r"1 in 3, 33\.3%") as refused:
        shares(0.1, 2)
    assert refused.value.hint.startswith("--canary 34%, or --canary-scale, which adds 7 pods")
    assert shares(0.1, 2, grow=True) == Shares(1, 7)
    with pytest.raises(UsageRefused, match="paused"):
        shares(0.5, 0)


def test_metrics_tell_what_was_predicted_and_leave_the_probes_out() -> None:
    counted = read(metrics(200, failed=4, slow=10))
    assert (counted.requests, counted.failed) == (200, 4)
    assert 0.05 < counted.p99 < 0.1
    assert read(metrics(200)).p99 < 0.001
    assert (counted - read(metrics(150, failed=4))).failed == 0


@pytest.mark.parametrize(
    ("new", "old", "cause"),
    [
        (metrics(100, failed=5), metrics(1000), "errors"),
        (metrics(100, failed=5), metrics(1000, failed=60), ""),  # stable fails as often
        (metrics(100, failed=2), metrics(1000), ""),  # two may be chance
        (metrics(100, slow=50), metrics(1000), "latency"),
        (metrics(400, slow=5), metrics(1000), "latency"),
        (metrics(100, slow=4), metrics(1000), ""),  # four late answers may be chance
        (metrics(40, slow=40), metrics(1000), ""),  # too few for a p99
        (metrics(100, slow=50), metrics(1000, slow=500), ""),
        (metrics(100), metrics(1000), ""),
    ],
)
def test_a_judgement(new: str, old: str, cause: str) -> None:
    assert judge(read(new), read(old), LIMITS)[0] == cause


def test_what_a_pod_counted_before_is_no_part_of_it() -> None:
    before = {"a": read(metrics(1000))}
    now = {"a": read(metrics(1100, failed=3)), "b": read(metrics(10))}
    assert measuring.since(now, before).requests == 110
    assert measuring.since({}, before) == Counted()


def test_names_stay_within_what_kubernetes_takes() -> None:
    assert name_in("ferry", "stable") == "ferry"
    assert len(name_in("f" * 63, "canary")) == 63


# --- canary ---------------------------------------------------------------------------------------------------------


def test_a_canary_that_is_as_good_takes_the_place_of_stable(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, pods: Pods, told: list[Any]
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    verdict = deploy(make_release("boats", replicas=2, version="2"), fake, probe, trial=trial(), tell=told.append)
    assert (verdict.ok, verdict.release, model(fake)) == (True, 2, "ferry:2")
    assert names(server, "deployments") == {"ferry"}
    assert states(fake) == [(2, True, "deployed", ""), (1, False, "deployed", "")]
    said = [event.text for event in told if isinstance(event, Note)]
    assert "the canary has 1 of 3 pods, 33.3% of new connections" in said
    assert "0 of 3 golden rows are answered otherwise than by stable" in said


def bad_metrics(pods: Pods) -> None:
    pods.canary = metrics(100, failed=9)


def slow(pods: Pods) -> None:
    pods.canary = metrics(100, slow=60)


def wrong_rows(pods: Pods) -> None:
    pods.answers["canary"] = lambda body: (200, {"predictions": [1 for _ in json.loads(body)["rows"]]})


def refusing(pods: Pods) -> None:
    pods.answers["canary"] = lambda body: (500, {"title": "no"})


@pytest.mark.parametrize(
    ("spoil", "cause"), [(bad_metrics, "errors"), (slow, "latency"), (wrong_rows, "answers"), (refusing, "answers")]
)
def test_a_canary_that_is_worse_goes_and_stable_was_not_touched(
    fake: Cluster,
    make_release: Any,
    probe: Probe,
    server: FakeApiServer,
    pods: Pods,
    spoil: Callable[[Pods], None],
    cause: str,
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    before = {key: made["metadata"]["resourceVersion"] for key, made in server.api.objects.items()}
    spoil(pods)
    with pytest.raises(CanaryAborted) as aborted:
        deploy(make_release("boats", replicas=2, version="2"), fake, probe, trial=trial(seconds=20))
    assert (aborted.value.cause, aborted.value.outcome, exit_code(aborted.value)) == (cause, "unchanged", 4)
    assert str(aborted.value).endswith("release 1 serves, untouched")
    after = {key: made["metadata"]["resourceVersion"] for key, made in server.api.objects.items()}
    assert {key: after.get(key) for key in before} == before
    assert set(after) - set(before) == {("configmaps", "boats", "ferry-release-2")}
    assert states(fake) == [(2, False, "aborted", cause), (1, True, "deployed", "")]
    assert life.rollback(fake, 1).ok, "what was aborted is no release to go back to"


def test_a_canary_that_does_not_come_up_goes(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, pods: Pods
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    waiting = {"waiting": {"reason": "InvalidImageName"}}
    status = {"name": "server", "ready": False, "restartCount": 0, "state": waiting}
    stuck = {"phase": "Pending", "containerStatuses": [status]}
    server.api.fate = lambda made: stuck if made["metadata"]["name"] == "ferry-canary" else READY
    with pytest.raises(RolloutFailed) as failed:
        deploy(make_release("boats", replicas=2, version="2"), fake, probe, trial=trial())
    assert (failed.value.outcome, exit_code(failed.value)) == ("unchanged", 1)
    assert names(server, "deployments") == {"ferry"}
    assert states(fake)[0][2] == "aborted"


def test_a_canary_of_a_small_share_has_more_of_stable_beside_it(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    with pytest.raises(UsageRefused):
        deploy(make_release("boats", replicas=2, version="2"), fake, probe, trial=trial(0.1))
    assert states(fake) == [(1, True, "deployed", "")], "what is refused is not recorded"
    seen: dict[str, tuple[str, int]] = {}
    watch = Canary._watch
    monkeypatch.setattr(
        Canary,
        "_watch",
        lambda self, stage: (
            seen.update(
                {
                    name_of(one): (model(fake, name_of(one)), one["spec"]["replicas"])
                    for one in server.api.all("deployments", "boats")
                }
            ),
            watch(self, stage),
        )[1],
    )
    deploy(make_release("boats", replicas=2, version="2"), fake, probe, trial=trial(0.1, grow=True))
    assert seen == {"ferry": ("ferry:1", 2), "ferry-baseline": ("ferry:1", 7), "ferry-canary": ("ferry:2", 1)}
    assert names(server, "deployments") == {"ferry"}


ROUTED = {"ingress": {"host": "ferry.example", "gateway": "edge"}}


def backends(server: FakeApiServer) -> dict[str, int | None]:
    """Where a Gateway sends what comes, and its weights."""
    (route,) = server.api.all("httproutes", "boats")
    return {one["name"]: one.get("weight") for one in route["spec"]["rules"][0]["backendRefs"]}


def test_a_gateway_divides_the_requests_as_they_were_asked_for(
    fake: Cluster,
    make_release: Any,
    probe: Probe,
    server: FakeApiServer,
    pods: Pods,
    told: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A share that two pods alone do not give; whoever asks the Service itself meets no canary."""
    deploy(make_release("boats", replicas=2, **ROUTED), fake, probe)
    assert backends(server) == {"ferry": None}
    seen: list[Any] = []
    watch = Canary._watch

    def look(self: Canary, stage: Any) -> None:
        canary = fake.get(DEPLOYMENT, "ferry-canary") or {}
        finds = (fake.get(SERVICE, "ferry-canary") or {})["spec"]["selector"]
        labels = canary["spec"]["template"]["metadata"]["labels"]
        seen.extend([backends(server), canary["spec"]["replicas"], finds.items() <= labels.items()])
        serves = (fake.get(SERVICE, "ferry") or {})["spec"]["selector"]
        seen.append(serves.items() <= labels.items())
        (guard,) = [one for one in server.api.all("networkpolicies", "boats") if name_of(one) == "ferry-canary"]
        seen.append(guard["spec"]["podSelector"]["matchLabels"].items() <= labels.items())
        watch(self, stage)

    monkeypatch.setattr(Canary, "_watch", look)
    release = make_release("boats", replicas=2, version="2", **ROUTED)
    deploy(release, fake, probe, trial=trial(0.025), tell=told.append)
    assert seen == [{"ferry": 975, "ferry-canary": 25}, 1, True, False, True]
    said = [event.text for event in told if isinstance(event, Note)]
    assert "the canary has 1 of 3 pods, and 2.5% of the requests that come through the Gateway" in said
    assert backends(server) == {"ferry": None}
    assert names(server, "services") == {"ferry"}
    assert "ferry-canary" not in names(server, "networkpolicies")
    assert names(server, "deployments") == {"ferry"}


def test_a_gateway_sends_all_to_stable_before_the_canary_goes(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(make_release("boats", replicas=2, **ROUTED), fake, probe)
    slow(pods)
    gone: list[Any] = []
    delete = Cluster.delete

    def watched(self: Cluster, kind: Any, name: str, *how: Any, **more: Any) -> bool:
        if name == "ferry-canary":
            gone.append(backends(server))
        return delete(self, kind, name, *how, **more)

    monkeypatch.setattr(Cluster, "delete", watched)
    with pytest.raises(CanaryAborted):
        release = make_release("boats", replicas=2, version="2", **ROUTED)
        deploy(release, fake, probe, trial=trial(0.1, seconds=20))
    assert len(gone) >= 2
    assert all(one == {"ferry": None} for one in gone)


def test_without_a_stable_version_there_is_nothing_to_compare_with(
    fake: Cluster, make_release: Any, probe: Probe
) -> None:
    with pytest.raises(UsageRefused, match="no version of ferry"):
        deploy(make_release("boats"), fake, probe, trial=trial())


class Killed(BaseException):
    """Ends a deploy as a signal would: nothing of it is tidied up."""


@pytest.fixture
def interrupted(fake: Cluster, make_release: Any, probe: Probe, pods: Pods, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A canary of version 2 whose client was killed while it watched."""

    def killed(self: Canary, stage: Any) -> None:
        raise Killed

    deploy(make_release("boats", replicas=2), fake, probe)
    with monkeypatch.context() as patched:
        patched.setattr(Canary, "_watch", killed)
        with pytest.raises(Killed):
            deploy(make_release("boats", replicas=2, version="2"), fake, probe, trial=trial())
    assert fake.get(DEPLOYMENT, "ferry-canary") is not None
    assert states(fake) == [(2, False, "canary", ""), (1, True, "deployed", "")]
    return fake


def test_an_interrupted_canary_is_gone_on_with(
    interrupted: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    (status,) = life.status(interrupted)
    assert (status.model, [one.words for one in status.beside]) == ("ferry:1", ["canary: ferry:2, 1 of 1 pods ready"])
    verdict = deploy(make_release("boats", replicas=2, version="2"), interrupted, probe, trial=trial())
    assert (verdict.release, model(interrupted), names(server, "deployments")) == (2, "ferry:2", {"ferry"})


def test_an_interrupted_canary_is_cleaned_up_by_another_deploy(
    interrupted: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    deploy(make_release("boats", replicas=2, version="3"), interrupted, probe)
    assert names(server, "deployments") == {"ferry"}
    assert states(interrupted)[1:] == [(2, False, "aborted", "interrupted"), (1, False, "deployed", "")]


def test_a_rollback_takes_an_interrupted_canary_away(interrupted: Cluster, server: FakeApiServer) -> None:
    assert life.rollback(interrupted).ok
    assert (model(interrupted), names(server, "deployments")) == ("ferry:1", {"ferry"})


# --- blue-green -----------------------------------------------------------------------------------------------------


@pytest.fixture
def by_track(server: FakeApiServer, fake: Cluster) -> None:
    """A Service answers with the digest of the model in its pods; the preview, once callers were seen beside it."""
    called = threading.Event()

    def answer(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if name == "ferry" and fake.get(DEPLOYMENT, "ferry-green") is not None:
            called.set()
        if name == "ferry-preview":
            assert called.wait(20), "nobody asks the Service while the new version comes up"
        wanted = (fake.get(SERVICE, name) or {})["spec"]["selector"]
        found = [
            one
            for one in server.api.all("pods", "boats")
            if all(one["metadata"]["labels"].get(key) == value for key, value in wanted.items())
        ]
        env = found[0]["spec"]["containers"][0]["env"]
        digest = next(one["value"] for one in env if one["name"] == "STAND_IN_DIGEST")
        status, _, made = answers(name, body)
        return status, {HEADER_MODEL_DIGEST: digest}, made

    server.api.answer = answer


@pytest.mark.usefixtures("by_track", "pods")
def test_the_service_is_switched_to_a_whole_new_version_and_back(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, told: list[Any]
) -> None:
    two = make_release("boats", replicas=2, version="2")
    deploy(make_release("boats", replicas=2), fake, probe, blue_green=True)
    assert (names(server, "deployments"), track(fake)) == ({"ferry"}, None), "the first has nothing to be switched from"
    verdict = deploy(two, fake, probe, blue_green=True, tell=told.append)
    assert (verdict.ok, verdict.undo, track(fake)) == (True, "wherry rollback 1", "green")
    assert (model(fake), model(fake, "ferry-green")) == ("ferry:1", "ferry:2")
    assert states(fake) == [(2, True, "deployed", ""), (1, False, "deployed", "")]
    (status,) = life.status(fake)
    assert (status.name, status.model, status.wanted, status.healthy) == ("ferry", "ferry:2", 2, True)
    kept = "stable: ferry:1, 2 of 2 pods ready, called by nobody; wherry rollback 1 switches to it"
    assert [one.words for one in status.beside] == [kept]
    steps = [event.text for event in told if isinstance(event, Step)]
    assert steps.index("rolled out ferry-green") < steps.index("switched the Service to the new version")

    server.api.requests.clear()
    back = life.rollback(fake)
    assert (back.ok, back.release, track(fake)) == (True, 3, "stable")
    assert (model(fake), model(fake, "ferry-green")) == ("ferry:1", "ferry:2")
    again = life.rollback(fake, 2)
    assert (again.release, track(fake)) == (4, "green")


def wanted(server: FakeApiServer) -> dict[str, int]:
    return {name_of(one): one["spec"]["replicas"] for one in server.api.all("deployments", "boats")}


@pytest.mark.usefixtures("by_track", "pods")
def test_a_pause_leaves_no_pod_of_either_version_and_the_way_back_resumes_with_it(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    deploy(make_release("boats", replicas=2, version="2"), fake, probe, blue_green=True)
    assert wanted(server) == {"ferry": 2, "ferry-green": 2}
    life.scale(fake, 3)
    assert wanted(server) == {"ferry": 2, "ferry-green": 3}, "the way back is scaled by its own switch"
    life.scale(fake, 0)
    assert wanted(server) == {"ferry": 0, "ferry-green": 0}
    life.scale(fake, 1)
    assert wanted(server) == {"ferry": 1, "ferry-green": 1}
    assert life.rollback(fake).ok
    assert wanted(server)["ferry"] >= 1
    assert track(fake) == "stable"


@pytest.mark.usefixtures("by_track", "pods")
@pytest.mark.parametrize("replicas", [2, None])
def test_the_version_before_is_let_go_and_a_rollback_has_it_come_up_again(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, replicas: int | None
) -> None:
    deploy(make_release("boats", replicas=replicas), fake, probe)
    deploy(make_release("boats", replicas=replicas, version="2"), fake, probe, blue_green=True)
    assert not put_away(fake, "ferry", 1, lambda event: None), "another release serves than was meant"
    assert wanted(server) == {"ferry": 2, "ferry-green": 2}
    assert put_away(fake, "ferry", 2, lambda event: None)
    assert wanted(server) == {"ferry": 0, "ferry-green": 2}
    (status,) = life.status(fake)
    assert [one.words for one in status.beside] == [
        "stable: ferry:1, without pods; wherry rollback 1 has it come up and serve"
    ]
    life.scale(fake, 0)
    life.scale(fake, 2)
    assert wanted(server) == {"ferry": 0, "ferry-green": 2}, "what was let go is woken by no pause that ends"
    assert life.rollback(fake).ok
    assert (wanted(server), track(fake), model(fake)) == ({"ferry": 2, "ferry-green": 2}, "stable", "ferry:1")
    deploy(make_release("boats", replicas=replicas, version="3"), fake, probe)
    assert (names(server, "deployments"), wanted(server)) == ({"ferry"}, {"ferry": 2})


@pytest.mark.usefixtures("by_track", "pods")
def test_a_deploy_waits_as_long_as_the_way_back_is_to_be_kept(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("wherry.cli.beside.time.sleep", waited.append)
    first = deploy(make_release("boats", replicas=2), fake, probe, blue_green=True)
    let_go(Console(), 600, fake, first)
    assert waited == [], "there is no version before"
    second = deploy(make_release("boats", replicas=2, version="2"), fake, probe, blue_green=True)
    let_go(Console(), None, fake, second)
    assert wanted(server)["ferry"] == 2
    waited.clear()
    let_go(Console(), 600, fake, second)
    assert (waited[0], wanted(server)["ferry"]) == (600, 0)


@pytest.mark.usefixtures("by_track", "pods")
def test_the_next_deploy_leaves_one_version_that_all_callers_reach(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    deploy(make_release("boats", replicas=2, version="2"), fake, probe, blue_green=True)
    deploy(make_release("boats", replicas=2, version="3"), fake, probe)
    assert (names(server, "deployments"), names(server, "services")) == ({"ferry"}, {"ferry"})
    assert (model(fake), track(fake)) == ("ferry:3", None)


@pytest.mark.usefixtures("pods")
def test_what_answers_wrongly_is_never_switched_to(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    selected = []

    def answer(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        selected.append(track(fake))
        return (500, {}, b"{}") if name == "ferry-preview" else answers(name, body)

    server.api.answer = answer
    with pytest.raises(ProbeFailed) as failed:
        deploy(make_release("boats", replicas=2, version="2"), fake, probe, blue_green=True)
    assert failed.value.outcome == "restored"
    assert "green" not in selected
    assert (names(server, "deployments"), names(server, "services")) == ({"ferry"}, {"ferry"})
    assert (model(fake), track(fake)) == ("ferry:1", None)


@pytest.mark.usefixtures("by_track", "pods")
def test_an_autoscaled_service_is_switched_to_as_many_pods(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    deploy(make_release("boats", replicas=None), fake, probe)
    grown = fake.get(DEPLOYMENT, "ferry") or {}
    wish = {**{key: grown[key] for key in ("apiVersion", "kind")}, "spec": {"replicas": 5}}
    fake.apply(
        {**wish, "metadata": {"name": "ferry", "namespace": "boats"}}, manager="kube-controller-manager", force=True
    )
    deploy(make_release("boats", replicas=None, version="2"), fake, probe, blue_green=True)
    green = fake.get(DEPLOYMENT, "ferry-green") or {}
    assert green["spec"]["replicas"] == 5
    targets = {
        name_of(one): one["spec"]["scaleTargetRef"]["name"]
        for one in server.api.all("horizontalpodautoscalers", "boats")
    }
    assert targets == {"ferry": "ferry", "ferry-green": "ferry-green"}
    assert name_of(workload(fake)) == "ferry-green", "what `wherry scale` and `wherry logs` mean"


def test_a_strict_store_cannot_have_two_versions_at_once(fake: Cluster, make_release: Any, probe: Probe) -> None:
    release = make_release("boats")
    sets = tuple({**made, "kind": "StatefulSet"} if made is release.workload else made for made in release.objects)
    with pytest.raises(UsageRefused, match="strict store"):
        deploy(msgspec.structs.replace(release, objects=sets), fake, probe, trial=trial())


# --- shadow ---------------------------------------------------------------------------------------------------------


def variables(made: Any) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in made["spec"]["template"]["spec"]["containers"][0]["env"]}


@pytest.mark.usefixtures("pods")
def test_what_serves_sends_copies_to_a_shadow_that_no_caller_reaches(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, told: list[Any]
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    verdict = deploy_shadow(make_release("boats", replicas=2, version="2"), fake, probe, 0.1, tell=told.append)
    assert (verdict.ok, verdict.undo, model(fake)) == (True, "wherry rollback 1", "ferry:1")
    assert states(fake)[0] == (2, True, "deployed", "with ferry:2 as its shadow")
    stable, shadow = fake.get(DEPLOYMENT, "ferry") or {}, fake.get(DEPLOYMENT, "ferry-shadow") or {}
    assert variables(stable)["WHERRY_SERVE_SHADOW_URL"] == "http://ferry-shadow:80"
    assert variables(stable)["WHERRY_SERVE_SHADOW_SHARE"] == "0.1"
    assert variables(shadow)["WHERRY_STORE_ENABLED"] == "false", "what it answers is no prediction"
    assert "WHERRY_SERVE_SHADOW_URL" not in variables(shadow)
    reached = (fake.get(SERVICE, "ferry") or {})["spec"]["selector"]
    assert not reached.items() <= shadow["spec"]["template"]["metadata"]["labels"].items()
    own = (fake.get(SERVICE, "ferry-shadow") or {})["spec"]["selector"]
    assert own.items() <= shadow["spec"]["template"]["metadata"]["labels"].items()
    policies = {name_of(one): one["spec"] for one in server.api.all("networkpolicies", "boats")}
    assert policies["ferry-to-shadow"]["podSelector"]["matchLabels"] == reached
    assert policies["ferry-to-shadow"]["egress"][0]["to"] == [{"podSelector": {"matchLabels": own}}]
    assert policies["ferry-shadow"]["podSelector"]["matchLabels"] == own


def test_status_says_what_came_of_the_copies(fake: Cluster, make_release: Any, probe: Probe, pods: Pods) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    deploy_shadow(make_release("boats", replicas=2, version="2"), fake, probe, 0.1)
    outcomes = {"same": 40, "differs": 2, "refused": 1, "failed": 0, "dropped": 3}
    counted = "".join(
        f'wherry_shadow_requests_total{{outcome="{outcome}"}} {count}\n' for outcome, count in outcomes.items()
    )
    pods.said = lambda track: counted if track == "stable" else ""
    (status,) = life.status(fake)
    words = "4 of 84 copies answered otherwise, 2 refused, 0 failed, 6 dropped"
    assert [one.words for one in status.beside] == [f"shadow: ferry:2, 1 of 1 pods ready; {words}"]


@pytest.mark.usefixtures("pods")
@pytest.mark.parametrize("end", ["deploy", "rollback"])
def test_the_next_deploy_or_rollback_ends_it(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer, end: str
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    deploy_shadow(make_release("boats", replicas=2, version="2"), fake, probe, 0.1)
    again = deploy_shadow(make_release("boats", replicas=2, version="2"), fake, probe, 0.1)
    assert again.release == 2, "the same again is the same"
    if end == "deploy":
        deploy(make_release("boats", replicas=2, version="2"), fake, probe)
    else:
        life.rollback(fake)
    assert (names(server, "deployments"), names(server, "services")) == ({"ferry"}, {"ferry"})
    assert names(server, "networkpolicies") == {"ferry"}
    assert "WHERRY_SERVE_SHADOW_URL" not in variables(fake.get(DEPLOYMENT, "ferry"))


@pytest.mark.usefixtures("pods")
def test_a_shadow_that_answers_wrongly_is_never_asked_by_what_serves(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    server.api.answer = lambda name, body: (500, {}, b"{}") if name == "ferry-shadow" else answers(name, body)
    with pytest.raises(ProbeFailed) as failed:
        deploy_shadow(make_release("boats", replicas=2, version="2"), fake, probe, 0.1)
    assert failed.value.outcome == "unchanged"
    assert names(server, "deployments") == {"ferry"}
    assert "WHERRY_SERVE_SHADOW_URL" not in variables(fake.get(DEPLOYMENT, "ferry"))
    assert [state for _, _, state, _ in states(fake)] == ["aborted", "deployed"]


def test_a_shadow_needs_something_to_follow(fake: Cluster, make_release: Any, probe: Probe) -> None:
    with pytest.raises(UsageRefused, match="no version of ferry"):
        deploy_shadow(make_release("boats"), fake, probe, 0.1)


def test_the_rights_that_two_versions_take_are_asked_for_before_anything_is_made(
    fake: Cluster, make_release: Any, probe: Probe, server: FakeApiServer
) -> None:
    deploy(make_release("boats"), fake, probe)
    server.api.denied = {("create", "pods/portforward"), ("delete", "deployments")}
    with pytest.raises(NotPermitted) as refused:
        deploy(make_release("boats", version="2"), fake, probe, trial=trial(0.5))
    assert {rule.resource for rule in refused.value.rules} == {"pods/portforward", "deployments"}
    assert names(server, "deployments") == {"ferry"}
    assert deploy(make_release("boats", version="2"), fake, probe).ok
