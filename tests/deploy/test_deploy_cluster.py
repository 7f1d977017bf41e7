"""Deploys on a real cluster, good and bad: what is said, what serves, and how long it took."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from wherry.contract.events import Note, Output, RolloutView
from wherry.deploy import life
from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.deploy import deploy, rehearse
from wherry.deploy.preflight import must_create_namespace
from wherry.deploy.probe import Probe
from wherry.deploy.resources import (
    AUTOSCALER,
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    SERVICE,
    annotations_of,
    name_of,
    selector,
)
from wherry.errors import (
    ClusterFailed,
    Conflict,
    NamespaceMissing,
    NotPermitted,
    ObjectForeign,
    ObjectRefused,
    ProbeFailed,
    RolloutFailed,
    SecretMissing,
    StillThere,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def own(cluster: Any) -> Iterator[Cluster]:
    """The cluster at a namespace that does not exist yet; removed afterwards if something made it."""
    name = f"wherry-d1-{uuid.uuid4().hex[:8]}"
    with connect(namespace=name, kubeconfig=str(cluster.kubeconfig)) as made:
        yield made
        made.delete(NAMESPACE, name)


def running(cluster: Cluster) -> list[Any]:
    return [pod for pod in cluster.list(POD, selector("ferry")) if pod["status"]["phase"] in ("Pending", "Running")]


def test_the_life_of_a_service(own: Cluster, make_release: Any, probe: Probe, told: list[Any]) -> None:
    """Deployed into a namespace of its own, deployed again, changed, scaled, paused, and gone without a trace."""
    must = must_create_namespace(own, allowed=False)
    release = make_release(own.namespace, create_namespace=must, service={"type": "NodePort"})

    planned = rehearse(release, own)
    assert {one.action for one in planned} == {"create"}
    assert own.get(NAMESPACE, own.namespace) is None, "a rehearsal changes nothing"

    verdict = deploy(release, own, probe, tell=told.append)
    print(f"\nfirst deploy: {verdict.seconds} s, of it rollout {verdict.rollout_seconds} s")
    assert verdict.ok
    assert (verdict.outcome, verdict.way, verdict.requests, verdict.failed) == ("deployed", "proxy", 10, 0)
    assert verdict.address is not None
    assert verdict.address.reach == "here"
    assert verdict.address.url.startswith("http://127.0.0.1:3")
    assert any(isinstance(event, RolloutView) and event.ready == 1 for event in told)

    again = deploy(release, own, probe)
    print(f"same again: {again.seconds} s")
    assert again.ok
    assert {one.action for one in again.changes} == {"keep"}

    changed = make_release(own.namespace, create_namespace=True, service={"type": "NodePort"}, version="2")
    updated = deploy(changed, own, probe)
    print(f"update: {updated.seconds} s, of it rollout {updated.rollout_seconds} s")
    assert updated.ok
    assert [one.what for one in updated.changes if one.fields and "template" in " ".join(one.fields)] == [
        "deployment/ferry"
    ]
    pods = running(own)
    assert len(pods) == 1, "every old pod has ended when the verdict is in"

    (status,) = life.status(own)
    assert (status.name, status.wanted, status.ready, status.healthy) == ("ferry", 1, 1, True)
    assert (status.version, status.digest, status.model) == ("2", changed.model_digest, "ferry:2")
    assert status.unmeasured == ()
    assert status.address == updated.address

    lines: list[Any] = []
    assert life.logs(own, tell=lines.append) == 1
    assert Output(name_of(pods[0]), "stand-in starts") in lines

    scaled = life.scale(own, 2)
    print(f"scale to 2: {scaled.seconds} s")
    assert life.status(own)[0].ready == 2
    kept: list[Any] = []
    assert deploy(changed, own, probe, tell=kept.append).ok
    assert life.status(own)[0].wanted == 2, "the next deploy keeps what scale said"
    assert any(isinstance(one, Note) and "replicas stays 2" in one.text for one in kept)

    assert life.scale(own, 0).paused
    assert running(own) == []
    assert life.status(own)[0].paused
    assert deploy(changed, own, probe).outcome == "paused"
    life.scale(own, 1)

    listed = life.down(own, dry_run=True)
    assert "deployment/ferry" in listed.objects
    assert listed.namespace_goes
    assert life.down(own, confirm=lambda _: False).done is False
    assert life.status(own)[0].ready == 1, "neither a dry run nor a no takes anything away"

    removal = life.down(own, "ferry")
    print(f"down: {removal.seconds} s")
    assert removal.done
    assert removal.namespace_goes
    assert removal.stays == ("image localhost:5000/library/python:3.11-slim",)
    assert own.get(NAMESPACE, own.namespace) is None
    assert life.down(own).objects == ()
    with pytest.raises(NamespaceMissing):
        life.scale(own, 1)


def test_down_leaves_what_others_made_and_names_what_they_hold(
    real: Cluster, cluster: Any, make_release: Any, probe: Probe
) -> None:
    """A finalizer of somebody else's keeps what it is on; typed as told, the hint lets it go. One without goes."""
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"a": "b"}}
    real.apply(theirs, manager="somebody")
    with ThreadPoolExecutor(2) as threads:
        made = (make_release(real.namespace), make_release(real.namespace, name="other"))
        assert all(threads.map(lambda release: deploy(release, real, probe).ok, made))
    removal = life.down(real, "other")
    assert removal.done
    assert not removal.namespace_goes
    assert [one.name for one in life.status(real)] == ["ferry"]
    meta = {"name": "ferry", "finalizers": ["example.com/held"]}
    real.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta}, manager="somebody")
    with pytest.raises(StillThere, match=r"service/ferry \(held by its finalizer example.com/held\)") as held:
        life.down(real, "ferry", timeout=4)
    told = held.value.hint.partition("nobody is there to let it go: ")[2]
    subprocess.run(shlex.split(told), env={**os.environ, **cluster.environ}, check=True, timeout=60)
    assert real.get(SERVICE, "ferry") is None
    life.down(real, "ferry")
    assert life.down(real).objects == ()
    assert real.get(CONFIG_MAP, "theirs") is not None
    assert real.get(NAMESPACE, real.namespace) is not None
    assert deploy(make_release(real.namespace), real, probe).ok, "and it can be had again"


