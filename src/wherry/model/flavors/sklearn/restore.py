"""From a model file that passed the gate of wherry.model.reading.vouch to a fitted estimator."""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from collections.abc import Iterator
from typing import Any

import joblib.numpy_pickle
import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from wherry.errors import (
    BundleUnreadable,
    ModelNotFitted,
    ModelUnknown,
    ModelUnsafe,
    NotVouched,
    VersionDrift,
    WherryError,
)
from wherry.model import requirements
from wherry.model.flavors.sklearn import skops_file
from wherry.model.reading.files import ModelFile
from wherry.model.reading.known import is_known, mapped
from wherry.model.reading.pickles import Contents


def estimator(file: ModelFile, contents: Contents, *, vouched: bool, allow_drift: bool = False) -> Any:
    """The fitted estimator in `file`. Without `vouched` only names of the fixed list are ever looked up.

    Raises VersionDrift, ModelUnknown, ModelNotFitted, ModelUnsafe; NotVouched for a skops file with other types.
    """
    wanted = contents.summary.versions.get("scikit-learn", "")
    if wanted and wanted != sklearn.__version__ and not allow_drift:
        raise VersionDrift("scikit-learn", wanted, sklearn.__version__, contents.summary.type)
    try:
        with ignored_drift() if allow_drift else requirements.drift_refused():
            found = from_skops(file, vouched) if file.kind == "skops" else from_pickle(file, vouched)
    except WherryError:
        raise
    except ModuleNotFoundError as error:
        raise missing(file, contents, error) from error
    except Exception as error:  # whatever a model's own code raises while it is loaded is the file's fault
        raise ModelUnsafe(file.path, f"breaks while it is loaded: {type(error).__name__}: {error}") from error
    hold(found, file.path)
    if not vouched:
        try:
            skops_file.sound(found, file.path)
        except BundleUnreadable as error:
            raise ModelUnsafe(file.path, error.reason) from error
    return found


def hold(found: Any, path: str = "") -> None:
    """Nothing when `found` is a fitted estimator that predicts. Raises ModelUnknown, ModelNotFitted."""
    kind = type(found)
    whole = f"{kind.__module__}.{kind.__qualname__}"
    subject = f"holds a {whole}" if path else f"a {whole}"
    if isinstance(found, type) or not isinstance(found, BaseEstimator):
        raise ModelUnknown(path, subject, "and no scikit-learn estimator" if path else "is no scikit-learn estimator")
    try:
        check_is_fitted(found)
    except NotFittedError as error:
        raise ModelNotFitted(kind.__name__) from error
    except TypeError as error:
        raise ModelUnknown(path, subject, f"cannot be asked whether it is fitted ({error})") from error
    if not hasattr(found, "predict"):
        raise ModelUnknown(path, subject, "has no predict", "pack the pipeline that ends in a classifier or regressor")


@contextlib.contextmanager
def ignored_drift() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        yield


def missing(file: ModelFile, contents: Contents, error: ModuleNotFoundError) -> WherryError:
    """What to say of a module that the file needs and that is not here."""
    name = error.name or ""
    if name.startswith("numpy."):
        return VersionDrift("numpy", "2" if name.startswith("numpy._core") else "1", np.__version__)
    package = name.partition(".")[0]
    if package in ("sklearn", "scipy"):
        return ModelUnsafe(file.path, f"needs {name}, which the {package} that is installed does not have")
    holds = f"a {contents.summary.module}.{contents.summary.type}" if contents.summary.module else "a model"
    return ModelUnknown(
        file.path, f"holds {holds}", f"which needs {name}, and that is not installed", requirements.obtaining(package)
    )


def from_skops(file: ModelFile, vouched: bool) -> Any:
    """What the skops file makes: types of the fixed list, or whatever it holds once somebody vouched for it."""
    others = skops_file.untrusted(file.content)
    if others and not vouched:
        verdict = "can run code: " + ", ".join(others[:8])
        raise NotVouched(file.path, file.sha256, verdict, "")
    return skops_file.made(file.content, vouched=others)


def from_pickle(file: ModelFile, vouched: bool) -> Any:
    """What the pickle makes. Always by joblib's reader, which reads pickles too: the one that `opcodes` follows."""
    reader = joblib.numpy_pickle.NumpyUnpickler if vouched else KnownUnpickler
    takes_order = "ensure_native_byte_order" in inspect.signature(reader.__init__).parameters  # joblib 1.5 and newer
    extra = {"ensure_native_byte_order": True} if takes_order else {}
    return reader(file.path, io.BytesIO(file.content), **extra).load()


class KnownUnpickler(joblib.numpy_pickle.NumpyUnpickler):  # type: ignore[misc]  # joblib ships no types
    """joblib's reader, to which no name exists but those of the fixed list."""

    def find_class(self, module: str, name: str) -> Any:
        meant = mapped(module, name) if self.proto < 3 else (module, name)
        if "." in meant[1] or not is_known(*meant):
            raise ModelUnsafe(self.filename, f"looks up {'.'.join(meant)} where it said it would not")
        if meant == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return KnownArrayWrapper
        return super().find_class(module, name)


class KnownArrayWrapper(joblib.numpy_pickle.NumpyArrayWrapper):  # type: ignore[misc]  # joblib ships no types
    """joblib's array, whose cells, when they are objects, are read by the same rule (older joblibs took any)."""

    def read_array(self, unpickler: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.dtype.hasobject:
            return super().read_array(unpickler, *args, **kwargs)
        inner = type(unpickler)(unpickler.filename, unpickler.file_handle, *args, **kwargs)
        array = inner.load()
        if not isinstance(array, np.ndarray):
            raise ModelUnsafe(unpickler.filename, "has something else where it says there is an array")
        return array
