"""Two versions of one model in real images: same rows, other labels, so that an answer tells who gave it."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract import settings
from wherry.contract.manifest import Manifest
from wherry.deploy.canary import restarts_of
from wherry.deploy.cluster import Cluster, connect
from wherry.deploy.deploy import Verdict, deploy
from wherry.deploy.probe import Probe
from wherry.deploy.resources import POD, name_of, selector
from wherry.model.bundle import golden, read_manifest
from wherry.release.release import Release, compose

VERSIONS: dict[str, tuple[str, ...]] = {"1": ("oak", "pine", "elm"), "2": ("red", "blue", "grey")}
ROW = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}
RIGHT = {version: {"prediction": labels[0]} for version, labels in VERSIONS.items()}
LOAD = Path(__file__).parent / "steady_load.py"


SERVE = 'runpy.run_module("wherry.server", run_name="__main__", alter_sys=True)'
SLOW = f"""
import runpy, time
from wherry.server.predictor import Measured
quick = Measured.score
Measured.score = lambda self, *asked: (time.sleep(0.03), quick(self, *asked))[1]
{SERVE}
"""
# Not ready where /tmp/sick is, and answering all the same.
SICKLY = f"""
import os, runpy
from wherry.server.drain import Life
Life.ready = property(lambda self: self.stage == "ready" and not os.path.exists("/tmp/sick"))
{SERVE}
"""


class Versioned(msgspec.Struct, frozen=True):
    """One version: its bundle, and its image by digest."""

    bundle: Path
    image: str

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.bundle)

    @property
    def probe(self) -> Probe:
        return Probe.of(golden(self.bundle, self.manifest), self.manifest)

    def release(
        self,
        namespace: str,
        *,
        replicas: int | None = 2,
        serve: Mapping[str, Any] = {},
        careless: bool = False,
        container: Mapping[str, Any] = {},
        **deploy: Any,
    ) -> Release:
        """As a user's would be, on a NodePort. replicas: None for an autoscaler. careless: without preStop, as most
        are written by hand. container: what its container has otherwise, and in its environment besides."""
        wanted = {"resources": {"cpu": "20m"}, "service": {"type": "NodePort"}, **deploy}
        if replicas is not None:
            wanted["replicas"] = replicas
        project = settings.resolve({"deploy": wanted, "serve": dict(serve)}, {}, {}).project
        made = compose(project, self.manifest, image=self.image, namespace=namespace, local=True)
        objects = copy.deepcopy(made.objects)
        for one in objects:
            if one["kind"] == "Deployment":
                own = one["spec"]["template"]["spec"]["containers"][0]
                own |= {**container, "env": [*own["env"], *container.get("env", ())]}
                if careless:
                    del own["lifecycle"]
        return msgspec.structs.replace(made, objects=objects, image=container.get("image", made.image))


def versions(folder: Path, registry: str) -> dict[str, Versioned]:
    """Both versions packed, built and pushed by the real command line."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import wherry

    X, y = load_iris(return_X_y=True, as_frame=True)
    made = {}
    for version, labels in VERSIONS.items():
        named = [labels[place] for place in y]
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, named)
        bundle = folder / version
        wherry.pack(model, X, named, to=bundle, name="iris", version=version)
        command = [sys.executable, "-m", "wherry", "build", str(bundle), "--push", "-q"]
        built = subprocess.run(
            [*command, "--image", f"{registry}/wherry-rollouts"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert built.returncode == 0, built.stderr
        made[version] = Versioned(bundle, built.stdout.strip())
    return made


@contextlib.contextmanager
def space(kube: Any) -> Iterator[Cluster]:
    """The cluster at a namespace of the test's own, with the strictest Pod Security, gone afterwards."""
    name = f"wherry-d2-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    try:
        with connect(namespace=name, kubeconfig=os.environ["WHERRY_TEST_KUBECONFIG"]) as made:
            yield made
    finally:
        kube.call("DELETE", f"/api/v1/namespaces/{name}")


class Load:
    """A steady load on 127.0.0.1, half of it over kept connections, half over a new one for each request."""

    def __init__(self, url: str, rate: float, seconds: float = 300.0) -> None:
        plan = json.dumps({"seconds": seconds, "body": ROW, "expected": RIGHT})
        self.processes = []
        for mode in ("pool", "fresh"):
            process = subprocess.Popen(
                [sys.executable, str(LOAD), url, str(rate / 2), mode],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdin is not None
            process.stdin.write(plan)
            process.stdin.close()
            self.processes.append(process)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *ended: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def stop(self) -> list[dict[str, Any]]:
        """Ends it, and gives the report of each mode."""
        for process in self.processes:
            process.terminate()
        reports = []
        for process in self.processes:
            assert process.stdout is not None
            reports.append(json.loads(process.stdout.read()))
            process.wait(20)
        for report in reports:
            print(f"\n{report}")
        return reports


class Serving:
    """Version 1 as two pods under load. `failed` is for after the end."""

    def __init__(self, cluster: Cluster, images: dict[str, Versioned], rate: float = 500, **how: Any) -> None:
        self.cluster, self.images, self.how = cluster, images, how
        first = deploy(images["1"].release(cluster.namespace, **how), cluster, images["1"].probe)
        assert first.address is not None
        self.load = Load(first.address.url, rate)
        self.reports: list[dict[str, Any]] = []

    def __enter__(self) -> Serving:
        self.load.__enter__()
        time.sleep(2)  # before, as after: what is steady
        return self

    def __exit__(self, *ended: Any) -> None:
        time.sleep(2)
        self.reports = self.load.stop() if ended[0] is None else []
        self.load.__exit__(*ended)

    def update(self, version: str = "2", **how: Any) -> Verdict:
        one = self.images[version]
        return deploy(one.release(self.cluster.namespace, **{**self.how, **how}), self.cluster, one.probe)

    @property
    def failed(self) -> int:
        return sum(report["failed"] for report in self.reports)

    @property
    def pods(self) -> dict[str, int]:
        """Restarts by pod, of those that stay."""
        listed = self.cluster.list(POD, selector("iris"))
        found = [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]
        return {name_of(pod): restarts_of(pod) for pod in found}
