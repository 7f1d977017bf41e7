"""Histogram boosting as ONNX: skl2onnx's own converters, which write a truth value where ONNX keeps a number."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx.common._registration import get_converter, get_shape_calculator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

KINDS = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
OPTIONS = {"zipmap": [True, False, "columns"], "raw_scores": [True, False], "nocl": [True, False]}


@cache
def register() -> None:
    """Let skl2onnx convert histogram boosting, once in this process."""
    for kind in KINDS:
        alias = f"Sklearn{kind.__name__}"
        mended = partial(convert, get_converter(alias))
        options = OPTIONS if kind is HistGradientBoostingClassifier else None
        update_registered_converter(kind, alias, get_shape_calculator(alias), mended, overwrite=True, options=options)


def convert(original: Any, scope: Any, operator: Any, container: Any) -> None:
    original(scope, operator, WholeNumbers(container))


class WholeNumbers:
    """skl2onnx's container, for which a truth value among an attribute's numbers is 0 or 1."""

    def __init__(self, container: Any) -> None:
        self.container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)

    def add_node(self, kind: str, inputs: Any, outputs: Any, **attributes: Any) -> Any:
        for name, value in attributes.items():
            if isinstance(value, list):
                attributes[name] = [int(each) if isinstance(each, bool) else each for each in value]
        return self.container.add_node(kind, inputs, outputs, **attributes)
