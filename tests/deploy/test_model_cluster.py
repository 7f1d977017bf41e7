"""The model on a volume of a real cluster: copied there, led elsewhere by a ConfigMap, and refused when it changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wherry.deploy.carrying import carry
from wherry.deploy.cluster import Cluster, connect
from wherry.model.bundle import verify
from wherry.release.release import ModelPlace, compose

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]
TOML = """
[store]
enabled = false
[deploy]
replicas = 1
config_map = "mlserving-configs"
[deploy.model]
claim = "models"
path = "first"
[deploy.resources]
cpu = "50m"
[serve]
drain_seconds = 0
"""


class Story:
    """A project in a folder, and what is typed there for a namespace of its own."""

    def __init__(self, folder: Path, namespace: str, kubeconfig: Path, kube: Any, image: str, base: str) -> None:
        self.folder, self.namespace, self.kube, self.image = folder, namespace, kube, image
        own = {name: value for name, value in os.environ.items() if not name.startswith("WHERRY_")}
        self.environ = {**own, "KUBECONFIG": str(kubeconfig), "WHERRY_IMAGE_BASE": base}

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def deploy(self, *flags: str, status: int = 0) -> str:
        words = [sys.executable, "-m", "wherry", "deploy", "-n", self.namespace, "--image", self.image]
        return self.run(*words, *flags, status=status)

    def kubectl(self, *words: str, status: int = 0) -> str:
        return self.run("kubectl", "-n", self.namespace, *words, status=status)

    def configured(self, **data: str) -> None:
        """The ConfigMap changed, and the pods started again."""
        self.kubectl("patch", "configmap", "mlserving-configs", "-p", json.dumps({"data": data}))
        self.kubectl("rollout", "restart", "deployment/iris")

    def restarted(self) -> None:
        self.kubectl("rollout", "status", "deployment/iris", "--timeout=120s")

    def said(self) -> str:
        """The last that the service's pods said, of those that have begun."""
        words = ["kubectl", "-n", self.namespace, "logs", "-l", "app.kubernetes.io/name=iris", "--tail=20"]
        return subprocess.run(words, env=self.environ, capture_output=True, text=True, check=False).stdout

    def named(self, name: str) -> str:
        """What the service says of the model called so."""
        path = f"/api/v1/namespaces/{self.namespace}/services/iris:http/proxy/v2/models/{name}"
        return str(self.kube.get(path)["name"])


@pytest.fixture
def story(
    linear_bundle: Path, tmp_path: Path, cluster: Any, registry: str, namespace: str, kube: Any
) -> Iterator[Story]:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl on the PATH")
    shutil.copytree(linear_bundle, tmp_path / "bundle")
    (tmp_path / "wherry.toml").write_text(TOML)
    base = f"{registry}/library/python:3.11-slim"
    yield Story(tmp_path, namespace, cluster.kubeconfig, kube, f"{registry}/wherry-test-model", base)


@pytest.fixture
def reached(story: Story, cluster: Any) -> Iterator[Cluster]:
    with connect(namespace=story.namespace, kubeconfig=str(cluster.kubeconfig)) as found:
        yield found


def carried(story: Story, reached: Cluster, bundle: Path, folder: str) -> None:
    """A bundle onto the same claim, in another folder than the release's."""
    from wherry.contract.settings import resolve

    manifest = verify(bundle)
    project = resolve({"deploy": {"name": "iris", "model": {"claim": "models"}}}, {}, {}).project
    pods = story.kube.items(f"/api/v1/namespaces/{story.namespace}/pods")
    image = pods[0]["spec"]["containers"][0]["image"]
    release = compose(project, manifest, image=image, namespace=story.namespace, local=True)
    carry(bundle, manifest, msgspec.structs.replace(release, model=ModelPlace("models", folder)), reached, print)


def test_a_model_on_a_claim_is_the_released_one_or_none(
    story: Story, reached: Cluster, breast_cancer_bundle: Path
) -> None:
    """Under the restricted standard, which the namespace enforces."""
    assert "mlserving-configs" in story.deploy(status=1)
    told = ["--from-literal=MODEL_NAME=flowers", "--from-literal=MODEL_PATH=/model/first"]
    story.kubectl("create", "configmap", "mlserving-configs", *told)
    said = story.deploy(status=1)
    assert "PersistentVolumeClaim models" in said and "--copy-model" in said
    assert story.kube.items(f"/api/v1/namespaces/{story.namespace}/pods") == [], "named before anything began"
    story.deploy("--copy-model")
    assert story.named("flowers") == "flowers"

    carried(story, reached, story.folder / "bundle", "second")
    story.configured(MODEL_NAME="blossoms", MODEL_PATH="/model/second")
    story.restarted()
    assert story.named("blossoms") == "blossoms"

    carried(story, reached, breast_cancer_bundle, "third")
    story.configured(MODEL_PATH="/model/third")
    said = story.deploy(status=1)
    for bundle in (breast_cancer_bundle, story.folder / "bundle"):
        assert verify(bundle).digest in said, said
    assert story.named("blossoms") == "blossoms", "the old pod goes on"
    story.run(sys.executable, "-m", "wherry", "down", "-n", story.namespace, "--yes", "--delete-data")


def test_a_folder_of_the_node_is_read_where_it_is_allowed(story: Story, breast_cancer_bundle: Path) -> None:
    """The walkthrough's own way: a folder of /var/tmp; and a model that is replaced there is not loaded."""
    labels = "pod-security.kubernetes.io/enforce=privileged"
    story.run("kubectl", "label", "--overwrite", "namespace", story.namespace, labels)
    node = Path("/var/tmp") / story.namespace
    text = TOML.replace('claim = "models"', f'host_path = "{node}"').replace('config_map = "mlserving-configs"\n', "")
    (story.folder / "wherry.toml").write_text(text)
    shutil.copytree(story.folder / "bundle", node / "first")
    try:
        assert "--allow-host-path" in story.deploy(status=2)
        assert "Pod Security" in story.deploy("--allow-host-path")
        shutil.rmtree(node / "first")
        shutil.copytree(breast_cancer_bundle, node / "first")
        story.kubectl("delete", "pod", "-l", "app.kubernetes.io/name=iris")
        deadline = time.monotonic() + 120
        while verify(breast_cancer_bundle).digest not in (log := story.said()):
            assert time.monotonic() < deadline, log
            time.sleep(0.5)
    finally:
        shutil.rmtree(node)
