"""Deploys that are killed, and deploys that race, on a real cluster, some by a clock that is wrong.

WHERRY_TEST_LONG=1 kills twenty and races twenty times, five a test.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import CONFIG_MAP, DEPLOYMENT, LEASE, NAMESPACE, POD, annotations_of, name_of, selector

LONG = os.environ.get("WHERRY_TEST_LONG") == "1"
FIVES = range(4 if LONG else 1)
KILLS = 5
RACES = 5 if LONG else 2
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
# An hour ahead, an hour behind, and ten minutes back in the middle of it.
CLOCKS = ("+1h", "-1h", "step")

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(390)]

# What `wherry deploy` does, with the stand-in's release: composed by the same fixture as everywhere in these tests.
DEPLOYER = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
import msgspec
from wherry.deploy import lease
if os.environ["CLOCK"] == "step":
    right, at = lease.utc_now, time.monotonic() + 2
    lease.utc_now = lambda: right() - timedelta(minutes=10 * (time.monotonic() > at))
from wherry.cli.failures import exit_code
from wherry.deploy.cluster import connect
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.release.release import Release
release, probe = (msgspec.json.decode(Path(path).read_bytes(), type=kind)
                  for path, kind in ((sys.argv[1], Release), (sys.argv[2], Probe)))
try:
    with connect(namespace=release.namespace, kubeconfig=sys.argv[3]) as cluster:
        print(deploy(release, cluster, probe).outcome)
except Exception as error:  # whatever it is, its code is what a caller sees
    print(f"{type(error).__name__}: {error}")
    sys.exit(exit_code(error))
"""


