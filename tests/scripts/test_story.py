"""The examples from training to a running Kubernetes service and back, by the commands of their READMEs.

    example -> train -> deploy (builds, pushes, proves) -> the walkthrough's request at the Service -> scale -> down

Then what is left in the cluster: nothing. And two endings that are not happy: an image that cannot be pulled, and
a user who may not do it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
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


class Walkthrough(NamedTuple):
    """An example in the cluster: its name there, how its Service is reached, what its walkthrough asks, and one of the
    replies that it may get. request: what curl is told, beside the address."""

    example: str
    name: str
    service: str
    port: int
    path: str
    request: tuple[str, ...]
    replies: tuple[Any, ...]


class Dog:
    """A reply whose first label is what the text's dog is."""

    def __eq__(self, told: object) -> bool:
        return isinstance(told, dict) and told["success"] is True and told["predictions"][0]["label"] == "Samoyed"


JSON = ("-H", "Content-Type: application/json", "-d")
BEAN = [[33958.0, 677.1, 253.69, 171.05, 1.48, 0.74, 34241.0, 207.93, 0.82, 0.99, 0.93, 0.82, 0.01, 0.0, 0.67, 1.0]]
FEATURES = "feature_1=1&feature_2=1&feature_3=1"
HOUSE = pytest.approx(24.8896, abs=1e-3)
# A walkthrough is a line; tests/data/walkthroughs has what they print.
# fmt: off
WALKTHROUGHS = (
    Walkthrough("toy-classifier", "ml-app", "LoadBalancer", 5000, f"/predict?{FEATURES}", (),
                ({"output": [0]}, {"output": [1]})),
    Walkthrough("image-classifier", "image-classifier", "LoadBalancer", 5000, "/predict", ("-F", "image=@dog.jpeg"),
                (Dog(),)),
    Walkthrough("house-prices", "house-prices", "ClusterIP", 80, "/predict", (*JSON, "@example.json"),
                ({"status": "ok", "predict": HOUSE},)),
    Walkthrough("dry-beans", "dry-beans", "LoadBalancer", 80, "/predict", (*JSON, json.dumps({"data": str(BEAN)})),
                ({"predictions": '["DERMASON"]'},)),
    Walkthrough("breast-cancer", "breast-cancer", "NodePort", 30001, "/predict", (*JSON, json.dumps(MALIGNANT)),
                ({"label": "M", "prediction": 1},)),
)
# fmt: on


