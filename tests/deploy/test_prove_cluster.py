"""`wherry prove` against real deployments: it holds with the settings it was meant for, not with half their maximum."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scaling_parts import Desk, heavy_requests, project

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# One request costs some 2.5 ms of a processor, one pod has 150 ms of it a second: four carry 140, two do not.
PEAK = 140
MOST = 4
SLO = "p99<3s,errors<2%"
RESOURCES = 'cpu = "100m"\ncpu_limit = "150m"'


@pytest.fixture
def desks(
    kube: Any, cluster: Any, registry: str, linear_bundle: Path, tmp_path: Path
) -> Iterator[Callable[[int], Desk]]:
    """desks(most): a project whose autoscaler has from two to `most` pods, in a namespace of its own."""
    made: list[str] = []
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")} | cluster.environ

    def make(most: int) -> Desk:
        space = f"wherry-test-{uuid.uuid4().hex[:8]}"
        kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
        made.append(space)
        folder = tmp_path / space
        shutil.copytree(linear_bundle, folder / "bundle")
        heavy_requests(folder / "batch.json")
        settings = project(f"{registry}/wherry-test-prove", f"min = 2\nmax = {most}\ncpu = 60", RESOURCES)
        (folder / "wherry.toml").write_text(f'{settings}[capacity]\npeak = {PEAK}\nslo = "{SLO}"\n')
        return Desk(folder, environ, space)

    yield make
    for space in made:
        kube.call("DELETE", f"/api/v1/namespaces/{space}", {"gracePeriodSeconds": 0})


def proven(desk: Desk) -> tuple[int, dict[str, Any], str]:
    """The exit code, the document and what was said besides."""
    desk.deploy()
    desk.rest(2)
    done = desk.wherry("prove", "--data", "batch.json", "--duration", "80s", "--json", "--html", "proof.html")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.timeout(600)
def test_the_settings_hold_and_half_their_maximum_does_not(desks: Callable[[int], Desk]) -> None:
    with ThreadPoolExecutor(2) as threads:
        whole, half = threads.map(proven, (desks(MOST), desks(MOST // 2)))
    code, document, said = whole
    assert code == 0, said
    assert document["slo"] and all(one["met"] for one in document["slo"])
    assert (document["scaling"]["begun"], document["scaling"]["most"]) == (2, MOST)
    assert document["scaling"]["first_created"] is not None
    code, document, said = half
    assert code == 4, said
    assert not all(one["met"] for one in document["slo"])
    assert document["scaling"]["most"] == MOST // 2
    assert document["scaling"]["held_back"] > 0
