"""Deployments of small models that an autoscaler scales, made by the real command line for tests of load."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROWS = 1000  # in one request: some milliseconds of a processor, and a body of 22 kB
PATIENCE = 150.0  # seconds for an autoscaler to have measured its pods


def heavy_requests(file: Path) -> None:
    """A request that costs the model some milliseconds."""
    from sklearn.datasets import load_iris

    frame = load_iris(as_frame=True).data
    rows = frame.to_numpy().tolist()
    many = (rows * (ROWS // len(rows) + 1))[:ROWS]
    file.write_text(json.dumps({"columns": list(frame), "rows": many}))


def answered(url: str, body: bytes, seconds: float = 12.0, callers: int = 8) -> float:
    """Answers a second to callers who ask again as soon as they are answered, each time over a new connection."""

    def ask(_: int) -> int:
        parts, count = urlsplit(url), 0
        while time.monotonic() < end:
            connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
            connection.request("POST", "/predict", body, {"Content-Type": "application/json", "Connection": "close"})
            reply = connection.getresponse()
            reply.read()
            connection.close()
            count += reply.status == 200
        return count

    end = time.monotonic() + seconds
    with ThreadPoolExecutor(callers) as threads:
        return sum(threads.map(ask, range(callers))) / seconds


def project(image: str, scale: str, resources: str) -> str:
    """A project's settings: on a NodePort, its pods small enough for an autoscaler to have something to do."""
    return (
        f'[deploy]\nimage = "{image}"\n[deploy.service]\ntype = "NodePort"\n'
        f"[deploy.resources]\n{resources}\n[deploy.autoscale]\n{scale}\n"
    )


class Desk:
    """A project's folder, from which the real command line is called."""

    def __init__(self, folder: Path, environ: dict[str, str], namespace: str) -> None:
        self.folder, self.environ, self.namespace = folder, environ, namespace

    def wherry(self, *args: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "wherry", *args, "-n", self.namespace],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        print(f"\nwherry {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def deploy(self) -> None:
        done = self.wherry("deploy", timeout=400)
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.wherry("status", "--json").stdout)[0])

    def wait(self, what: str, ready: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE) -> dict[str, Any]:
        """The status, once it is so."""
        until = time.monotonic() + seconds
        while True:
            found = self.status()
            if ready(found):
                return found
            assert time.monotonic() < until, f"after {seconds:.0f} s still not {what}: {found}"
            time.sleep(2)

    def rest(self, pods: int = 1) -> None:
        """Until the autoscaler has measured `pods` pods at rest."""
        self.wait(
            f"{pods} pods at rest",
            lambda found: (
                found["ready"] == found["wanted"] == pods
                and found["autoscaler"]["cpu"] is not None
                and found["autoscaler"]["cpu"] < 30
            ),
        )
