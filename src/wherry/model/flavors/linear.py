"""Models that are a sum: numbers times weights, plus a table's entry a category. numpy and nothing else.

Everything a pipeline does before its linear model (impute, scale, encode) is folded into the weights and the tables,
so that a batch costs one array and one product, in float64.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Literal, TypeAlias
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from wherry.contract.manifest import Manifest
from wherry.contract.wire import Cell, Outputs, Row, Sums
from wherry.errors import BundleUnreadable
from wherry.model import bundle
from wherry.model.matrix import Floats, matrix

# number: the sums are the answer. sign: two classes, one sum. argmax: a sum a class. votes: a sum a pair of classes,
# one vote each, the first of the highest wins (libsvm's rule).
Decide = Literal["number", "sign", "argmax", "votes"]
# What makes a probability, or a number, of a sum.
Link = Literal["none", "exp", "sigmoid", "sigmoid2", "clip", "softmax", "ovr", "ovr_clip"]
Answer: TypeAlias = Callable[[Floats, bool], Outputs]  # of sums, and whether anybody wants probabilities
ARRAYS = ("weights", "bias", "center", "low", "high", "missing", "table")


class Lookup(msgspec.Struct, frozen=True):
    """Where a category's entry lies in the table: values[i] at start + i; unknown and missing ones have their own."""

    column: int
    values: tuple[Cell, ...]
    start: int
    unknown: int
    missing: int


class Form(msgspec.Struct, frozen=True):
    """What is no array: how sums become answers, and which columns feed them."""

    decide: Decide
    link: Link
    classes: tuple[Cell, ...]
    columns: tuple[int, ...]  # the row's cell that feeds each line of `weights`
    lookups: tuple[Lookup, ...]
    width: int = 1


