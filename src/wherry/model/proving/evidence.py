"""The questions a stored form must answer like the estimator: every sample row, boundaries between answers, odd values.

The rule (P11 of the performance targets): all rows of the sample; pairs of rows at the boundaries; and, where the
estimator accepts them, missing cells, categories never seen and numbers far out of range. The estimator is asked once;
every form is held against the same answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell, Outputs, Row
from wherry.errors import SampleUnfit, WherryError
from wherry.model.proving.boundaries import boundaries
from wherry.model.proving.probes import probes

BATCH = 8192


class Reference(Protocol):
    """The estimator itself."""

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs: ...

    def gaps(self, rows: Sequence[Row]) -> list[float]:
        """How far the best answer of each row is from the second best, in probability or decision; inf: not known."""


class Evidence(msgspec.Struct, frozen=True):
    """Rows and the estimator's answers. `sample` of them are the sample's, then `pairs` pairs of rows, then probes.

    pairs_left_out: how many more pairs there would be, had the estimator answered faster.
    """

    rows: list[Row]
    outputs: Outputs
    sample: int
    pairs: int
    pairs_left_out: int = 0

    @property
    def answers(self) -> Outputs:
        """The answers to the sample."""
        probabilities = self.outputs.probabilities
        return Outputs(
            self.outputs.predictions[: self.sample], None if probabilities is None else probabilities[: self.sample]
        )


def gather(reference: Reference, signature: Signature, sample: Sequence[Row]) -> Evidence:
    """Ask the estimator all of it. Raises SampleUnfit where it does not answer a row of its own sample."""
    started = time.perf_counter()
    try:
        outputs = ask(reference, sample)
    except WherryError:
        raise
    except Exception as error:  # what the user's estimator says of the user's data
        raise unanswered(reference, signature, sample, error) from error
    each = (time.perf_counter() - started) / max(len(sample), 1)
    ends, left_out = boundaries(partial(ask, reference), signature, sample, outputs, each)
    rows: list[Row] = [*sample, *ends]
    answers = joined(outputs, ask(reference, ends))
    for probe in probes(signature, sample):
        found = accepted(reference, probe)
        if found is not None:
            rows += probe
            answers = joined(answers, found)
    return Evidence(rows, answers, sample=len(sample), pairs=len(ends) // 2, pairs_left_out=left_out)


def ask(reference: Any, rows: Sequence[Row]) -> Outputs:
    """The answers to any number of rows, a batch at a time."""
    answers: list[Any] = []
    probabilities: list[list[float]] = []
    for start in range(0, len(rows), BATCH):
        outputs = reference.score(rows[start : start + BATCH])
        answers += outputs.predictions
        probabilities += outputs.probabilities or []
    return Outputs(answers, probabilities or None)


def unanswered(reference: Any, signature: Signature, sample: Sequence[Row], error: Exception) -> SampleUnfit:
    """The first row that the estimator does not answer, with the cells that are unlike others of their columns."""
    number = next((number for number, row in enumerate(sample) if accepted(reference, [row]) is None), None)
    said = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    if number is None:
        return SampleUnfit("the sample", f"is not what the model takes: {said}", "give rows as the model was fitted on")
    odd = [f"{name} is {told}" for name, told in zip(signature.names, oddities(sample, number), strict=True) if told]
    where = f"row {number + 1}: {', '.join(odd[:3])}" if odd else f"row {number + 1}"
    hint = (
        "mend that cell, or leave the row out" if odd else "leave the row out, or give rows as the model was fitted on"
    )
    return SampleUnfit("the sample", f"{where}, and the model does not take that ({said})", hint)


def oddities(sample: Sequence[Row], number: int) -> list[str]:
    """For each cell of the row what is odd about it, or nothing: it is empty, or no number among numbers."""
    found = []
    for place, cell in enumerate(sample[number]):
        numbers = sum(is_number(row[place]) for row in sample)
        alone = not is_number(cell) and 2 * numbers > len(sample)
        found.append("empty" if cell is None or cell == "" else repr(cell) if alone else "")
    return found


def is_number(cell: Cell) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]  # what is none says so
    except (TypeError, ValueError):
        return False
    return True


def joined(one: Outputs, other: Outputs) -> Outputs:
    probabilities = [*(one.probabilities or []), *(other.probabilities or [])]
    return Outputs([*one.predictions, *other.predictions], probabilities or None)


def accepted(reference: Reference, rows: list[Row]) -> Outputs | None:
    """The answers, or None when the estimator does not take such rows."""
    try:
        return reference.score(rows)
    except Exception:  # noqa: BLE001  # whatever an estimator raises, it says no
        return None
