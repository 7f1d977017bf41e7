"""wherry as a wheel: the same bytes each time, good enough for pip, only the container's half."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import wherry
from wherry import __version__
from wherry.deploy import pins
from wherry.deploy.wheel import requirements, wheel


def test_same_sources_make_the_same_bytes() -> None:
    assert wheel() == wheel()


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A wherry that holds what was compiled, and what that was made of; the path of the former."""
    package = tmp_path / "wherry"
    for room in ("contract", "errors", "model", "server/doors"):
        (package / room).mkdir(parents=True)
    for name in ("__init__.py", "py.typed", "server/doors/_flat.c", "server/doors/_flat.pyi", "server/run.py"):
        (package / name).write_text("")
    (package / "server/doors/_flat.abi3.so").write_bytes(b"machine code")
    monkeypatch.setattr(wherry, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr(pins.machine, "machine", lambda: "x86_64")
    return "wherry/server/doors/_flat.abi3.so"


@pytest.mark.parametrize("platform", ["linux/amd64", ""])
def test_what_was_compiled_here_goes_into_an_image_of_this_platform(
    compiled: str, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    name, content = wheel(platform)
    assert name == f"wherry-{__version__}-cp311-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read(compiled) == b"machine code"
        said = archive.read(f"wherry-{__version__}.dist-info/WHEEL").decode().splitlines()
        assert {"Root-Is-Purelib: false", "Tag: cp311-abi3-linux_x86_64"} <= set(said)
        assert "wherry/server/run.py" in archive.namelist()
        assert not [held for held in archive.namelist() if held.endswith((".c", ".pyi"))]


@pytest.mark.parametrize(("system", "platform"), [("linux", "linux/arm64"), ("darwin", "linux/amd64")])
def test_no_machine_code_goes_into_an_image_of_another_platform(
    compiled: str, system: str, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    name, content = wheel(platform)
    assert name == f"wherry-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert compiled not in archive.namelist()
        said = archive.read(f"wherry-{__version__}.dist-info/WHEEL").decode().splitlines()
        assert {"Root-Is-Purelib: true", "Tag: py3-none-any"} <= set(said)


def test_only_what_runs_in_the_container_is_in_it() -> None:
    names = zipfile.ZipFile(io.BytesIO(wheel()[1])).namelist()
    rooms = {name.split("/")[1] for name in names if name.startswith("wherry/")}
    assert rooms == {"__init__.py", "errors", "py.typed", "contract", "model", "server"}
    assert not [name for name in names if name.endswith(".pyc")]
    assert all(f"wherry-{__version__}.dist-info/{name}" in names for name in ("METADATA", "WHEEL", "RECORD"))


def test_requirements_are_those_that_wherry_states() -> None:
    assert [text.split(">=")[0] for text in requirements(["numpy", "uvloop", "sqlalchemy", "psycopg", "nobody"])] == [
        "numpy",
        "uvloop",
        "sqlalchemy",
        "psycopg[binary]",
        "nobody",
    ]
    assert not [text for text in requirements(["numpy", "uvloop"]) if ";" in text or ">=" not in text]


def test_pip_installs_it_and_it_imports_alone(tmp_path: Path) -> None:
    pytest.importorskip("pip", reason="needs pip")
    name, content = wheel()
    (tmp_path / name).write_bytes(content)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", "lib", name],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    where = "import importlib.metadata as m, wherry.contract.names, wherry; print(wherry.__file__, m.version('wherry'))"
    shown = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == [str(tmp_path / "lib/wherry/__init__.py"), __version__]
