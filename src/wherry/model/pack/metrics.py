"""Figures of quality, each beside what a model that ignores its columns would reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from wherry.contract.manifest import Metric
from wherry.contract.signature import OutputSpec
from wherry.contract.wire import Outputs
from wherry.model.golden import finite

SAMPLE = "the sample given to pack"
LEAST_PROBABILITY = 1e-15


class Incomparable(ValueError):
    """The target's values cannot be held against the model's answers; str() says why."""


def of(output: OutputSpec, truth: Sequence[Any], outputs: Outputs, *, on: str = SAMPLE) -> tuple[Metric, ...]:
    """The metrics of answers whose right values are known; rows without one, or without an answer, are left out.

    Raises Incomparable when the two are not of one kind: classes that the model does not have, texts for numbers.
    """
    if output.width > 1 or output.kind == "cluster":
        return ()
    places = [
        place
        for place, value in enumerate(truth)
        if value is not None and value == value and finite(outputs.predictions[place])
    ]
    if not places:
        return ()
    right = [truth[place] for place in places]
    answers = [outputs.predictions[place] for place in places]
    if output.kind == "number":
        return of_numbers(right, answers, on)
    probabilities = None if outputs.probabilities is None else [outputs.probabilities[place] for place in places]
    return of_classes(output, right, answers, probabilities, on)


def comparable(output: OutputSpec, values: Sequence[Any]) -> bool:
    """Whether every one of these values could be a right answer to such a model."""
    if output.width > 1 or output.kind == "cluster" or not values:
        return False
    if output.kind == "class":
        return set(values) <= set(output.classes)
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def of_classes(
    output: OutputSpec, right: list[Any], answers: list[Any], probabilities: list[list[float]] | None, on: str
) -> tuple[Metric, ...]:
    known = set(output.classes) | set(answers)
    if not any(value in known for value in set(right)):
        shown = ", ".join(str(value) for value in sorted(set(right), key=str)[:4])
        classes = ", ".join(str(value) for value in output.classes[:4])
        raise Incomparable(f"the target's values ({shown}) are none of the model's classes ({classes})")
    shares = Counter(right)
    majority = max(shares, key=lambda value: shares[value])
    dull = [majority] * len(right)
    count = len(right)

    def metric(name: str, value: float, baseline: float, better: bool = True) -> Metric:
        return Metric(name, round(value, 6), round(baseline, 6), count, on, better)

    found = [
        metric("accuracy", accuracy(right, answers), accuracy(right, dull)),
        metric("balanced accuracy", balanced_accuracy(right, answers), balanced_accuracy(right, dull)),
        metric("F1 (macro)", macro_f1(right, answers), macro_f1(right, dull)),
    ]
    if probabilities is not None and set(right) <= set(output.classes):
        prior = [shares[value] / count for value in output.classes]
        loss = log_loss(output.classes, right, probabilities)
        found.append(metric("log loss", loss, log_loss(output.classes, right, [prior] * count), False))
    return tuple(found)


def of_numbers(right: list[Any], answers: list[Any], on: str) -> tuple[Metric, ...]:
    try:
        truth = np.asarray(right, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Incomparable(f"the target holds {right[0]!r}, which is no number") from error
    found = np.asarray(answers, dtype=np.float64)
    mean = np.full(len(truth), truth.mean())

    def metric(name: str, figure: Any, better: bool = False) -> Metric:
        return Metric(name, float(f"{figure(found):.6g}"), float(f"{figure(mean):.6g}"), len(truth), on, better)

    def r2(answer: Any) -> float:
        spread = float(((truth - truth.mean()) ** 2).sum())
        missed = float(((truth - answer) ** 2).sum())
        return 1 - missed / spread if spread else 0.0

    return (
        metric("R2", r2, True),
        metric("MAE", lambda answer: float(np.abs(truth - answer).mean())),
        metric("RMSE", lambda answer: float(np.sqrt(((truth - answer) ** 2).mean()))),
    )


def accuracy(right: Sequence[Any], answers: Sequence[Any]) -> float:
    return sum(bool(a == b) for a, b in zip(right, answers, strict=True)) / len(right)


def balanced_accuracy(right: Sequence[Any], answers: Sequence[Any]) -> float:
    """The mean, over the classes that occur, of the share of their rows that were recognised."""
    shares = Counter(right)
    hits = Counter(value for value, answer in zip(right, answers, strict=True) if value == answer)
    return sum(hits[value] / count for value, count in shares.items()) / len(shares)


def macro_f1(right: Sequence[Any], answers: Sequence[Any]) -> float:
    """The mean of F1 over all classes that occur or were answered."""
    shares, answered = Counter(right), Counter(answers)
    hits = Counter(value for value, answer in zip(right, answers, strict=True) if value == answer)
    classes = {*shares, *answered}
    return sum(2 * hits[value] / (shares[value] + answered[value]) for value in classes) / len(classes)


def log_loss(classes: Sequence[Any], right: Sequence[Any], probabilities: Sequence[Sequence[float]]) -> float:
    place = {value: index for index, value in enumerate(classes)}
    chosen = np.array([row[place[value]] for value, row in zip(right, probabilities, strict=True)], dtype=np.float64)
    totals = np.array([sum(row) for row in probabilities], dtype=np.float64)
    return float(-np.log(np.clip(chosen / totals, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)).mean())
