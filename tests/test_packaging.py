"""What is published: an sdist and a wheel that build, install and start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import wherry

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("wherry/server/doors/_flat", "wherry/server/_quick")
BINARIES = tuple(f"{module}.abi3.so" for module in MODULES)


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


def test_both_carry_the_version_in_their_names(dist: Path, wheel: Path) -> None:
    assert {path.name for path in dist.iterdir()} == {f"wherry-{wherry.__version__}.tar.gz", wheel.name}
    assert wheel.name.startswith(f"wherry-{wherry.__version__}-")


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
    assert {"hatch_build.py", *(f"src/{module}.c" for module in MODULES)} <= held
    assert not [name for name in held if name.endswith(".so")]


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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The least that builds, with what an earlier build left behind."""
    folder = tmp_path / "checkout"
    (folder / "examples").mkdir(parents=True)
    (folder / "src" / MODULES[0]).parent.mkdir(parents=True)
    for name in (
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        "src/wherry/__init__.py",
        *(f"src/{module}.c" for module in MODULES),
    ):
        shutil.copy(ROOT / name, folder / name)
    for binary in BINARIES:
        (folder / "src" / binary).write_bytes(b"of an earlier build")
    return folder


def packed(checkout: Path, environ: dict[str, str], target: str = "wheel") -> tuple[Path, str]:
    """The wheel that the checkout makes, and what the build said."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(checkout.parent)]
    environ = {name: value for name, value in os.environ.items() if name not in ("CC", "WHERRY_PURE")} | environ
    built = subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True, check=False)
    said = built.stdout + built.stderr
    assert built.returncode == 0, said
    if "CC" not in environ and ("no C compiler was found" in said or "fatal error" in said):
        pytest.skip(f"needs a C compiler and Python.h (on Debian gcc, libc6-dev and python3-dev): {said}")
    (found,) = checkout.parent.glob("*.whl")
    return found, said


def imports(module: Path) -> bool:
    """Whether a fresh interpreter, which has nothing else of wherry, imports the compiled module."""
    asked = "import sys; sys.path.insert(0, sys.argv[1]); print(__import__(sys.argv[2]).__file__)"
    command = [sys.executable, "-I", "-c", asked, str(module.parent), module.name.partition(".")[0]]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    return shown.stdout.split() == [str(module)]


def test_with_a_compiler_the_wheel_holds_machine_code(checkout: Path, tmp_path: Path) -> None:
    found, _ = packed(checkout, {})
    assert found.name.startswith(f"wherry-{wherry.__version__}-cp311-abi3-")
    with zipfile.ZipFile(found) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".c")]
        said = archive.read(f"wherry-{wherry.__version__}.dist-info/WHEEL").decode()
        assert "Root-Is-Purelib: false" in said.splitlines()
        assert all(imports(Path(archive.extract(binary, tmp_path))) for binary in BINARIES)
    assert {(checkout / "src" / binary).read_bytes() for binary in BINARIES} == {b"of an earlier build"}


def test_an_editable_installation_has_it_beside_its_source(checkout: Path) -> None:
    found, _ = packed(checkout, {}, "wheel:editable")
    with zipfile.ZipFile(found) as archive:
        assert not [name for name in archive.namelist() if name.startswith("wherry/")]
    assert all(imports(checkout / "src" / binary) for binary in BINARIES)


@pytest.mark.parametrize("environ", [{"CC": "false"}, {"CC": "no-such-compiler"}, {"WHERRY_PURE": "1"}], ids=str)
def test_without_a_compiler_or_when_asked_all_is_python(checkout: Path, environ: dict[str, str]) -> None:
    found, said = packed(checkout, environ)
    assert found.name == f"wherry-{wherry.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(found) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".c", ".so"))]
    assert said.count("wherry without its part in C") == 1
    found.unlink()
    packed(checkout, environ, "wheel:editable")
    left = [binary for binary in BINARIES if (checkout / "src" / binary).exists()]
    assert left == [], "what an earlier build left would be imported"


def lent(folder: Path) -> list[Path]:
    """A folder of links to what `wherry --version` imports, and to nothing else."""
    links = folder / "lent"
    links.mkdir()
    for name in ("click", "msgspec", "yaml", "rich"):
        (links / name).symlink_to(next(Path(entry) / name for entry in sys.path if (Path(entry) / name).is_dir()))
    return [links]
