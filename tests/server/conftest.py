"""Makes the modules that tests share importable, as nothing here is on sys.path; real databases, and journals."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def importable(name: str) -> Any:
    """The module in the file beside this one, under its plain name."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


serving = importable("serving")
databases = importable("databases")
store_parts = importable("store_parts")
quick_parts = importable("quick_parts")


@pytest.fixture(scope="module", params=["port", "uvicorn"])
def under(request: pytest.FixtureRequest) -> str:
    """What a service listens with, one after the other: the doors are the same behind both."""
    return str(request.param)


@pytest.fixture(autouse=True)
def listening(request: pytest.FixtureRequest) -> None:
    """Has the services that a test starts by itself listen with what it is tried with."""
    serving.UNDER["is"] = request.getfixturevalue("under") if "under" in request.fixturenames else "port"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What connections leave to Python to read, as it comes."""
    found: list[bytes] = quick_parts.noted_reads(monkeypatch)
    return found


@pytest.fixture
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes the other way because a lease has ended."""
    monkeypatch.setattr("wherry.server.quick.LEASE", 1000.0)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that the servers' own users can reach, which pytest's is not."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-db-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mariadb(server_folder: Path) -> Iterator[Any]:
    yield from databases.running(databases.MariaDB, server_folder)


@pytest.fixture(scope="session")
def postgresql(server_folder: Path) -> Iterator[Any]:
    yield from databases.running(databases.PostgreSQL, server_folder)


@pytest.fixture(params=["sqlite", "mysql", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return databases.File(tmp_path / "predictions.db")
    return databases.Database(request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql"))


@pytest.fixture(params=["mysql", "postgresql"])
def remote(request: pytest.FixtureRequest) -> Any:
    """An empty database on each kind of server."""
    return databases.Database(request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens journals in the test's folder, whose database is there or at the url given; they are closed at the end."""
    opened: list[Any] = []

    def make(url: str = "", **options: Any) -> Any:
        opened.append(store_parts.open_store(tmp_path, url=url, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting a small disk is not permitted: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)
