"""What we render, held against a real API server: strict fields, the restricted Pod Security Standard, no warning."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wherry.contract.manifest import Manifest
from wherry.contract.names import ENV_TEST_KUBECONFIG
from wherry.contract.project import Project
from wherry.release.objects.identity import identity, namespace_object
from wherry.release.release import compose
from wherry.release.text import to_yaml

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not os.environ.get(ENV_TEST_KUBECONFIG), reason=f"{ENV_TEST_KUBECONFIG} names no cluster"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the PATH"),
]

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


def test_an_open_pod_would_be_refused_there(
    manifest: Manifest, declare: Callable[[dict[str, Any]], Project], restricted: str
) -> None:
    """The test above could not fail in a namespace that admits everything."""
    spec = {"containers": [{"name": "open", "image": "x", "securityContext": {"privileged": True}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open", "namespace": restricted}, "spec": spec}
    tried = kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=to_yaml([pod]))
    assert tried.returncode != 0
    assert "restricted" in tried.stderr
