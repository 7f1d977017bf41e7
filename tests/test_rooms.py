"""The house keeps its shape: who imports whom, what an import may do, how long a module may be."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "wherry"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 400
MEDIAN = 150

# Libraries that take longer to import than `wherry --help` may take.
HEAVY = {
    *("joblib", "kubernetes", "onnx", "onnxruntime", "pandas", "pyarrow", "rich", "scipy", "skl2onnx", "sklearn"),
    *("cryptography", "nacl", "skops", "sqlalchemy", "numpy", "opentelemetry", "lightgbm", "xgboost"),
}


def name_of(path: Path) -> str:
    parts = ["wherry", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def lint_imports(config: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on the package that lies under `source`."""
    return subprocess.run(
        [sys.executable, "-c", LINT, str(source), str(config)], capture_output=True, text=True, check=False
    )


# The folder goes first on the path, before an editable install of the real package.
LINT = """
import sys
sys.path.insert(0, sys.argv[1])
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename=sys.argv[2], no_cache=True))
"""


def test_every_room_imports_only_what_it_may() -> None:
    verdict = lint_imports(ROOT / "pyproject.toml", ROOT / "src")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


# A forbidden import, the room it is planted in, and how the contract that it breaks begins.
INTRUDERS = [
    ("contract", "import wherry.model", "A room knows only the rooms below it"),
    ("deploy", "import wherry.model", "The desk half sees a manifest"),
    ("stress", "import wherry.model", "Load is put on any service"),
    ("server", "import wherry.release", "What runs in the image"),
    ("contract", "import socket", "The contract holds values only"),
    ("release", "import subprocess", "Rendering touches nothing"),
    ("server", "import sklearn", "scikit-learn and its family"),
    ("model", "import onnxruntime", "onnxruntime lives in"),
    ("server", "import xgboost", "XGBoost, LightGBM, PyTorch and Keras live in"),
    ("server", "import pandas", "pandas and pyarrow come only where"),
    ("server", "import PIL", "Pictures are read in model.pictures"),
    ("cli", "import kubernetes", "The Kubernetes client lives in"),
    ("cli", "import cryptography", "Keys live in deploy.attesting.signing"),
    ("cli", "import sqlalchemy", "SQL lives in server.sinks"),
    ("model", "import uvloop", "The HTTP parser and the event loop"),
    ("server", "import opentelemetry.sdk", "OpenTelemetry lives in"),
    ("deploy", "import click", "argv is read in cli"),
    ("server", "import subprocess", "A process is started only where"),
    ("cli", "import tomlkit", "The file of settings is rewritten"),
    ("cli", "import rich", "Terminal colours live in"),
]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The contracts that a copy of the house breaks when every intruder is planted in it."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(SOURCE, folder / "wherry", ignore=shutil.ignore_patterns("__pycache__"))
    for number, (room, line, _) in enumerate(INTRUDERS):
        (folder / "wherry" / room / f"intruder{number}.py").write_text(f'"""Not allowed."""\n\n{line}\n')
    verdict = lint_imports(ROOT / "pyproject.toml", folder)
    assert verdict.returncode == 1, verdict.stdout + verdict.stderr
    return [row for row in verdict.stdout.splitlines() if " BROKEN" in row]


@pytest.mark.parametrize(("room", "line", "contract"), INTRUDERS)
def test_a_forbidden_import_is_seen(room: str, line: str, contract: str, broken: list[str]) -> None:
    assert [row for row in broken if row.startswith(contract)], f"{line} in {room} went unseen"


def test_every_contract_is_tried(broken: list[str]) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert len(broken) == len(contracts)


def loadable() -> list[str]:
    """Our modules, without those whose library is not here: LightGBM's cannot be loaded without the system's OpenMP."""
    lacking = {f"wherry.model.flavors.{name}" for name in ("keras", "torch") if find_spec(name) is None}
    lacking |= {"wherry.model.flavors.lightgbm"} if find_library("gomp") is None else set()
    return [name for name in map(name_of, MODULES) if name not in lacking]


OTHERS = """asyncio concurrent.futures multiprocessing kubernetes.client kubernetes.config numpy onnx onnxruntime
    pandas pyarrow rich.console scipy.special skl2onnx skops.io sklearn.pipeline sqlalchemy uvloop httptools click
    msgspec yaml lightgbm xgboost opentelemetry.sdk.trace.export
    opentelemetry.exporter.otlp.proto.http.trace_exporter"""

