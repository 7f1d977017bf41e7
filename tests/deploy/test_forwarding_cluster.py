"""`forward` on the real cluster: a connection each way, before and after the pod it led to is gone."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wherry.deploy.cluster import Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.forwarding import forward
from wherry.deploy.resources import POD, name_of, selector
from wherry.errors import NothingDeployed, PortTaken

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def forwarded(real: Cluster, make_release: Any, probe: Any) -> Iterator[int]:
    assert deploy(make_release(real.namespace), real, probe).ok
    stop, ports = threading.Event(), queue.Queue[int]()
    thread = threading.Thread(target=lambda: forward(real, "ferry", port=0, stop=stop, listening=ports.put))
    thread.start()
    yield ports.get(timeout=20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def ask(port: int, times: int = 1) -> list[Any]:
    """Predictions over one connection that is kept."""
    body, found = json.dumps({"columns": ["a"], "rows": [[0.1], [0.9]]}), []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        for _ in range(times):
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            with connection.getresponse() as reply:
                found.append(json.load(reply))
    return found


def test_a_service_answers_on_a_port_of_this_machine(real: Cluster, forwarded: int) -> None:
    wanted = {"predictions": [0, 1]}
    assert ask(forwarded, 3) == [wanted] * 3
    (pod,) = real.list(POD, selector("ferry"))
    real.delete(POD, name_of(pod))
    deadline = time.monotonic() + 60
    while True:
        try:
            assert ask(forwarded) == [wanted]
            break
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline, "no other pod was found"
            time.sleep(0.5)
    with pytest.raises(PortTaken):
        forward(real, "ferry", port=forwarded)


def test_what_is_not_there_is_said_before_a_port_opens(real: Cluster) -> None:
    with pytest.raises(NothingDeployed):
        forward(real, "ghost", port=0)