class Linear(msgspec.Struct, frozen=True):
    """A folded model. n lines of numbers, m table entries, k sums.

    weights, missing: n x k; bias: k; center, low, high: n; table: m x k. A cell x adds
    (min(max(x, low), high) - center) * weights, a missing one `missing` (NaN: it has no answer).
    """

    form: Form
    weights: Floats
    bias: Floats
    center: Floats
    low: Floats
    high: Floats
    missing: Floats
    table: Floats

    def dump(self) -> bytes:
        """The model as an .npz file that holds no object; equal bytes for equal models."""
        file = io.BytesIO()
        form = np.frombuffer(json.dumps(msgspec.to_builtins(self.form), sort_keys=True).encode(), dtype=np.uint8)
        np.savez(file, form=form, **{name: getattr(self, name) for name in ARRAYS})
        return file.getvalue()

    @staticmethod
    def parse(data: bytes, path: str) -> Linear:
        """The model in an .npz file. Raises BundleUnreadable."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                form = msgspec.json.decode(file["form"].tobytes(), type=Form)
                arrays = {name: np.ascontiguousarray(file[name], dtype=np.float64) for name in ARRAYS}
        except (ValueError, KeyError, OSError, BadZipFile, EOFError) as error:
            raise BundleUnreadable(path, f"is no folded linear model: {error}") from error
        return Linear(form=form, **arrays)


def load(path: Path, manifest: Manifest) -> LinearScorer:
    """The scorer of a folded model in a verified bundle."""
    return LinearScorer(Linear.parse(bundle.model_bytes(path, manifest), str(path)))


class LinearScorer:
    """Answers with sums."""

    def __init__(self, model: Linear) -> None:
        self.model = model
        form = model.form
        self.add = lookups(model)
        self.numbers = numbers(model)
        self.bias = model.bias
        self.answer = ANSWERS[form.decide](form)
        self.compared = compared(model)
        if form.decide == "sign" and form.width == 1 and unaltered(model):
            self.score = one_sum(model)  # type: ignore[method-assign]  # the same in fewer steps

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        return self.answer(self.sums(rows), probabilities)

    def sums(self, rows: Sequence[Row]) -> Floats:
        """n x k: what the answers are made of."""
        if self.numbers is None:
            sums = np.repeat(self.bias[None, :], len(rows), axis=0)
        else:
            sums = self.numbers(rows)
        if self.add is not None:
            self.add(rows, sums)
        return sums


def of_numbers(form: Form) -> bool:
    """Whether the signature has no other columns than those that are weighed: rows go into the array as they are."""
    return bool(form.columns) and not form.lookups and form.columns == tuple(range(len(form.columns)))


def unaltered(model: Linear) -> bool:
    """Whether all cells are weighed as they come."""
    bounded = np.isfinite(model.low).any() or np.isfinite(model.high).any()
    return of_numbers(model.form) and not (bounded or model.center.any() or not np.isnan(model.missing).all())


def compared(model: Linear) -> Sums | None:
    """What the model decides by, where it does no more than that."""
    form = model.form
    if form.decide == "number" or form.width != 1 or not unaltered(model):
        return None
    return Sums(form.decide, np.ascontiguousarray(model.weights.T).tobytes(), model.bias.tobytes(), form.classes)


def one_sum(model: Linear) -> Callable[..., Outputs]:
    """What answers with the sign of one sum of cells as they come."""
    weights, answer = model.weights[:, 0], signs(model.form, float(model.bias[0]))
    return lambda rows, probabilities=True: answer(matrix(rows).dot(weights).tolist(), probabilities)


def numbers(model: Linear) -> Callable[[Sequence[Row]], Floats] | None:
    """The part of the sums that comes from numbers, bias included; None when there are none."""
    columns = model.form.columns
    if not columns:
        return None
    weights, bias, missing = model.weights, model.bias, model.missing
    pick = itemgetter(*columns) if len(columns) > 1 else (lambda row, only=columns[0]: (row[only],))
    whole = of_numbers(model.form)
    centered = bool(model.center.any())
    clipped = bool(np.isfinite(model.low).any() or np.isfinite(model.high).any())
    low, high, center = model.low, model.high, model.center
    fills = not np.isnan(missing).all()
    fillable: NDArray[np.bool_] = np.asarray(~np.isnan(missing).any(axis=1))
    fill = np.where(fillable[:, None], missing, 0.0)
    isnan = np.isnan

    def simple(rows: Sequence[Row]) -> Floats:
        sums: Floats = matrix(rows).dot(weights)  # for a row dot takes less than half the time of @
        sums += bias
        return sums

    def full(rows: Sequence[Row]) -> Floats:
        cells = matrix(rows if whole else [pick(row) for row in rows])
        if clipped:
            cells = cells.clip(low, high)
        if centered:
            cells = cells - center
        if fills:
            holes = isnan(cells)
            if holes.any():
                holes &= fillable
                cells = np.where(holes, 0.0, cells)
                filled: Floats = cells @ weights + bias + holes @ fill
                return filled
        return cells @ weights + bias

    return simple if unaltered(model) else full


def lookups(model: Linear) -> Callable[[Sequence[Row], Floats], None] | None:
    """What adds the tables' entries to the sums in place; None when there are no tables."""
    if not model.form.lookups:
        return None
    table = model.table
    places: list[tuple[int, Callable[[Cell, int], int], int]] = []
    for lookup in model.form.lookups:
        entries: dict[Cell, int] = {value: lookup.start + place for place, value in enumerate(lookup.values)}
        entries[None] = lookup.missing
        places.append((lookup.column, entries.get, lookup.unknown))

    def add(rows: Sequence[Row], sums: Floats) -> None:
        codes = [[entry(row[column], unknown) for column, entry, unknown in places] for row in rows]
        sums += table[codes].sum(axis=1)

    return add


def number(form: Form) -> Answer:
    def answer(sums: Floats, probabilities: bool) -> Outputs:
        if form.link == "exp":
            with np.errstate(over="ignore"):
                sums = np.exp(sums)
        return Outputs(sums.tolist() if form.width > 1 else sums[:, 0].tolist())

    return answer


