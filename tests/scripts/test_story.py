"""From a trained model to a running Kubernetes service and back, by the real command line in a folder of its own.

    pack -> serve -> predict -> deploy -> predict through the Service -> scale 3 -> down

Then what is left in the cluster: nothing. And two endings that are not happy: an image that cannot be pulled, and
a user who may not do it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

MALIGNANT = {
    "concavity_mean": 0.3001,
    "concave_points_mean": 0.1471,
    "perimeter_se": 8.589,
    "area_se": 153.4,
    "texture_worst": 17.33,
    "area_worst": 2019.0,
}
# What the cluster itself makes and keeps for a while, and the group that is measured, not stored.
ITS_OWN = {"events", "leases"}
MEASURED = "metrics.k8s.io"

Wherry = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path, breast_cancer: Path) -> Path:
    """The user's own folder: a model, a sample, and a service that is reached by the node's port."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(breast_cancer / "model" / "model_binary.dat.gz", project / "model.joblib")
    shutil.copy(breast_cancer / "train.csv", project / "train.csv")
    settings = (breast_cancer / "wherry.toml").read_text()
    (project / "wherry.toml").write_text(settings + '\n[deploy.service]\ntype = "NodePort"\n')
    return project


@pytest.fixture
def here(cluster: Any, namespace: str, tmp_path: Path) -> dict[str, str]:
    """An environment whose current context is the test's own namespace."""
    return {"KUBECONFIG": str(kubeconfig_for(cluster, namespace, tmp_path / "kubeconfig"))}


def kubeconfig_for(cluster: Any, namespace: str, path: Path, **user: str) -> Path:
    """A copy of the cluster's kubeconfig for one namespace; `user` replaces who is asking."""
    config = json.loads(cluster.kubeconfig.read_text())
    for entry in config["contexts"]:
        entry["context"]["namespace"] = namespace
    if user:
        for entry in config["users"]:
            entry["user"] = user
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path


def objects(kube: Any, namespace: str) -> set[str]:
    """Every object in the namespace, of every kind that can be listed: "kind.group/name"."""
    found: set[str] = set()
    groups = [("", "/api/v1")]
    for group in kube.get("/apis")["groups"]:
        if group["name"] != MEASURED:
            groups.append((group["name"], f"/apis/{group['preferredVersion']['groupVersion']}"))
    for group, path in groups:
        for kind in kube.get(path)["resources"]:
            name = f"{kind['name']}.{group}".rstrip(".")
            if not kind["namespaced"] or "list" not in kind["verbs"] or kind["name"] in ITS_OWN:
                continue
            listed = kube.items(f"{path}/namespaces/{namespace}/{kind['name']}")
            found |= {f"{name}/{item['metadata']['name']}" for item in listed}
    return found


def settled(kube: Any, namespace: str, wanted: set[str]) -> set[str]:
    """What is there that should not be, after what is on its way out has gone (a minute at most)."""
    deadline = time.monotonic() + 60
    while (left := objects(kube, namespace) - wanted) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, f"{result.args} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


def packed(wherry: Wherry, folder: Path) -> None:
    done(wherry("pack", "model.joblib", "--data", "train.csv", "--target", "diagnosis", "--trust", cwd=folder))


def pods(kube: Any, namespace: str) -> list[Any]:
    listed = kube.items(f"/api/v1/namespaces/{namespace}/pods")
    return [pod for pod in listed if not pod["metadata"].get("deletionTimestamp")]


def test_from_a_model_file_to_a_service_and_back(
    folder: Path,
    wherry: Wherry,
    service: Callable[..., Any],
    here: dict[str, str],
    kube: Any,
    namespace: str,
    registry: str,
) -> None:
    before = settled_first(kube, namespace)

    packed(wherry, folder)
    local = service(folder / "bundle", cwd=folder)
    said = json.loads(done(wherry("predict", local.url, "bundle/example.json", cwd=folder)))
    assert said["prediction"] in (0, 1)
    assert local.ask("/predict", MALIGNANT).json == {"label": "M", "prediction": 1}
    assert local.stop() == 0

    printed = done(wherry("deploy", "--image", f"{registry}/wherry-story", cwd=folder, timeout=600, **here))
    address = printed.splitlines()[-1]
    (running,) = kube.items(f"/api/v1/namespaces/{namespace}/services")
    assert address.endswith(f":{running['spec']['ports'][0]['nodePort']}"), printed
    (folder / "row.json").write_text(json.dumps(MALIGNANT))
    through = json.loads(done(wherry("predict", address, "row.json", cwd=folder)))
    assert through == {"label": "M", "prediction": 1}
    assert json.loads(done(wherry("predict", address, "bundle/example.json", cwd=folder))) == said

    done(wherry("scale", "3", cwd=folder, timeout=300, **here))
    deadline = time.monotonic() + 120
    while len(ready := [pod for pod in pods(kube, namespace) if is_ready(pod)]) != 3:
        assert time.monotonic() < deadline, f"{len(ready)} pods are ready, not 3"
        time.sleep(0.5)
    done(wherry("status", cwd=folder, **here))

    done(wherry("down", "--yes", cwd=folder, timeout=300, **here))
    assert settled(kube, namespace, before) == set()


def settled_first(kube: Any, namespace: str) -> set[str]:
    """What a fresh namespace holds once the cluster has put its own in: an account and a certificate."""
    deadline = time.monotonic() + 30
    while not {"serviceaccounts/default", "configmaps/kube-root-ca.crt"} <= (found := objects(kube, namespace)):
        assert time.monotonic() < deadline, f"the namespace never settled: {found}"
        time.sleep(0.2)
    return found


def is_ready(pod: Any) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_an_image_that_cannot_be_pulled_is_said_so_and_soon(
    folder: Path, wherry: Wherry, here: dict[str, str], kube: Any, namespace: str, registry: str
) -> None:
    before = settled_first(kube, namespace)
    packed(wherry, folder)
    image = f"{registry}/wherry-story-missing@sha256:{'0' * 64}"
    started = time.monotonic()
    failed = wherry("deploy", "--image", image, cwd=folder, timeout=300, **here)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert image in failed.stderr
    assert "hint:" in failed.stderr
    assert time.monotonic() - started < 120
    # nothing served before, so nothing is restored; `down` still finds all of it
    done(wherry("down", "--yes", cwd=folder, timeout=300, **here))
    assert settled(kube, namespace, before) == set()


def test_a_user_without_permission_is_told_which_one_is_missing(
    folder: Path, wherry: Wherry, cluster: Any, kube: Any, namespace: str, registry: str, tmp_path: Path
) -> None:
    before = settled_first(kube, namespace)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    reply = kube.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", request)
    nobody = kubeconfig_for(cluster, namespace, tmp_path / "nobody", token=reply["status"]["token"])
    packed(wherry, folder)
    image = f"{registry}/wherry-story-missing@sha256:{'0' * 64}"
    failed = wherry("deploy", "--image", image, cwd=folder, timeout=120, KUBECONFIG=str(nobody))
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert f"system:serviceaccount:{namespace}:default" in failed.stderr or "may not" in failed.stderr
    assert "hint:" in failed.stderr
    assert objects(kube, namespace) == before
