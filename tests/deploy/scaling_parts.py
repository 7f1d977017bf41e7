"""Deployments of small models that an autoscaler scales, made by the real command line for tests of load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 150.0  # seconds for an autoscaler to have measured its pods
# Before everything else on the machine, where that is allowed: a generator that others hold up measures them.
FIRST = ("chrt", "--rr", "5") if os.geteuid() == 0 and shutil.which("chrt") else ()


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

    def wherry(self, *args: str, timeout: float = 240, first: bool = False) -> subprocess.CompletedProcess[str]:
        """The verb's outcome. first: it sends load, which nothing else on the machine may hold up."""
        done = subprocess.run(
            [*(FIRST if first else ()), sys.executable, "-m", "wherry", *args, "-n", self.namespace],
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
