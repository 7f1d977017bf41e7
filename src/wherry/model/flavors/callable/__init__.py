"""The escape hatch: a Python file that answers, with `load()` and `predict(rows)`, or with a class as Seldon has them.

Its code is in the bundle, held against its digest, and runs when the bundle is loaded.
"""

from __future__ import annotations

from pathlib import Path

from wherry.contract.manifest import Manifest
from wherry.model import bundle
from wherry.model.flavors.callable.scorer import CodeScorer
from wherry.model.flavors.callable.service import service_of


def load(path: Path, manifest: Manifest) -> CodeScorer:
    """The scorer of a Python file in a verified bundle, whose code runs now. Raises CodeFailed, ModelUnknown."""
    return CodeScorer(service_of(bundle.model_bytes(path, manifest), path), manifest.signature)