def typed(example: str, registry: str) -> list[list[str]]:
    """The commands for a cluster in the example's README."""
    text = (ROOT / "examples" / example / "README.md").read_text()
    lines = [
        line for block in re.findall(r"^```sh cluster\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()
    ]
    return [shlex.split(line.replace("localhost:5000/", f"{registry}/wherry-test-")) for line in lines]


def trained(wherry: Wherry, folder: Path, example: str) -> None:
    """The example copied out, then trained and packed by the commands of its README, up to the service."""
    done(wherry("example", example, "--to", folder, cwd=folder.parent))
    programs = Path(sys.executable).parent
    if example == "dry-beans":  # an eighth of its rows, for training takes its time
        import pandas

        rows = pandas.read_csv(folder / "dry_bean.csv.xz").sample(1700, random_state=0)
        rows.to_csv(folder / "dry_bean.csv.xz", index=False)
    elif example == "image-classifier":
        programs, picture = heavy_programs(), ROOT.parent / "shared" / "data" / "dog.jpg"
        if not picture.is_file():
            pytest.skip(f"needs {picture.name} of the tests' data")
        shutil.copy(picture, folder / "dog.jpeg")
    before = (folder / "README.md").read_text().partition("```sh serve")[0]
    own = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}
    # The environment with torch may be another checkout's: what is tried is this one.
    environ = {**own, "PATH": f"{programs}{os.pathsep}{own['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    for block in re.findall(r"^```sh\n(.*?)^```", before, re.M | re.S):
        subprocess.run(["bash", "-euc", block], cwd=folder, env=environ, check=True, capture_output=True)


def heavy_programs() -> Path:
    """The programs of the environment with torch, which training pictures takes, and nothing after it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wherry-ci" / "heavy"
    place = os.environ.get("WHERRY_HEAVY_ENV") or str(cache)
    programs = Path(f"{place}-{sys.version_info.major}.{sys.version_info.minor}") / "bin"
    if not (programs / "python").exists():
        pytest.skip("needs torch: scripts/heavy-env")
    return programs


def asked(address: str, what: Walkthrough, folder: Path) -> Any:
    """What the service at the address answers to the walkthrough's own request."""
    words = ["curl", "-sS", "--noproxy", "*", "--fail-with-body", *what.request, f"{address}{what.path}"]
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("what", WALKTHROUGHS, ids=[each.example for each in WALKTHROUGHS])
def test_an_example_lives_in_the_cluster_and_leaves_no_trace(
    what: Walkthrough,
    wherry: Wherry,
    here: dict[str, str],
    kube: Any,
    namespace: str,
    registry: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Built, pushed, deployed, called through its Service, scaled and removed; with a database, its rows are there."""
    environ = {
        **here,
        "WHERRY_IMAGE_BASE": f"{registry}/library/python:3.11-slim",
        "WHERRY_DEPLOY_RESOURCES_CPU": "50m",  # what is written does not fit on a test's node
        "WHERRY_SERVE_DRAIN_SECONDS": "0",
    }
    if what.example == "dry-beans":
        environ |= {
            "WHERRY_STORE_DATABASE_KIND": "mariadb",
            "WHERRY_STORE_DATABASE_IMAGE": request.getfixturevalue("database"),
        }
    before, around = settled_first(kube, namespace), cluster_wide(kube, namespace)
    folder = tmp_path / what.example
    trained(wherry, folder, what.example)

    address, ran = "", []
    for program, *words in typed(what.example, registry):
        if program == "kubectl":
            done(
                subprocess.run(
                    [program, *words], env={**os.environ, **here}, capture_output=True, text=True, check=False
                )
            )
            continue
        ran.append(words[0])
        if words[0] == "down":
            if what.example == "dry-beans":
                until_stored(kube, namespace, here["KUBECONFIG"], ["DERMASON", "DERMASON"])
            elif what.example == "breast-cancer":  # the ConfigMap was changed, and acts
                renamed = what._replace(path="/v2/models/breast_model_2", request=())
                assert asked(address, renamed, folder)["name"] == "breast_model_2"
        printed = done(wherry(*words, cwd=folder, timeout=600, **environ))
        if words[0] == "deploy":
            address = printed.splitlines()[-1]
            service = kube.get(f"/api/v1/namespaces/{namespace}/services/{what.name}")["spec"]
            assert service["type"] == what.service
            port = service["ports"][0]["nodePort" if what.service == "NodePort" else "port"]
            assert (port, urlsplit(address).port or 80) == (what.port, what.port)
            told = asked(address, what, folder)
            assert told in what.replies
        elif words[0] == "scale":
            assert json.loads(done(wherry("status", what.name, "--json", cwd=folder, **environ)))[0]["ready"] == 2
            assert asked(address, what, folder) == told
    assert (ran[:2], ran[-1]) == (["deploy", "scale"], "down")
    assert settled(kube, namespace, before) == set()
    deadline = time.monotonic() + 60
    while (left := cluster_wide(kube, namespace) - around) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == set()


@pytest.fixture(scope="module")
def database(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's MariaDB as an image that honours the official one's variables."""
    spec = importlib.util.spec_from_file_location("story_database", ROOT / "tests" / "deploy" / "database_image.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: str = module.database_image(cluster.registry, tmp_path_factory.mktemp("databases"))
    return found


def cluster_wide(kube: Any, namespace: str) -> set[str]:
    """Every object outside namespaces that speaks of this one: volumes, bindings, what admits; not itself."""
    found: set[str] = set()
    paths = ["/api/v1"] + [
        f"/apis/{group['preferredVersion']['groupVersion']}"
        for group in kube.get("/apis")["groups"]
        if group["name"] != MEASURED
    ]
    for path in paths:
        for kind in kube.get(path)["resources"]:
            if not kind["namespaced"] and "list" in kind["verbs"] and kind["name"] != "namespaces":
                listed = kube.items(f"{path}/{kind['name']}")
                found |= {f"{kind['name']}/{one['metadata']['name']}" for one in listed if namespace in json.dumps(one)}
    return found


def until_stored(kube: Any, namespace: str, kubeconfig: str, wanted: list[str]) -> None:
    """Until the table that the walkthrough's reader asks, `drybeans`, holds these names."""
    ask = 'MYSQL_PWD="$(cat /var/run/wherry/database/password)" mariadb -h127.0.0.1 -uwherry -Ne "%s" dry_beans'
    words = ["kubectl", "--kubeconfig", kubeconfig, "-n", namespace, "exec", "dry-beans-database-0", "--", "sh", "-c"]
    deadline = time.monotonic() + 120
    while True:
        ran = subprocess.run([*words, ask % "SELECT name FROM drybeans"], capture_output=True, text=True, check=False)
        if ran.stdout.split() == wanted:
            return
        assert time.monotonic() < deadline, f"{ran.stdout}{ran.stderr}"
        time.sleep(0.5)


def settled_first(kube: Any, namespace: str) -> set[str]:
    """What a fresh namespace holds once the cluster has put its own in: an account and a certificate."""
    deadline = time.monotonic() + 30
    while not {"serviceaccounts/default", "configmaps/kube-root-ca.crt"} <= (found := objects(kube, namespace)):
        assert time.monotonic() < deadline, f"the namespace never settled: {found}"
        time.sleep(0.2)
    return found


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
