"""Whether a stored form answers like the estimator it was made of.

Labels must be equal, but for rows where the estimator's own best two answers lie within 1e-6 of each other: those are
left out and counted, and may not be more than one in ten. Numbers must agree within RTOL of themselves plus ATOL
of the standard deviation of the sample's answers, probabilities within PROBABILITY.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row
from wherry.model.flavors import Scorer
from wherry.model.proving.evidence import Evidence, Reference, ask

TIE = 1e-6
MOST_TIES = 0.1
RTOL = 1e-5
ATOL = 1e-6
PROBABILITY = 1e-5


class Proof(msgspec.Struct, frozen=True):
    """How it was shown. largest_difference: of any number or probability, for rows within the sample's range.

    spread: the standard deviation of the sample's answers, where they are numbers.
    """

    rows: int
    ties_left_out: int
    largest_difference: float
    spread: float = 0.0


class NotAlike(Exception):
    """A form answers otherwise; str() says where. The next form is tried."""


def prove(
    reference: Reference, candidate: Scorer, signature: Signature, evidence: Evidence, *, precision: float = RTOL
) -> Proof:
    """Hold a form against the evidence. Raises NotAlike.

    precision: how far a number may lie from the original's, as a share of itself: RTOL, but where the original itself
    calculates in float32 or less, whose last digits depend on the order of its sums.
    """
    try:
        found = ask(candidate, evidence.rows)
    except Exception as error:  # whatever it raises, it is no answer
        raise NotAlike(f"it cannot answer: {type(error).__name__}: {first_line(error)}") from error
    if len(found.predictions) != len(evidence.rows):
        raise NotAlike(f"{len(found.predictions)} answers to {len(evidence.rows)} rows")
    if signature.output.kind == "number":
        return Proof(len(evidence.rows), 0, same_numbers(evidence, found, precision), spread_of(evidence))
    ties = same_labels(reference, evidence, found)
    difference = same_probabilities(evidence, found, max(PROBABILITY, precision / 10))
    return Proof(len(evidence.rows) - ties, ties, difference)


def same_labels(reference: Reference, evidence: Evidence, found: Outputs) -> int:
    """How many rows were left out as ties."""
    wanted = evidence.outputs.predictions
    other = [
        place
        for place, (want, have) in enumerate(zip(wanted, found.predictions, strict=True))
        if want != have or type(want) is not type(have)
    ]
    if not other:
        return 0
    rows: list[Row] = [evidence.rows[place] for place in other]
    gaps = reference.gaps(rows)
    wrong = [place for place, gap in zip(other, gaps, strict=True) if not gap <= TIE]
    if wrong:
        raise NotAlike(described(evidence, wrong, found))
    if len(other) > MOST_TIES * len(wanted):
        raise NotAlike(f"{len(other)} of {len(wanted)} rows are ties that it breaks otherwise")
    return len(other)


def described(evidence: Evidence, wrong: Sequence[int], found: Outputs) -> str:
    """How many rows of which kind are answered otherwise, and the first of them."""
    ends = evidence.sample + 2 * evidence.pairs
    kinds = {
        f"of {evidence.sample} sample rows": sum(place < evidence.sample for place in wrong),
        f"of {2 * evidence.pairs} rows at the boundaries": sum(evidence.sample <= place < ends for place in wrong),
        f"of {len(evidence.rows) - ends} rows with odd values": sum(place >= ends for place in wrong),
    }
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    first = wrong[0]
    want, have = evidence.outputs.predictions[first], found.predictions[first]
    return f"{counted} are answered otherwise: the first with {have!r} instead of {want!r}"


def same_probabilities(evidence: Evidence, found: Outputs, most: float = PROBABILITY) -> float:
    """The largest difference."""
    wanted = evidence.outputs.probabilities
    if wanted is None:
        return 0.0
    if found.probabilities is None:
        raise NotAlike("it has no probabilities")
    have, want = np.array(found.probabilities, dtype=np.float64), np.array(wanted, dtype=np.float64)
    if have.shape != want.shape:
        raise NotAlike(f"its probabilities are {have.shape}, not {want.shape}")
    difference = np.abs(have - want)[np.isfinite(want)]
    largest = float(difference.max(initial=0.0))
    if not largest <= most:  # also when it is NaN
        raise NotAlike(f"a probability differs by {largest:.2g}")
    return largest


def same_numbers(evidence: Evidence, found: Outputs, precision: float = RTOL) -> float:
    """The largest difference, odd values left out."""
    want = np.array(evidence.outputs.predictions, dtype=np.float64)
    have = as_floats(found.predictions)
    if have.shape != want.shape:
        raise NotAlike(f"its answers are {have.shape}, not {want.shape}")
    known = np.isfinite(want)
    difference = np.abs(have - want)
    allowed = precision * (ATOL / RTOL * spread_of(evidence) + np.abs(want))
    wrong = known & ~(difference <= allowed)
    if wrong.any():
        rows = np.flatnonzero(wrong.reshape(len(want), -1).any(axis=1)).tolist()
        raise NotAlike(described(evidence, rows, found))
    # Far out of range an exponential may answer 1e120: said by the tolerance, no use as a figure.
    usual = slice(evidence.sample + 2 * evidence.pairs)
    return float(difference[usual][known[usual]].max(initial=0.0))


def spread_of(evidence: Evidence) -> float:
    """The standard deviation of the answers to the sample."""
    sample = np.array(evidence.outputs.predictions[: evidence.sample], dtype=np.float64)
    return float(np.nanstd(sample)) if len(sample) else 0.0


def as_floats(answers: list[Any]) -> Any:
    try:
        return np.array(answers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NotAlike(f"its answers are no numbers: {answers[0]!r}") from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
