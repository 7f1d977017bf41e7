"""Jobs beside a service, under Pod Security `restricted`: the one of `deploy --verify job`, and scheduled work."""

from __future__ import annotations

import time
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


ASK = "import urllib.request as u; print(u.urlopen('http://iris/readyz', timeout=10).status)"


def test_scheduled_work_runs_beside_the_service_and_goes_with_its_setting(
    iris: dict[str, Versioned], real: Cluster, namespace: str, kube: Any
) -> None:
    first, batch = iris["1"], f"/apis/batch/v1/namespaces/{namespace}"
    work = {"ask": {"cron": "30 3 * * *", "time_zone": "Europe/Oslo", "command": ["python3", "-c", ASK], "retries": 0}}
    deploy(first.release(namespace, replicas=1, schedule=work), real, first.probe)
    [made] = kube.items(f"{batch}/cronjobs")
    assert (made["metadata"]["name"], made["spec"]["timeZone"]) == ("iris-ask", "Europe/Oslo")
    # What `kubectl create job --from=cronjob/iris-ask now` does.
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "iris-ask", "uid": made["metadata"]["uid"]}
    job = {"metadata": {"name": "now", "ownerReferences": [owner]}, "spec": made["spec"]["jobTemplate"]["spec"]}
    kube.call("POST", f"{batch}/jobs", job)
    until, ends = time.monotonic() + 60, {"Complete", "Failed"}
    while not (ended := ends & {one["type"] for one in kube.get(f"{batch}/jobs/now")["status"].get("conditions", [])}):
        assert time.monotonic() < until, "the job never ended"
        time.sleep(0.2)
    assert ended == {"Complete"}
    [pod] = kube.items(f"/api/v1/namespaces/{namespace}/pods?labelSelector=job-name%3Dnow")
    assert list(real.logs(pod["metadata"]["name"])) == ["200"]
    deploy(first.release(namespace, replicas=1), real, first.probe)
    assert kube.items(f"{batch}/cronjobs") == []
