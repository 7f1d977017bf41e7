"""What is published: an sdist and a wheel that build, install and start."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import wherry

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from that sdist, as `python -m build` makes them."""
    pytest.importorskip("build", reason="needs build: ./dev test installs it")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("wherry-*.whl")
    return found


def test_both_carry_the_version_in_their_names(dist: Path) -> None:
    names = {path.name for path in dist.iterdir()}
    assert names == {f"wherry-{wherry.__version__}.tar.gz", f"wherry-{wherry.__version__}-py3-none-any.whl"}


def test_the_wheel_holds_every_module_its_types_and_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    source = ROOT / "src"
    modules = {str(path.relative_to(source)) for path in (source / "wherry").rglob("*.py")}
    assert modules <= held
    assert "wherry/py.typed" in held
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert not [name for name in held if name.startswith(("tests/", "bench/", "docs/", "examples/"))]
    examples = ROOT / "examples"
    for path in examples.glob("*/[!.]*"):
        if path.suffix in (".py", ".toml", ".md", ".xz"):
            assert f"wherry/examples/{path.relative_to(examples)}" in held
    assert not [name for name in held if name.startswith("wherry/examples/") and ("bundle" in name or "model" in name)]


def test_the_sdist_holds_what_the_tests_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "dev", "tests/conftest.py"} <= held


def test_the_wheel_installs_and_starts_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are lent from this environment, so nothing is downloaded."""
    fresh = tmp_path / "venv"
    venv.create(fresh, with_pip=False, symlinks=True)
    python = fresh / "bin" / "python"
    (site,) = fresh.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    # after the fresh site-packages, and without the .pth files that would lend this checkout too
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, lent(tmp_path)))}
    version = subprocess.run(
        [fresh / "bin" / "wherry", "--version"], capture_output=True, text=True, env=environ, check=False
    )
    assert version.returncode == 0, version.stderr
    assert wherry.__version__ in version.stdout
    listed = subprocess.run(
        [fresh / "bin" / "wherry", "-q", "example"], capture_output=True, text=True, env=environ, check=False
    )
    assert "breast-cancer" in listed.stdout.split(), listed.stderr
    where = subprocess.run(
        [python, "-c", "import wherry; print(wherry.__file__)"], capture_output=True, text=True, env=environ, check=True
    )
    assert Path(where.stdout.strip()).is_relative_to(site)


def lent(folder: Path) -> list[Path]:
    """A folder of links to what `wherry --version` imports, and to nothing else."""
    links = folder / "lent"
    links.mkdir()
    for name in ("click", "msgspec", "yaml", "rich"):
        (links / name).symlink_to(next(Path(entry) / name for entry in sys.path if (Path(entry) / name).is_dir()))
    return [links]