def test_an_autoscaled_service(real: Cluster, make_release: Any, probe: Probe) -> None:
    """From a fixed number to an autoscaler without losing pods, its minimum scaled by hand, and back."""
    fixed = make_release(real.namespace, replicas=3)
    assert deploy(fixed, real, probe).ok
    scaled = make_release(real.namespace, replicas=None)
    verdict = deploy(scaled, real, probe)
    assert verdict.ok
    assert life.status(real)[0].wanted == 3, "the pods do not drop to one while the autoscaler takes over"

    found = life.status(real)[0].autoscaler
    assert found is not None
    assert (found.min, found.max, found.target) == (2, 10, 60)
    assert found.cpu is not None or found.why

    raised = life.scale(real, 4)
    assert (raised.min, raised.max, raised.replicas) == (4, 10, 4)
    assert deploy(scaled, real, probe).ok
    assert real.get(AUTOSCALER, "ferry")["spec"]["minReplicas"] == 4
    life.scale(real, 0)
    paused = life.status(real)[0]
    assert (paused.paused, paused.autoscaler.cpu) == (True, None)
    assert "paused" in paused.autoscaler.why
    life.scale(real, 1)
    assert life.status(real)[0].ready == 1

    back = make_release(real.namespace, replicas=1)
    assert deploy(back, real, probe).ok
    assert real.get(AUTOSCALER, "ferry") is None


def test_an_autoscaled_service_has_its_minimum_at_once(real: Cluster, make_release: Any, probe: Probe) -> None:
    assert deploy(make_release(real.namespace, replicas=None), real, probe).ok
    assert life.status(real)[0].ready == 2


def test_settings_of_versions_that_are_gone_are_pruned(real: Cluster, make_release: Any, probe: Probe) -> None:
    release = make_release(real.namespace)
    assert deploy(release, real, probe).ok
    stray = {**release.find("ConfigMap"), "data": {"OLD": "1"}}
    stray["metadata"] = {**stray["metadata"], "name": "ferry-0000000000"}
    real.apply(stray)
    assert deploy(make_release(real.namespace, version="2"), real, probe).ok
    left = {name_of(one) for one in real.list(CONFIG_MAP, selector("ferry"))}
    assert left == {name_of(release.find("ConfigMap")), "ferry-release-1", "ferry-release-2"}


# --- what goes wrong: all at once, so that the whole takes no longer than the slowest --------------------------------

BAD: dict[str, dict[str, Any]] = {
    "missing-image": {"image": "localhost:5000/ferry:no-such-tag"},
    "no-registry": {"image": "registry.invalid/ferry:1"},
    "crash": {"how": "crash"},
    "memory": {"how": "hungry"},
    "never-ready": {"how": "slow"},
    "wrong-port": {"how": "deaf"},
    "secret": {"secret": "not-there"},
    "huge": {"resources": {"cpu": "400", "memory": "48Mi"}},
}
EXPECTED = {
    "missing-image": ("image_pull", "is not in its registry", "docker manifest inspect", 45),
    "no-registry": ("image_pull", "cannot reach the registry", "wherry deploy --image", 60),
    "crash": ("crash", "crashes: it ended with exit code 3", "logs", 45),
    "memory": ("out_of_memory", "more memory than its limit of 48Mi", 'memory = "96Mi"', 45),
    "never-ready": ("never_ready", "not ready after its start-up budget of 30 s", "wherry logs", 45),
    "wrong-port": ("never_ready", "nothing listens on port 8080", "[serve] port", 45),
    "secret": ("container_config", "the pods need Secret not-there", "create secret generic not-there", 45),
    "huge": ("unschedulable", "no node has enough cpu free", "[deploy.resources]", 75),
}


