"""Speaking to the API: what its refusals become, and what happens when the wire or the server lets go."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.deploy import watching
from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.refusals import Asked, explain, reason
from wherry.deploy.resources import CONFIG_MAP, DEPLOYMENT, NODE, POD, Kind, kind_of, name_of, plural
from wherry.errors import (
    ClusterFailed,
    Conflict,
    CredentialsRefused,
    NamespaceMissing,
    NoCluster,
    NotPermitted,
    ObjectChanged,
    ObjectMissing,
    ObjectRefused,
)
from wherry.testing import FakeApiServer


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as made:
        yield made


@pytest.fixture
def fake(server: FakeApiServer, tmp_path: Path) -> Iterator[Cluster]:
    with connect(kubeconfig=str(server.kubeconfig(tmp_path / "config"))) as made:
        yield made


def settings(name: str = "settings") -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "ferry"}}}


ASKED = Asked("https://k.example", "far", "patch", DEPLOYMENT, "boats", "ferry")


@pytest.mark.parametrize(
    ("status", "reply", "error", "words"),
    [
        (401, {"message": "Unauthorized"}, CredentialsRefused, "does not accept the credentials of context far"),
        (
            403,
            {
                "message": 'deployments.apps "ferry" is forbidden: User "poor" cannot patch resource "deployments" '
                'in API group "apps" in the namespace "boats"'
            },
            NotPermitted,
            "poor may not patch deployments.apps in namespace boats",
        ),
        (403, {"message": "nothing said"}, NotPermitted, "patch deployments.apps"),
        (
            403,
            {"message": 'pods "x" is forbidden: exceeded quota: small, requested: pods=1'},
            ObjectRefused,
            "exceeded quota: small",
        ),
        (
            403,
            {"message": '"x" is forbidden: unable to create: namespace boats is being terminated'},
            ObjectRefused,
            "being terminated",
        ),
        (404, {"details": {"kind": "namespaces", "name": "boats"}}, NamespaceMissing, "has no namespace boats"),
        (404, {"details": {"kind": "deployments", "name": "ferry"}}, ObjectMissing, "no deployment/ferry"),
        (404, {"message": "404 page not found"}, ObjectRefused, "does not know deployments.apps v1"),
        (
            409,
            {
                "details": {
                    "causes": [
                        {
                            "reason": "FieldManagerConflict",
                            "message": 'conflict with "kubectl" using apps/v1',
                            "field": ".spec.replicas",
                        }
                    ]
                }
            },
            Conflict,
            r"\.spec\.replicas \(set by kubectl\)",
        ),
        (409, {"message": "the object has been modified"}, ObjectChanged, "has been modified"),
        (
            422,
            {"message": "long", "details": {"causes": [{"field": "spec.ports", "message": "Required value"}]}},
            ObjectRefused,
            "spec.ports: Required value",
        ),
        (400, {"message": "strict decoding error"}, ObjectRefused, "strict decoding error"),
        (502, {}, ObjectRefused, "HTTP 502"),
    ],
)
def test_a_refusal_becomes_an_error_with_its_facts(
    status: int, reply: dict[str, object], error: type[ClusterFailed], words: str
) -> None:
    found = explain(status, reply, ASKED)
    assert type(found) is error
    with pytest.raises(error, match=words):
        raise found
    assert found.hint


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("certificate is not yet valid", "is not valid yet by this machine's clock, which may be slow"),
        ("certificate has expired", "has expired, by this machine's clock"),
        ("self-signed certificate", "is not signed by the authority in the kubeconfig"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(said: str, words: str) -> None:
    found = ssl.SSLError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {said} (_ssl.c:992)")
    assert reason(found) == f"its certificate {words}"


def test_the_rules_that_lack_can_be_pasted() -> None:
    found = explain(403, {"message": "no"}, ASKED)
    assert isinstance(found, NotPermitted)
    assert found.rbac == ('- {apiGroups: ["apps"], resources: ["deployments"], verbs: [patch]}',)
    assert found.rbac[0] in found.hint


def test_a_conflict_about_replicas_points_to_scale() -> None:
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.replicas"}
    assert "wherry scale N" in explain(409, {"details": {"causes": [cause]}}, ASKED).hint


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("NetworkPolicy", "networkpolicies"),
        ("Ingress", "ingresses"),
        ("Gateway", "gateways"),
        ("HTTPRoute", "httproutes"),
        ("ServiceAccount", "serviceaccounts"),
        ("StorageClass", "storageclasses"),
    ],
)
def test_how_paths_spell_a_kind(kind: str, expected: str) -> None:
    assert plural(kind) == expected


def test_where_objects_lie() -> None:
    assert DEPLOYMENT.path("boats", "ferry") == "/apis/apps/v1/namespaces/boats/deployments/ferry"
    assert POD.path("boats", "a", "log") == "/api/v1/namespaces/boats/pods/a/log"
    assert NODE.path("boats") == "/api/v1/nodes"
    made = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    assert kind_of(made) == Kind("PodDisruptionBudget", "poddisruptionbudgets", "policy")


def test_no_cluster_at_a_closed_port_says_what_was_tried(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        config = tmp_path / "config"
        config.write_text(
            json.dumps(
                {
                    "current-context": "x",
                    "clusters": [{"name": "x", "cluster": {"server": f"https://127.0.0.1:{port}"}}],
                    "users": [{"name": "x", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                }
            )
        )
        began = time.monotonic()
        with connect(kubeconfig=str(config)) as cluster, pytest.raises(NoCluster) as none:
            cluster.get(DEPLOYMENT, "ferry")
    assert str(none.value) == (f"no cluster answers at https://127.0.0.1:{port} (from {config}): connection refused")
    assert "kubectl config get-contexts" in none.value.hint
    assert time.monotonic() - began < 5


def test_a_reply_that_is_not_of_the_api_is_no_crash(fake: Cluster, server: FakeApiServer) -> None:
    """A proxy before the API server may answer HTML."""
    found = explain(503, {"message": "<html>busy</html>"}, ASKED)
    assert "busy" in str(found)


def test_forbidden_is_told_with_verb_resource_and_namespace(fake: Cluster, server: FakeApiServer) -> None:
    server.api.denied = {("patch", "configmaps"), ("create", "services/proxy")}
    server.api.put("services", {"metadata": {"name": "ferry"}}, "default")
    with pytest.raises(NotPermitted, match="poor may not patch configmaps in namespace default"):
        fake.apply(settings())
    with pytest.raises(NotPermitted, match="poor may not create services/proxy in namespace default"):
        fake.ask_service("ferry", "http", "/predict", b"{}", {})
    assert not fake.may("patch", "", "configmaps")
    assert fake.may("get", "", "configmaps")


def test_a_refusal_of_the_service_itself_is_its_answer(fake: Cluster, server: FakeApiServer) -> None:
    """403 from the service is not the API server's: it is told apart by who speaks."""
    server.api.put("services", {"metadata": {"name": "ferry"}}, "default")
    server.api.answer = lambda name, body: (403, {"X-Served-By": name}, b'{"type":"token"}')
    answer = fake.ask_service("ferry", "http", "/predict", b"{}", {})
    assert (answer.status, answer.headers["x-served-by"]) == (403, "ferry")


