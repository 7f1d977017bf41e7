"""What a Kubernetes API does for wherry: held against the fake that other tests rely on, and against a real cluster."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.ownership import differing, owns
from wherry.deploy.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    REPLICA_SET,
    SERVICE,
    Object,
    annotations_of,
    name_of,
    owned_by,
)
from wherry.errors import Conflict, NamespaceMissing, ObjectChanged, ObjectMissing, ObjectRefused
from wherry.testing import FakeApiServer


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def cluster_at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster at an empty namespace of the test's own."""
    name = f"wherry-d1-{uuid.uuid4().hex[:8]}"
    if request.param == "fake":
        with FakeApiServer() as server, connect(kubeconfig=str(server.kubeconfig(tmp_path / "config", name))) as made:
            made.apply(namespace(name))
            yield made
        return
    cluster = request.getfixturevalue("cluster")
    with connect(namespace=name, kubeconfig=str(cluster.kubeconfig)) as made:
        made.apply(namespace(name))
        yield made
        made.delete(NAMESPACE, name)


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def settings(name: str = "settings", labels: dict[str, str] | None = None, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels or {"app": "ferry"}},
        "data": data,
    }


def deployment(**spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ferry"},
        "spec": {
            "selector": {"matchLabels": {"app": "ferry"}},
            "template": {
                "metadata": {"labels": {"app": "ferry"}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "server",
                            "image": "localhost:5000/library/python:3.11-slim",
                            "command": ["python", "-c", "import time; print('sails', flush=True); time.sleep(3600)"],
                        }
                    ],
                },
            },
            **spec,
        },
    }


def until(found: Any, seconds: float = 30) -> Any:
    """What `found()` gives once it gives something."""
    end = time.monotonic() + seconds
    while not (got := found()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)
    return got


def test_what_was_applied_is_there(cluster_at: Cluster) -> None:
    assert cluster_at.get(CONFIG_MAP, "settings") is None
    made = cluster_at.apply(settings(a="1"))
    assert made["data"] == {"a": "1"}
    assert made["metadata"]["uid"]
    live = cluster_at.get(CONFIG_MAP, "settings")
    assert live is not None
    assert live["data"] == {"a": "1"}
    assert owns(live, "wherry", "data.a")


def test_a_dry_run_changes_nothing_and_shows_what_would(cluster_at: Cluster) -> None:
    assert cluster_at.apply(settings(a="1"), dry_run=True)["data"] == {"a": "1"}
    assert cluster_at.get(CONFIG_MAP, "settings") is None
    before = cluster_at.apply(settings(a="1"))
    after = cluster_at.apply(settings(a="2"), dry_run=True)
    assert differing(before, after) == (".data.a",)
    assert cluster_at.get(CONFIG_MAP, "settings")["data"] == {"a": "1"}


def test_applying_the_same_again_changes_nothing(cluster_at: Cluster) -> None:
    first = cluster_at.apply(settings(a="1"))
    again = cluster_at.apply(settings(a="1"))
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


def test_a_field_no_longer_applied_goes(cluster_at: Cluster) -> None:
    cluster_at.apply(settings(a="1", b="2"))
    assert cluster_at.apply(settings(a="1"))["data"] == {"a": "1"}


def test_what_others_set_stays(cluster_at: Cluster) -> None:
    cluster_at.apply(settings(a="1"))
    cluster_at.apply(settings(b="2"), manager="somebody")
    assert cluster_at.apply(settings(a="3"))["data"] == {"a": "3", "b": "2"}


def test_a_field_of_another_manager_is_a_conflict_that_names_both(cluster_at: Cluster) -> None:
    cluster_at.apply(settings(a="1"), manager="somebody")
    with pytest.raises(Conflict) as conflict:
        cluster_at.apply(settings(a="2"))
    assert [(one.field, one.manager) for one in conflict.value.fields] == [(".data.a", "somebody")]
    assert conflict.value.what == "configmap/settings"
    assert cluster_at.apply(settings(a="1"))["data"] == {"a": "1"}, "the same value is no conflict"
    assert cluster_at.apply(settings(a="2"), force=True)["data"] == {"a": "2"}


def test_a_misspelt_field_is_refused(cluster_at: Cluster) -> None:
    with pytest.raises(ObjectRefused, match=r"configmap/settings .*dat: field not declared in schema"):
        cluster_at.apply({**settings(), "dat": {}})


def test_a_namespace_that_is_not_there_is_named(cluster_at: Cluster) -> None:
    cluster_at.namespace = "wherry-d1-nowhere"
    with pytest.raises(NamespaceMissing, match="no namespace wherry-d1-nowhere"):
        cluster_at.apply(settings())
    assert cluster_at.list(CONFIG_MAP, "app=ferry") == ()


def test_a_list_selects_by_label_and_tells_the_kind(cluster_at: Cluster) -> None:
    cluster_at.apply(settings("one", {"app": "ferry", "tier": "a"}))
    cluster_at.apply(settings("two", {"app": "ferry", "tier": "b"}))
    assert [name_of(one) for one in cluster_at.list(CONFIG_MAP, "app=ferry")] == ["one", "two"]
    (found,) = cluster_at.list(CONFIG_MAP, "app=ferry,tier=b")
    assert (name_of(found), found["kind"], found["apiVersion"]) == ("two", "ConfigMap", "v1")