class Failed(msgspec.Struct):
    error: ClusterFailed
    seconds: float


@pytest.fixture(scope="module")
def space(cluster: Any) -> Iterator[Cluster]:
    name = f"wherry-d1-{uuid.uuid4().hex[:8]}"
    with connect(namespace=name, kubeconfig=str(cluster.kubeconfig)) as made:
        made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield made
        made.delete(NAMESPACE, name)


@pytest.fixture(scope="module")
def failures(space: Cluster, cluster: Any, make_release: Any, probe: Probe) -> dict[str, Failed]:
    """Every bad deploy of BAD, and how it ended."""

    def one(name: str) -> Failed:
        settings = dict(BAD[name])
        secret = settings.pop("secret", "")
        release = make_release(space.namespace, name=name, **settings)
        if secret:
            container = release.find("Deployment")["spec"]["template"]["spec"]["containers"][0]
            container["env"].append({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": secret, "key": "key"}}})
        began = time.monotonic()
        with connect(namespace=space.namespace, kubeconfig=str(cluster.kubeconfig)) as own:
            try:
                verdict = deploy(release, own, probe)
            except ClusterFailed as error:
                return Failed(error, time.monotonic() - began)
        raise AssertionError(f"{name} was to fail and ended as {verdict}")

    with ThreadPoolExecutor(len(BAD)) as threads:
        return dict(zip(BAD, threads.map(one, BAD), strict=True))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_deploy_names_its_cause_in_time(name: str, failures: dict[str, Failed]) -> None:
    cause, sentence, hint, limit = EXPECTED[name]
    failed = failures[name]
    print(f"\n{name}: {failed.seconds:.1f} s\n{failed.error}\nhint: {failed.error.hint}")
    assert isinstance(failed.error, RolloutFailed)
    assert failed.error.cause == cause
    assert sentence in str(failed.error)
    assert hint in failed.error.hint
    assert failed.error.outcome == "nothing_serving"
    assert failed.seconds <= limit


def test_a_crash_shows_the_end_of_the_log(failures: dict[str, Failed]) -> None:
    assert "No module named 'cargo'" in str(failures["crash"].error)


def test_a_bad_update_leaves_the_old_version_serving(real: Cluster, make_release: Any, probe: Probe) -> None:
    assert deploy(make_release(real.namespace), real, probe).ok
    with pytest.raises(RolloutFailed) as failed:
        deploy(make_release(real.namespace, version="2", how="crash"), real, probe)
    assert failed.value.outcome == "restored"
    assert "; release 1 is back and serves; " in str(failed.value)
    assert "meanwhile, 0 failed" in str(failed.value)
    answer = real.ask_service("ferry", "http", "/predict", probe.body, probe.headers)
    assert answer.status == 200
    status = life.status(real)[0]
    assert (status.healthy, status.version) == (True, "1")
    after = deploy(make_release(real.namespace, version="3"), real, probe)
    assert (after.ok, after.release, after.undo) == (True, 3, "wherry rollback 1")


def test_wrong_answers_are_no_success(real: Cluster, make_release: Any, probe: Probe) -> None:
    with pytest.raises(
        ProbeFailed, match="3 of 3 golden rows are answered otherwise: row 0 should be 0 and is 1"
    ) as bad:
        deploy(make_release(real.namespace, how="wrong"), real, probe)
    assert bad.value.outcome == "unproven"


def test_a_forward_proves_where_the_proxy_may_not(real: Cluster, make_release: Any, probe: Probe) -> None:
    verdict = deploy(make_release(real.namespace), real, probe, verify="forward")
    assert (verdict.way, verdict.requests, verdict.ok) == ("forward", 10, True)


def test_an_object_of_others_is_not_taken_over(real: Cluster, make_release: Any, probe: Probe) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ferry", "labels": {"app.kubernetes.io/managed-by": "Helm"}},
        "spec": {"ports": [{"port": 80}]},
    }
    real.apply(theirs, manager="helm")
    with pytest.raises(ObjectForeign, match=r"service/ferry in namespace .* exists already and was made by Helm"):
        deploy(make_release(real.namespace), real, probe)
    assert real.get(DEPLOYMENT, "ferry") is None, "nothing was applied"


def test_a_conflict_names_the_other_manager_and_changes_nothing(real: Cluster, make_release: Any, probe: Probe) -> None:
    assert deploy(make_release(real.namespace), real, probe).ok
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ferry"},
        "spec": {"progressDeadlineSeconds": 999},
    }
    real.apply(theirs, manager="somebody", force=True)
    with pytest.raises(Conflict) as conflict:
        deploy(make_release(real.namespace, version="2"), real, probe)
    assert ".spec.progressDeadlineSeconds (set by somebody)" in str(conflict.value)
    assert conflict.value.outcome == "unchanged"
    assert annotations_of(real.get(DEPLOYMENT, "ferry"))["wherry.dev/model"] == "ferry:1"


