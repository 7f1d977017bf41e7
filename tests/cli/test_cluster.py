"""`wherry cluster` as it is typed: commands shown, settings written, wrong flags refused by name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Wherry = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    config = {
        "current-context": "far",
        "clusters": [
            {"name": "far", "cluster": {"server": "https://192.0.2.7:6443"}},
            {"name": "near", "cluster": {"server": "https://127.0.0.1:6443"}},
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in ("far", "near")],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_dry_run_prints_commands_that_can_be_pasted(wherry: Wherry) -> None:
    done = wherry("cluster", "create", "gke", "demo", "--project", "p", "--region", "europe-north1", "--dry-run")
    assert done.returncode == 0
    commands = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(commands) == 5
    assert all(line.startswith("gcloud ") for line in commands)
    made = wherry("cluster", "create", "kind", "--nodes", "2", "--dry-run", "--json")
    assert json.loads(made.stdout)["context"] == "kind-wherry"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("create", "kind", "--memory", "4g"), "--memory means nothing to kind"),
        (("create", "minikube", "--region", "x"), "--region means nothing to minikube"),
        (("create", "gke", "--region", "x"), "gke needs --project"),
        (("create", "gke", "--project", "p"), "gke needs --region or --zone"),
        (("create", "gke", "--project", "p", "--region", "a", "--zone", "a-b"), "exclude one another"),
        (("create", "kind", "Big_One"), "no name of a cluster"),
        (("create", "k3s"), "k3s"),
        (("dashboard", "kind"), "has no page"),
    ],
)
def test_what_makes_no_sense_is_refused(wherry: Wherry, words: tuple[str, ...], named: str) -> None:
    done = wherry("cluster", *words)
    assert done.returncode == 2
    assert named in done.stderr


def test_without_a_yes_nothing_is_removed(wherry: Wherry) -> None:
    done = wherry("cluster", "delete", "kind", "boats")
    assert done.returncode == 2
    assert "--delete-data" in done.stderr
    assert "kind delete cluster --name boats" in done.stderr


def test_use_writes_the_project_and_not_the_kubeconfig(wherry: Wherry, kubeconfig: Path, tmp_path: Path) -> None:
    before = kubeconfig.read_text()
    (tmp_path / "wherry.toml").write_text("# mine\n[serve]\nport = 9000 # the old one\n")
    done = wherry("cluster", "use", "near", "-n", "models", KUBECONFIG=str(kubeconfig))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "wherry.toml").read_text()
    assert "# mine" in text
    assert "# the old one" in text
    assert 'context = "near"' in text
    assert 'namespace = "models"' in text
    assert kubeconfig.read_text() == before
    listed = wherry("cluster", "list", "--json", KUBECONFIG=str(kubeconfig))
    assert [json.loads(line) for line in listed.stdout.splitlines()] == [
        {"context": "far", "local": False, "chosen": False},
        {"context": "near", "local": True, "chosen": True},
    ]
    unknown = wherry("cluster", "use", "neer", KUBECONFIG=str(kubeconfig))
    assert unknown.returncode == 2
    assert "near" in unknown.stderr
