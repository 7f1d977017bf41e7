"""Life after a deploy, against an API in this process: status, logs, scale, down."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from wherry.contract.events import Note, Output
from wherry.deploy import life
from wherry.deploy.address import Address, answers, find
from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.deploy.resources import AUTOSCALER, CONFIG_MAP, DEPLOYMENT, NAMESPACE, SERVICE, Object
from wherry.deploy.status import autoscaler
from wherry.errors import NamespaceMissing, NameUnclear, NothingDeployed, RolloutFailed, StillThere, UsageRefused
from wherry.testing import FakeApiServer


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as made:
        made.api.answer = lambda name, body: (
            200,
            {},
            json.dumps({"predictions": [int(row[0] > 0.5) for row in json.loads(body)["rows"]]}).encode(),
        )
        made.api.put("namespaces", {"metadata": {"name": "boats"}})
        yield made


CRASHED = {
    "phase": "Running",
    "containerStatuses": [
        {"name": "server", "ready": False, "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    ],
}


def unpaused(cluster: Cluster) -> int:
    live = cluster.get(DEPLOYMENT, "ferry")
    assert live is not None
    return int(live["spec"]["replicas"])


# --- status ---------------------------------------------------------------------------------------------------------


def test_status_of_nothing_is_empty(fake: Cluster) -> None:
    assert life.status(fake) == ()
    with pytest.raises(NothingDeployed, match="nothing named ferry in namespace boats of context fake"):
        life.status(fake, "ferry")


@pytest.mark.parametrize("name", ["", "ferry"])
def test_a_missing_namespace_is_named_as_missing(name: str, server: FakeApiServer, tmp_path: Path) -> None:
    """And where namespaces may not be asked about, nothing is said of them."""
    with connect(kubeconfig=str(server.kubeconfig(tmp_path / "config", "baots"))) as elsewhere:
        with pytest.raises(NamespaceMissing, match="context fake has no namespace baots"):
            life.status(elsewhere, name)
        server.api.denied.add(("get", "namespaces"))
        if name:
            with pytest.raises(NothingDeployed):
                life.status(elsewhere, name)
        else:
            assert life.status(elsewhere) == ()


def test_nothing_goes_of_a_namespace_that_is_missing(server: FakeApiServer, tmp_path: Path, told: list[Any]) -> None:
    with connect(kubeconfig=str(server.kubeconfig(tmp_path / "config", "baots"))) as elsewhere:
        assert life.down(elsewhere, "ferry", tell=told.append).objects == ()
    assert told[-1].text == "there is nothing named ferry to remove in namespace baots, which does not exist"


NIGHTLY = {"cron": "30 3 * * *", "time_zone": "Europe/Oslo", "command": ["true"]}
CLOCK = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ran(server: FakeApiServer, name: str, made: str, **status: Any) -> None:
    """A run of `nightly`, as the CronJob controller and the Job controller leave it."""
    cron = server.api.get(("cronjobs", "boats", "ferry-nightly"))
    labels = {
        **cron["metadata"]["labels"],
        "wherry.dev/schedule": "nightly",
        "app.kubernetes.io/name": "ferry-schedule",
    }
    owner = [{"uid": cron["metadata"]["uid"]}]
    job = {"metadata": {"name": name, "labels": labels, "ownerReferences": owner}, "status": status}
    server.api.put("jobs", job, "boats")["metadata"]["creationTimestamp"] = made
    pod = {"name": f"{name}-x", "labels": labels}
    server.api.put("pods", {"metadata": pod, "status": {"phase": "Succeeded"}}, "boats")
    server.api.logs[f"{name}-x"] = f"{name} said this\n"


def test_status_tells_when_work_ran_what_came_of_it_and_when_it_runs_next(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.deploy.status.utc_now", lambda: CLOCK)
    deploy(make_release("boats", schedule={"nightly": NIGHTLY}), fake, probe)
    (one,) = life.status(fake)[0].schedule
    assert one.words == "nightly: never yet; next 2026-03-02 02:30Z (30 3 * * * Europe/Oslo)"
    ran(server, "older", "2026-02-28T02:30:00Z", conditions=[{"type": "Complete", "status": "True"}])
    failed = {"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}
    ran(server, "newer", "2026-03-01T02:30:00Z", conditions=[failed])
    server.api.get(("cronjobs", "boats", "ferry-nightly"))["status"] = {"lastScheduleTime": "2026-03-01T02:30:00Z"}
    (one,) = life.status(fake)[0].schedule
    assert (one.outcome, one.job, one.next) == ("failed", "newer", "2026-03-02T02:30:00Z")
    assert one.words.startswith("nightly: last 2026-03-01 02:30Z, failed: Job has reached the specified backoff limit;")
    server.api.denied.add(("list", "cronjobs"))
    assert life.status(fake)[0].schedule == ()


def test_logs_of_work_at_set_times(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    deploy(make_release("boats", schedule={"nightly": NIGHTLY}), fake, probe)
    assert life.logs(fake, work="nightly", tell=told.append) == 0
    assert told[-1].text == "no run of nightly is kept"
    ran(server, "newer", "2026-03-01T02:30:00Z")
    assert life.logs(fake, work="nightly", tell=told.append) == 1
    assert told[-1] == Output("newer-x", "newer said this")
    with pytest.raises(UsageRefused, match="ferry has no work hourly") as refused:
        life.logs(fake, work="hourly", tell=told.append)
    assert refused.value.hint == "it has nightly"


def test_status_lists_all_and_tells_each(fake: Cluster, make_release: Any, probe: Probe) -> None:
    release = make_release("boats", replicas=2, version="7")
    deploy(release, fake, probe)
    deploy(make_release("boats", name="barge"), fake, probe)
    barge, ferry = life.status(fake)
    assert (barge.name, ferry.name) == ("barge", "ferry")
    assert (ferry.wanted, ferry.ready, ferry.updated, ferry.healthy) == (2, 2, 2, True)
    assert (ferry.version, ferry.model, ferry.digest) == ("7", "ferry:7", release.model_digest)
    assert ferry.image == release.image
    assert ferry.autoscaler is None
    assert ferry.age_seconds > 0
    assert ferry.address == Address(
        "http://ferry.boats.svc",
        "cluster",
        f"wherry forward ferry --kubeconfig {fake.kubeconfig} --context fake -n boats",
    )
    assert life.status(fake, "barge") == (barge,) or life.status(fake, "barge")[0].name == "barge"


def test_status_says_what_is_unwell(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    server.api.fate = lambda deployment: CRASHED
    with pytest.raises(RolloutFailed):
        deploy(make_release("boats", replicas=2), fake, probe)
    (status,) = life.status(fake)
    assert not status.healthy
    assert status.problems[0] == "0 of 2 pods are ready"
    assert any("CrashLoopBackOff" in one for one in status.problems)
    assert status.restarts == 8


def test_status_names_what_was_never_measured(fake: Cluster, make_release: Any, probe: Probe) -> None:
    release = make_release("boats")
    release.find("Deployment")["metadata"]["annotations"]["wherry.dev/unmeasured"] = "cpu,memory"
    deploy(release, fake, probe)
    assert life.status(fake)[0].unmeasured == ("cpu", "memory")


def scaler(*, active: dict[str, str] | None = None, cpu: int | None = None) -> Object:
    current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": cpu}}}]
    return {
        "spec": {
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}},
            ],
        },
        "status": {
            "currentReplicas": 2,
            "desiredReplicas": 3,
            "currentMetrics": current if cpu is not None else None,
            "conditions": [{"type": "ScalingActive", **active}] if active else [],
        },
    }


def pods_of(*, cpu: str = "250m", replicas: int = 2) -> Object:
    requests = {"cpu": cpu} if cpu else {}
    container = {"resources": {"requests": requests}}
    return {"spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}}}


def test_an_autoscaler_with_a_figure() -> None:
    found = autoscaler(scaler(cpu=41), pods_of(), 500)
    assert (found.min, found.max, found.current, found.wanted, found.target, found.cpu) == (2, 10, 2, 3, 60, 41)
    assert found.why == ""


@pytest.mark.parametrize(
    ("active", "deployment", "seconds", "words"),
    [
        (None, pods_of(), 5, "takes about a minute"),
        ({"reason": "FailedGetResourceMetric", "message": "no metrics returned"}, pods_of(), 20, "about a minute"),
        ({"reason": "FailedGetResourceMetric", "message": "no metrics returned"}, pods_of(), 900, "no ready pod"),
        (
            {"message": "unable to fetch metrics: the server could not find the requested resource (get pods)"},
            pods_of(),
            900,
            "no metrics-server",
        ),
        ({"message": "missing request for cpu in container server"}, pods_of(), 900, 'cpu = "250m"'),
        ({"message": "anything"}, pods_of(cpu=""), 5, 'cpu = "250m"'),
        ({"reason": "ScalingDisabled", "message": "zero"}, pods_of(), 900, "wherry scale N resumes"),
        (None, pods_of(replicas=0), 900, "paused at 0 pods"),
        ({"message": "something else"}, pods_of(), 900, "something else"),
    ],
)
def test_why_an_autoscaler_shows_nothing(active: Any, deployment: Object, seconds: float, words: str) -> None:
    found = autoscaler(scaler(active=active), deployment, seconds)
    assert found.cpu is None
    assert words in found.why


# --- logs -----------------------------------------------------------------------------------------------------------


def test_logs_of_all_pods_carry_their_pod(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    names = sorted(made["metadata"]["name"] for made in server.api.all("pods", "boats"))
    server.api.logs = {names[0]: "one\ntwo\n", names[1]: "three\n"}
    assert life.logs(fake, tell=told.append) == 2
    assert told == [Output(names[0], "one"), Output(names[0], "two"), Output(names[1], "three")]


def test_a_pod_that_ended_and_is_deleted_is_not_among_them(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    deploy(make_release("boats"), fake, probe)
    (made,) = server.api.all("pods", "boats")
    name = made["metadata"]["name"]
    crashed = {**made, "metadata": {**made["metadata"], "name": "crashed"}, "status": {"phase": "Failed"}}
    leaving = {
        **crashed,
        "metadata": {**made["metadata"], "name": "leaving", "deletionTimestamp": "2026-01-01T00:00:00Z"},
    }
    server.api.put("pods", crashed, "boats")
    server.api.put("pods", leaving, "boats")
    server.api.logs = {name: "now", "crashed": "why", "leaving": "before"}
    assert life.logs(fake, tell=told.append) == 2
    assert sorted(event.source for event in told) == ["crashed", name]


def test_followed_logs_take_up_new_pods(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("wherry.deploy.logs.NEW_PODS_SECONDS", 0.02)
    deploy(make_release("boats"), fake, probe)
    (first,) = server.api.all("pods", "boats")
    server.api.logs = {first["metadata"]["name"]: "old pod"}
    stop, fresh = threading.Event(), {**first, "metadata": {**first["metadata"], "name": "late"}}

    def tell(event: Any) -> None:
        told.append(event)
        if len(told) == 1:
            server.api.logs["late"] = "new pod"
            server.api.put("pods", fresh, "boats")
        else:
            stop.set()

    assert life.logs(fake, follow=True, tell=tell, stop=stop) == 2
    assert told == [Output(first["metadata"]["name"], "old pod"), Output("late", "new pod")]


def test_no_pods_no_logs_and_a_word_about_it(fake: Cluster, make_release: Any, probe: Probe, told: list[Any]) -> None:
    deploy(make_release("boats"), fake, probe)
    life.scale(fake, 0)
    assert life.logs(fake, tell=told.append) == 0
    assert told == [Note("ferry has no pods", hint="wherry scale 2")]


def test_a_name_is_needed_where_there_are_two(fake: Cluster, make_release: Any, probe: Probe, told: list[Any]) -> None:
    deploy(make_release("boats"), fake, probe)
    deploy(make_release("boats", name="barge"), fake, probe)
    with pytest.raises(NameUnclear, match="has 2 services: barge, ferry"):
        life.logs(fake, tell=told.append)
    with pytest.raises(NameUnclear):
        life.scale(fake, 1)
    with pytest.raises(NameUnclear):
        life.down(fake)


# --- scale ----------------------------------------------------------------------------------------------------------


def test_scale_without_an_autoscaler(fake: Cluster, make_release: Any, probe: Probe, told: list[Any]) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    scaled = life.scale(fake, 5)
    assert (scaled.name, scaled.replicas, scaled.min, scaled.max, scaled.paused) == ("ferry", 5, None, None, False)
    deploy(make_release("boats", replicas=2), fake, probe, tell=told.append)
    assert unpaused(fake) == 5, "the next deploy keeps it"
    assert any(isinstance(one, Note) and "replicas stays 5" in one.text for one in told)
    deploy(make_release("boats", replicas=2), fake, probe)
    assert unpaused(fake) == 5, "and the one after"
    life.scale(fake, 3)
    assert unpaused(fake) == 3


def test_scale_with_an_autoscaler_sets_its_bounds(fake: Cluster, make_release: Any, probe: Probe) -> None:
    release = make_release("boats", replicas=None)
    deploy(release, fake, probe)

    def bounds() -> tuple[int, int]:
        spec = fake.get(AUTOSCALER, "ferry")["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    assert bounds() == (2, 10)
    scaled = life.scale(fake, 12)
    assert (scaled.min, scaled.max, scaled.replicas) == (12, 12, 12)
    assert bounds() == (12, 12)
    deploy(release, fake, probe)
    assert bounds() == (12, 12), "the next deploy keeps both"
    life.scale(fake, 3)
    assert bounds() == (3, 12), "a maximum once raised stays"
    assert unpaused(fake) == 12, "taking pods away is the autoscaler's to do"


def test_scale_0_pauses_and_scale_n_resumes(fake: Cluster, make_release: Any, probe: Probe, told: list[Any]) -> None:
    deploy(make_release("boats", replicas=None), fake, probe)
    assert life.scale(fake, 0, tell=told.append).paused
    assert Note("the autoscaler rests while there are no pods", hint="wherry scale N resumes") in told
    (status,) = life.status(fake)
    assert (status.paused, status.healthy, status.address) == (True, True, None)
    assert deploy(make_release("boats", replicas=None, version="2"), fake, probe).outcome == "paused"
    resumed = life.scale(fake, 2)
    assert (resumed.replicas, resumed.min) == (2, 2)
    assert unpaused(fake) == 2


def test_scale_says_why_pods_do_not_come(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    deploy(make_release("boats"), fake, probe)
    server.api.fate = lambda deployment: CRASHED
    with pytest.raises(RolloutFailed, match="crashes"):
        life.scale(fake, 3)


def test_fewer_than_no_pods(fake: Cluster) -> None:
    with pytest.raises(UsageRefused, match="there cannot be -1 pods"):
        life.scale(fake, -1)


# --- down -----------------------------------------------------------------------------------------------------------


def test_down_removes_all_and_says_what_stays(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    release = make_release("boats", replicas=None)
    deploy(release, fake, probe)
    ours = release.find("Deployment")["metadata"]["labels"]
    server.api.put("persistentvolumeclaims", {"metadata": {"name": "ferry-data", "labels": ours}}, "boats")
    server.api.put("configmaps", {"metadata": {"name": "theirs"}}, "boats")
    planned = life.down(fake, dry_run=True)
    assert planned.objects[0] == "deployment/ferry", "its pods drain while the Service still stands"
    made = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in release.objects}
    assert set(planned.objects) == made | {"configmap/ferry-release-1"}
    assert planned.stays == ("persistentvolumeclaim/ferry-data", f"image {release.image}")
    assert not planned.done
    assert fake.get(DEPLOYMENT, "ferry") is not None

    removal = life.down(fake, "ferry")
    assert (removal.done, removal.objects, removal.stays) == (True, planned.objects, planned.stays)
    left = {(kind, name) for kind, space, name in server.api.objects if space == "boats"}
    assert left == {("persistentvolumeclaims", "ferry-data"), ("configmaps", "theirs")}
    assert fake.get(NAMESPACE, "boats") is not None


def test_down_asks_before_anything_goes(fake: Cluster, make_release: Any, probe: Probe) -> None:
    deploy(make_release("boats"), fake, probe)
    asked: list[Any] = []
    assert not life.down(fake, confirm=lambda removal: asked.append(removal) or False).done  # it says no
    assert "service/ferry" in asked[0].objects
    assert fake.get(SERVICE, "ferry") is not None


def test_data_goes_only_when_told(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    release = make_release("boats")
    deploy(release, fake, probe)
    ours = release.find("Deployment")["metadata"]["labels"]
    server.api.put("persistentvolumeclaims", {"metadata": {"name": "ferry-data", "labels": ours}}, "boats")
    removal = life.down(fake, delete_data=True)
    assert "persistentvolumeclaim/ferry-data" in removal.objects
    assert server.api.all("persistentvolumeclaims", "boats") == []


def test_a_secret_that_others_made_is_named_and_stays(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    release = make_release("boats")
    spec = release.find("Deployment")["spec"]["template"]["spec"]
    spec["volumes"].append({"name": "tokens", "secret": {"secretName": "ferry-token"}})
    server.api.put("secrets", {"metadata": {"name": "ferry-token"}}, "boats")
    deploy(release, fake, probe)
    assert "secret/ferry-token" in life.down(fake, delete_data=True).stays
    assert len(server.api.all("secrets", "boats")) == 1


def test_only_one_name_goes(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    deploy(make_release("boats"), fake, probe)
    deploy(make_release("boats", name="barge"), fake, probe)
    life.down(fake, "ferry")
    assert [one.name for one in life.status(fake)] == ["barge"]
    assert len(fake.list(CONFIG_MAP, "app.kubernetes.io/instance=barge")) == 2, "its settings, and the release"


def test_a_second_down_says_there_is_nothing(fake: Cluster, make_release: Any, probe: Probe, told: list[Any]) -> None:
    deploy(make_release("boats"), fake, probe)
    assert life.down(fake).done
    again = life.down(fake, tell=told.append)
    assert (again.objects, again.done) == ((), False)
    assert told == [Note("there is nothing to remove in namespace boats")]
    life.down(fake, "ferry", tell=told.append)
    assert told[-1] == Note("there is nothing named ferry to remove in namespace boats")


def test_a_namespace_of_wherrys_goes_when_it_is_empty(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    fake.namespace = "new"
    deploy(make_release("new", create_namespace=True), fake, probe)
    server.api.put("configmaps", {"metadata": {"name": "kube-root-ca.crt"}}, "new")
    server.api.put("serviceaccounts", {"metadata": {"name": "default"}}, "new")
    assert life.down(fake, dry_run=True).namespace_goes
    assert life.down(fake).namespace_goes
    assert fake.get(NAMESPACE, "new") is None


def test_a_namespace_of_wherrys_stays_while_it_holds_anything(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    fake.namespace = "new"
    deploy(make_release("new", create_namespace=True), fake, probe)
    server.api.put("secrets", {"metadata": {"name": "theirs"}}, "new")
    removal = life.down(fake, tell=told.append)
    assert removal.done
    assert not removal.namespace_goes
    assert Note("namespace new stays: it still holds secret/theirs") in told
    server.api.remove("secrets", "theirs", "new")
    assert life.down(fake).namespace_goes, "an empty one that an earlier down had to leave"
    assert fake.get(NAMESPACE, "new") is None


def test_a_namespace_that_may_not_be_searched_stays(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    fake.namespace = "new"
    deploy(make_release("new", create_namespace=True), fake, probe)
    server.api.denied = {("list", "secrets")}
    assert not life.down(fake).namespace_goes
    assert fake.get(NAMESPACE, "new") is not None


def test_what_does_not_go_in_time_is_named(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, monkeypatch: Any
) -> None:
    deploy(make_release("boats"), fake, probe)
    delete = server.api.delete

    def held_up(key: Any, only: Any = None) -> Object:
        """But for the lock: the next one would wait until its holder is taken for gone."""
        return delete(key, only) if key[0] == "leases" else {"kind": "Status"}

    monkeypatch.setattr(server.api, "delete", held_up)
    with pytest.raises(StillThere, match="deployment/ferry") as plain:
        life.down(fake, timeout=0.1)
    assert "finalizer" not in str(plain.value)
    for (kind, _, name), made in server.api.objects.items():
        if kind == "services" and name == "ferry":
            made["metadata"]["finalizers"] = ["foregroundDeletion", "example.com/held"]
    with pytest.raises(StillThere, match=r"service/ferry \(held by its finalizer example.com/held\)") as held:
        life.down(fake, timeout=0.1)
    assert "kubectl -n boats patch service/ferry" in held.value.hint


# --- the address ----------------------------------------------------------------------------------------------------


def test_an_address_is_tried_before_it_is_given(fake: Cluster, server: FakeApiServer) -> None:
    """The fake's own port stands for the node's: it answers 404 to /readyz, so it is not taken for the service."""
    port = int(server.url.rsplit(":", 1)[1])
    assert not answers(f"http://127.0.0.1:{port}")
    service = {"metadata": {"name": "ferry"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}}
    found = find(fake, service, wait=False)
    assert found.reach == "unknown"
    assert "wherry forward ferry" in found.hint


def test_a_node_port_that_answers_is_given(fake: Cluster) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Ready) as ready:
        thread = threading.Thread(target=ready.serve_forever, args=(0.02,))
        thread.start()
        port = ready.server_address[1]
        service = {
            "metadata": {"name": "ferry"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
        }
        assert find(fake, service) == Address(f"http://127.0.0.1:{port}", "here")
        balanced = {
            "metadata": {"name": "ferry"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": port}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}},
        }
        assert find(fake, balanced) == Address(f"http://127.0.0.1:{port}", "here")
        ready.shutdown()
        thread.join()


def test_a_load_balancer_without_an_address_leads_inside(fake: Cluster) -> None:
    service = {"metadata": {"name": "ferry"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    began = time.monotonic()
    found = find(fake, service, wait=False)
    assert (found.reach, "wherry forward" in found.hint) == ("cluster", True)
    assert time.monotonic() - began < 5
