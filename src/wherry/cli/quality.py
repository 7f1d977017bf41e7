"""How good predictions are, beside what a model that ignores its columns would reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from wherry.contract.manifest import Metric

ON = "the rows given to predict"


def quality(kind: str, predictions: Sequence[Any], truth: Sequence[Any]) -> list[Metric]:
    """Accuracy for classes, mean absolute error for numbers; rows whose truth is unknown are left out."""
    known = [(found, right) for found, right in zip(predictions, truth, strict=True) if right not in (None, "")]
    if not known or kind == "cluster":
        return []
    if kind == "class":
        right = sum(alike(found, wanted) for found, wanted in known)
        majority = Counter(str(wanted) for _, wanted in known).most_common(1)[0][1]
        return [Metric("accuracy", right / len(known), majority / len(known), len(known), ON)]
    numbers = [(float(found), float(wanted)) for found, wanted in known]
    mean = fmean(wanted for _, wanted in numbers)
    error = fmean(abs(found - wanted) for found, wanted in numbers)
    baseline = fmean(abs(mean - wanted) for _, wanted in numbers)
    return [Metric("mean absolute error", error, baseline, len(numbers), ON, higher_is_better=False)]


def alike(found: Any, wanted: Any) -> bool:
    """Whether two labels are one: 1 and 1.0 and, out of a CSV file, the text 1."""
    return bool(found == wanted) or str(found) == str(wanted)
