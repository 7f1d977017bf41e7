"""diff, deploy, releases and rollback by the real command line, against an API in this process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wherry.model.bundle import golden, read_manifest
from wherry.testing import FakeApiServer

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]
IMAGE = f"localhost:9/iris@sha256:{'a' * 64}"  # no registry is there, so none says that it does not hold this


@pytest.fixture
def here(linear_bundle: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose kubeconfig names an API that answers the bundle's golden rows right."""
    rows = golden(linear_bundle, read_manifest(linear_bundle))

    def answer(name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"predictions": rows.predictions}).encode()

    with FakeApiServer() as server:
        server.api.answer = answer
        yield {"KUBECONFIG": str(server.kubeconfig(tmp_path / "config"))}


def test_what_would_change_what_did_and_the_way_back(
    wherry: Wherry, here: dict[str, str], linear_bundle: Path, tmp_path: Path
) -> None:
    deploy = ("deploy", linear_bundle, "--image", IMAGE)
    diff = ("diff", linear_bundle, "--image", IMAGE)
    settings = tmp_path / "wherry.toml"
    settings.write_text("[deploy]\nreplicas = 2\n")

    new = wherry(*diff, **here)
    assert new.returncode == 4, new.stderr
    assert "+ deployment/iris" in new.stdout.splitlines()

    first = wherry(*deploy, **here)
    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines()[-1].endswith("; undo: wherry down")
    same = wherry(*diff, **here)
    assert (same.returncode, same.stdout) == (0, ""), same.stderr

    settings.write_text("[deploy]\nreplicas = 3\n")
    changed = wherry(*diff, **here)
    assert changed.returncode == 4, changed.stderr
    assert changed.stdout.splitlines() == ["~ deployment/iris", "  - .spec.replicas = 2", "  + .spec.replicas = 3"]
    asked = wherry(*diff, "--json", **here)
    assert asked.returncode == 4
    (only,) = json.loads(asked.stdout)["changes"]
    assert only["changes"] == [{"path": ".spec.replicas", "before": 2, "after": 3}]

    second = wherry(*deploy, **here)
    assert second.returncode == 0, second.stderr
    assert " 0 failed, worst p99 " in second.stderr.splitlines()[-1]
    assert second.stderr.splitlines()[-1].endswith("; undo: wherry rollback 1")

    back = wherry("rollback", "iris", "--json", **here)
    assert back.returncode == 0, back.stdout
    verdict = json.loads(back.stdout)
    assert (verdict["outcome"], verdict["release"], verdict["undo"]) == ("deployed", 3, "wherry rollback 2")
    listed = json.loads(wherry("releases", "iris", "--json", **here).stdout)
    assert [(one["number"], one["now"], one["cause"]) for one in listed] == [
        (3, True, "release 1 again"),
        (2, False, ""),
        (1, False, ""),
    ]
    missing = wherry("rollback", "iris", "9", **here)
    assert missing.returncode == 1
    assert "release 9 of iris is not kept: kept are 1, 2, 3" in missing.stderr
