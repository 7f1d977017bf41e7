"""What we render, held against a real API server: strict fields, the restricted Pod Security Standard, no warning."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.contract.manifest import Manifest
from wherry.contract.names import ENV_TEST_KUBECONFIG
from wherry.contract.project import Project
from wherry.release import tracks
from wherry.release.objects.identity import identity, namespace_object
from wherry.release.release import compose
from wherry.release.rendering import helm, kserve, kustomize, seldon
from wherry.release.text import to_yaml

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not os.environ.get(ENV_TEST_KUBECONFIG), reason=f"{ENV_TEST_KUBECONFIG} names no cluster"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the PATH"),
]

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
SERVICES: list[dict[str, Any]] = [
    {},
    {"type": "NodePort"},
    {"type": "NodePort", "node_port": 30080, "allow_from": ["203.0.113.0/24"]},
    {"type": "LoadBalancer", "allow_from": ["203.0.113.0/24", "2001:db8::/32"]},
]
SCALES: list[dict[str, Any]] = [
    {},
    {"autoscale": {"min": 8, "max": 8, "memory": 80, "pods": {"in_flight": "5"}, "external": {"depth": "1"}}},
    {"autoscale": {"keda": {"enabled": True, "prometheus": "http://prometheus:9090", "threshold": 10}}},
    {"replicas": 1},
    {"replicas": 3},
]
STORES: list[dict[str, Any]] = [
    {},
    {"url": "postgresql://writer:hidden@database.models:5432/predictions"},
    {"enabled": True},
]
EXTRAS: list[dict[str, Any]] = [
    {"serve": {}, "deploy": {}},
    {
        "serve": {"token_file": "tokens", "port": 9000, "admin_port": 9001, "drain_seconds": 0.5},
        "deploy": {
            "egress": ["198.51.100.0/24", "[2001:db8::1]:443", "cache:6379"],
            "metrics": {"scrape_from": "monitoring"},
            "resources": {"cpu": "0.1", "cpu_limit": "1.5", "memory": "0.5Gi"},
            "schedule": {"nightly": {"cron": "@daily", "command": ["true"], "time_zone": "Europe/Oslo"}},
        },
    },
    {
        "serve": {},
        "deploy": {
            "ingress": {"host": "breast.example", "class_name": "nginx", "tls_secret": "certificate"},
            "metrics": {"scrape_from": "monitoring", "pod_monitor": True, "rules": True},
        },
    },
    {"serve": {}, "deploy": {"ingress": {"host": "models.example", "path": "/breast", "gateway": "edge/public"}}},
]


def combinations() -> Iterator[dict[str, Any]]:
    """Every pair of features, in half of all combinations."""
    features = (SERVICES, SCALES, STORES, EXTRAS)
    for number, places in enumerate(itertools.product(*(range(len(each)) for each in features))):
        service, scale, store, extra = (each[place] for each, place in zip(features, places, strict=True))
        if sum(places) % 2 or ("enabled" in store and scale.get("replicas") != 1):
            continue
        deploy = {"name": f"m-{number}", "service": service, **scale, **extra["deploy"]}
        yield {"serve": extra["serve"], "store": store, "deploy": deploy}


def kubectl(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    config = os.environ[ENV_TEST_KUBECONFIG]
    return subprocess.run(
        ["kubectl", "--kubeconfig", config, *arguments], input=text, capture_output=True, text=True, check=False
    )


@pytest.fixture
def restricted(manifest: Manifest, declare: Callable[[dict[str, Any]], Project]) -> Iterator[str]:
    """A namespace as wherry creates it, gone afterwards."""
    name = f"wherry-test-{secrets.token_hex(4)}"
    made = kubectl("apply", "-f", "-", text=to_yaml([namespace_object(identity(declare({}), manifest, "", name))]))
    assert made.returncode == 0, made.stderr
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def test_every_combination_is_admitted_without_a_warning(
    manifest: Manifest, declare: Callable[[dict[str, Any]], Project], restricted: str
) -> None:
    image = "registry.example/breast@sha256:" + "1" * 64
    releases = [
        compose(declare(table), manifest, image=image, namespace=restricted, local=True) for table in combinations()
    ]
    assert len(releases) >= 64
    objects = [made for release in releases for made in release.objects]
    # A Deployment only warns where a pod would be refused, so each pod is asked for too; that takes its account.
    accounts = kubectl(
        "apply", "--server-side", "-f", "-", text=to_yaml(made for made in objects if made["kind"] == "ServiceAccount")
    )
    assert accounts.returncode == 0, accounts.stderr
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": made["metadata"]["name"], "namespace": restricted},
            "spec": made["spec"]["template"]["spec"],
        }
        for made in objects
        if made["kind"] == "Deployment"
    ]
    tried = kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", text=to_yaml([*objects, *pods])
    )
    assert tried.stderr == ""
    assert tried.returncode == 0
    assert len(tried.stdout.splitlines()) == len(objects) + len(pods)


def test_every_form_of_a_combination_is_clean_and_the_same(
    manifest: Manifest, declare: Callable[[dict[str, Any]], Project], restricted: str, tmp_path: Path
) -> None:
    """Of every sixteenth (WHERRY_TEST_LONG=1: of all): the chart passes `helm lint --strict`, chart and overlay are the
    plain rendering, and KServe's and Seldon's definitions take theirs."""
    image, charts = "registry.example/breast@sha256:" + "1" * 64, []
    for number, table in enumerate(combinations()):
        if number % 16 and not LONG:
            continue
        project = declare(table)
        release = compose(project, manifest, image=image, namespace=restricted, local=True)
        chart, kustomized = tmp_path / f"chart-{number}", tmp_path / f"kustomize-{number}"
        charts.append(str(written(helm.chart(release, project, manifest), chart)))
        plain = by_name(release.objects)
        text = ran("helm", "template", "any", str(chart), "--namespace", restricted)
        assert by_name(yaml.safe_load_all(text)) == plain
        written(kustomize.base_with_overlays(release, project, manifest), kustomized)
        production = kustomized / "overlays" / "production"
        assert by_name(yaml.safe_load_all(ran("kubectl", "kustomize", str(production)))) == plain
        applied = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", str(production))
        assert (applied.returncode, applied.stderr) == (0, "")
        others = [
            *kserve.inference_service(release, project, manifest),
            *seldon.seldon_deployment(release, project, manifest),
        ]
        for each in others:
            each["metadata"]["namespace"] = restricted
        tried = kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", text=to_yaml(others)
        )
        assert (tried.returncode, tried.stderr) == (0, ""), table
    assert len(charts) >= (64 if LONG else 4)
    assert f"{len(charts)} chart(s) linted, 0 chart(s) failed" in ran("helm", "lint", "--strict", *charts)


def ran(*words: str) -> str:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not on the PATH")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(files: dict[str, str], to: Path) -> Path:
    for name, text in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text, encoding="utf-8")
    return to


def by_name(objects: Iterable[Any]) -> dict[tuple[str, str], Any]:
    return {(each["kind"], each["metadata"]["name"]): each for each in objects if each}


ROUTED: dict[str, Any] = {
    "serve": {"token_file": "tokens"},
    "deploy": {"name": "breast", "replicas": 2, "ingress": {"host": "models.example", "gateway": "edge/public"}},
}


def test_a_canary_behind_a_gateway_is_admitted(
    manifest: Manifest,
    declare: Callable[[dict[str, Any]], Project],
    restricted: str,
    golden: Callable[[str, str], None],
) -> None:
    """Its Service, Deployment, policy, and the route that gives it a share."""
    image = "registry.example/breast@sha256:" + "1" * 64
    project = declare(ROUTED)
    route = compose(project, manifest, image=image, namespace="models", local=False).find("HTTPRoute")
    assert route is not None
    golden("canary-gateway.yaml", to_yaml([tracks.divided(route, "breast", 0.025)]))
    release = compose(project, manifest, image=image, namespace=restricted, local=True)
    beside = (
        *tracks.canary(release, 1, apart=True),
        tracks.divided({**route, "metadata": {**route["metadata"], "namespace": restricted}}, "breast", 0.025),
    )
    tried = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", text=to_yaml(beside))
    assert (tried.returncode, tried.stderr) == (0, "")
    assert len(tried.stdout.splitlines()) == len(beside)
    assert {each["kind"] for each in beside} == {"ConfigMap", "NetworkPolicy", "Service", "Deployment", "HTTPRoute"}
    beside[-1]["spec"]["rules"][0]["backendRefs"][1]["weight"] = -1
    tried = kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=to_yaml(beside[-1:]))
    assert "weight" in tried.stderr, "the definition is there, and refuses a wrong weight"


def test_an_open_pod_would_be_refused_there(
    manifest: Manifest, declare: Callable[[dict[str, Any]], Project], restricted: str
) -> None:
    """The test above could not fail in a namespace that admits everything."""
    spec = {"containers": [{"name": "open", "image": "x", "securityContext": {"privileged": True}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open", "namespace": restricted}, "spec": spec}
    tried = kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=to_yaml([pod]))
    assert tried.returncode != 0
    assert "restricted" in tried.stderr