# Imports what others made first, so that only what our own modules do is left to see.
DO_NOTHING = """
import importlib, json, os, sys, threading
for other in sys.argv[1].split():
    try:
        importlib.import_module(other)
    except (ImportError, OSError):
        pass
sys.dont_write_bytecode = True
seen, module = [], ""
IN_IMPORT = (".py", ".pyc", ".so", ".pyd")
def watch(event, args):
    if event == "open":
        path, mode, flags = args
        writes = isinstance(mode, str) and set(mode) & set("wax+")
        if writes or not str(path).endswith(IN_IMPORT):
            seen.append([module, event, f"{path} {mode}"])
    elif event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.putenv", "os.unsetenv", "os.mkdir",
                           "os.remove", "os.rename", "shutil.", "tempfile.", "sqlite3.", "signal.")):
        seen.append([module, event, str(args)[:200]])
environ, threads = dict(os.environ), threading.active_count()
sys.addaudithook(watch)
for module in sys.argv[2:]:
    importlib.import_module(module)
    if dict(os.environ) != environ:
        seen.append([module, "environment", "changed"])
    if threading.active_count() != threads:
        seen.append([module, "thread", "started"])
found = list(seen)
print(json.dumps(found))
"""


def test_importing_a_module_only_defines_names() -> None:
    """No socket, no file but the modules themselves, no thread, no process, no change of the environment."""
    child = subprocess.run(
        [sys.executable, "-c", DO_NOTHING, OTHERS, *loadable()], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == []


def test_the_watch_sees_what_an_import_does(tmp_path: Path) -> None:
    (tmp_path / "guilty.py").write_text("import socket\nsocket.socket().close()\nopen('left', 'w').close()\n")
    child = subprocess.run(
        [sys.executable, "-c", DO_NOTHING, "socket", "guilty"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert {event for _, event, _ in json.loads(child.stdout)} == {"socket.__new__", "open"}


@pytest.mark.parametrize(("module", "light"), [("wherry", HEAVY), ("wherry.cli.main", HEAVY)])
def test_nothing_heavy_is_imported_before_it_is_needed(module: str, light: set[str]) -> None:
    code = f"import sys, {module}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert loaded & light == set()


def test_every_module_says_what_it_promises() -> None:
    silent = [
        name_of(path)
        for path in MODULES
        if not path.read_text().startswith(('"""', '#!"""', "#")) and path.stat().st_size
    ]
    assert silent == []


def test_modules_stay_short() -> None:
    """Median under 150 lines, none over 400 unless its first comment says why."""
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    excused = {path for path in lengths if path.read_text().startswith("# long because ")}
    assert {name_of(path): n for path, n in lengths.items() if n > LONGEST and path not in excused} == {}
    assert statistics.median(lengths.values()) < MEDIAN


# The reason stands beside, as a comment of its own.
EXCUSES = re.compile(r"# (?:noqa|type: ignore)|(?:except|suppress)\b[ (]*(?:Base)?Exception\b")
EXCUSED = re.compile(r"# (?:noqa: |type: ignore\[)[\w, -]+\]?  # \w|:  # (?!noqa|type)\w")


def without_reason(text: str) -> list[str]:
    return [line for line in text.splitlines() if EXCUSES.search(line) and not EXCUSED.search(line)]


def test_every_exception_to_a_rule_has_its_reason_beside_it() -> None:
    named = {path.name: without_reason(path.read_text()) for path in [*MODULES, *ROOT.glob("bench/*.py")]}
    tests = {path.name: without_reason(path.read_text()) for path in ROOT.glob("tests/**/*.py")}
    del tests["test_rooms.py"], tests["test_malicious.py"]  # they hold some as text
    assert {name: lines for name, lines in (named | tests).items() if lines} == {}
    bad = [
        "x = 1  # noqa: F401",
        "x = y  # type: ignore[misc]  #",
        "except Exception as e:",
        "with suppress(Exception):",
    ]
    bad += ["except Exception:  # noqa: BLE001", "except (Exception, KeyboardInterrupt):"]
    assert without_reason("\n".join([*bad, "except Exception:  # why", "x  # noqa: B018, E501  # why"])) == bad
