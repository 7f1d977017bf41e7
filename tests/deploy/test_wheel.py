"""wherry as a wheel: the same bytes each time, good enough for pip, only the container's half."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from wherry import __version__
from wherry.deploy.wheel import requirements, wheel


def test_same_sources_make_the_same_bytes() -> None:
    assert wheel() == wheel()
    assert wheel()[0] == f"wherry-{__version__}-py3-none-any.whl"


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
