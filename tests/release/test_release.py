"""Releases by equality: golden files for the whole, and one assertion a promise.

After a wanted change: WHERRY_UPDATE_GOLDEN=1 pytest tests/release, then read the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.errors import SettingsRefused
from wherry.release.release import Release, compose
from wherry.release.text import to_yaml

IMAGE = "registry.example/breast@sha256:" + "1" * 64
Declare = Callable[[dict[str, Any]], Project]

EVERYTHING = {
    "serve": {"token_file": "tokens.txt", "workers": 2, "request_seconds": 60, "defaults": {"area_worst": 1.5}},
    "store": {"url": "postgresql+psycopg://writer:not-shown@192.0.2.7/predictions"},
    "reply": {"record": {"output": "$predictions"}},
    "deploy": {
        "name": "front",
        "egress": ["198.51.100.0/24", "features.example:6379"],
        "service": {"type": "LoadBalancer", "allow_from": ["203.0.113.0/24", "192.0.2.1"]},
        "autoscale": {"min": 8, "max": 20, "cpu": 50},
        "resources": {"cpu": "500m", "cpu_limit": "2", "memory": "1Gi"},
        "metrics": {"scrape_from": "monitoring"},
    },
}
CLAIM = {"store": {"enabled": True}, "deploy": {"replicas": 1, "service": {"type": "NodePort", "node_port": 30080}}}
STRICT = {
    "store": {
        "mode": "strict",
        "url": "postgresql://writer@192.0.2.7/predictions",
        "secret": {"name": "predictions-db", "password": "pw"},
    }
}
ROUTED = {
    "deploy": {
        "service": {"allow_from": ["203.0.113.0/24"]},
        "ingress": {"host": "breast.example", "class_name": "nginx", "tls_secret": "certificate", "controller": "edge"},
        "autoscale": {"memory": 80, "pods": {"in_flight": "5"}, "external": {"queue_depth": "100"}},
        "metrics": {
            "scrape_from": "monitoring",
            "pod_monitor": True,
            "rules": True,
            "dashboard": True,
            "labels": {"release": "stack"},
        },
    }
}
KEDA = {
    "serve": {"token_file": "tokens"},
    "deploy": {
        "ingress": {"host": "models.example", "path": "/breast", "gateway": "edge/public"},
        "autoscale": {"keda": {"enabled": True, "prometheus": "http://prometheus.monitoring:9090", "threshold": 100}},
    },
}


def release(project: Project, manifest: Manifest, **changes: Any) -> Release:
    return compose(project, manifest, **{"image": IMAGE, "namespace": "models", "local": True, **changes})


@pytest.mark.parametrize(
    ("name", "table", "changes"),
    [
        ("release-default.yaml", {}, {"create_namespace": True}),
        ("release-everything.yaml", EVERYTHING, {"local": False}),
        ("release-claim.yaml", CLAIM, {}),
        ("release-database.yaml", {"store": {"database": {"kind": "mariadb", "size": "5Gi"}}}, {}),
        ("release-strict.yaml", STRICT, {}),
        ("release-routed.yaml", ROUTED, {"local": False}),
        ("release-keda.yaml", KEDA, {"local": False}),
    ],
)
def test_rendered_text_is_the_golden_file(
    name: str,
    table: dict[str, Any],
    changes: dict[str, Any],
    manifest: Manifest,
    declare: Declare,
    golden: Callable[[str, str], None],
) -> None:
    made = release(declare(table), manifest, **changes)
    text = to_yaml(made.objects)
    assert list(yaml.safe_load_all(text)) == list(made.objects)
    assert text == to_yaml(release(declare(table), manifest, **changes).objects)
    golden(name, text)


def test_autoscaler_owns_the_replicas_unless_the_project_fixes_them(manifest: Manifest, declare: Declare) -> None:
    scaled = release(declare({}), manifest)
    deployment = scaled.find("Deployment")
    assert deployment is not None
    assert "replicas" not in deployment["spec"]
    assert scaled.autoscaled
    assert scaled.replicas == 2
    fixed = release(declare({"deploy": {"replicas": 3}}), manifest)
    assert fixed.find("HorizontalPodAutoscaler") is None
    assert fixed.find("Deployment")["spec"]["replicas"] == 3
    assert fixed.find("PodDisruptionBudget") is not None
    alone = release(declare({"deploy": {"replicas": 1}}), manifest)
    assert alone.find("PodDisruptionBudget") is None


def test_selectors_do_not_change_with_the_model(manifest: Manifest, declare: Declare) -> None:
    project = declare({"deploy": {"name": "front"}})
    before = release(project, manifest)
    after = release(project, msgspec.structs.replace(manifest, name="other", version="2").sealed())
    for kind in ("Deployment", "Service"):
        old, new = before.find(kind), after.find(kind)
        assert old is not None
        assert new is not None
        assert old["spec"]["selector"] == new["spec"]["selector"]
        assert old["metadata"]["labels"] != new["metadata"]["labels"]
    deployment = after.find("Deployment")
    assert deployment is not None
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    service = after.find("Service")
    assert service is not None
    assert service["spec"]["selector"].items() <= labels.items()


def test_changed_settings_are_a_new_config_map_and_so_a_new_rollout(manifest: Manifest, declare: Declare) -> None:
    first, same, other = (
        release(declare(table), manifest) for table in ({}, {}, {"serve": {"probabilities": "always"}})
    )
    assert first.objects == same.objects
    assert first.find("ConfigMap")["metadata"]["name"] != other.find("ConfigMap")["metadata"]["name"]
    assert first.find("Deployment") != other.find("Deployment")


def test_service_in_a_pod_listens_on_every_address_whatever_the_desk_says(manifest: Manifest, declare: Declare) -> None:
    made = release(declare({"serve": {"host": "localhost", "port": 9000, "admin_port": 9001}}), manifest)
    assert made.find("ConfigMap")["data"] == {
        "WHERRY_SERVE_ADMIN_PORT": "9001",
        "WHERRY_SERVE_HOST": "0.0.0.0",
        "WHERRY_SERVE_PORT": "9000",
    }
    assert made.ports.serving == 9000


def test_no_secret_is_ever_rendered(manifest: Manifest, declare: Declare) -> None:
    made = release(declare(EVERYTHING), manifest)
    assert "not-shown" not in to_yaml(made.objects)
    assert "tokens.txt" not in to_yaml(made.objects)
    assert "not-shown" not in repr(made)
    assert [(needed.name, needed.key) for needed in made.secrets] == [("front-store", "url"), ("front-token", "tokens")]
    assert any("--from-file=tokens=tokens.txt" in note.hint for note in made.warnings)
    assert any('--from-literal=url="$WHERRY_STORE_URL"' in note.hint for note in made.warnings)
    data = made.find("ConfigMap")["data"]
    assert "WHERRY_STORE_URL" not in data
    assert data["WHERRY_STORE_URL_FILE"] == "/var/run/wherry/store/url"


@pytest.mark.parametrize(("load_seconds", "threshold", "deadline"), [(0.2, 30, 180), (20, 100, 220), (1000, 300, 420)])
def test_start_up_budget_is_five_times_the_measured_load(
    load_seconds: float, threshold: int, deadline: int, manifest: Manifest, declare: Declare
) -> None:
    slow = msgspec.structs.replace(
        manifest, measured=msgspec.structs.replace(manifest.measured, load_seconds=load_seconds)
    )
    spec = release(declare({}), slow).find("Deployment")["spec"]
    probe = spec["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] == threshold
    assert spec["progressDeadlineSeconds"] == deadline


def test_memory_is_asked_for_by_what_pack_measured(manifest: Manifest, declare: Declare) -> None:
    large = msgspec.structs.replace(
        manifest, measured=msgspec.structs.replace(manifest.measured, peak_bytes=400 * 2**20)
    )
    deployment = release(declare({}), large).find("Deployment")
    assert deployment is not None
    resources = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "600Mi"
    assert "cpu" not in resources["limits"]
    assert deployment["metadata"]["annotations"]["wherry.dev/unmeasured"] == "cpu,memory"
    stated = release(declare(EVERYTHING), large).find("Deployment")
    assert stated is not None
    assert "wherry.dev/unmeasured" not in stated["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("table", "local", "path", "words"),
    [
        ({"deploy": {"service": {"type": "NodePort"}}}, False, "deploy.service.type", ("allow_from", "token_file")),
        ({"deploy": {"service": {"type": "LoadBalancer"}}}, False, "deploy.service.type", ("allow_from", "token_file")),
        ({"deploy": {"service": {"allow_from": ["10.0.0.5/24"]}}}, True, "deploy.service.allow_from", ("10.0.0.0/24",)),
        ({"deploy": {"egress": ["db"]}}, True, "deploy.egress", ("HOST:PORT",)),
        ({"serve": {"collector": "http://c:70000"}}, True, "serve.collector", ("http://collector:4318",)),
        ({"store": {"enabled": True}}, True, "store.url", ("replicas = 1",)),
        ({"store": {"url": "sqlite:///x.db"}, "deploy": {"replicas": 2}}, True, "store.url", ("replicas = 1",)),
        ({"store": {"url": "mysql://u@db/x", "database": {"kind": "mysql"}}}, True, "store.database.kind", ("two",)),
        ({"store": {"secret": {"name": "db"}}}, True, "store.secret.name", ("[store] url",)),
        ({"store": {"url": "nosuch://"}}, True, "store.url", ("HOST:PORT",)),
        ({"deploy": {"name": "---"}}, True, "deploy.name", ("name",)),
        ({"reply": {"root": "x" * 140_000}}, True, "reply.root", ("128 KiB",)),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write(
    table: dict[str, Any], local: bool, path: str, words: tuple[str, ...], manifest: Manifest, declare: Declare
) -> None:
    with pytest.raises(SettingsRefused) as caught:
        release(declare(table), manifest, local=local)
    assert [problem.path for problem in caught.value.problems] == [path]
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "table",
    [
        {"deploy": {"service": {"type": "NodePort", "allow_from": ["0.0.0.0/0"]}}},
        {"serve": {"token_file": "tokens"}, "deploy": {"service": {"type": "LoadBalancer"}}},
    ],
)
def test_outside_callers_are_let_in_by_range_or_token(
    table: dict[str, Any], manifest: Manifest, declare: Declare
) -> None:
    assert release(declare(table), manifest, local=False).find("Service") is not None


def test_policy_names_every_way_in_and_out(manifest: Manifest, declare: Declare) -> None:
    closed = release(declare({}), manifest).find("NetworkPolicy")
    assert closed is not None
    assert closed["spec"]["ingress"] == [
        {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]}
    ]
    assert [rule["ports"][0]["port"] for rule in closed["spec"]["egress"]] == [53]
    made = release(declare(EVERYTHING), manifest)
    policy = made.find("NetworkPolicy")
    assert policy is not None
    assert policy["spec"]["ingress"][0]["from"][1:] == [
        {"ipBlock": {"cidr": "203.0.113.0/24"}},
        {"ipBlock": {"cidr": "192.0.2.1/32"}},
    ]
    assert policy["spec"]["egress"][1:] == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}], "ports": [{"protocol": "TCP", "port": 5432}]},
        {"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]},
        {"ports": [{"protocol": "TCP", "port": 6379}]},
    ]
    assert any("features.example" in note.text for note in made.warnings)
    opened = release(declare({"deploy": {"service": {"type": "NodePort"}}}), manifest).find("NetworkPolicy")
    assert opened is not None
    assert opened["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": "http"}]}]


def test_a_collector_is_named_once_and_the_pods_may_call_it(manifest: Manifest, declare: Declare) -> None:
    made = release(declare({"serve": {"collector": "http://collector.telemetry:4318"}}), manifest)
    settings, policy = made.find("ConfigMap"), made.find("NetworkPolicy")
    assert settings is not None and policy is not None
    assert settings["data"]["WHERRY_SERVE_COLLECTOR"] == "http://collector.telemetry:4318"
    assert policy["spec"]["egress"][1:] == [{"ports": [{"protocol": "TCP", "port": 4318}]}]
    assert any("port 4318 of every address" in note.text for note in made.warnings)


def test_a_model_that_is_not_stored_says_so_with_the_line_to_add(manifest: Manifest, declare: Declare) -> None:
    (note,) = release(declare({}), manifest).warnings
    assert "not stored" in note.text
    assert "[store] url" in note.hint
    assert release(declare({"store": {"enabled": False}}), manifest).warnings == ()


def test_long_names_and_odd_versions_stay_valid(manifest: Manifest, declare: Declare) -> None:
    odd = msgspec.structs.replace(manifest, name="Å long " + "x" * 90, version="2026/11+été!").sealed()
    made = release(declare({}), odd)
    assert len(made.name) <= 63
    labels = made.find("Service")["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == "2026-11-t"


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"ingress": {"host": "a.example"}}, "deploy.ingress.host"),
        (
            {"ingress": {"host": "a.example", "gateway": "g"}, "service": {"allow_from": ["192.0.2.0/24"]}},
            "ingress.host",
        ),
        ({"ingress": {"tls_secret": "certificate"}}, "deploy.ingress.tls_secret"),
        ({"ingress": {"host": "a.example", "path": "/x"}}, "deploy.ingress.path"),
        ({"ingress": {"host": "a.example", "gateway": "g", "tls_secret": "s"}}, "deploy.ingress.tls_secret"),
        ({"metrics": {"pod_monitor": True}}, "deploy.metrics.pod_monitor"),
        ({"autoscale": {"pods": {"in_flight": "many"}}}, "deploy.autoscale.pods.in_flight"),
        ({"autoscale": {"pods": {"a": "1"}, "keda": {"enabled": True}}}, "deploy.autoscale.pods"),
        ({"autoscale": {"keda": {"enabled": True, "threshold": 5}}}, "deploy.autoscale.keda.prometheus"),
        ({"autoscale": {"keda": {"query": "up"}}}, "deploy.autoscale.keda"),
    ],
)
def test_routes_and_scalers_that_cannot_work_are_refused(
    table: dict[str, Any], named: str, manifest: Manifest, declare: Declare
) -> None:
    with pytest.raises(SettingsRefused) as refused:
        release(declare({"deploy": table}), manifest, local=False)
    assert any(named in problem.path for problem in refused.value.problems), refused.value
