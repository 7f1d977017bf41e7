"""Golden rows: chosen at pack, asked again wherever the model is about to be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from wherry.contract.golden import GoldenRows, differences
from wherry.contract.manifest import Golden
from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row
from wherry.errors import GoldenDiffers
from wherry.model.flavors import Scorer

LEAST = 32
# Probabilities go through exponentials, and through float32 in ONNX: below this they are the same.
PROBABILITY_ATOL = 1e-5


def choose(rows: Sequence[Row], outputs: Outputs, count: int = LEAST) -> tuple[int, ...]:
    """The indexes of `count` rows that say most about the model: every answer, every missing cell, both ends of
    every column, then an even spread. More than `count` where that many are needed; fewer where there are fewer rows.
    """
    chosen: dict[int, None] = {}
    seen: set[tuple[str, str | int]] = set()
    for index, answer in enumerate(outputs.predictions):
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


def of(signature: Signature, rows: Sequence[Row], outputs: Outputs, indexes: Sequence[int]) -> GoldenRows:
    """The rows at `indexes` with their answers."""
    return GoldenRows(
        columns=signature.names,
        rows=tuple(rows[index] for index in indexes),
        predictions=tuple(outputs.predictions[index] for index in indexes),
        probabilities=(
            None if outputs.probabilities is None else tuple(tuple(outputs.probabilities[index]) for index in indexes)
        ),
    )


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
