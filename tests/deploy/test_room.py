"""Whether there is room for what a deploy starts: nodes, quotas, storage; said before anything is built."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wherry.contract.events import Note
from wherry.deploy import room
from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.deploy.resources import DEPLOYMENT
from wherry.errors import RoomLacking
from wherry.release.release import Release
from wherry.testing import FakeApiServer

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def node(server: FakeApiServer, name: str, cpu: str = "1", memory: str = "1Gi", pods: int = 10, **spec: Any) -> None:
    status = {**READY, "allocatable": {"cpu": cpu, "memory": memory, "pods": str(pods)}}
    server.api.put("nodes", {"metadata": {"name": name}, "spec": spec, "status": status})


def other(server: FakeApiServer, name: str, where: str, cpu: str, phase: str = "Running") -> None:
    """A pod of somebody else's, in another namespace."""
    spec = {"nodeName": where, "containers": [{"resources": {"requests": {"cpu": cpu}}}]}
    made = {"metadata": {"name": name, "ownerReferences": [{"uid": "else"}]}, "spec": spec, "status": {"phase": phase}}
    server.api.put("pods", made, "elsewhere")


def quota(server: FakeApiServer, hard: dict[str, str], used: dict[str, str], **spec: Any) -> None:
    made = {"metadata": {"name": "team"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used}}
    server.api.put("resourcequotas", made, "boats")