class Deployer:
    """`deploy` in a process of its own, so that it can be killed as a user's is."""

    def __init__(self, folder: Path, kubeconfig: Path, release: Any, probe: Any, clock: str = "") -> None:
        """clock: one of CLOCKS, or how far the clock of the whole process is off; empty: right."""
        import msgspec

        environ = {**os.environ, "CLOCK": clock}
        if clock not in ("", "step"):
            if FAKETIME is None:
                pytest.skip("needs libfaketime")
            environ |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": clock}
        if clock == "-1h":
            kubeconfig, environ["PYTHONWARNINGS"] = trusting(kubeconfig, folder), "ignore"  # which it says of that
        self.release = release
        made, asked = folder / f"{id(self)}.release", folder / f"{id(self)}.probe"
        made.write_bytes(msgspec.json.encode(release))
        asked.write_bytes(msgspec.json.encode(probe))
        self.process = subprocess.Popen(
            [sys.executable, "-c", DEPLOYER, str(made), str(asked), str(kubeconfig)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            text=True,
        )

    def end(self, timeout: float = 120) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, said.strip()


def trusting(kubeconfig: Path, folder: Path) -> Path:
    """The same cluster, whose certificate may be newer than a clock that is slow."""
    config = yaml.safe_load(kubeconfig.read_text())
    (named,) = config["clusters"]
    named["cluster"] = {"server": named["cluster"]["server"], "insecure-skip-tls-verify": True}
    made = folder / "trusting"
    made.write_text(yaml.safe_dump(config))
    return made


def settled(cluster: Cluster, name: str, version: str) -> None:
    """The one version runs, all of it, and nothing else is left."""
    live = cluster.get(DEPLOYMENT, name)
    assert live is not None
    assert annotations_of(live)["wherry.dev/model"] == f"{name}:{version}"
    template = live["spec"]["template"]
    assert template["metadata"]["annotations"]["wherry.dev/model"] == f"{name}:{version}", "no mixed fields"
    pods = [pod for pod in cluster.list(POD, selector(name)) if pod["status"]["phase"] == "Running"]
    assert [annotations_of(pod)["wherry.dev/model"] for pod in pods] == [f"{name}:{version}"]
    assert cluster.get(LEASE, f"{name}-deploy") is None
    settings = {one["configMapRef"]["name"] for one in template["spec"]["containers"][0]["envFrom"]}
    ours = {name_of(one) for one in cluster.list(CONFIG_MAP, selector(name)) if "data" in one}
    assert settings <= ours


@pytest.mark.parametrize("five", FIVES)
def test_a_deploy_that_is_killed_is_finished_by_the_next(
    five: int, real: Cluster, cluster: Any, make_release: Any, probe: Any, tmp_path: Path
) -> None:
    """SIGKILL at a random moment, then the same command again: it goes on within the lock's time, and ends well.

    Whose lock it is, and how long it has been silent, is seen right by a clock that is wrong.
    """
    seed = int(time.time())
    moments = random.Random(seed)
    print(f"\nseed {seed}")

    def kill(number: int, after: float) -> float:
        """How long the next took, beyond five times what a first deploy takes here."""
        name, began = f"ferry-{number}", time.monotonic()
        code, said = Deployer(tmp_path, cluster.kubeconfig, make_release(real.namespace, name=name), probe).end()
        assert code == 0, said
        first = time.monotonic() - began
        release = make_release(real.namespace, name=name, version="2")
        killed = Deployer(tmp_path, cluster.kubeconfig, release, probe)
        time.sleep(after)
        killed.process.kill()
        killed.process.communicate()
        began, clock = time.monotonic(), ("", *CLOCKS)[number % 4]
        code, said = Deployer(tmp_path, cluster.kubeconfig, release, probe, clock).end()
        took = time.monotonic() - began
        print(f"killed after {after:.1f} s; the next, clock {clock or 'right'}, took {took:.1f} s and said {said}")
        assert (code, said) == (0, "deployed")
        settled(real, name, "2")
        return took - 5 * first

    with ThreadPoolExecutor(5) as threads:
        held_up = list(threads.map(kill, range(KILLS), [moments.uniform(0.5, 8.0) for _ in range(KILLS)]))
    assert max(held_up) < 15, "it is held up for no longer than the lock's time"


@pytest.mark.parametrize("five", FIVES)
def test_of_two_deploys_one_wins(
    five: int, real: Cluster, cluster: Any, make_release: Any, probe: Any, tmp_path: Path
) -> None:
    """Two versions at nearly the same time: one is deployed whole, the other is told who is at it, with code 3.

    The clock of each in turn is wrong: a lock is not taken for old by it, and not from it.
    """
    races = 0
    for number in range(3 * RACES):
        pair = {
            str(10 * number + place): make_release(real.namespace, version=str(10 * number + place)) for place in (1, 2)
        }
        racing = {}
        for version, release in pair.items():
            clock = CLOCKS[number % 3] if (number + len(racing)) % 2 == 0 else ""
            racing[version] = Deployer(tmp_path, cluster.kubeconfig, release, probe, clock)
            time.sleep(random.uniform(0, 0.5))
        ended = {version: deployer.end() for version, deployer in racing.items()}
        print(f"\nclock {CLOCKS[number % 3]}: {json.dumps(ended)}")
        codes = sorted(code for code, _ in ended.values())
        if codes == [0, 0]:
            continue  # no race: one was done before the other had seen that it is at work
        assert codes == [0, 3]
        (winner,) = (version for version, (code, _) in ended.items() if code == 0)
        (loser,) = (version for version, (code, _) in ended.items() if code == 3)
        assert f"process {racing[winner].process.pid}" in ended[loser][1], "the loser is told who holds it"
        settled(real, "ferry", winner)
        races += 1
        if races == RACES:
            return
    raise AssertionError(f"{races} of {RACES} were races")


def test_a_clock_that_the_certificate_does_not_know_is_named(
    real: Cluster, cluster: Any, make_release: Any, probe: Any, tmp_path: Path
) -> None:
    """Where a wrong clock does stop a deploy, it says so: the cluster was not made yet, ten years ago."""
    code, said = Deployer(tmp_path, cluster.kubeconfig, make_release(real.namespace), probe, "-3650d").end()
    assert code == 1
    assert "its certificate is not valid yet by this machine's clock, which may be slow" in said


def test_a_namespace_that_goes_meanwhile_ends_the_deploy_and_can_be_had_again(
    real: Cluster, cluster: Any, make_release: Any, probe: Any, tmp_path: Path, kube: Any
) -> None:
    release = make_release(real.namespace, how="slow")
    lost = Deployer(tmp_path, cluster.kubeconfig, release, probe)
    until = time.monotonic() + 60
    while real.get(DEPLOYMENT, "ferry") is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    began = time.monotonic()
    kube.call("DELETE", f"/api/v1/namespaces/{real.namespace}")
    code, said = lost.end()
    took = time.monotonic() - began
    print(f"\nended {took:.1f} s later: {said}")
    assert code == 1
    assert "gone" in said or "deleted" in said or "being terminated" in said or "no namespace" in said
    assert took < 60
    until = time.monotonic() + 60
    while real.get(NAMESPACE, real.namespace) is not None:
        assert time.monotonic() < until, "something in it does not end"
        time.sleep(0.2)
    again = make_release(real.namespace, version="2", create_namespace=True)
    assert Deployer(tmp_path, cluster.kubeconfig, again, probe).end() == (0, "deployed")
    settled(real, "ferry", "2")