def test_a_watch_goes_on_after_an_expired_version(fake: Cluster, server: FakeApiServer) -> None:
    """410 Gone: everything there is comes again, and then what follows."""
    fake.apply(settings("one"))
    server.api.oldest = 10**6
    seen = []
    threading.Timer(0.2, lambda: setattr(server.api, "oldest", 0)).start()
    threading.Timer(0.4, lambda: fake.apply(settings("two"))).start()
    for change in fake.watch(CONFIG_MAP, "app=ferry", since="1", seconds=10):
        seen.append(name_of(change.object))
        if "two" in seen:
            break
    assert set(seen) == {"one", "two"}


def test_a_watch_goes_on_after_the_server_ends_it(fake: Cluster, server: FakeApiServer) -> None:
    """The fake ends a watch when its time is up; each piece goes on where the one before ended."""
    fake.apply(settings("one"))
    real = server.api.watch
    server.api.watch = lambda *args: real(*args[:4], 0.1)
    threading.Timer(0.5, lambda: fake.apply(settings("two"))).start()
    seen = []
    for change in fake.watch(CONFIG_MAP, "app=ferry", seconds=10):
        seen.append((change.type, name_of(change.object)))
        if len(seen) == 2:
            break
    assert seen == [("ADDED", "one"), ("ADDED", "two")]
    assert sum("watch=true" in path for _, path in server.api.requests) > 2


def test_the_log_comes_line_by_line(fake: Cluster, server: FakeApiServer) -> None:
    server.api.put("pods", {"metadata": {"name": "ferry-1"}}, "default")
    server.api.logs["ferry-1"] = "first\nlast"
    assert list(fake.logs("ferry-1", tail=10)) == ["first", "last"]
    assert "tailLines=10" in server.api.requests[-1][1]


def test_a_log_that_the_node_has_cleared_away_is_none(fake: Cluster, server: FakeApiServer) -> None:
    server.api.put("pods", {"metadata": {"name": "ferry-1"}}, "default")
    for words, log in (*((words, ()) for words in watching._NO_LOG), ("cargo lost", ("cargo lost",))):
        server.api.logs["ferry-1"] = words
        assert watching._log_of(fake, "ferry-1", "server") == log


def test_the_token_of_the_kubeconfig_is_sent(tmp_path: Path) -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            taken, _ = listener.accept()
            with taken:
                seen.append(taken.recv(65536))
                taken.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        server = FakeApiServer.__new__(FakeApiServer)
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = str(server.kubeconfig(tmp_path / "config"))
        with connect(kubeconfig=config) as cluster, pytest.raises(CredentialsRefused):
            cluster.get(CONFIG_MAP, "x")
        thread.join()
    assert b"authorization: Bearer any" in seen[0]
