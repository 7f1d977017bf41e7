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
from wherry.contract.wire import Outputs, Row
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
    """Ask the estimator all of it. Raises what the estimator raises for a row of its own sample."""
    started = time.perf_counter()
    outputs = ask(reference, sample)
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


def joined(one: Outputs, other: Outputs) -> Outputs:
    probabilities = [*(one.probabilities or []), *(other.probabilities or [])]
    return Outputs([*one.predictions, *other.predictions], probabilities or None)


def accepted(reference: Reference, rows: list[Row]) -> Outputs | None:
    """The answers, or None when the estimator does not take such rows."""
    try:
        return reference.score(rows)
    except Exception:  # noqa: BLE001  # whatever an estimator raises, it says no
        return None
