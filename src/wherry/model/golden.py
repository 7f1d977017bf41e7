"""Golden rows: chosen at pack, asked again wherever the model is about to be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wherry.contract.golden import GoldenRows, differences, same
from wherry.contract.manifest import Golden
from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row
from wherry.errors import GoldenDiffers
from wherry.model.flavors import Scorer

LEAST = 32
# Probabilities go through exponentials, and through float32 in ONNX: below this they are the same.
PROBABILITY_ATOL = 1e-5


def choose(
    signature: Signature, rows: Sequence[Row], outputs: Outputs, scorer: Scorer, *, rtol: float, atol: float
) -> GoldenRows:
    """Golden rows out of the sample, with the answers that the original estimator gave (`outputs`).

    Rows on which the stored form (`scorer`) ties, or has no answer, are left out. Where it is further from the original
    than half the tolerance (a float32 form of a steep model), its own answers are kept instead, or no other machine
    could agree.
    """
    if not rows:
        return GoldenRows(signature.names, (), ())
    found = scorer.score(rows)
    answered = [place for place in range(len(rows)) if finite(outputs.predictions[place])]
    steady = [place for place in answered if agree(outputs, found, place, rtol / 2, atol / 2)]
    if 2 * len(steady) < len(answered) and len(steady) < LEAST:
        steady, outputs = [place for place in answered if finite(found.predictions[place])], found
    picked = [steady[place] for place in telling([rows[p] for p in steady], [outputs.predictions[p] for p in steady])]
    chances = outputs.probabilities
    return GoldenRows(
        columns=signature.names,
        rows=tuple(rows[place] for place in picked),
        predictions=tuple(outputs.predictions[place] for place in picked),
        probabilities=None if chances is None else tuple(tuple(chances[place]) for place in picked),
    )


def agree(outputs: Outputs, found: Outputs, place: int, rtol: float, atol: float) -> bool:
    if not same(outputs.predictions[place], found.predictions[place], rtol, atol):
        return False
    if outputs.probabilities is None or found.probabilities is None:
        return outputs.probabilities is found.probabilities
    return same(outputs.probabilities[place], found.probabilities[place], rtol, max(atol, PROBABILITY_ATOL / 2))


def finite(answer: Any) -> bool:
    if isinstance(answer, list):
        return all(finite(part) for part in answer)
    return answer is not None and not (isinstance(answer, float) and not math.isfinite(answer))


def telling(rows: Sequence[Row], answers: Sequence[Any], count: int = LEAST) -> tuple[int, ...]:
    """The indexes of `count` rows that say most about the model: every answer, every missing cell, both ends of
    every column, then an even spread. More than `count` where that many are needed; fewer where there are fewer rows.
    """
    chosen: dict[int, None] = {}
    seen: set[tuple[str, str | int]] = set()
    for index, answer in enumerate(answers):
        marks: set[tuple[str, str | int]] = {
            ("missing", place) for place, cell in enumerate(rows[index]) if cell is None
        }
        if not isinstance(answer, float):
            marks.add(("answer", repr(answer)))
        if len(chosen) < 2 * count and not marks <= seen:
            seen |= marks
            chosen[index] = None
    for place in range(len(rows[0]) if rows else 0):
        cells = [(row[place], index) for index, row in enumerate(rows)]
        numbers = [(cell, index) for cell, index in cells if isinstance(cell, (int, float))]
        if numbers and len(chosen) < count:
            chosen[min(numbers)[1]] = None
            chosen[max(numbers)[1]] = None
    step = max(1, len(rows) // count)
    for index in (*range(0, len(rows), step), *range(len(rows))):
        if len(chosen) >= count:
            break
        chosen[index] = None
    return tuple(sorted(chosen))


def replay(scorer: Scorer, rows: GoldenRows, tolerance: Golden) -> None:
    """Nothing when every golden row is answered as at pack. Raises GoldenDiffers."""
    if not rows.rows:
        return
    found = scorer.score(rows.rows)
    differing = differences(rows.predictions, found.predictions, rtol=tolerance.rtol, atol=tolerance.atol)
    if not differing and rows.probabilities is not None:
        atol = max(tolerance.atol, PROBABILITY_ATOL)
        differing = differences(rows.probabilities, found.probabilities or [], rtol=tolerance.rtol, atol=atol)
    if differing:
        first = differing[0]
        raise GoldenDiffers(
            first.row, first.expected, first.found, differing=len(differing), total=len(rows.predictions)
        )