def asks(release: Release, **requests: str) -> Release:
    """The same, asking for more."""
    made = msgspec.json.decode(msgspec.json.encode(release.objects))
    for one in made:
        if one["kind"] == "Deployment":
            one["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] = requests
    return msgspec.structs.replace(release, objects=tuple(made))


@pytest.fixture
def ferry(make_release: Any) -> Release:
    """Three pods of 400m and 256Mi."""
    return asks(make_release("boats", replicas=3), cpu="400m", memory="256Mi")


def check(release: Release, cluster: Cluster, **how: Any) -> list[Any]:
    told: list[Any] = []
    room.check(release, cluster, told.append, **how)
    return told


def test_a_first_deploy_needs_room_for_all_its_pods(fake: Cluster, server: FakeApiServer, ferry: Release) -> None:
    node(server, "a")
    with pytest.raises(RoomLacking) as refused:
        check(ferry, fake)
    text = str(refused.value)
    assert "room for 2 of the 3 pods that this starts (400m CPU and 256Mi memory each" in text
    assert "1000m and 1024Mi" in text
    assert refused.value.outcome == "unchanged"
    assert "deploy.resources" in refused.value.hint
    node(server, "b")
    assert check(ferry, fake) == []
    other(server, "greedy", "b", "900m")
    with pytest.raises(RoomLacking, match="room for 2 of the 3"):
        check(ferry, fake)
    other(server, "greedy", "b", "900m", phase="Succeeded")
    assert check(ferry, fake) == []


def test_what_stands_beside_needs_room_too(fake: Cluster, server: FakeApiServer, make_release: Any) -> None:
    """A canary or a shadow, and the pod by which an update surges."""
    node(server, "a")
    small = asks(make_release("boats", replicas=2), cpu="400m", memory="256Mi")
    assert check(small, fake) == []
    with pytest.raises(RoomLacking, match="room for 2 of the 3 pods"):
        check(small, fake, beside=1)


@pytest.mark.parametrize(
    "closed",
    [
        {"unschedulable": True},
        {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        {"taints": [{"key": "gpu", "effect": "NoExecute"}]},
    ],
)
def test_a_node_that_takes_no_pods_has_no_room(
    fake: Cluster, server: FakeApiServer, ferry: Release, closed: dict[str, Any]
) -> None:
    node(server, "a", cpu="64", **closed)
    with pytest.raises(RoomLacking, match=r"room for 0 of the 3 pods.*0 nodes that take pods"):
        check(ferry, fake)
    node(server, "b", cpu="64", taints=[{"key": "gpu", "effect": "PreferNoSchedule"}])
    assert check(ferry, fake) == []


def test_places_and_memory_count_too(fake: Cluster, server: FakeApiServer, ferry: Release) -> None:
    node(server, "a", cpu="64", memory="600Mi")
    with pytest.raises(RoomLacking, match="room for 2"):
        check(ferry, fake)
    node(server, "a", cpu="64", memory="64Gi", pods=1)
    with pytest.raises(RoomLacking, match="room for 1"):
        check(ferry, fake)


def test_an_update_needs_room_for_its_surge(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    before = asks(make_release("boats", replicas=3), cpu="400m", memory="64Mi")
    deploy(before, fake, probe)
    node(server, "a", cpu="1500m")
    for pod in server.api.all("pods", "boats"):
        server.api.put("pods", {**pod, "spec": {**pod["spec"], "nodeName": "a"}}, "boats")
    after = asks(make_release("boats", replicas=3, version="2"), cpu="400m", memory="64Mi")
    assert check(before, fake) == [], "nothing of it changes"
    with pytest.raises(RoomLacking, match="room for 0 of the 1 pod that this starts"):
        check(after, fake)
    node(server, "a", cpu="1600m")
    assert check(after, fake) == []
    with pytest.raises(RoomLacking, match="room for 1 of the 3 pods"):
        check(after, fake, whole=True)
    live = fake.get(DEPLOYMENT, "ferry")
    assert live is not None
    paused = {**live, "spec": {**live["spec"], "replicas": 0}}
    assert room.starting(after, paused).count == 0


def test_a_share_is_rounded_up_as_the_cluster_does(make_release: Any) -> None:
    release = make_release("boats", replicas=9)
    live = {"spec": {"replicas": 9, "template": {"metadata": {}, "spec": {"containers": [{}]}}}}
    assert room.starting(release, live).count == 3


def test_elsewhere_full_nodes_are_a_warning(
    fake: Cluster, server: FakeApiServer, ferry: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    node(server, "a")
    monkeypatch.setattr(fake, "is_local", False)
    [note] = check(ferry, fake)
    assert isinstance(note, Note)
    assert note.warn
    assert "unless nodes are added" in note.text


def test_what_may_not_be_read_is_passed_over(fake: Cluster, server: FakeApiServer, ferry: Release) -> None:
    node(server, "a", cpu="1m")
    quota(server, {"pods": "0"}, {})
    server.api.denied = {("list", "nodes"), ("list", "resourcequotas")}
    assert check(ferry, fake) == []
    server.api.denied = {("list", "resourcequotas")}
    with pytest.raises(RoomLacking):
        check(ferry, fake)


@pytest.mark.parametrize(
    ("hard", "used", "words"),
    [
        ({"pods": "4"}, {"pods": "2"}, "allows 4 of pods, 2 are used, and this starts 3 pods more that take 1 each"),
        ({"requests.cpu": "1500m"}, {"requests.cpu": "400m"}, "allows 1500m of requests.cpu, 400m are used"),
        ({"cpu": "1"}, {"cpu": "0"}, "allows 1 of cpu"),
        ({"requests.memory": "700Mi"}, {}, "700Mi of requests.memory"),
        ({"limits.cpu": "9"}, {}, "takes only pods with a CPU limit"),
    ],
)
def test_a_quota_without_room_is_said(
    fake: Cluster, server: FakeApiServer, ferry: Release, hard: dict[str, str], used: dict[str, str], words: str
) -> None:
    quota(server, hard, used)
    with pytest.raises(RoomLacking) as refused:
        check(ferry, fake)
    assert words in str(refused.value)
    assert "quota team" in str(refused.value)


def test_a_quota_with_room_or_of_other_pods_is_none(fake: Cluster, server: FakeApiServer, ferry: Release) -> None:
    quota(server, {"pods": "5", "requests.cpu": "1600m", "services": "0"}, {"pods": "2", "requests.cpu": "400m"})
    assert check(ferry, fake) == []
    quota(server, {"pods": "0"}, {}, scopes=["Terminating"])
    assert check(ferry, fake) == []
    quota(server, {"limits.cpu": "9"}, {})
    server.api.put("limitranges", {"metadata": {"name": "defaults"}, "spec": {}}, "boats")
    assert check(ferry, fake) == []


def test_a_claim_needs_somebody_who_provides(fake: Cluster, server: FakeApiServer, make_release: Any) -> None:
    release = make_release("boats", store={"enabled": True}, stand_in=False)
    assert any(made["kind"] == "PersistentVolumeClaim" for made in release.objects)
    with pytest.raises(RoomLacking, match="no default StorageClass"):
        check(release, fake)
    server.api.put("storageclasses", {"metadata": {"name": "slow"}})
    with pytest.raises(RoomLacking, match="no default StorageClass"):
        check(release, fake)
    notes = {"storageclass.kubernetes.io/is-default-class": "true"}
    server.api.put("storageclasses", {"metadata": {"name": "slow", "annotations": notes}})
    assert check(release, fake) == []
    server.api.remove("storageclasses", "slow")
    server.api.put("persistentvolumeclaims", {"metadata": {"name": "ferry-store"}}, "boats")
    assert check(release, fake) == [], "it is there already"


@pytest.mark.cluster
def test_a_real_cluster_is_asked_the_same(real: Cluster, make_release: Any) -> None:
    release = make_release(real.namespace, replicas=2)
    assert check(release, real) == []
    with pytest.raises(RoomLacking, match=r"room for 0 of the 2 pods.*1000000m CPU"):
        check(asks(release, cpu="1000", memory="1Mi"), real)
    made = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": {"pods": "1"}}}
    real.create(made)
    with pytest.raises(RoomLacking, match="quota team allows 1 of pods"):
        _until_counted(release, real)
    claimed = make_release(real.namespace, store={"enabled": True}, stand_in=False)
    assert list(room.in_storage(claimed, real)) == []


def _until_counted(release: Release, cluster: Cluster) -> None:
    """The controller writes a quota's status a moment after it was made."""
    import time

    until = time.monotonic() + 30
    while time.monotonic() < until:
        check(release, cluster)
        time.sleep(0.1)
