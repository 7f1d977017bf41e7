"""The autoscaling of the fourth walkthrough: load takes one replica to three, and its end takes them back.

WHERRY_TEST_LONG=1 waits until there is one again, and writes the run to $WHERRY_TEST_KEEP where that names a folder:
the pictures in docs/ are made from such a run. The short form ends when there are three and they are held.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scaling_parts import Desk, project

from wherry.contract.recording import Recording, decode
from wherry.stress.scaling import scaling_of
from wherry.stress.timeline import alone

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
KEEP = os.environ.get("WHERRY_TEST_KEEP", "")
NAME = "breast-cancer"
DOWN = 60 if LONG else 300  # seconds that fewer pods must be enough; the default takes five minutes to show

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def desk(
    breast_cancer: Path, breast_cancer_bundle: Path, cluster: Any, registry: str, namespace: str, tmp_path: Path
) -> Desk:
    """The example's folder, its model deployed with one to three replicas."""
    folder = tmp_path / "project"
    shutil.copytree(breast_cancer, folder)
    scale = f"min = 1\nmax = 3\ncpu = 60\ndown_after = {DOWN}"
    settings = project(f"{registry}/wherry-test-scaling", scale, 'cpu = "100m"\ncpu_limit = "1"')
    with (folder / "wherry.toml").open("a") as file:
        file.write("\n" + settings)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")} | cluster.environ
    return Desk(folder, environ, namespace)


@pytest.mark.timeout(900)
def test_load_takes_one_replica_to_three_and_its_end_takes_them_back(desk: Desk) -> None:
    desk.deploy()
    desk.rest()
    load = ("--shape", "step:90,0", "--duration", "6m") if LONG else ("--rate", "90", "--duration", "65s")
    outputs = ("--record", "run.json", "--html", "run.html")
    done = desk.wherry("stress", NAME, *load, *outputs, timeout=500, first=True)
    assert done.returncode == 0, done.stderr
    run = decode((desk.folder / "run.json").read_bytes())
    scaling = scaling_of(run)
    assert (scaling.begun, scaling.most) == (1, 3)
    assert scaling.first_created is not None and scaling.worst_ready is not None
    print(f"first pod after {scaling.first_created:.1f} s, ready {scaling.first_ready} s later; {scaling.worst_ready}")
    assert "the first further pod came" in done.stdout
    # the release's golden rows were asked, and answered as at pack
    assert " right, none failed" in done.stdout
    held(desk, run)
    page = (desk.folder / "run.html").read_text()
    assert "Replicas over time" in page and "rescaled" in page
    if LONG:
        assert scaling.ended == 1, "the pods did not go again"
        if KEEP:
            shutil.copy(desk.folder / "run.json", KEEP)
            (Path(KEEP) / "run.svg").write_text(alone(run))


if LONG:

    @pytest.mark.timeout(900)
    def test_a_deploy_in_the_middle_of_the_load_resets_no_replicas(desk: Desk) -> None:
        """T62: a new version takes the place of three pods that an autoscaler made, under the load that made them."""
        desk.deploy()
        desk.rest()
        with ThreadPoolExecutor(1) as beside:
            load = ("--rate", "90", "--duration", "150s", "--record", "run.json")
            sent = beside.submit(desk.wherry, "stress", NAME, *load, timeout=500, first=True)
            desk.wait("three pods ready", lambda one: one["ready"] == one["wanted"] == 3)
            settings = desk.folder / "wherry.toml"
            settings.write_text(settings.read_text().replace('cpu_limit = "1"', 'cpu_limit = "900m"'))
            begun = time.time()
            desk.deploy()
            ended = time.time()
            assert sent.result().returncode == 0
        run = decode((desk.folder / "run.json").read_bytes())
        wanted = [one.desired for one in run.seconds if one.desired is not None]
        turns = [(one.at, one.desired) for one, new in itertools.pairwise(run.seconds) if one.desired != new.desired]
        up = [one for one in run.seconds if one.at > next(each.at for each in run.seconds if each.ready == 3)]
        good, failed = sum(one.ok for one in up) / sum(one.sent for one in up), sum(one.failed for one in run.seconds)
        print(f"deployed in {ended - begun:.1f} s, {failed} failed; with three pods {good:.4f} good; until {turns}")
        assert set(wanted[wanted.index(3) :]) == {3}
        assert good >= 0.9


def held(desk: Desk, run: Recording) -> None:
    """While load was on, and for the time that fewer pods must be enough, no pod was taken away."""
    assert run.conditions.behavior["scaleDown"]["stabilizationWindowSeconds"] == DOWN
    most = max(one.desired or 0 for one in run.seconds)
    last = max(one.at for one in run.seconds if one.offered > 0)
    first = next(one.at for one in run.seconds if one.desired == most)
    after = last + DOWN - 20  # what was measured of the load is up to a scrape and a turn of the loop older
    between = [one.desired for one in run.seconds if first <= one.at < after]
    assert set(between) == {most}
    if not LONG:
        found = desk.wait("at rest with three pods", lambda one: (one["autoscaler"]["cpu"] or 99) < 30, 60)
        assert found["wanted"] == 3, "the autoscaler did not wait"
        assert f"fewer pods would do: one goes {DOWN} s after" in desk.wherry("status", NAME).stdout
        assert json.dumps(found["autoscaler"]["down_after"]) == str(DOWN)
