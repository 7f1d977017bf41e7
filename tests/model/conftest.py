"""Makes the modules beside the tests importable by them: nothing here is on sys.path."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import wherry
from wherry.contract.manifest import Measured

for path in ("model_parts.py", "reading/honest.py", "reading/malicious.py"):
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


@pytest.fixture
def own_process() -> None:
    """For the tests in which the process that loads the bundle again is what matters."""


@pytest.fixture(autouse=True)
def measured_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a bundle is loaded and replayed in this process, which has imported the libraries already."""

    def measure(folder: Path) -> Measured:
        wherry.load(folder).replay()
        return Measured(0.1, 100_000_000)

    if "own_process" not in request.fixturenames:
        monkeypatch.setattr("wherry.model.measure.measure", measure)


@pytest.fixture
def scripted(script_s_model: bytes, tmp_path: Path) -> Path:
    """A model with a function of the script that trained it, as a notebook saves it."""
    path = tmp_path / "m.joblib"
    path.write_bytes(script_s_model)
    return path


@pytest.fixture(scope="session")
def script_s_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that the script writes."""
    script = """
import joblib, sys
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

def lg(x):
    return x

joblib.dump(make_pipeline(FunctionTransformer(lg), LinearRegression()).fit([[1.0], [2.0]], [1, 2]), sys.argv[1])
"""
    path = tmp_path_factory.mktemp("scripted") / "m.joblib"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    return path.read_bytes()