def sign(form: Form) -> Answer:
    answer = signs(form)
    return lambda sums, probabilities: answer(sums[:, 0].tolist(), probabilities)


def signs(form: Form, bias: float = 0.0) -> Callable[[list[float], bool], Outputs]:
    """What answers with the signs of some sums, to which `bias` is still to be added: in an array it takes longer."""
    negative, positive = form.classes
    chance = {"sigmoid": sigmoid, "sigmoid2": lambda x: sigmoid(2 * x), "clip": clip}.get(form.link)
    isfinite = math.isfinite

    def answer(values: list[float], probabilities: bool) -> Outputs:
        answers: list[Cell] = [positive if value + bias > 0.0 else negative for value in values]
        if not isfinite(sum(values, bias)):
            answers = [each if isfinite(value + bias) else None for each, value in zip(answers, values, strict=True)]
        if chance is None or not probabilities:
            return Outputs(answers)
        chances = [chance(value + bias) for value in values]
        return Outputs(answers, [[1.0 - each, each] for each in chances])

    return answer


def sigmoid(value: float) -> float:
    # exp of what is negative only: it cannot overflow
    if value >= 0.0:
        return 1.0 / (1.0 + math.exp(-value))
    small = math.exp(value)
    return small / (1.0 + small)


def clip(value: float) -> float:
    return min(max((value + 1.0) / 2.0, 0.0), 1.0)


def argmax(form: Form) -> Answer:
    classes = form.classes
    chances = {"softmax": softmax, "ovr": one_versus_rest, "ovr_clip": clipped_versus_rest}.get(form.link)

    def answer(sums: Floats, probabilities: bool) -> Outputs:
        answers = [classes[best] for best in sums.argmax(axis=1).tolist()]
        answers = without_answer(answers, sums)
        return Outputs(answers, chances(sums).tolist() if chances is not None and probabilities else None)

    return answer


def votes(form: Form) -> Answer:
    classes = form.classes
    count = len(classes)
    pairs = [(one, other) for one in range(count) for other in range(one + 1, count)]
    change = np.zeros((len(pairs), count))
    base = np.zeros(count)
    for place, (one, other) in enumerate(pairs):
        change[place, one], change[place, other] = 1.0, -1.0
        base[other] += 1.0

    def answer(sums: Floats, probabilities: bool) -> Outputs:
        best = ((sums > 0.0) @ change + base).argmax(axis=1).tolist()
        return Outputs(without_answer([classes[each] for each in best], sums))

    return answer


def without_answer(answers: list[Cell], sums: Floats) -> list[Cell]:
    """The answers, None where a sum is not finite."""
    if math.isfinite(float(sums.sum())):
        return answers
    finite: list[bool] = np.asarray(np.isfinite(sums).all(axis=1)).tolist()
    return [answer if good else None for answer, good in zip(answers, finite, strict=True)]


def softmax(sums: Floats) -> Floats:
    powers: Floats = np.exp(sums - sums.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def one_versus_rest(sums: Floats) -> Floats:
    with np.errstate(over="ignore"):  # 1 / inf is 0, below -709, as scikit-learn has it
        return shared(1.0 / (1.0 + np.exp(-sums)))


def clipped_versus_rest(sums: Floats) -> Floats:
    return shared((sums.clip(-1.0, 1.0) + 1.0) / 2.0)


def shared(chances: Floats) -> Floats:
    """Each class's part of the whole; where there is no whole, all alike."""
    total = chances.sum(axis=1, keepdims=True)
    parts: Floats = np.where(total == 0.0, 1.0 / chances.shape[1], chances / np.where(total == 0.0, 1.0, total))
    return parts


ANSWERS: dict[Decide, Callable[[Form], Answer]] = {
    "number": number,
    "sign": sign,
    "argmax": argmax,
    "votes": votes,
}