def test_what_was_deleted_is_gone(cluster_at: Cluster) -> None:
    cluster_at.apply(settings())
    assert cluster_at.delete(CONFIG_MAP, "settings")
    assert cluster_at.get(CONFIG_MAP, "settings") is None
    assert not cluster_at.delete(CONFIG_MAP, "settings")


def test_what_exists_is_not_created_again(cluster_at: Cluster) -> None:
    assert cluster_at.create(settings(a="1"))["metadata"]["uid"]
    with pytest.raises(ObjectChanged, match="already exists"):
        cluster_at.create(settings(a="2"))
    assert cluster_at.get(CONFIG_MAP, "settings")["data"] == {"a": "1"}


def test_only_the_version_that_was_seen_is_replaced_or_deleted(cluster_at: Cluster) -> None:
    first = cluster_at.create(settings(a="1"))
    second = cluster_at.replace({**first, "data": {"a": "2"}})
    assert second["data"] == {"a": "2"}
    with pytest.raises(ObjectChanged, match="the object has been modified"):
        cluster_at.replace({**first, "data": {"a": "3"}})
    ids = {field: first["metadata"][field] for field in ("uid", "resourceVersion")}
    with pytest.raises(ObjectChanged):
        cluster_at.delete(CONFIG_MAP, "settings", only=ids)
    assert cluster_at.get(CONFIG_MAP, "settings")["data"] == {"a": "2"}
    assert cluster_at.delete(
        CONFIG_MAP, "settings", only={**ids, "resourceVersion": second["metadata"]["resourceVersion"]}
    )
    with pytest.raises(ObjectMissing):
        cluster_at.replace(second)


def test_a_watch_begins_with_what_is_there_and_goes_on(cluster_at: Cluster) -> None:
    cluster_at.apply(settings("one"))
    threading.Timer(0.3, lambda: cluster_at.apply(settings("two"))).start()
    threading.Timer(0.5, lambda: cluster_at.delete(CONFIG_MAP, "one")).start()
    seen = []
    for change in cluster_at.watch(CONFIG_MAP, "app=ferry", seconds=20):
        seen.append((change.type, name_of(change.object)))
        if len(seen) == 3:
            break
    assert seen == [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "one")]


def test_a_watch_from_a_version_misses_nothing_after_it(cluster_at: Cluster) -> None:
    cluster_at.apply(settings("one"))
    version = cluster_at.version_of(CONFIG_MAP, "app=ferry")
    cluster_at.apply(settings("two"))
    change = next(iter(cluster_at.watch(CONFIG_MAP, "app=ferry", since=version, seconds=10)))
    assert (change.type, name_of(change.object)) == ("ADDED", "two")


def test_a_watch_ends_in_time(cluster_at: Cluster) -> None:
    began = time.monotonic()
    assert list(cluster_at.watch(CONFIG_MAP, "app=none", seconds=1)) == []
    assert 0.9 <= time.monotonic() - began < 5


def test_a_deployment_rolls_out_and_its_pods_go_with_it(cluster_at: Cluster) -> None:
    made = cluster_at.apply(deployment())
    assert made["spec"]["replicas"] == 1

    def ready() -> Object | None:
        live = cluster_at.get(DEPLOYMENT, "ferry")
        status = (live or {}).get("status") or {}
        return live if status.get("availableReplicas") == 1 else None

    live = until(ready)
    assert live["status"]["observedGeneration"] == live["metadata"]["generation"]
    (replicas,) = cluster_at.list(REPLICA_SET, "app=ferry")
    assert owned_by(replicas, live)
    revision = "deployment.kubernetes.io/revision"
    assert annotations_of(replicas)[revision] == annotations_of(live)[revision]
    (pod,) = cluster_at.list(POD, "app=ferry")
    assert owned_by(pod, replicas)
    cluster_at.delete(DEPLOYMENT, "ferry", "Foreground")
    until(lambda: cluster_at.get(DEPLOYMENT, "ferry") is None)
    assert cluster_at.list(REPLICA_SET, "app=ferry") == ()


def test_a_number_nobody_owns_any_more_falls_back(cluster_at: Cluster) -> None:
    """Why a deploy hands `replicas` over before it leaves it out."""
    cluster_at.apply(deployment(replicas=2))
    assert cluster_at.apply(deployment(), dry_run=True)["spec"]["replicas"] == 1
    held = {key: deployment()[key] for key in ("apiVersion", "kind", "metadata")} | {"spec": {"replicas": 2}}
    cluster_at.apply(held, manager="holder")
    assert cluster_at.apply(deployment(), dry_run=True)["spec"]["replicas"] == 2


def test_every_kind_is_known_with_what_it_takes(cluster_at: Cluster) -> None:
    kinds = dict(cluster_at.kinds())
    assert {"list", "delete"} <= kinds[CONFIG_MAP]
    assert {"list", "delete"} <= kinds[DEPLOYMENT]
    assert NAMESPACE not in kinds


def test_an_administrator_may_all(cluster_at: Cluster) -> None:
    assert cluster_at.may("*", "*", "*")
    assert cluster_at.may("create", "", "services/proxy")


def test_the_log_of_no_pod_is_missing(cluster_at: Cluster) -> None:
    with pytest.raises(ObjectMissing, match="no pod/ferry"):
        list(cluster_at.logs("ferry"))


def test_a_service_without_pods_is_said_by_the_api_itself(cluster_at: Cluster) -> None:
    answer = cluster_at.ask_service("nobody", "http", "/predict", b"{}", {})
    assert answer.status == 404
    assert cluster_at.get(SERVICE, "nobody") is None
