"""Docker asked to build: what BuildKit there is, whether its digests stand still, and the command line that follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry.contract.events import Event, Note
from wherry.deploy.docker import Docker, moves_on
from wherry.release.reference import Reference

REFERENCE = Reference.parse("breast:7")
INSPECTED = "Name: default\nDriver: {driver}\nBuildKit version: {version}\n"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, first on the PATH; its docker answers `buildx inspect` and `info` with the files of these names."""
    script = f"""#!/bin/sh
echo "$*" >> {tmp_path}/told
case "$1 $2" in
"buildx version") [ -e {tmp_path}/inspect ] ;;
"buildx inspect") cat {tmp_path}/inspect ;;
"info --format") cat {tmp_path}/info ;;
esac
"""
    (tmp_path / "docker").write_text(script)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "info").write_text("20.10.24+dfsg1 [[Backing Filesystem extfs]]")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    return tmp_path


@pytest.mark.parametrize(
    ("driver", "version", "info", "why"),
    [
        ("docker-container", "v0.13.2", "", ""),
        ("docker-container", "v0.24.0-rc1", "", ""),
        ("docker-container", "v1.0.0", "", ""),
        ("docker-container", "v0.12.5", "", "BuildKit v0.12.5 does not set the files' times, 0.13 and newer do"),
        ("docker-container", "unknown", "", "BuildKit of an unknown version"),
        ("docker", "v0.0.0+unknown", "26.1.5+dfsg1 [[driver-type io.containerd.snapshotter.v1]]", ""),
        ("docker", "v0.13.2", "26.1.5 [[Backing Filesystem extfs]]", "only with its containerd image store"),
        ("docker", "v0.8", "20.10.24+dfsg1 [[x]]", "Docker 20.10.24+dfsg1 does not set the files' times, 26 and newer"),
        ("docker", "v0.8", "Cannot connect", "does not set the files' times"),
    ],
)
def test_what_makes_digests_move_is_known(driver: str, version: str, info: str, why: str, docker: Path) -> None:
    (docker / "inspect").write_text(INSPECTED.format(driver=driver, version=version))
    (docker / "info").write_text(info)
    found = moves_on(buildx=True)
    assert why in found
    assert bool(found) == bool(why)


def test_an_older_docker_says_in_one_line_that_its_digest_moves(docker: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    assert Docker().build(tmp_path / "context", REFERENCE, "", told.append).status == 0
    (note,) = [event for event in told if isinstance(event, Note)]
    assert note.text == (
        "the image gets another digest at every build: buildx, which sets the files' times, is not installed"
    )
    assert note.hint == "--builder direct"
    last = (docker / "told").read_text().splitlines()[-1]
    assert last.startswith("build --rm --force-rm --iidfile")
    assert "rewrite-timestamp" not in last


def test_buildkit_is_told_the_time_of_every_file(docker: Path, tmp_path: Path) -> None:
    (docker / "inspect").write_text(INSPECTED.format(driver="docker-container", version="v0.13.2"))
    told: list[Event] = []
    assert Docker().build(tmp_path / "context", REFERENCE, "linux/arm64", told.append).status == 0
    assert not [event for event in told if isinstance(event, Note)]
    file = tmp_path / "context.tar"
    *_, built, loaded = (docker / "told").read_text().splitlines()
    assert built == (
        f"buildx build --progress plain --platform linux/arm64 --iidfile {tmp_path}/context/.iid --provenance=false "
        f"--build-arg SOURCE_DATE_EPOCH=7 --output type=docker,name=breast:7,rewrite-timestamp=true,dest={file} "
        f"{tmp_path}/context"
    )
    assert loaded == f"load --input {file}"
