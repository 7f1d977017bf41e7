"""A pipeline's steps as Cloud Build runs them: each in a fresh python:3.11-slim, /workspace alone kept, least rights.

The first run delivers; a worse model is stopped by the gate, and what served goes on serving.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]
CONTEXT = "gke_demo_europe-north1-a_tests"
ACCOUNT = "house-prices-pipeline"
Wherry = Callable[..., subprocess.CompletedProcess[str]]


class Build:
    """Runs the steps of cloudbuild.yaml; the folder is their /workspace."""

    def __init__(self, folder: Path, credentials: Path, wheels: Path, environ: dict[str, str], image: str) -> None:
        self.folder, self.credentials, self.wheels, self.image = folder, credentials, wheels, image
        self.environ = environ
        self.steps = yaml.safe_load((folder / "cloudbuild.yaml").read_text())["steps"]

    def run(self, *ids: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """What each of these steps said (all but Google's own), until one fails."""
        done: dict[str, subprocess.CompletedProcess[str]] = {}
        for step in self.steps:
            if step["id"] != "credentials" and (not ids or step["id"] in ids):
                done[step["id"]] = self.step(step)
                if done[step["id"]].returncode:
                    break
        return done

    def step(self, step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        assert step["name"] == "python:3.11-slim"
        mounts = [(self.folder, "/workspace"), (self.wheels, "/wheels:ro"), (pip_cache(), "/pip-cache")]
        mounts += [(self.credentials, each["path"]) for each in step.get("volumes", ())]
        # What Cloud Build has not: wherry as a wheel of this checkout, and what pip fetched before.
        environ = [*step["env"], "PIP_FIND_LINKS=/wheels", "PIP_CACHE_DIR=/pip-cache"]
        words = ["docker", "run", "--rm", "--network", "host", "--workdir", "/workspace", "--entrypoint", "sh"]
        words += [word for source, target in mounts for word in ("-v", f"{source}:{target}")]
        words += [word for each in environ for word in ("-e", each)]
        return subprocess.run(
            [*words, self.image, "-c", step["script"]],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


def pip_cache() -> Path:
    done = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False)
    folder = Path(done.stdout.strip() or Path.home() / ".cache" / "pip")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def project(wherry: Wherry, tmp_path: Path, namespace: str, registry: str) -> Iterator[Path]:
    """The example as it is copied out, trained once, with its pipeline."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    folder = tmp_path / "house-prices"
    assert wherry("example", "house-prices").returncode == 0
    with (folder / "wherry.toml").open("a") as file:
        file.write(f'\n[image]\nbase = "{registry}/library/python:3.11-slim"\n')
        file.write('\n[deploy]\nreplicas = 1\nresources = { cpu = "50m" }\n')
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, capture_output=True)
    made = wherry(
        *("pipeline", "--image", f"{registry}/wherry-test-pipeline", "--context", CONTEXT, "-n", namespace),
        *("--repository", "https://github.com/owner/houses"),
        cwd=folder,
    )
    assert made.returncode == 0, made.stderr
    yield folder
    # what containers wrote belongs to root, which runs this
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def build(
    project: Path, cluster: Any, registry: str, namespace: str, tmp_path: Path, docker_environ: dict[str, str]
) -> Build:
    """Credentials as the build's are: a token of the pipeline's own account, under the context's name."""
    for program in ("docker", "kubectl"):
        if shutil.which(program, path=docker_environ["PATH"]) is None:
            pytest.skip(f"needs {program}")
    wheels = tmp_path / "wheels"
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    # the account itself, and not yet what it may do
    kubectl(cluster, namespace, "create", "serviceaccount", ACCOUNT)
    token = kubectl(cluster, namespace, "create", "token", ACCOUNT).strip()
    config = json.loads(cluster.kubeconfig.read_text())
    config["contexts"] = [{"name": CONTEXT, "context": {**config["contexts"][0]["context"], "namespace": namespace}}]
    config["current-context"] = CONTEXT
    for entry in config["users"]:
        entry["user"] = {"token": token}
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "kubeconfig").write_text(json.dumps(config))
    return Build(project, credentials, wheels, docker_environ, f"{registry}/library/python:3.11-slim")


@pytest.fixture
def docker_environ() -> dict[str, str]:
    import importlib.util

    path = ROOT / "tests" / "deploy" / "database_image.py"
    spec = importlib.util.spec_from_file_location("pipeline_docker", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, str] = module.docker_environ()
    return found


def kubectl(cluster: Any, namespace: str, *words: str) -> str:
    """What kubectl said, on both streams."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "-n", namespace, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def said(done: subprocess.CompletedProcess[str]) -> str:
    return f"{done.returncode}: {done.stdout}\n{done.stderr}"


def test_a_pipeline_delivers_and_stops_what_is_worse(
    build: Build, cluster: Any, kube: Any, namespace: str, wherry: Wherry
) -> None:
    folder = build.folder
    # without its Role the account may nothing, so what follows shows that the Role is enough
    config = str(build.credentials / "kubeconfig")
    barred = wherry("gate", "--context", CONTEXT, "-n", namespace, cwd=folder, KUBECONFIG=config)
    assert barred.returncode == 1, said(barred)
    assert "may not" in barred.stderr or "not permitted" in barred.stderr, barred.stderr
    kubectl(cluster, namespace, "apply", "-f", str(folder / "pipeline" / "role.yaml"))

    # the CronJob is what the cluster takes, under restricted Pod Security, and would run
    labels = "pod-security.kubernetes.io/warn=restricted"
    kubectl(cluster, namespace, "label", "namespace", namespace, labels)
    dry = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f")
    taken = kubectl(cluster, namespace, *dry, str(folder / "pipeline" / "cronjob.yaml"))
    assert "serverside-applied" in taken
    assert "Warning" not in taken, taken

    shutil.rmtree(folder / "bundle")
    first = build.run()
    assert list(first) == ["install", "train", "test", "gate", "build", "deploy"], said(first[list(first)[-1]])
    assert all(done.returncode == 0 for done in first.values()), said(first["deploy"])
    assert "is not deployed yet" in first["gate"].stderr, said(first["gate"])
    digest = serving(kube, namespace)
    assert digest == json.loads((folder / "bundle" / "manifest.json").read_text())["digest"]

    # the same again is let through: a pipeline may run twice
    again = build.run("gate")["gate"]
    assert again.returncode == 0, said(again)
    assert "the model that serves" in again.stdout

    # a worse model, though better than the mean
    train = folder / "train.py"
    train.write_text(
        train.read_text().replace("import LinearRegression", "import Ridge").replace("LinearRegression()", "Ridge(1e6)")
    )
    worse = build.run("train", "test", "gate", "build", "deploy")
    assert list(worse) == ["train", "test", "gate"], {name: said(done) for name, done in worse.items()}
    assert worse["gate"].returncode == 4, said(worse["gate"])
    assert "not let through: it is worse than the model that serves" in worse["gate"].stderr
    assert json.loads((folder / "bundle" / "manifest.json").read_text())["digest"] != digest
    assert serving(kube, namespace) == digest, "the old model went on serving"


def serving(kube: Any, namespace: str) -> str:
    """The digest of the model that answers through the Service."""
    where = f"/api/v1/namespaces/{namespace}/services/house-prices:http/proxy"
    found: str = kube.get(f"{where}/info")["digest"]
    return found
