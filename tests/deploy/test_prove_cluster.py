"""`wherry prove` against real deployments: it holds with the settings it was meant for, not with half their maximum.

WHERRY_TEST_LONG=1 gives prove no other load than its own, which rises for four minutes.
"""

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
from scaling_parts import Desk, answered, heavy_requests, project

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
MOST = 4
# The settings are made for so many times what one pod carries: four do so with a third to spare, two cannot.
PEAK = 2.6
# Half of that, while the autoscaler finds that two pods have more to do than they should; then all of it.
QUIET, LOUD = 55, 35  # seconds
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
        (folder / "wherry.toml").write_text(settings)
        return Desk(folder, environ, space)

    yield make
    for space in made:
        kube.call("DELETE", f"/api/v1/namespaces/{space}", {"gracePeriodSeconds": 0})


def ready(desk: Desk) -> None:
    desk.deploy()
    desk.rest(2)


def carried(desk: Desk) -> float:
    """Requests a second that one pod answers, from what two of them do for callers that ask as fast as they can."""
    url = desk.status()["address"]["url"]
    return answered(url, (desk.folder / "batch.json").read_bytes()) / 2


def proven(desk: Desk, peak: float) -> tuple[int, dict[str, Any], str]:
    """The exit code, the document and what was said besides."""
    with (desk.folder / "wherry.toml").open("a") as file:
        file.write(f'[capacity]\npeak = {peak:.1f}\nslo = "{SLO}"\n')
    # kept connections would stay with the pods that were there first
    flags = ("--data", "batch.json", "--new-connections", "--json", "--html", "proof.html")
    load = ("--shape", f"spike:{peak / 2:.1f}-{peak:.1f}@{QUIET}s+{LOUD}s", "--duration", f"{QUIET + LOUD}s")
    done = desk.wherry("prove", *flags, *(() if LONG else load), timeout=400)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.timeout(600)
def test_the_settings_hold_and_half_their_maximum_does_not(desks: Callable[[int], Desk]) -> None:
    both = desks(MOST), desks(MOST // 2)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(ready, both))
        peak = PEAK * carried(both[1])
        whole, half = threads.map(proven, both, [peak] * 2)
    code, document, said = half
    assert code == 4, said
    assert not all(one["met"] for one in document["slo"])
    assert document["scaling"]["most"] == MOST // 2
    code, document, said = whole
    if code and document["generator"]["limited"] and not LONG:
        pytest.xfail("the run marks itself: this machine was too busy to say anything of the service")
    assert code == 0, said
    assert document["slo"] and all(one["met"] for one in document["slo"])
    assert (document["scaling"]["begun"], document["scaling"]["most"]) == (2, MOST)
    assert document["scaling"]["first_created"] is not None
