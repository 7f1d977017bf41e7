"""`deploy --verify job` where a real Job runs, under Pod Security `restricted`."""

from __future__ import annotations

from typing import Any

import pytest
from deploy_parts import Versioned, versions

from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.errors import ProbeFailed, ProofUnmade

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory, cluster: Any) -> dict[str, Versioned]:
    if not cluster.registry:
        pytest.skip("needs a registry: WHERRY_TEST_REGISTRY names none")
    return versions(tmp_path_factory.mktemp("iris"), cluster.registry)


def jobs_left(kube: Any, namespace: str) -> list[Any]:
    return [
        made["metadata"]["name"]
        for path in (f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods")
        for made in kube.items(path)
        if "proof" in made["metadata"]["name"] and not made["metadata"].get("deletionTimestamp")
    ]


def test_a_job_proves_a_deploy_judges_it_and_says_why_it_cannot(
    iris: dict[str, Versioned], real: Cluster, namespace: str, kube: Any
) -> None:
    first = iris["1"]
    release = first.release(namespace, replicas=1)
    verdict = deploy(release, real, first.probe, verify="job")
    assert (verdict.ok, verdict.way, verdict.requests, verdict.failed) == (True, "job", 10, 0)
    assert 0 < verdict.worst_ms < 10_000
    assert jobs_left(kube, namespace) == []

    with pytest.raises(ProbeFailed, match="golden rows are answered otherwise"):
        deploy(release, real, iris["2"].probe, verify="job")
    assert jobs_left(kube, namespace) == []

    quota = {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    kube.call("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    with pytest.raises(ProofUnmade, match=r"refuses its pod.*exceeded quota") as refused:
        deploy(release, real, first.probe, verify="job")
    assert refused.value.outcome in ("restored", "unproven")
    assert jobs_left(kube, namespace) == []
