"""Which golden rows a bundle keeps: the estimator's own answers, where the stored form gives them again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wherry.contract.golden import GoldenRows, same
from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row
from wherry.model import golden
from wherry.model.convert import Stored


def chosen(signature: Signature, rows: Sequence[Row], outputs: Outputs, stored: Stored) -> GoldenRows:
    """Golden rows out of the sample, with the answers that the original estimator gave (`outputs`).

    Rows on which the stored form ties, or has no answer, are left out. Where it is further from the original than half
    the tolerance (a float32 form of a steep model), its own answers are kept instead, or no other machine could agree.
    """
    if not rows:
        return GoldenRows(signature.names, (), ())
    found = stored.scorer.score(rows)
    answered = [place for place in range(len(rows)) if finite(outputs.predictions[place])]
    steady = [place for place in answered if agree(outputs, found, place, stored)]
    if 2 * len(steady) < len(answered) and len(steady) < golden.LEAST:
        steady, outputs = [place for place in answered if finite(found.predictions[place])], found
    part = Outputs(
        [outputs.predictions[place] for place in steady],
        None if outputs.probabilities is None else [outputs.probabilities[place] for place in steady],
    )
    picked = [rows[place] for place in steady]
    return golden.of(signature, picked, part, golden.choose(picked, part) if picked else ())


def agree(outputs: Outputs, found: Outputs, place: int, stored: Stored) -> bool:
    rtol, atol = stored.rtol / 2, stored.atol / 2
    if not same(outputs.predictions[place], found.predictions[place], rtol, atol):
        return False
    if outputs.probabilities is None or found.probabilities is None:
        return outputs.probabilities is found.probabilities
    near = max(atol, golden.PROBABILITY_ATOL / 2)
    return same(outputs.probabilities[place], found.probabilities[place], rtol, near)


def finite(answer: Any) -> bool:
    if isinstance(answer, list):
        return all(finite(part) for part in answer)
    return answer is not None and not (isinstance(answer, float) and not math.isfinite(answer))
