"""`wherry advise` on a real deployment: one replica alone, its limit stated, what it uses seen by the cluster."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scaling_parts import Desk, heavy_requests, project

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def desk(kube: Any, cluster: Any, registry: str, linear_bundle: Path, tmp_path: Path) -> Iterator[Desk]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")} | cluster.environ
    space = f"wherry-test-{uuid.uuid4().hex[:8]}"
    kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    folder = tmp_path / space
    shutil.copytree(linear_bundle, folder / "bundle")
    heavy_requests(folder / "batch.json")
    resources = 'cpu = "40m"\ncpu_limit = "200m"  # stated'
    (folder / "wherry.toml").write_text(
        project(f"{registry}/wherry-test-advise", "min = 2\nmax = 3\ncpu = 60", resources)
    )
    yield Desk(folder, environ, space)
    kube.call("DELETE", f"/api/v1/namespaces/{space}", {"gracePeriodSeconds": 0})


@pytest.mark.timeout(600)
def test_one_replica_alone_is_measured_and_its_settings_written(desk: Desk) -> None:
    desk.deploy()
    load = ("--data", "batch.json", "--slo", "p99<5s,errors<5%", "--first", "2", "--most-rate", "4", "--probe", "2s")
    refused = desk.wherry("advise", *load, "--yes")
    assert refused.returncode == 2
    assert "2 replicas: what one holds is measured on one alone" in refused.stderr
    assert "WHERRY_DEPLOY_REPLICAS=1 wherry deploy" in refused.stderr
    desk.environ["WHERRY_DEPLOY_REPLICAS"] = "1"
    desk.deploy()
    done = desk.wherry("advise", *load, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)["measured"]
    assert measured["cpu_limit"] == 200
    assert measured["start"] > 0
    assert measured["memory"] > 10 * 2**20
    assert measured["cost"] > 0.1  # millicore-seconds: a thousand rows are read
    text = (desk.folder / "wherry.toml").read_text()
    written = tomllib.loads(text)
    assert written["capacity"]["knee"] == 4
    assert written["deploy"]["resources"]["cpu_limit"] == "200m"
    assert "# stated" in text
