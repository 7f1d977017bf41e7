"""Updates through a proxy that treats the API badly: watches cut and expired, 429, and no answer at all for a while.

WHERRY_TEST_LONG=1 lets the silence last for half a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faulty_parts import Faulty

from wherry.deploy import patience, watching
from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.deploy import deploy
from wherry.errors import NoCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def api() -> Iterator[int]:
    """The port on 127.0.0.1 of an API that asks for no credentials."""
    config = os.environ["WHERRY_TEST_KUBECONFIG"]
    command = ["kubectl", "--kubeconfig", config, "proxy", "--port=0", "--reject-paths=^$"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def behind(proxy: Faulty, namespace: str, folder: Path) -> Cluster:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "faulty",
        "clusters": [{"name": "faulty", "cluster": {"server": f"http://127.0.0.1:{proxy.server_address[1]}"}}],
        "users": [{"name": "faulty", "user": {}}],
        "contexts": [
            {"name": "faulty", "context": {"cluster": "faulty", "user": "faulty", "namespace": namespace}},
        ],
    }
    file = folder / f"{proxy.fault}.json"
    file.write_text(json.dumps(config))
    return connect(kubeconfig=str(file))


def updated(proxy: Faulty, cluster: Cluster, make_release: Any, probe: Any, folder: Path) -> tuple[bool, float]:
    """Whether version 2 is deployed in the place of 1, and requests a second that are none of the service's."""
    assert deploy(make_release(cluster.namespace), cluster, probe).ok
    proxy.silent_from = float("inf")
    before = len(proxy.asked)
    began = time.monotonic()
    with behind(proxy, cluster.namespace, folder) as through:
        verdict = deploy(make_release(cluster.namespace, version="2"), through, probe)
    took = time.monotonic() - began
    own = [at - began for at, path in proxy.asked[before:] if "/proxy/" not in path]
    rate = sum(at > BEGINNING for at in own) / max(took - BEGINNING, SHORTEST)
    print(f"\n{proxy.fault}: {took:.1f} s, {proxy.faults} faults, {len(own)} requests, then {rate:.1f} a second")
    return verdict.ok, rate


BEGINNING = 3.0  # seconds in which everything is looked at, rehearsed and applied; what comes then is the watching
SHORTEST = 5.0  # seconds of watching: after fewer, what is written down at the end would outweigh it
FAULTS = ("none", "cut", "expired", "busy", "silence")


def test_an_update_comes_to_its_verdict_whatever_becomes_of_the_api(
    spaces: Callable[[], Cluster],
    api: int,
    make_release: Any,
    probe: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a client without patience does not."""
    proxies = [Faulty(api, fault) for fault in FAULTS]
    for proxy in proxies:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with ThreadPoolExecutor(len(FAULTS)) as threads:
            work = [threads.submit(updated, one, spaces(), make_release, probe, tmp_path) for one in proxies]
            seen = {proxy.fault: done.result() for proxy, done in zip(proxies, work, strict=True)}
        assert all(ok for ok, _ in seen.values())
        assert seen["none"][1] < 20, "watching asks little of the API"
        faults = {proxy.fault: proxy.faults for proxy in proxies}
        assert faults.pop("none") == 0
        assert all(faults.values()), faults
        monkeypatch.setattr(patience, "AWAY_SECONDS", 0.0)
        monkeypatch.setattr(watching, "BACK_SECONDS", 0.0)
        with pytest.raises(NoCluster):
            updated(proxies[-1], spaces(), make_release, probe, tmp_path)
    finally:
        for proxy in proxies:
            proxy.shutdown()
            proxy.server_close()
