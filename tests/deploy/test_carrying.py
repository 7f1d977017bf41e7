"""A bundle onto a claim: the program that takes it, run for real; what the preflight says of claims and ConfigMaps."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.deploy import carrying, carrying_in, preflight
from wherry.deploy.cluster import Cluster
from wherry.errors import ClaimMissing, ClaimUnfit, ConfigMapMissing, CopyFailed
from wherry.testing import FakeApiServer

CLAIM = {"claim": "models", "path": "breast"}


@contextlib.contextmanager
def taking(volume: Path, port: int, folder: str = "breast") -> Iterator[socket.socket]:
    """A connection to the program, as its pod runs it."""
    wish = json.dumps({"port": port, "volume": str(volume), "folder": folder})
    words = [sys.executable, carrying_in.__file__, wish]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == carrying_in.LISTENING
            with socket.create_connection(("127.0.0.1", port)) as far:
                yield far
        finally:
            process.kill()


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, Path]]:
    folder = tmp_path / "bundle"
    (folder / "parts").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "parts" / "model.bin").write_bytes(bytes(range(256)) * 4096)
    return [(path, folder / path) for path in ("manifest.json", "parts/model.bin")]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Where a model of yesterday lies."""
    held = tmp_path / "volume"
    (held / "breast").mkdir(parents=True)
    (held / "breast" / "of-yesterday").touch()
    return held


def test_a_folder_is_there_whole_and_replaces_what_was(
    files: list[tuple[str, Path]], volume: Path, free_ports: Any
) -> None:
    with taking(volume, free_ports(1)[0]) as far:
        carrying.sent(far, files, "models")
    found = {str(path.relative_to(volume)) for path in volume.rglob("*") if path.is_file()}
    assert found == {"breast/manifest.json", "breast/parts/model.bin"}
    assert (volume / "breast" / "parts" / "model.bin").read_bytes() == files[1][1].read_bytes()


def test_a_connection_that_breaks_leaves_what_was(files: list[tuple[str, Path]], volume: Path, free_ports: Any) -> None:
    with taking(volume, free_ports(1)[0]) as far:
        far.sendall(json.dumps([["manifest.json", 2], ["parts/model.bin", 99]]).encode() + b"\n{}" + b"half")
        far.shutdown(socket.SHUT_WR)
        reply = far.makefile("rb").readline()
    assert "ended early" in json.loads(reply)["error"]
    assert (volume / "breast" / "of-yesterday").exists()
    assert not (volume / "breast" / "manifest.json").exists()


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", ""])
def test_no_file_leaves_the_volume(path: str, files: list[tuple[str, Path]], tmp_path: Path, free_ports: Any) -> None:
    with taking(tmp_path / "volume", free_ports(1)[0]) as far, pytest.raises(CopyFailed, match="no path inside"):
        carrying.sent(far, [(path, files[0][1])], "models")


# --- before the rollout


def test_a_claim_or_config_map_that_is_missing_is_named(
    fake: Cluster, server: FakeApiServer, make_release: Any
) -> None:
    release = make_release("boats", model=CLAIM)
    with pytest.raises(ClaimMissing) as missing:
        preflight.check_model(release, fake)
    assert "models" in str(missing.value)
    assert "--copy-model" in (missing.value.hint or "")
    preflight.check_model(release, fake, copied=True)  # it is made on the way
    fake.create(carrying.claim_of(release, carrying.LEAST_SIZE))
    preflight.check_model(release, fake)
    preflight.check_model(make_release("boats"), fake)  # the control
    with pytest.raises(ConfigMapMissing, match="mlserving-configs"):
        preflight.check_model(make_release("boats", config_map="mlserving-configs"), fake)


def test_a_claim_that_one_pod_alone_may_mount_is_refused(
    fake: Cluster, server: FakeApiServer, make_release: Any
) -> None:
    release = make_release("boats", model=CLAIM)
    made = carrying.claim_of(release, carrying.LEAST_SIZE)
    made["spec"]["accessModes"] = ["ReadWriteOncePod"]
    fake.create(made)
    with pytest.raises(ClaimUnfit, match="ReadWriteOncePod"):
        preflight.check_model(release, fake)


def test_the_pod_that_copies_meets_the_restricted_standard(make_release: Any) -> None:
    pod = carrying.pod_of(make_release("boats", model=CLAIM))
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert spec["volumes"] == [{"name": "model", "persistentVolumeClaim": {"claimName": "models"}}]
    assert container["volumeMounts"] == [
        {"name": "model", "mountPath": "/model"}
    ]  # not read-only, unlike the service's
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] != "ferry", "the Service would send it requests"
