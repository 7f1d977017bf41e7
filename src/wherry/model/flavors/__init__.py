"""One module a way to answer, the only one that imports its library; reached by name, never imported at the top.

A flavor has `load(path, manifest) -> Scorer`: path is the model's file in a bundle that was verified.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, get_args

from wherry.contract.manifest import Manifest
from wherry.contract.wire import Outputs, Row
from wherry.errors import BundleUnreadable

Flavor = Literal["callable", "lightgbm", "linear", "onnx", "pictures", "sklearn", "xgboost"]


class Scorer(Protocol):
    """A model that answers."""

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        """One prediction a row. A row that has no answer gets None or NaN; plain Python values, never numpy's.

        probabilities: whether anybody wants them, where the model has them; without them a call may be twice as fast.
        """


def load(path: Path, manifest: Manifest) -> Scorer:
    """The scorer of the model file at `path`. Raises BundleUnreadable when no flavor of that name exists."""
    if manifest.flavor not in get_args(Flavor):
        raise BundleUnreadable("manifest.json", f"has flavor {manifest.flavor!r}, which this wherry does not know")
    flavor = importlib.import_module(f"wherry.model.flavors.{manifest.flavor}")
    scorer: Scorer = flavor.load(path, manifest)
    return scorer
