"""Loading: the command line that each engine is given, run against stand-ins that write down what they were asked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.contract.events import Event, Step
from wherry.deploy import engines
from wherry.deploy.engines import Engine
from wherry.errors import BuildFailed, DiskFull, EngineUnknown
from wherry.release.reference import Reference

REFERENCE = Reference.parse("breast:7")
# What was run for real: docker and ctr, in the tests of the cluster. kind and minikube are stand-ins here.
COMMANDS = {
    "docker": "docker load --input FILE",
    "containerd": "ctr --namespace k8s.io images import FILE",
    "kind": "kind load image-archive FILE",
    "kind:test": "kind load image-archive FILE --name test",
    "minikube": "minikube image load FILE",
    "minikube:test": "minikube --profile test image load FILE",
}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Stands a program of this name on the PATH that writes its arguments down, or fails with `words`."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def stand(name: str, words: str = "") -> Path:
        told = tmp_path / f"{name}.told"
        end = f"echo '{words}' >&2; exit 1" if words else f'echo "{name} $*" > {told}'
        (tmp_path / name).write_text(f"#!/bin/sh\n{end}\n")
        (tmp_path / name).chmod(0o755)
        return told

    return stand


@pytest.mark.parametrize("name", COMMANDS)
def test_an_engine_is_given_its_command(name: str, recorded: Callable[[str], Path], tmp_path: Path) -> None:
    told: list[Event] = []
    noted = recorded(COMMANDS[name].partition(" ")[0])
    engines.load(Engine.parse(name), tmp_path / "image.tar", REFERENCE, "base:1", told.append)
    assert noted.read_text().strip() == COMMANDS[name].replace("FILE", str(tmp_path / "image.tar"))
    assert [event.text for event in told if isinstance(event, Step)] == [f"loading breast:7 into {name}"] * 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ('ERROR: no nodes found for cluster "kind"', BuildFailed),
        ("write /var: no space left on device", DiskFull),
    ],
)
def test_an_engine_that_takes_it_not_is_quoted(
    words: str, error: type[Exception], recorded: Callable[..., Path], tmp_path: Path
) -> None:
    recorded("kind", words)
    with pytest.raises(error) as caught:
        engines.load(Engine("kind"), tmp_path / "image.tar", REFERENCE, "base:1")
    assert words in str(caught.value) or error is DiskFull


def test_an_engine_that_is_not_here_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildFailed, match=r"the minikube command, .*, is not installed"):
        engines.load(Engine("minikube"), tmp_path / "image.tar", REFERENCE, "base:1")


@pytest.mark.parametrize("text", ["podman", "docker:x", "containerd:k8s.io", "", "Kind"])
def test_what_is_no_engine_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(EngineUnknown) as caught:
        Engine.parse(text)
    assert "--load=kind[:CLUSTER]" in caught.value.hint


def test_the_help_of_build_is_right_that_load_alone_means_docker(
    linear_bundle: Path, tmp_path: Path, wherry: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """`--load` must not swallow the word behind it."""
    ran = wherry("build", "--load=podman", linear_bundle, "-t", "x:1")
    assert (ran.returncode, "no image can be loaded into 'podman'" in ran.stderr) == (2, True)
    ran = wherry("build", "--load", tmp_path / "nothing", "-t", "x:1")
    assert str(tmp_path / "nothing") in ran.stderr
