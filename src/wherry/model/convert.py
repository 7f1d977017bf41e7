"""The form in which a fitted estimator is kept: the fastest that is proven to answer like the estimator itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from wherry.contract.events import Tell, silent
from wherry.contract.manifest import Conversion, Requirements
from wherry.contract.signature import Signature
from wherry.contract.wire import Row
from wherry.model.flavors import Scorer


class Stored(msgspec.Struct, frozen=True):
    """A model in the form that was chosen and proven.

    rtol, atol: how far a number that this form answers may lie from itself on another machine (Golden's fields).
    scorer: what the bundle will answer with; golden answers are its answers.
    """

    flavor: str
    file: str  # the file's name in the bundle: model.npz, model.onnx, model.skops, model.pickle
    data: bytes
    conversion: Conversion
    requirements: Requirements
    scorer: Scorer
    rtol: float = 1e-6
    atol: float = 1e-9


def reference(estimator: Any, signature: Signature) -> Scorer:
    """The estimator itself as a scorer: given what it was fitted on (a frame or an array), asked nothing else."""
    raise NotImplementedError


def store(
    estimator: Any,
    signature: Signature,
    sample: Sequence[Row],
    *,
    allow_pickle: bool = False,
    tell: Tell = silent,
) -> Stored:
    """The estimator in the first of the forms linear, onnx, skops, pickle that holds it and answers like it.

    sample: rows of cells in the signature's order, every one of which is asked; empty when there is no sample (then no
    form can be proven, and the estimator is kept as it is: skops or pickle).
    Raises NotStorable when only pickle would do and `allow_pickle` does not permit it.
    """
    raise NotImplementedError
