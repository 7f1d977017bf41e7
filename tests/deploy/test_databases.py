"""A release with a database beside it, against an API in this process: passwords, who counts as a service, kinds."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fake_parts import answers

from wherry.contract.events import Note
from wherry.deploy import preflight
from wherry.deploy.applying import prune
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.names import services
from wherry.deploy.passwords import make
from wherry.deploy.resources import name_of
from wherry.deploy.rollout import SET_REVISION, Rollout, Snapshot
from wherry.deploy.teardown import down
from wherry.errors import SecretMissing, WorkloadDiffers
from wherry.testing import FakeApiServer

DATABASE: dict[str, Any] = {"store": {"database": {"kind": "mariadb"}}}
STRICT: dict[str, Any] = {"store": {"mode": "strict", "url": "mysql://u@192.0.2.1/x"}}


def passwords(server: FakeApiServer) -> dict[str, str]:
    (secret,) = server.api.all("secrets", "boats")
    return dict(secret["data"])


def test_passwords_are_made_once_and_are_nowhere_else(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Any, told: list[Any]
) -> None:
    release = make_release("boats", **DATABASE)
    asked: list[str] = []

    def answered(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked.append(name)
        return answers(name, body)

    server.api.answer = answered
    assert deploy(release, fake, probe, tell=told.append).ok
    assert {name.partition(":")[0] for name in asked} == {"ferry"}, "the database was asked in the service's place"
    first = passwords(server)
    plain = [base64.b64decode(one).decode() for one in first.values()]
    assert set(first) == {"password", "root-password"}
    assert len({*plain}) == 2
    assert all(len(one) >= 32 for one in plain)
    everything = json.dumps([made for key, made in server.api.objects.items() if key[0] != "secrets"])
    said = "".join(str(event) for event in told)
    assert not any(one in everything + said for one in (*plain, *first.values()))
    deploy(release, fake, probe)
    assert passwords(server) == first


def test_password_that_is_there_stays_and_what_lacks_is_added(
    fake: Cluster, server: FakeApiServer, make_release: Any, told: list[Any]
) -> None:
    release = make_release("boats", **DATABASE)
    make(release, fake, told.append)
    secret = server.api.all("secrets", "boats")[0]
    first = dict(secret["data"])
    del secret["data"]["root-password"]
    make(release, fake, told.append)
    assert passwords(server)["password"] == first["password"]
    assert "root-password" in passwords(server)
    assert [event.text for event in told if isinstance(event, Note)][-1].startswith("made the Secret ferry-database")


def test_secret_of_others_is_not_added_to(fake: Cluster, server: FakeApiServer, make_release: Any) -> None:
    theirs = {"metadata": {"name": "ferry-database"}, "data": {"password": "eA=="}}
    server.api.put("secrets", theirs, "boats")
    with pytest.raises(SecretMissing, match="root-password"):
        make(make_release("boats", **DATABASE), fake, lambda event: None)
    assert passwords(server) == {"password": "eA=="}


def test_rights_to_make_a_secret_are_asked_for_only_where_one_is_made(make_release: Any) -> None:
    asked = {(rule.verb, rule.resource) for rule in preflight.needed(make_release("boats", **DATABASE))}
    assert {("get", "secrets"), ("create", "secrets"), ("patch", "secrets"), ("create", "statefulsets")} <= asked
    plain = {rule.resource for rule in preflight.needed(make_release("boats"))}
    assert not {"secrets", "statefulsets"} & plain


def test_database_is_no_service_and_goes_when_it_is_not_wanted_any_more(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Any, told: list[Any]
) -> None:
    deploy(make_release("boats", **DATABASE), fake, probe)
    assert [name_of(one) for one in server.api.all("statefulsets", "boats")] == ["ferry-database"]
    assert [name_of(one) for one in services(fake)] == ["ferry"]
    prune(make_release("boats"), fake, told.append)
    assert server.api.all("statefulsets", "boats") == []
    assert server.api.all("secrets", "boats"), "its password stays, as its claim does"


def test_down_keeps_the_secret_unless_told(fake: Cluster, server: FakeApiServer, make_release: Any, probe: Any) -> None:
    deploy(make_release("boats", **DATABASE), fake, probe)
    kept = down(fake, "ferry")
    assert "secret/ferry-database" in kept.stays
    assert server.api.all("statefulsets", "boats") == []
    assert passwords(server)
    gone = down(fake, "ferry", delete_data=True)
    assert "secret/ferry-database" in gone.objects
    assert "secret/ferry-database" not in gone.stays
    assert server.api.all("secrets", "boats") == []


def test_kind_of_workload_is_not_changed_under_a_service(fake: Cluster, make_release: Any, probe: Any) -> None:
    deploy(make_release("boats"), fake, probe)
    with pytest.raises(WorkloadDiffers) as caught:
        preflight.checked(make_release("boats", **STRICT), fake)
    assert (caught.value.live, caught.value.wanted) == ("Deployment", "StatefulSet")
    assert "wherry down ferry" in caught.value.hint


def stateful(updated: int, *, revision: str = "b") -> dict[str, Any]:
    counts = {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": updated}
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "ferry", "uid": "s", "generation": 2},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "server", "image": "ferry:2"}]}}},
        "status": {"observedGeneration": 2, "updateRevision": revision, **counts},
    }


def pod(name: str, revision: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": f"{name}-{revision}", "labels": {SET_REVISION: revision}},
        "spec": {"containers": [{"name": "server", "image": "ferry:2"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def test_rollout_of_a_stateful_set_is_done_when_every_pod_has_its_newest_revision() -> None:
    start = Rollout(name="ferry", image="ferry:2", startup=30, patience=180, began=0, generation=2)
    half = start.see(Snapshot(1, stateful(1), (), (pod("ferry-0", "a"), pod("ferry-1", "b"))))
    assert half.verdict == "going"
    assert [name_of(one) for one in half.new_pods()] == ["ferry-1"]
    assert [name_of(one) for one in half.other_pods()] == ["ferry-0"]
    done = half.see(Snapshot(2, stateful(2), (), (pod("ferry-0", "b"), pod("ferry-1", "b"))))
    assert done.verdict == "done"
