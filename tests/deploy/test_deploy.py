"""The recipe of a deploy, against an API in this process: what is asked, in which order, and what each end leaves."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from fake_parts import answers

from wherry.contract.events import Note, RolloutView, Step
from wherry.contract.names import ANNOTATION_CREATED_NAMESPACE
from wherry.deploy import life, watching
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy, rehearse
from wherry.deploy.ownership import differing, keep_scaled
from wherry.deploy.preflight import must_create_namespace, needed
from wherry.deploy.probe import Probe, wrong
from wherry.deploy.resources import CONFIG_MAP, DEPLOYMENT, NAMESPACE, SERVICE, name_of
from wherry.errors import (
    Conflict,
    ImageNameRefused,
    NamespaceMissing,
    NoCluster,
    NotPermitted,
    ObjectForeign,
    ObjectRefused,
    ProbeFailed,
    RolloutFailed,
    SecretMissing,
)
from wherry.release.release import SecretFile
from wherry.testing import READY, FakeApiServer

CRASHED = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "server",
            "ready": False,
            "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
        }
    ],
}


def model_of(deployment: Any) -> str:
    return str(deployment["metadata"]["annotations"]["wherry.dev/model"])


def settings(server: FakeApiServer) -> list[str]:
    """The ConfigMaps but for those that keep past releases."""
    return [name_of(one) for one in server.api.all("configmaps", "boats") if "-release-" not in name_of(one)]


def changes(server: FakeApiServer) -> list[str]:
    """What was really changed, in order, as the last part of each path; the lock comes and goes."""
    return [
        f"{method} {path.split('?')[0].rsplit('/', 1)[-1]}"
        for method, path in server.api.requests
        if method in ("PATCH", "DELETE") and "dryRun" not in path and "/leases/" not in path
    ]


def test_a_deploy_that_goes_well(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    release = make_release("boats", replicas=2)
    verdict = deploy(release, fake, probe, tell=told.append)
    assert verdict.ok
    assert (verdict.outcome, verdict.way, verdict.requests, verdict.failed) == ("deployed", "proxy", 10, 0)
    assert (verdict.context, verdict.namespace, verdict.name) == ("fake", "boats", "ferry")
    said = [event.text for event in told if isinstance(event, Step)]
    assert said[0] == f"the cluster accepts all {len(release.objects)} objects"
    assert said[-1] == "3 golden rows answered right through the Service"
    assert [event.ready for event in told if isinstance(event, RolloutView)] == [2]
    assert {one.action for one in verdict.changes} == {"create"}
    dry = [path for method, path in server.api.requests if method == "PATCH" and "dryRun" in path]
    assert len(dry) == len(release.objects), "everything was rehearsed"
    assert all("fieldManager=wherry" in path and "fieldValidation=Strict" in path for path in dry)


def test_every_object_is_rehearsed_before_the_first_is_applied(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats"), fake, probe)
    patches = ["dryRun" in path for method, path in server.api.requests if method == "PATCH"]
    assert patches == sorted(patches, reverse=True)


def test_the_probe_asks_for_the_native_reply_and_is_not_stored(probe: Probe) -> None:
    assert probe.headers["Accept"] == "application/vnd.wherry.native+json"
    assert probe.headers["X-Wherry-No-Store"] == "probe"
    assert "X-Api-Key" not in probe.headers
    assert msgspec.structs.replace(probe, token="t").headers["X-Api-Key"] == "t"


def test_a_deploy_of_the_same_changes_nothing(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats"), fake, probe)
    before = {key: made["metadata"]["resourceVersion"] for key, made in server.api.objects.items()}
    again = deploy(make_release("boats"), fake, probe)
    assert again.ok
    assert {one.action for one in again.changes} == {"keep"}
    assert {key: made["metadata"]["resourceVersion"] for key, made in server.api.objects.items()} == before


def test_a_rehearsal_says_what_would_change_and_changes_nothing(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats"), fake, probe)
    server.api.requests.clear()
    planned = {one.what: one for one in rehearse(make_release("boats", version="2"), fake)}
    assert planned["deployment/ferry"].action == "change"
    assert ".spec.template.metadata.labels.app.kubernetes.io/version" in planned["deployment/ferry"].fields
    assert planned["serviceaccount/ferry"].fields == (".metadata.labels.app.kubernetes.io/version",)
    (version,) = planned["serviceaccount/ferry"].changes
    assert (version.before, version.after) == ("1", "2")
    assert changes(server) == []


def test_a_bad_version_leaves_the_old_one_serving(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    server.api.fate = lambda made: CRASHED if model_of(made) == "ferry:2" else READY
    server.api.logs = {f"{made['metadata']['name']}": "boom" for made in server.api.all("pods", "boats")}
    with pytest.raises(RolloutFailed) as failed:
        deploy(make_release("boats", replicas=2, version="2"), fake, probe)
    assert (failed.value.cause, failed.value.outcome) == ("crash", "restored")
    first, *evidence = str(failed.value).splitlines()
    assert first.startswith(
        "the new version crashes: it ended with exit code 3 and was restarted 2 times; release 1 is"
    )
    assert evidence
    assert model_of(fake.get(DEPLOYMENT, "ferry")) == "ferry:1"
    assert [(one.number, one.now, one.state, one.cause) for one in life.releases(fake)] == [
        (2, False, "failed", "crash"),
        (1, True, "deployed", ""),
    ]


def test_a_bad_first_version_leaves_nothing_serving(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    server.api.fate = lambda deployment: CRASHED
    with pytest.raises(RolloutFailed, match="crashes: it ended with exit code 3") as failed:
        deploy(make_release("boats"), fake, probe)
    assert failed.value.outcome == "nothing_serving"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            (200, {}, b'{"predictions": [1, 1, 0]}'),
            "1 of 3 golden rows are answered otherwise: row 0 should be 0 and is 1",
        ),
        ((200, {}, b'{"predictions": [0, 1]}'), "should be '3 answers' and is '2 answers'"),
        ((200, {}, b'{"output": [0]}'), "no predictions in the reply"),
        ((200, {}, b"<html>"), "no predictions in the reply"),
        ((500, {}, b"oops"), "HTTP 500: oops"),
        (
            (200, {"X-Model-Digest": "f" * 64}, b'{"predictions": [0, 1, 0]}'),
            "the model with digest ffffffffffff answers",
        ),
    ],
)
def test_a_service_that_answers_wrongly_is_no_success(
    fake: Cluster,
    server: FakeApiServer,
    make_release: Any,
    probe: Probe,
    monkeypatch: pytest.MonkeyPatch,
    reply: Any,
    words: str,
) -> None:
    monkeypatch.setattr("wherry.deploy.probe.SETTLE_SECONDS", 0.5)  # the model before is given the time to go
    server.api.answer = lambda name, body: reply
    with pytest.raises(ProbeFailed) as failed:
        deploy(make_release("boats"), fake, probe)
    assert words in str(failed.value)
    assert (failed.value.outcome, failed.value.failed) == ("unproven", 1)


def test_one_wrong_answer_among_right_ones_counts(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    seen: list[int] = []

    def mostly(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        seen.append(1)
        return answers(name, body) if len(seen) != 7 else (503, {}, b"busy")

    server.api.answer = mostly
    with pytest.raises(ProbeFailed, match=r"HTTP 503: busy \(6 requests, 1 failed\)"):
        deploy(make_release("boats"), fake, probe)


def test_answers_of_the_model_before_are_waited_out(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    """Endpoints trail what the Service selects: for a moment the version before may answer still."""
    stale = [(200, {"X-Model-Digest": "f" * 64}, b'{"predictions": [1, 1, 1]}')] * 3
    server.api.answer = lambda name, body: stale.pop() if stale else answers(name, body)
    assert deploy(make_release("boats"), fake, probe).ok
    assert not stale


def test_endpoints_that_come_late_are_waited_for(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    late = [(503, {}, b'{"kind":"Status","message":"no endpoints available for service"}')] * 2

    def reply(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return late.pop() if late else answers(name, body)

    server.api.answer = reply
    assert deploy(make_release("boats"), fake, probe).requests == 10


def test_without_golden_rows_any_answer_will_do(probe: Probe) -> None:
    from wherry.deploy.cluster import Answer

    bare = msgspec.structs.replace(probe, predictions=())
    assert wrong(Answer(200, {}, b"{}"), bare, "d") == ""
    assert wrong(Answer(503, {}, b"no"), bare, "d") == "HTTP 503: no"


def test_an_object_of_others_stops_all(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    server.api.put("services", {"metadata": {"name": "ferry"}}, "boats")
    with pytest.raises(
        ObjectForeign, match="service/ferry in namespace boats exists already and was not made by wherry"
    ):
        deploy(make_release("boats"), fake, probe)
    assert changes(server) == []


def test_an_object_of_another_service_of_wherrys_stops_all(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    labels = {"app.kubernetes.io/managed-by": "wherry", "app.kubernetes.io/instance": "barge"}
    server.api.put("services", {"metadata": {"name": "ferry", "labels": labels}}, "boats")
    with pytest.raises(ObjectForeign, match="was made by wherry for barge"):
        deploy(make_release("boats"), fake, probe)
    assert changes(server) == []


def test_a_refused_object_stops_all(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    release = make_release("boats")
    release.find("Deployment")["sepc"] = {}
    with pytest.raises(ObjectRefused, match="deployment/ferry") as refused:
        deploy(release, fake, probe)
    assert refused.value.outcome == "unchanged"
    assert changes(server) == []


def test_a_conflict_stops_all(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    deploy(make_release("boats"), fake, probe)
    wish = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ferry"}}
    fake.apply({**wish, "spec": {"minReadySeconds": 99}}, manager="somebody", force=True)
    server.api.requests.clear()
    with pytest.raises(Conflict, match=r"\.spec\.minReadySeconds \(set by somebody\)"):
        deploy(make_release("boats", version="2"), fake, probe)
    assert changes(server) == []


def test_a_number_set_with_kubectl_is_not_overwritten(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats", replicas=2), fake, probe)
    wish = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ferry"}}
    fake.apply({**wish, "spec": {"replicas": 5}}, manager="kubectl", force=True)
    with pytest.raises(Conflict, match=r"\.spec\.replicas \(set by kubectl\)") as conflict:
        deploy(make_release("boats", replicas=2), fake, probe)
    assert "wherry scale N" in conflict.value.hint


def test_an_autoscaler_takes_over_without_losing_pods_and_gives_back(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats", replicas=4), fake, probe)
    deploy(make_release("boats", replicas=None), fake, probe)
    assert fake.get(DEPLOYMENT, "ferry")["spec"]["replicas"] == 4
    wish = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ferry"}}
    fake.apply({**wish, "spec": {"replicas": 7}}, manager="kube-controller-manager", force=True)
    deploy(make_release("boats", replicas=None), fake, probe)
    assert fake.get(DEPLOYMENT, "ferry")["spec"]["replicas"] == 7, "a deploy does not set the pods back"
    deploy(make_release("boats", replicas=3), fake, probe)
    assert fake.get(DEPLOYMENT, "ferry")["spec"]["replicas"] == 3
    assert server.api.all("horizontalpodautoscalers", "boats") == []


def test_an_autoscaled_service_has_its_minimum_at_once(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats", replicas=None), fake, probe)
    assert len(server.api.all("pods", "boats")) == 2
    again = deploy(make_release("boats", replicas=None), fake, probe)
    assert {one.action for one in again.changes} == {"keep"}
    deploy(make_release("boats", replicas=None, autoscale={"min": 3}), fake, probe)
    assert len(server.api.all("pods", "boats")) == 3


class Killed(BaseException):
    """As by SIGKILL: nothing of the program runs after it."""


def killed_after(changes: int, monkeypatch: pytest.MonkeyPatch, run: Any) -> bool:
    """Whether `run` was killed by its change number `changes`, counted from 0."""
    left = [changes]
    real = Cluster.apply

    def apply(self: Cluster, made: Any, **more: Any) -> Any:
        if not more.get("dry_run"):
            if not left[0]:
                raise Killed
            left[0] -= 1
        return real(self, made, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Cluster, "apply", apply)
        try:
            run()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("point", range(13))
def test_a_deploy_killed_at_any_point_converges_when_it_is_run_again(
    point: int, fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T12: the namespace, before and with the rest; each object; the number of pods; the record, before and after."""
    fake.namespace = "new"
    release = make_release("new", replicas=None, create_namespace=True)
    assert killed_after(point, monkeypatch, lambda: deploy(release, fake, probe)) == (point < len(release.objects) + 4)
    assert deploy(release, fake, probe).ok
    wanted = {f"{made['kind'].lower()}/{name_of(made)}" for made in release.objects} | {"configmap/ferry-release-1"}
    found = {
        f"{made['kind'].lower()}/{name}"
        for (plural, space, name), made in server.api.objects.items()
        if (space == "new" or name == "new") and plural not in ("pods", "replicasets")
    }
    assert found == wanted, "nothing is missing and nothing is left over"
    assert life.down(fake).namespace_goes


