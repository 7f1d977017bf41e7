"""What loading a model again takes: recorded at pack, held against what is here before anything is loaded.

What is pickled in spirit (skops, pickle) is only right with the very versions that wrote it: scikit-learn keeps no
promise between two of its own. Arrays and ONNX graphs are files with a specification: there a newer reader is fine.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherry.contract.manifest import Manifest, Requirements
from wherry.errors import BundleUnfit, ExtraMissing, VersionDrift

# What each stored form needs at load. pandas is added when the estimator must be given frames.
PACKAGES: dict[str, tuple[str, ...]] = {
    "callable": ("numpy",),
    "lightgbm": ("lightgbm", "numpy"),
    "xgboost": ("numpy",),  # and xgboost, under one of its two names
    "linear": ("numpy",),
    "onnx": ("numpy", "onnxruntime"),
    "skops": ("joblib", "numpy", "scikit-learn", "scipy", "skops"),
    "pickle": ("joblib", "numpy", "scikit-learn", "scipy"),
}
SPECIFIED = frozenset({"lightgbm", "linear", "onnx", "xgboost"})


def here(form: str, extra: tuple[str, ...] = ()) -> Requirements:
    """The versions, as they are here, that a model stored in `form` needs."""
    return Requirements(python=python(), packages={name: found(name) for name in sorted({*PACKAGES[form], *extra})})


def obtaining(module: str) -> str:
    """What to do about a module that cannot be imported. One that lies in this folder is not somebody else's."""
    if Path(f"{module}.py").is_file() or (Path(module) / "__init__.py").is_file():
        return f"{module} lies in this folder, and a service needs it as a package: install it with pip, and pack again"
    return f"pip install {module}"


def distributions(module: str) -> tuple[str, ...]:
    """What `module` was installed as: xgboost is xgboost, or xgboost-cpu."""
    from importlib.metadata import packages_distributions

    return tuple(sorted(set(packages_distributions().get(module, ()))))


def python() -> str:
    """This Python, to the minor version."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def found(package: str) -> str:
    """The version that is installed. Raises ExtraMissing."""
    if have := installed(package):
        return have
    raise ExtraMissing(package, "image" if package == "pillow" else "sklearn", "storing this model")


def installed(package: str) -> str:
    """The version of a package that is here; empty where it is not.

    Read off the name of the folder that pip made, `numpy-2.3.1.dist-info`: a service that starts need not wait for
    the mail parser that reads what is in it.
    """
    begins = re.sub(r"[-_.]+", "_", package).lower() + "-"
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208  # iterdir makes a path of each, and there are hundreds
        except OSError:
            continue
        for name in names:
            if name.endswith(".dist-info") and name.lower().startswith(begins):
                return name[len(begins) : -len(".dist-info")]
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def check(manifest: Manifest) -> None:
    """Nothing when this environment can load the bundle. Raises BundleUnfit, which names both versions."""
    form = manifest.conversion.form
    # The bytes of a pickle hold code objects and class layouts of one Python; all other forms are read by any.
    if form == "pickle" and manifest.requirements.python != python():
        raise BundleUnfit("python", manifest.requirements.python, python())
    newer_will_do = form in SPECIFIED
    unfit = []
    for package, wanted in manifest.requirements.packages.items():
        have = installed(package)
        if not (have == wanted or (have and newer_will_do and ordered(have) >= ordered(wanted))):
            unfit.append((package, wanted, have))
    if unfit:
        raise BundleUnfit(*unfit[0], at_least=newer_will_do, others=dict(each[:2] for each in unfit[1:]))


def ordered(text: str) -> tuple[int, ...]:
    """The numbers of a version, for comparing: 1.20.1 is before 1.31; what follows a letter does not count."""
    numbers: list[int] = []
    for part in text.split("+")[0].split("."):
        digits = part[: next((place for place, sign in enumerate(part) if not sign.isdigit()), len(part))]
        if digits:
            numbers.append(int(digits))
        if digits != part:
            break
    while numbers and numbers[-1] == 0:  # 2.0 is 2
        numbers.pop()
    return tuple(numbers)


@contextmanager
def drift_refused() -> Iterator[None]:
    """Around the unpickling of a model file: that another scikit-learn wrote it is an error (VersionDrift), no warning.

    For model files that are being packed; a bundle says what it needs before anything is loaded.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Trying to unpickle estimator")
        try:
            yield
        except UserWarning as error:
            drift = as_drift(error)
            if drift is None:
                raise
            raise drift from error


def as_drift(warning: Warning) -> VersionDrift | None:
    """What scikit-learn's InconsistentVersionWarning says, as our error; None for any other warning."""
    wanted = getattr(warning, "original_sklearn_version", None)
    if wanted is None:
        return None
    estimator = getattr(warning, "estimator_name", "")
    return VersionDrift("scikit-learn", str(wanted), str(getattr(warning, "current_sklearn_version", "")), estimator)
