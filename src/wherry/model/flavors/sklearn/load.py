"""The flavor of models that only scikit-learn itself answers alike: kept as skops, or as pickle where permitted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import joblib

from wherry.contract.manifest import Manifest
from wherry.errors import BundleUnreadable
from wherry.model import bundle, requirements
from wherry.model.flavors.sklearn import skops_file
from wherry.model.flavors.sklearn.inputs import Kind, builder
from wherry.model.flavors.sklearn.scorer import EstimatorScorer, made_to_serve


def load(path: Path, manifest: Manifest) -> EstimatorScorer:
    """The scorer of a skops or pickle file in a verified bundle.

    Raises BundleUnreadable when the file holds a type that is not trusted, or is a pickle that nobody permitted.
    """
    data = bundle.model_bytes(path, manifest)
    if manifest.conversion.form == "skops":
        estimator = skops_file.load(data, str(path))
    elif manifest.conversion.form == "pickle" and manifest.allow_pickle:
        estimator = unpickle(data)
    else:
        raise BundleUnreadable(str(path), f"is a {manifest.conversion.form}, and the manifest does not permit that")
    # pack asks for pandas only when an array was not enough.
    kind: Kind = "frame" if "pandas" in manifest.requirements.packages else "array"
    made_to_serve(estimator, nameless=kind == "array")
    return EstimatorScorer(estimator, builder(manifest.signature, kind), manifest.signature.output)


def unpickle(data: bytes) -> Any:
    """The object in a pickle whose bytes the manifest vouches for; another scikit-learn's is refused (VersionDrift)."""
    with requirements.drift_refused():
        return joblib.load(io.BytesIO(data))


def pickled(estimator: Any) -> bytes:
    """The estimator as joblib writes it."""
    file = io.BytesIO()
    joblib.dump(estimator, file)
    return file.getvalue()