def test_one_refused_object_stops_all(real: Cluster, make_release: Any, probe: Probe) -> None:
    release = make_release(real.namespace)
    release.find("Service")["spec"]["sessionAfinity"] = "None"
    with pytest.raises(ObjectRefused, match=r"service/ferry .*\.spec\.sessionAfinity"):
        deploy(release, real, probe)
    assert real.list(CONFIG_MAP, selector("ferry")) == ()


def test_a_namespace_made_for_a_release_that_is_refused_goes_again(
    own: Cluster, make_release: Any, probe: Probe
) -> None:
    release = make_release(own.namespace, create_namespace=True)
    release.find("Service")["spec"]["ports"] = []
    with pytest.raises(ObjectRefused, match="service/ferry"):
        deploy(release, own, probe)
    left = own.get(NAMESPACE, own.namespace)
    assert left is None or left["status"]["phase"] == "Terminating"


def test_a_missing_secret_is_known_before_anything_is_applied(real: Cluster, make_release: Any, probe: Probe) -> None:
    from wherry.release.release import SecretFile

    release = msgspec.structs.replace(
        make_release(real.namespace), secrets=(SecretFile("ferry-token", "tokens", "token.txt"),)
    )
    with pytest.raises(SecretMissing, match="the pods need Secret ferry-token with the key tokens"):
        deploy(release, real, probe)
    assert real.list(CONFIG_MAP, selector("ferry")) == ()


def test_a_quota_names_itself(real: Cluster, make_release: Any, probe: Probe) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "0"}},
    }
    real.apply(quota, manager="somebody")
    began = time.monotonic()
    with pytest.raises(RolloutFailed, match="the namespace's quota does not allow one more pod") as failed:
        deploy(make_release(real.namespace), real, probe)
    print(f"\nquota: {time.monotonic() - began:.1f} s")
    assert failed.value.cause == "quota"
    assert time.monotonic() - began < 30


def test_no_permission_lists_every_rule_that_lacks(
    real: Cluster, cluster: Any, make_release: Any, probe: Probe, tmp_path: Path
) -> None:
    """A ServiceAccount without rights is told what an administrator can add; with it the deploy works, by a forward."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "poor"}}
    real.apply(account, manager="somebody")
    poor = kubeconfig_of(real, Path(cluster.kubeconfig), "poor", tmp_path)
    release = make_release(real.namespace)
    with connect(namespace=real.namespace, kubeconfig=str(poor)) as own:
        with pytest.raises(NotPermitted) as refused:
            deploy(release, own, probe)
        assert (
            '- {apiGroups: ["apps"], resources: ["deployments"], verbs: [create, get, list, patch, watch]}'
            in refused.value.rbac
        )
        grant(real, "poor", yaml.safe_load("\n".join(refused.value.rbac)))
        with pytest.raises(NotPermitted, match="services/proxy"):
            deploy(release, own, probe, verify="proxy")
        forward = [{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create", "get"]}]
        grant(real, "poor", yaml.safe_load("\n".join(refused.value.rbac)) + forward)
        verdict = deploy(release, own, probe)
        assert (verdict.ok, verdict.way) == (True, "forward")


def kubeconfig_of(real: Cluster, admin: Path, account: str, folder: Path) -> Path:
    """A kubeconfig whose user is a ServiceAccount of the namespace."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = f"/api/v1/namespaces/{real.namespace}/serviceaccounts/{account}/token"
    reply = real._send("POST", path, body=msgspec.json.encode(request))
    config = yaml.safe_load(admin.read_text())
    config["users"][0]["user"] = {"token": msgspec.json.decode(reply.data)["status"]["token"]}
    made = folder / "kubeconfig"
    made.write_text(yaml.safe_dump(config))
    return made


def grant(real: Cluster, account: str, rules: list[Any]) -> None:
    api = "rbac.authorization.k8s.io/v1"
    role = {"apiVersion": api, "kind": "Role", "metadata": {"name": account}, "rules": rules}
    binding = {
        "apiVersion": api,
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": real.namespace}],
    }
    real.apply(role, manager="somebody")
    real.apply(binding, manager="somebody")
