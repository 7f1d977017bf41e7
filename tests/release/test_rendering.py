"""Charts, bases and other projects' objects: equal to the plain rendering, and clean to the real tools."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from wherry.contract.manifest import Manifest
from wherry.contract.names import ENV_TEST_KUBECONFIG
from wherry.contract.project import Project
from wherry.errors import SettingsRefused
from wherry.release.release import Object, Release, compose
from wherry.release.rendering import helm, kserve, kustomize, seldon
from wherry.release.text import to_yaml

IMAGE = "registry.example/models/breast:1"
IMAGES = [IMAGE, "breast", f"localhost:5000/breast:1@sha256:{'a' * 64}", f"a/b@sha256:{'b' * 64}"]
OBJECTS = {"kserve": kserve.inference_service, "seldon": seldon.seldon_deployment}
APPLY = ("kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
PROJECTS: dict[str, dict[str, Any]] = {
    "default": {},
    "fixed": {"deploy": {"replicas": 3}},
    "one": {"deploy": {"replicas": 1}},
    "claim": {"deploy": {"replicas": 1}, "store": {"enabled": True}},
    "strict beside a database": {"store": {"mode": "strict", "database": {"kind": "mariadb"}}},
    "routed": {
        "serve": {"token_file": "tokens"},
        "deploy": {
            "ingress": {"host": "breast.example", "class_name": "nginx", "tls_secret": "certificate"},
            "autoscale": {"memory": 80, "pods": {"in_flight": "5"}, "external": {"queue_depth": "100"}},
            "metrics": {
                "scrape_from": "monitoring",
                "pod_monitor": True,
                "rules": True,
                "dashboard": True,
                "labels": {"team": "a"},
            },
        },
    },
    "gateway and keda": {
        "serve": {"token_file": "tokens"},
        "deploy": {
            "ingress": {"host": "models.example", "path": "/breast", "gateway": "edge/public", "controller": "edge"},
            "autoscale": {
                "keda": {"enabled": True, "prometheus": "http://prometheus.monitoring:9090", "threshold": 100}
            },
        },
    },
    "database": {"store": {"database": {"kind": "mariadb"}}},
    "strict": {"store": {"mode": "strict", "url": "mysql://u@192.0.2.1/x", "secret": {"name": "db"}}},
    "everything": {
        "serve": {"token_file": "tokens", "defaults": {"area_worst": 1.5}, "allowed_hosts": ["<a&b>", "\u2028"]},
        "store": {"url": "postgresql://writer:hidden@database.models:5432/predictions"},
        "deploy": {
            "service": {"type": "NodePort", "node_port": 30080, "allow_from": ["203.0.113.0/24"]},
            "autoscale": {"min": 1, "max": 3, "cpu": 20},
            "resources": {"cpu": "500m", "cpu_limit": "2", "memory": "512Mi"},
            "metrics": {"scrape_from": "monitoring"},
            "schedule": {
                "nightly": {"cron": "30 3 * * *", "command": ["python3", "-c", "print('{{ .Values.image }}')"]},
                "other": {"cron": "@weekly", "command": ["true"], "image": "registry.example/other:1"},
            },
        },
    },
}

Made = Callable[..., tuple[Release, Project]]


@pytest.fixture
def made(manifest: Manifest, declare: Callable[[dict[str, Any]], Project]) -> Made:
    def make(name: str, image: str = IMAGE) -> tuple[Release, Project]:
        project = declare(PROJECTS[name])
        return compose(project, manifest, image=image, namespace="models", local=False), project

    return make


@pytest.fixture
def tool() -> Callable[..., str]:
    """Runs a program of the test cluster's kit: its standard output, or a failure with what it said."""
    if not os.environ.get(ENV_TEST_KUBECONFIG):
        pytest.skip(f"{ENV_TEST_KUBECONFIG} names no cluster")

    def run(*words: str, input: str | None = None) -> str:
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not on the PATH")
        environ = {**os.environ, "KUBECONFIG": os.environ[ENV_TEST_KUBECONFIG]}
        done = subprocess.run(words, capture_output=True, text=True, env=environ, check=False, timeout=120, input=input)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def write(files: dict[str, str], to: Path) -> Path:
    for name, text in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text, encoding="utf-8")
    return to


def by_name(objects: Any) -> dict[tuple[str, str], Object]:
    return {(each["kind"], each["metadata"]["name"]): each for each in objects if each}


# --- Helm -----------------------------------------------------------------------------------------------------------


def test_the_chart_reads_as_it_should(made: Made, manifest: Manifest, golden: Callable[[str, str], None]) -> None:
    release, project = made("everything")
    files = helm.chart(release, project, manifest)
    golden("chart.txt", "".join(f"=== {name}\n{text}" for name, text in files.items()))


@pytest.mark.parametrize("name", PROJECTS)
def test_no_secret_is_in_any_form(made: Made, manifest: Manifest, name: str) -> None:
    release, project = made(name)
    texts = [*helm.chart(release, project, manifest).values()]
    texts += kustomize.base_with_overlays(release, project, manifest).values()
    if project.store.mode != "strict":
        texts += [to_yaml(form(release, project, manifest)) for form in OBJECTS.values()]
    assert not [text for text in texts if "hidden" in text]


