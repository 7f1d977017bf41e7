"""Pinning: the base by the registry or by the daemon, the packages by pip, with a clear word when neither can."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import pytest

from wherry.deploy import registry
from wherry.deploy.pins import digest_of, native_platform, pin_base, pin_requirements, platform_tags
from wherry.errors import BaseMissing, PipMissing, RegistryFailed, RequirementsUnresolved
from wherry.release.reference import Reference

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, first on the PATH, with a docker that knows no image."""
    program(tmp_path / "docker", "echo 'No such image' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def wheel(folder: Path, name: str, version: str) -> None:
    """The smallest thing that pip takes for a wheel."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{info}/RECORD", "")


def test_base_takes_the_digest_that_its_registry_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "digest", lambda reference: DIGEST)
    assert str(pin_base("python:3.11-slim")) == f"python@{DIGEST}"


def test_base_by_digest_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "digest", lambda reference: pytest.fail("asked"))
    assert str(pin_base(f"mine:1@{DIGEST}")) == f"mine@{DIGEST}"


def test_daemon_is_asked_where_no_registry_answers(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(reference: Reference) -> str:
        raise RegistryFailed(reference.host, "no route")

    monkeypatch.setattr(registry, "digest", down)
    program(docker / "docker", f"echo '{json.dumps([f'other@{DIGEST}', f'python@{DIGEST}'])}'")
    told: list[object] = []
    assert str(pin_base("python:3.11-slim", told.append)) == f"python@{DIGEST}"
    assert "local Docker daemon" in repr(told)


@pytest.mark.parametrize("down", [True, False])
def test_base_that_cannot_be_had_is_named(down: bool, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(reference: Reference) -> str | None:
        if down:
            raise RegistryFailed(reference.host, "no route")
        return None

    monkeypatch.setattr(registry, "digest", ask)
    with pytest.raises(BaseMissing) as caught:
        pin_base("nobody/nothing:7")
    assert "nobody/nothing:7" in str(caught.value)
    assert "--base" in caught.value.hint


def test_requirements_get_the_hash_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path, "Some_Thing", "1.5")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    (line,) = pin_requirements(("some-thing>=1",), "3.11", "linux/amd64")
    assert line.startswith("some-thing==1.5 --hash=sha256:")
    assert len(line.split(":")[-1]) == 64


@pytest.mark.parametrize("said", [{"hashes": {"sha256": "ab" * 32}}, {"hash": "sha256=" + "ab" * 32}])
def test_a_hash_is_read_as_each_pip_says_it(said: dict[str, object]) -> None:
    assert digest_of({"url": "https://index.example/thing.whl", "archive_info": said}) == "ab" * 32


def test_an_old_pip_says_no_hash_of_a_local_file(tmp_path: Path) -> None:
    """Debian 12 has such a pip, 23.0."""
    file = tmp_path / "some thing.whl"
    file.write_bytes(b"wheel")
    assert digest_of({"url": file.as_uri(), "archive_info": {}}) == hashlib.sha256(b"wheel").hexdigest()


def test_what_no_wheel_fits_is_named_with_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(RequirementsUnresolved) as caught:
        pin_requirements(("nothing-like-it==1",), "3.11", "linux/amd64")
    assert "nothing-like-it==1" in str(caught.value)
    assert any("No matching distribution" in line for line in caught.value.lines)


def test_missing_pip_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "python", 'echo "$0: No module named pip" >&2; exit 1')
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(PipMissing) as caught:
        pin_requirements(("numpy",), "3.11", "linux/amd64")
    assert "ensurepip" in caught.value.hint


def test_tags_go_from_new_to_old() -> None:
    tags = platform_tags("linux/amd64")
    assert tags[0] == "manylinux_2_34_x86_64"
    assert {"manylinux_2_28_x86_64", "manylinux2014_x86_64"} <= set(tags)
    assert all(tag.endswith("_aarch64") for tag in platform_tags("linux/arm64"))
    assert native_platform().startswith("linux/")
