"""T53: under another scikit-learn or numpy nothing is loaded in silence; both versions are named."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import joblib
import msgspec
import pytest
import sklearn
from model_parts import make_bundle
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from wherry.contract.manifest import Manifest, Requirements
from wherry.contract.names import RUNTIME
from wherry.errors import BundleUnfit, VersionDrift
from wherry.model import requirements
from wherry.model.flavors.sklearn.load import unpickle
from wherry.model.loaded import load

OLDER = "1.7.2"
CACHE = Path("/var/tmp/wherry-tests") / f"scikit-learn-{OLDER}-py{requirements.python()}"


@pytest.fixture(scope="module")
def skops(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    X, y = load_iris(return_X_y=True)
    return make_bundle(tmp_path_factory.mktemp("skops") / "bundle", KNeighborsClassifier().fit(X, y), X)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    X, y = load_iris(return_X_y=True)
    return make_bundle(tmp_path_factory.mktemp("linear") / "bundle", LogisticRegression(max_iter=500).fit(X, y), X)


def needing(manifest: Manifest, python: str | None = None, **packages: str) -> Manifest:
    wanted = manifest.requirements
    changed = {name.replace("_", "-"): version for name, version in packages.items()}
    return msgspec.structs.replace(
        manifest, requirements=Requirements(python or wanted.python, {**wanted.packages, **changed})
    )


def test_what_is_needed_is_written_down(skops: Manifest, linear: Manifest) -> None:
    assert skops.requirements.packages["scikit-learn"] == sklearn.__version__
    assert set(skops.requirements.packages) == {"joblib", "numpy", "scikit-learn", "scipy", "skops"}
    assert set(linear.requirements.packages) == {"numpy"}
    assert skops.requirements.python == requirements.python()
    assert "scikit-learn" not in RUNTIME
    requirements.check(skops)
    requirements.check(linear)


@pytest.mark.parametrize(
    ("package", "version"),
    [("scikit_learn", "1.7.2"), ("scikit_learn", "99.0"), ("numpy", "1.26.4"), ("numpy", "99.0"), ("skops", "0.10")],
)
def test_another_version_of_what_wrote_a_skops_file_is_refused(skops: Manifest, package: str, version: str) -> None:
    with pytest.raises(BundleUnfit) as caught:
        requirements.check(needing(skops, **{package: version}))
    error = caught.value
    assert error.package == package.replace("_", "-") and error.wanted == version
    assert version in str(error) and error.found in str(error) and error.found != version
    assert f"{error.package}=={version}" in error.hint


def test_arrays_and_graphs_are_read_by_newer_versions_but_not_by_older_ones(linear: Manifest) -> None:
    requirements.check(needing(linear, numpy="1.26.4"))
    requirements.check(needing(linear, python="3.9"))
    with pytest.raises(BundleUnfit, match=r"needs numpy 99\.0 or newer"):
        requirements.check(needing(linear, numpy="99.0"))
    with pytest.raises(BundleUnfit, match="does not have it"):
        requirements.check(needing(linear, no_such_package="1.0"))


def test_all_that_is_lacking_is_named_at_once(skops: Manifest) -> None:
    with pytest.raises(BundleUnfit, match=r"needs .* 1\.0; this environment does not have it") as caught:
        requirements.check(needing(skops, no_such_package="1.0", nor_this="2.0"))
    assert "pip install 'no-such-package==1.0' 'nor-this==2.0'" in caught.value.hint


def test_pickle_is_bound_to_its_python(skops: Manifest) -> None:
    requirements.check(needing(skops, python="3.9"))
    pickled = msgspec.structs.replace(skops, conversion=msgspec.structs.replace(skops.conversion, form="pickle"))
    requirements.check(pickled)
    with pytest.raises(BundleUnfit, match=r"needs python 3\.9"):
        requirements.check(needing(pickled, python="3.9"))


def test_a_bundle_that_does_not_fit_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load_iris(return_X_y=True)
    wanted = Requirements(requirements.python(), {"scikit-learn": OLDER, "numpy": "2.4.6"})
    make_bundle(tmp_path / "bundle", KNeighborsClassifier().fit(X, y), X, changes={"requirements": wanted})
    monkeypatch.setattr("wherry.model.flavors.load", lambda path, manifest: pytest.fail("it was loaded"))
    with pytest.raises(BundleUnfit, match=r"scikit-learn 1\.7\.2"):
        load(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.9", "1.10"), ("1.20", "1.20.1"), ("2.0", "10.0"), ("1.2.3", "1.3"), ("2.0.0rc1", "2.1"), ("1.0+cpu", "1.1")],
)
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    assert requirements.ordered(older) < requirements.ordered(newer)
    assert requirements.ordered("2.0") == requirements.ordered("2") == requirements.ordered("2.0.0")


def test_a_model_file_of_another_scikit_learn_is_refused_for_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load_iris(return_X_y=True)
    file = io.BytesIO()
    monkeypatch.setattr("sklearn.base.__version__", OLDER)
    joblib.dump(LogisticRegression(max_iter=500).fit(X, y), file)
    monkeypatch.undo()
    with pytest.raises(VersionDrift) as caught:
        unpickle(file.getvalue())
    assert (caught.value.wanted, caught.value.found) == (OLDER, sklearn.__version__)
    assert caught.value.estimator == "LogisticRegression"


@pytest.mark.slow
def test_a_real_environment_with_an_older_scikit_learn_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundle of this environment under scikit-learn 1.7: refused, both versions named; and a linear one loads."""
    python = older_environment()
    X, y = load_iris(return_X_y=True)
    make_bundle(tmp_path / "skops", KNeighborsClassifier().fit(X, y), X)
    make_bundle(tmp_path / "linear", LogisticRegression(max_iter=500).fit(X, y), X)
    code = "import sys, wherry; wherry.load(sys.argv[1]).replay(); print('answered')"
    source = Path(__file__).parents[2] / "src"
    environ = {**os.environ, "PYTHONPATH": str(source)}

    def ask(folder: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-c", code, str(tmp_path / folder)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)

    refused = ask("skops")
    assert refused.returncode != 0
    said = refused.stderr.strip().splitlines()[-1]
    with capsys.disabled():
        print(f"\nT53: under scikit-learn {OLDER}: {said}")
    assert "BundleUnfit" in said and OLDER in said and sklearn.__version__ in said
    assert ask("linear").stdout.strip() == "answered"


def older_environment() -> Path:
    """A virtual environment with scikit-learn 1.7, made once a machine. Skips where there is no network."""
    python = CACHE / "bin" / "python"
    if not (CACHE / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(CACHE)], check=True, timeout=120)
        packages = [f"scikit-learn=={OLDER}", "skops", "msgspec", f"numpy=={requirements.found('numpy')}"]
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        if done.returncode != 0:
            pytest.skip(f"no environment with scikit-learn {OLDER}: pip could not install it")
        (CACHE / "ready").touch()
    return python