def test_settings_stay_while_a_replica_set_names_them(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    deploy(make_release("boats"), fake, probe)
    (first,) = settings(server)
    second = make_release("boats", version="2")
    renamed = second.find("ConfigMap")
    renamed["metadata"]["name"] = "ferry-other"
    second.find("Deployment")["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"] = (
        "ferry-other"
    )
    deploy(second, fake, probe)
    assert set(settings(server)) == {first, "ferry-other"}
    for made in server.api.all("replicasets", "boats"):
        if "ferry-other" not in json.dumps(made):
            server.api.remove("replicasets", name_of(made), "boats")
    deploy(second, fake, probe, tell=told.append)
    assert set(settings(server)) == {"ferry-other"}
    assert Note(f"removed configmap/{first}, which this version no longer has") in told


def test_a_missing_namespace(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe) -> None:
    fake.namespace = "new"
    assert must_create_namespace(fake, allowed=False), "on a local cluster it is simply made"
    fake.is_local = False
    with pytest.raises(NamespaceMissing, match="context fake has no namespace new") as missing:
        must_create_namespace(fake, allowed=False)
    assert "--create-namespace" in missing.value.hint
    assert must_create_namespace(fake, allowed=True)
    with pytest.raises(NamespaceMissing):
        deploy(make_release("new"), fake, probe)
    assert deploy(make_release("new", create_namespace=True), fake, probe).ok
    made = fake.get(NAMESPACE, "new")
    assert made is not None
    assert made["metadata"]["annotations"][ANNOTATION_CREATED_NAMESPACE] == "wherry"
    assert made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert must_create_namespace(fake, allowed=False), "it goes on being wherry's"


def test_a_namespace_of_others_is_used_and_left_as_it_is(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    assert not must_create_namespace(fake, allowed=True)
    before = fake.get(NAMESPACE, "boats")
    assert deploy(make_release("boats", create_namespace=True), fake, probe).ok
    assert fake.get(NAMESPACE, "boats") == before


def test_a_namespace_made_for_nothing_goes_again(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    fake.namespace = "new"
    release = make_release("new", create_namespace=True)
    release.find("Service")["sepc"] = {}
    with pytest.raises(ObjectRefused):
        deploy(release, fake, probe)
    assert fake.get(NAMESPACE, "new") is None


def test_a_rehearsal_in_a_namespace_yet_to_be_made(fake: Cluster, server: FakeApiServer, make_release: Any) -> None:
    fake.namespace = "new"
    assert {one.action for one in rehearse(make_release("new", create_namespace=True), fake)} == {"create"}
    assert fake.get(NAMESPACE, "new") is None


def test_every_right_that_lacks_is_named_at_once(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    server.api.denied = {("patch", "deployments"), ("create", "deployments"), ("list", "pods"), ("get", "services")}
    with pytest.raises(NotPermitted) as refused:
        deploy(make_release("boats"), fake, probe)
    assert refused.value.rbac == (
        '- {apiGroups: [""], resources: ["services"], verbs: [get]}',
        '- {apiGroups: ["apps"], resources: ["deployments"], verbs: [create, patch]}',
        '- {apiGroups: [""], resources: ["pods"], verbs: [list]}',
    )
    assert "may not get services, create/patch deployments.apps, list pods in namespace boats" in str(refused.value)
    assert changes(server) == []


def test_the_rights_of_a_job_are_asked_for_where_nothing_else_may_prove_it(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    server.api.denied |= {("create", "jobs"), ("get", "pods/log")}
    with pytest.raises(NotPermitted) as refused:
        deploy(make_release("boats"), fake, probe, verify="job")
    assert {str(rule) for rule in refused.value.rules} == {"create jobs.batch", "get pods/log"}
    assert changes(server) == []
    assert deploy(make_release("boats"), fake, probe).ok, "another way is found where none is asked for"


def test_the_rights_that_are_needed_are_no_more_than_that(make_release: Any) -> None:
    asked = {str(rule) for rule in needed(make_release("boats"))}
    assert "patch deployments.apps" in asked
    assert not any("secrets" in one or "*" in one for one in asked)
    assert [one for one in asked if "delete" in one] == ["delete leases.coordination.k8s.io"]


def test_a_missing_secret_is_known_before(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    release = msgspec.structs.replace(make_release("boats"), secrets=(SecretFile("ferry-token", "tokens", "t.txt"),))
    with pytest.raises(SecretMissing) as missing:
        deploy(release, fake, probe)
    assert "create secret generic ferry-token --from-file=tokens=FILE" in missing.value.hint
    server.api.put("secrets", {"metadata": {"name": "ferry-token"}, "data": {"tokens": "eA=="}}, "boats")
    assert deploy(release, fake, probe).ok


def test_a_network_that_enforces_nothing_is_told_of_once(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    def said() -> list[str]:
        found = [event.text for event in told if isinstance(event, Note) and "network policies" in event.text]
        told.clear()
        return found

    deploy(make_release("boats"), fake, probe, tell=told.append)
    assert len(said()) == 1
    deploy(make_release("boats", version="2"), fake, probe, tell=told.append)
    assert said() == [], "the policy is not new"
    server.api.put("daemonsets", {"metadata": {"name": "calico-node"}}, "kube-system")
    deploy(make_release("boats", name="raft"), fake, probe, tell=told.append)
    assert said() == []
    server.api.denied.add(("list", "daemonsets"))
    deploy(make_release("boats", name="punt"), fake, probe, tell=told.append)
    assert said() == [], "whoever may not look is told nothing"


def test_an_image_name_that_cannot_be_is_known_before(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    release = msgspec.structs.replace(make_release("boats"), image="Registry/Ferry:1 2")
    with pytest.raises(ImageNameRefused):
        deploy(release, fake, probe)
    assert changes(server) == []


def test_an_api_that_restarts_meanwhile_is_waited_for(
    fake: Cluster, make_release: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [True, True]
    real = watching.look

    def look(cluster: Cluster, name: str) -> Any:
        if gone:
            gone.pop()
            raise NoCluster("connection refused", server=cluster.server)
        return real(cluster, name)

    monkeypatch.setattr(watching, "look", look)
    monkeypatch.setattr(watching, "LOOK_AGAIN", 0.01)
    assert deploy(make_release("boats"), fake, probe).ok
    gone += [True] * 100
    monkeypatch.setattr(watching, "BACK_SECONDS", 0.1)
    with pytest.raises(NoCluster):
        deploy(make_release("boats"), fake, probe)


def test_a_deploy_of_what_is_paused_proves_nothing(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats"), fake, probe)
    life.scale(fake, 0)
    verdict = deploy(make_release("boats", version="2"), fake, probe)
    assert (verdict.outcome, verdict.ok, verdict.requests) == ("paused", False, 0)


def test_what_the_server_keeps_for_itself_is_no_difference() -> None:
    meta = {"name": "a", "labels": {"x": "1"}, "resourceVersion": "1", "managedFields": [1]}
    live = {"metadata": meta, "spec": {"a": [1, {"b": 2}]}, "status": {"x": 1}}
    after = {"metadata": {**meta, "resourceVersion": "2"}, "spec": {"a": [1, {"b": 3}]}}
    assert differing(live, after) == (".spec.a[1].b",)
    assert differing(live, {**live, "status": {}}) == ()


def test_what_scale_set_is_left_out_and_said_only_where_it_differs() -> None:
    fields = {"f:spec": {"f:replicas": {}}}
    live = {
        "metadata": {"managedFields": [{"manager": "wherry-scale", "fieldsV1": fields}]},
        "spec": {"replicas": 5},
    }
    wanted = {"kind": "Deployment", "spec": {"replicas": 2, "x": 1}}
    kept, lines = keep_scaled(wanted, live)
    assert kept["spec"] == {"x": 1}
    assert lines == ("replicas stays 5, as `wherry scale` set it, not 2",)
    assert wanted["spec"]["replicas"] == 2, "what was given is not changed"
    assert keep_scaled({"kind": "Deployment", "spec": {"replicas": 5}}, live)[1] == ()
    assert keep_scaled(wanted, None) == (wanted, ())


def test_the_service_and_settings_carry_the_names_that_are_asked_for(
    fake: Cluster, make_release: Any, probe: Probe
) -> None:
    deploy(make_release("boats"), fake, probe)
    assert fake.get(SERVICE, "ferry") is not None
    assert len(fake.list(CONFIG_MAP, "app.kubernetes.io/instance=ferry")) == 2, "its settings, and the release"