@pytest.mark.parametrize("name", PROJECTS)
def test_the_values_fit_their_schema(made: Made, manifest: Manifest, name: str) -> None:
    release, project = made(name)
    files = helm.chart(release, project, manifest)
    schema, values = json.loads(files["values.schema.json"]), yaml.safe_load(files["values.yaml"])
    jsonschema.validate(values, schema)
    for wrong in (
        {"imge": "x"},
        {"image": ""},
        {"replicas": "3"},
        {"service": {"port": 70000}},
        {"settings": {"A": 1}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, **wrong}, schema)


def test_a_version_that_is_none_to_helm(made: Made, manifest: Manifest) -> None:
    release, project = made("default")
    for version, wanted in (("1", "1.0.0"), ("v1.0.0", "0.1.0"), ("1.2.3", "1.2.3"), ("1.2.3-rc.1", "1.2.3-rc.1")):
        named = msgspec.structs.replace(manifest, version=version)
        head = yaml.safe_load(helm.chart(release, project, named)["Chart.yaml"])
        assert (head["version"], head["appVersion"]) == (wanted, version)


@pytest.mark.cluster
@pytest.mark.parametrize("name", PROJECTS)
def test_helm_template_is_the_plain_rendering(
    made: Made, manifest: Manifest, tool: Callable[..., str], tmp_path: Path, name: str
) -> None:
    release, project = made(name)
    folder = str(write(helm.chart(release, project, manifest), tmp_path))
    assert "0 chart(s) failed" in tool("helm", "lint", "--strict", folder)
    text = tool("helm", "template", "any", folder, "--namespace", "models")
    assert by_name(yaml.safe_load_all(text)) == by_name(release.objects)


@pytest.mark.cluster
def test_values_reach_the_objects(made: Made, manifest: Manifest, tool: Callable[..., str], tmp_path: Path) -> None:
    release, project = made("default")
    folder = str(write(helm.chart(release, project, manifest), tmp_path))
    given = ["replicas=3", "image=other:2", "service.port=8080", "settings.WHERRY_SERVE_PAGE=false"]
    words = [word for each in given for word in ("--set-string" if "settings" in each else "--set", each)]
    changed = list(yaml.safe_load_all(tool("helm", "template", "any", folder, "--namespace", "there", *words)))
    kinds = {each["kind"]: each for each in changed if each}
    assert "HorizontalPodAutoscaler" not in kinds
    assert kinds["Deployment"]["spec"]["replicas"] == 3
    (server,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert server["image"] == "other:2"
    assert kinds["Service"]["spec"]["ports"][0]["port"] == 8080
    assert kinds["ConfigMap"]["data"]["WHERRY_SERVE_PAGE"] == "false"
    assert kinds["ConfigMap"]["metadata"]["name"] == server["envFrom"][0]["configMapRef"]["name"]
    assert kinds["ConfigMap"]["metadata"]["name"] not in to_yaml(release.objects), "changed settings, another name"
    assert {each["metadata"]["namespace"] for each in kinds.values()} == {"there"}


# --- Kustomize ------------------------------------------------------------------------------------------------------


@pytest.mark.cluster
@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize(
    "image", [IMAGE, "breast", f"localhost:5000/breast:1@sha256:{'a' * 64}", f"a/b@sha256:{'b' * 64}"]
)
def test_the_production_overlay_is_the_plain_rendering(
    made: Made, manifest: Manifest, tool: Callable[..., str], tmp_path: Path, name: str, image: str
) -> None:
    release, project = made(name, image)
    write(kustomize.base_with_overlays(release, project, manifest), tmp_path)
    text = tool("kubectl", "kustomize", str(tmp_path / "overlays" / "production"))
    assert by_name(yaml.safe_load_all(text)) == by_name(release.objects)


@pytest.mark.cluster
def test_the_small_overlay_asks_for_little(
    made: Made, manifest: Manifest, tool: Callable[..., str], tmp_path: Path
) -> None:
    release, project = made("default")
    write(kustomize.base_with_overlays(release, project, manifest), tmp_path)
    found = {
        each["kind"]: each
        for each in yaml.safe_load_all(tool("kubectl", "kustomize", str(tmp_path / "overlays" / "small")))
    }
    scaler = found["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 2)
    (server,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert server["resources"]["requests"]["cpu"] == "50m"


# --- KServe and Seldon ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["default", "everything"])
@pytest.mark.parametrize("form", OBJECTS)
def test_other_projects_objects_read_as_they_should(
    made: Made, manifest: Manifest, golden: Callable[[str, str], None], name: str, form: str
) -> None:
    release, project = made(name)
    golden(f"{form}-{name}.yaml", to_yaml(OBJECTS[form](release, project, manifest)))


@pytest.mark.parametrize("form", OBJECTS)
def test_a_strict_store_is_refused_where_nobody_makes_its_claims(made: Made, manifest: Manifest, form: str) -> None:
    release, project = made("strict beside a database")
    with pytest.raises(SettingsRefused, match="only a StatefulSet"):
        OBJECTS[form](release, project, manifest)


@pytest.mark.cluster
@pytest.mark.parametrize("name", [name for name in PROJECTS if not name.startswith("strict")])
def test_their_definitions_take_them(made: Made, manifest: Manifest, tool: Callable[..., str], name: str) -> None:
    """Validated by the API server against the definitions that the two projects publish."""
    release, project = made(name)
    for form in OBJECTS.values():
        objects = form(release, project, manifest)
        for each in objects:
            each["metadata"]["namespace"] = "default"
        tool(
            "kubectl",
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
            input=to_yaml(objects),
        )
