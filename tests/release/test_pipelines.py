"""The files of a pipeline: the same bytes for the same project, each step one command, no right that is not needed."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.contract.project import Project
from wherry.errors import AccessRule, SettingsRefused
from wherry.release.pipelines.files import MARK, Pipeline, pipeline
from wherry.release.pipelines.google import credentials
from wherry.release.pipelines.steps import Delivery, Google, delivery

NEEDED = (AccessRule("get", "apps", "deployments"), AccessRule("patch", "apps", "deployments"))
CONTEXT = "gke_demo-1_europe-north1-a_ml-cluster"
IMAGE = "europe-docker.pkg.dev/demo-1/models/house-prices"
Declare = Callable[[dict[str, Any]], Project]


def told(declare: Declare, image: str = IMAGE, **deploy: str) -> Delivery:
    repository = "https://github.com/owner/houses"
    project = declare({"deploy": deploy, "pipeline": {"repository": repository, "requirements": "requirements.txt"}})
    return delivery(project, "house-prices", image=image, namespace="models", version="1.2.3")


@pytest.fixture
def google(declare: Declare) -> Pipeline:
    return pipeline(told(declare, context=CONTEXT), NEEDED)


@pytest.fixture
def plain(declare: Declare) -> Pipeline:
    return pipeline(told(declare, "ghcr.io/owner/house-prices", context="production"), NEEDED)


def as_text(made: Pipeline) -> str:
    commands = "".join(f"# {each.text}\n{each.hint}\n" for each in made.commands)
    return "".join(f"# {path}\n{text}\n" for path, text in made.files.items()) + commands


@pytest.mark.parametrize("which", ["google", "plain"])
def test_the_files_are_as_they_should_be(
    which: str, request: pytest.FixtureRequest, golden: Callable[[str, str], None]
) -> None:
    golden(f"pipeline-{which}.txt", as_text(request.getfixturevalue(which)))


def ran(document: dict[str, Any]) -> list[str]:
    """The commands that a file runs, in their order: of a workflow, a build or a CronJob."""
    if "jobs" in document:
        return [step.get("run", "") for step in document["jobs"]["deliver"]["steps"]]
    if "steps" in document:
        return [step["script"].removeprefix("#!/bin/sh\n").rstrip() for step in document["steps"]]
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return [each["command"][-1] for each in (*pod["initContainers"], *pod["containers"])]


def test_all_three_run_the_same_commands_in_the_same_order(declare: Declare, google: Pipeline) -> None:
    wanted = [step.command for step in told(declare, context=CONTEXT).steps]
    assert [command.split()[:2] for command in wanted[2:]] == [
        ["wherry", "predict"],
        ["wherry", "gate"],
        ["wherry", "build"],
        ["wherry", "deploy"],
    ]
    files = [text for path, text in google.files.items() if "role" not in path]
    assert len(files) == 3
    for text in files:
        assert text.startswith(MARK)
        assert "\n".join(command for command in ran(yaml.safe_load(text)) if command in wanted) == "\n".join(wanted)


def test_the_workflow_pins_its_actions_and_takes_no_right_that_it_does_not_need(
    google: Pipeline, plain: Pipeline, declare: Declare
) -> None:
    other = pipeline(told(declare, "registry.example/houses", context="production"), NEEDED)
    wanted = ({"id-token": "write"}, {"packages": "write"}, {})
    for made, more in zip((google, plain, other), wanted, strict=True):
        workflow = yaml.safe_load(made.files[".github/workflows/house-prices-pipeline.yaml"])
        job = workflow["jobs"]["deliver"]
        assert made is not other or "docker login registry.example" in str(job)
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert used
        assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", each) for each in used)
        assert workflow["permissions"] == {}
        assert job["permissions"] == {"contents": "read", **more}
        assert not workflow["concurrency"]["cancel-in-progress"], "a delivery is never cut off in its middle"
        # An expression inside a script is text that others may write: values come by the environment.
        assert not any("${{" in step.get("run", "") for step in job["steps"])


def test_only_what_needs_credentials_has_them(google: Pipeline) -> None:
    build = yaml.safe_load(google.files["cloudbuild.yaml"])
    assert [step["id"] for step in build["steps"] if "volumes" in step] == ["credentials", "gate", "build", "deploy"]
    pod = yaml.safe_load(google.files["pipeline/cronjob.yaml"])["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    mounted = {
        name: [each["name"] for each in (*pod["initContainers"], *pod["containers"]) if name in volumes(each)]
        for name in ("token", "credentials")
    }
    assert mounted == {"token": ["gate", "deploy"], "credentials": ["source", "build", "deploy"]}
    assert not pod["automountServiceAccountToken"]


def volumes(container: dict[str, Any]) -> set[str]:
    return {mount["name"] for mount in container["volumeMounts"]}


def test_what_cannot_be_written_is_said_with_what_to_type(declare: Declare) -> None:
    bare = delivery(declare({}), "house-prices", image="x/y", namespace="models", version="1")
    made = pipeline(bare, ())
    assert sorted(made.files) == [".github/workflows/house-prices-pipeline.yaml", "pipeline/role.yaml"]
    assert [each.hint.split()[2] for each in made.left_out] == ["--context", "--context", "--repository"]


def test_a_time_that_never_comes_is_refused(declare: Declare) -> None:
    project = declare({"pipeline": {"schedule": "61 3 * * *"}})
    with pytest.raises(SettingsRefused, match=r"pipeline\.schedule its minute is 61, not from 0 to 59"):
        delivery(project, "house-prices", image="x/y", namespace="models", version="1")


def test_a_long_name_makes_an_account_that_google_takes(declare: Declare) -> None:
    made = delivery(declare({}), "a" * 20 + "-" + "b" * 30, image="x/y", namespace="n", version="1")
    assert made.account == "a" * 20 + "-pipeline"
    assert len(delivery(declare({}), "c" * 63, image="x/y", namespace="n", version="1").account) == 30


def test_the_credentials_are_those_that_the_cluster_and_the_registry_take(declare: Declare, tmp_path: Path) -> None:
    """The script, run with a stand-in for gcloud."""
    programs = tmp_path / "bin"
    programs.mkdir()
    gcloud = programs / "gcloud"
    gcloud.write_text(
        '#!/bin/sh\ncase "$*" in *print-access-token*) echo sesame;; *endpoint*) echo 192.0.2.7;; *) echo QUJD;; esac\n'
    )
    gcloud.chmod(0o755)
    made = told(declare, context=CONTEXT)
    cluster = Google.of(CONTEXT)
    assert cluster == Google("demo-1", "europe-north1-a", "ml-cluster")
    place = tmp_path / "credentials"
    environ = {"PATH": f"{programs}:/usr/bin:/bin", "CREDENTIALS": str(place)}
    subprocess.run(["sh", "-c", credentials(made, cluster)], env=environ, check=True)
    config = json.loads((place / "kubeconfig").read_text())
    assert config["current-context"] == CONTEXT
    assert config["contexts"][0]["context"]["namespace"] == "models"
    assert config["clusters"][0]["cluster"] == {
        "server": "https://192.0.2.7",
        "certificate-authority-data": "QUJD",
    }
    assert config["users"][0]["user"] == {"token": "sesame"}
    login = json.loads((place / "config.json").read_text())["auths"]["europe-docker.pkg.dev"]["auth"]
    assert base64.b64decode(login) == b"oauth2accesstoken:sesame"
    assert (place / "kubeconfig").stat().st_mode & 0o077 == 0
