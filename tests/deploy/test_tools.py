"""Cluster tools: the commands line by line, and how they are run, by programs that only record how they were called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wherry.contract.events import Note
from wherry.deploy.tools.plan import METRICS_SERVER, Command, Plan, Wanted
from wherry.deploy.tools.running import TOOLS, carry_out
from wherry.errors import ToolFailed, ToolMissing

GKE: dict[str, Any] = {"project": "my-project", "place": "europe-north1"}


def lines(plan: Plan) -> list[str]:
    return [str(command) for command in plan.commands]


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Stands in for programs: record("kind", fails="patch") makes one; calling it without a name gives the calls."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def record(name: str = "", fails: str = "") -> list[str]:
        if name:
            refusal = f'case "$*" in *{fails}*) echo "no such thing" >&2; exit 7;; esac' if fails else ""
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\n{refusal}\n')
            (folder / name).chmod(0o755)
        return log.read_text().splitlines() if log.exists() else []

    return record


def test_minikube() -> None:
    wanted = Wanted(name="boats", nodes=2, memory="4g", cpus=2, driver="docker", mount="/data:/mnt")
    made = TOOLS["minikube"].create(wanted)
    assert made.context == "boats"
    assert lines(made) == [
        (
            "minikube start --profile boats --nodes 2 --memory 4g --cpus 2 --driver docker"
            " --mount --mount-string /data:/mnt"
        ),
        "minikube addons enable metrics-server --profile boats",
    ]
    assert lines(TOOLS["minikube"].delete(wanted)) == ["minikube delete --profile boats"]
    assert str(TOOLS["minikube"].dashboard(wanted)) == "minikube dashboard --url --profile boats"


def test_kind_takes_a_file_only_where_flags_do_not_do() -> None:
    plain = TOOLS["kind"].create(Wanted(name="boats"))
    assert plain.context == "kind-boats"
    assert plain.files == {}
    assert lines(plain)[:2] == [
        "kind create cluster --name boats --wait 120s",
        f"kubectl --context kind-boats apply -f {METRICS_SERVER}",
    ]
    assert "--kubelet-insecure-tls" in lines(plain)[2]
    several = TOOLS["kind"].create(Wanted(name="boats", nodes=2, mount="/data:/mnt"))
    assert lines(several)[0].endswith("--config .wherry/kind-boats.yaml")
    (text,) = several.files.values()
    assert text.count("role: worker") == 1
    assert text.count("hostPath: /data") == 2


def test_docker_desktop_is_switched_on_by_hand() -> None:
    made = TOOLS["docker-desktop"].create(Wanted(name="any"))
    assert made.context == "docker-desktop"
    assert "Enable Kubernetes" in made.notes[0]
    assert TOOLS["docker-desktop"].delete(Wanted(name="any")).commands == ()


def test_gke_by_region_with_an_account_that_may_push() -> None:
    wanted = Wanted(
        name="demo", **GKE, nodes=1, machine_type="e2-small", account="ci@my-project.iam.gserviceaccount.com"
    )
    made = TOOLS["gke"].create(wanted)
    assert made.context == "gke_my-project_europe-north1_demo"
    assert lines(made) == [
        (
            "gcloud services enable container.googleapis.com artifactregistry.googleapis.com cloudbuild.googleapis.com"
            " --project my-project"
        ),
        (
            "gcloud container clusters create demo --region europe-north1 --num-nodes 1 --machine-type e2-small"
            " --project my-project"
        ),
        (
            "gcloud artifacts repositories create models --repository-format docker --location europe-north1"
            " --project my-project"
        ),
        "gcloud auth configure-docker europe-north1-docker.pkg.dev --quiet",
        (
            "gcloud artifacts repositories add-iam-policy-binding models --location europe-north1"
            " --project my-project --member serviceAccount:ci@my-project.iam.gserviceaccount.com"
            " --role roles/artifactregistry.writer"
        ),
        "gcloud container clusters get-credentials demo --region europe-north1 --project my-project",
    ]


def test_gke_by_zone_and_autopilot() -> None:
    zonal = lines(TOOLS["gke"].create(Wanted(name="demo", project="p", place="europe-north1-a", zonal=True)))
    assert "gcloud container clusters create demo --zone europe-north1-a --project p" in zonal
    assert any("--location europe-north1 " in line for line in zonal), "repositories are in a region"
    auto = lines(TOOLS["gke"].create(Wanted(name="demo", **GKE, autopilot=True)))
    assert "gcloud container clusters create-auto demo --region europe-north1 --project my-project" in auto


def test_what_costs_money_goes_before_the_cluster_and_what_may_stay_is_listed() -> None:
    plan = TOOLS["gke"].delete(Wanted(name="demo", **GKE))
    told = lines(plan)
    cluster = next(place for place, line in enumerate(told) if "clusters delete demo" in line)
    before, after = told[:cluster], told[cluster + 1 :]
    assert [line.split(" delete ")[1].split()[0] for line in before] == [
        "services",
        "ingresses",
        "persistentvolumeclaims",
    ]
    assert all(line.startswith("kubectl --context gke_my-project_europe-north1_demo ") for line in before)
    assert [line.split(" list")[0].split()[-1] for line in after] == [
        "forwarding-rules", "addresses", "disks", "repositories"
    ]  # fmt: skip  # in the order they are looked at
    assert [each.must for each in plan.commands] == [False] * 3 + [True] + [False] * 4


# --- running them ---------------------------------------------------------------------------------------------------


def test_every_command_is_told_and_run_in_order(
    recording: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recording("kind")
    recording("kubectl")
    told: list[Any] = []
    plan = TOOLS["kind"].create(Wanted(name="boats", nodes=2))
    carry_out(plan, told.append)
    assert [call.split()[0] for call in recording()] == ["kind", "kubectl", "kubectl"]
    assert [event.text for event in told if isinstance(event, Note)] == [f"+ {line}" for line in lines(plan)]
    assert "role: worker" in (tmp_path / ".wherry" / "kind-boats.yaml").read_text()


def test_a_failure_says_what_was_not_run(recording: Callable[..., list[str]]) -> None:
    recording("kind")
    recording("kubectl", fails="apply")
    with pytest.raises(ToolFailed) as failed:
        carry_out(TOOLS["kind"].create(Wanted(name="boats")))
    assert failed.value.status == 7
    assert "no such thing" in str(failed.value)
    assert "patch deployment metrics-server" in failed.value.hint
    assert len(recording()) == 2


def test_what_need_not_succeed_does_not_end_it(recording: Callable[..., list[str]]) -> None:
    recording("second")
    told: list[Any] = []
    recording("first", fails="x")
    plan = Plan("", (Command(("first", "x"), "", must=False), Command(("second",), "")))
    carry_out(plan, told.append)
    assert recording() == ["first x", "second "]
    assert any(isinstance(event, Note) and event.warn and "ended with 7" in event.text for event in told)


def test_a_missing_program_is_named_before_anything_runs(recording: Callable[..., list[str]]) -> None:
    recording("kind")
    with pytest.raises(ToolMissing) as missing:
        carry_out(TOOLS["kind"].create(Wanted(name="boats")))
    assert missing.value.program == "kubectl"
    assert missing.value.hint.startswith("install it: https://")
    assert recording() == []
