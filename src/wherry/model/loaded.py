"""A bundle, loaded: verified, fit for this environment, and ready to answer."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Manifest
from wherry.contract.names import BUNDLE_DIR
from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row, Sums
from wherry.errors import FieldsRefused, ModelDiffers, ModelFailed, PictureRefused
from wherry.model import bundle, flavors, golden, requirements
from wherry.model.records import records_of


def load(folder: Path | str = BUNDLE_DIR, digest: str = "") -> Model:
    """The model of the bundle in `folder`, verified byte for byte.

    digest: of the one model that it may be; empty: any. Raises BundleMissing, BundleDamaged, BundleUnreadable,
    FormatUnknown, ModelDiffers; BundleUnfit when this environment has other versions than the model needs, naming both.
    """
    folder = Path(folder)
    manifest = bundle.verify(folder)
    if digest and manifest.digest != digest:
        raise ModelDiffers(str(folder), digest, manifest.digest)
    requirements.check(manifest)
    rows = bundle.golden(folder, manifest)
    return Model(manifest, rows, flavors.load(folder / manifest.model, manifest))


class Model:
    """A loaded model: `predict` for people, `score` for the service."""

    def __init__(self, manifest: Manifest, golden_rows: GoldenRows, scorer: flavors.Scorer) -> None:
        self.manifest = manifest
        self.golden = golden_rows
        self._score = scorer.score
        self.compared: Sums | None = getattr(scorer, "compared", None)

    def __repr__(self) -> str:
        return f"<Model {self.manifest.name} {self.manifest.version} ({self.manifest.conversion.form})>"

    @property
    def signature(self) -> Signature:
        return self.manifest.signature

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        """The answers for rows that the signature has checked, as plain Python values.

        probabilities: False where nobody will see them; asking scikit-learn for them can take as long as predicting.
        Raises ModelFailed, which names the rows concerned and holds the answers of all others; PictureRefused.
        """
        try:
            outputs = self._score(rows) if probabilities else self._score(rows, False)
        except PictureRefused:  # the request's fault, not the model's
            raise
        except Exception as error:  # whatever a model raises concerns these rows, not the service
            if len(rows) == 1:
                reason = f"raised {type(error).__name__}: {error}"
                raise ModelFailed(reason, (0,), Outputs([None])) from error
            return self._score_apart(rows, probabilities)
        return sound(outputs, len(rows))

    def predict(self, rows: Any) -> list[Any]:
        """One prediction a row, as the service gives them.

        rows: a record (dict), a list of records, a list of lists, a numpy array or a DataFrame. Columns are matched by
        name whenever names are given; the target and columns that the model does not use are ignored.
        Raises FieldsRefused, which names row, column and what to do; ModelFailed.
        """
        checked = self.signature.check(records_of(rows))
        if checked.problems:
            raise FieldsRefused(checked.problems)
        return self.score(checked.rows).predictions if checked.rows else []

    def replay(self) -> None:
        """Answer the golden rows again. Raises GoldenDiffers when an answer is not the one that was packed."""
        golden.replay(self, self.golden, self.manifest.golden)

    def _score_apart(self, rows: Sequence[Row], probabilities: bool) -> Outputs:
        """The answers of a batch that raised, found by halving it, so that only the guilty rows go without."""
        middle = len(rows) // 2
        predictions: list[Any] = []
        chances: list[list[float]] = []
        bad: list[int] = []
        reasons: list[str] = []
        for start, part in ((0, rows[:middle]), (middle, rows[middle:])):
            try:
                outputs = self.score(part, probabilities)
            except ModelFailed as error:
                outputs = error.outputs
                bad.extend(start + row for row in error.rows)
                reasons.extend(error.reasons)
            predictions.extend(outputs.predictions)
            chances.extend(outputs.probabilities or [[] for _ in part])
        merged = Outputs(predictions, chances if any(chances) else None)
        if bad:
            raise ModelFailed(reasons[-1], tuple(bad), merged, reasons=tuple(reasons))
        return merged


def sound(outputs: Outputs, rows: int) -> Outputs:
    """The same. Raises ModelFailed unless there is an answer for each of so many rows that can be sent."""
    predictions, shares = outputs.predictions, outputs.probabilities
    if len(predictions) != rows or (shares is not None and len(shares) != rows):
        raise ModelFailed(f"gave {len(predictions)} answers to {rows} rows")
    try:  # NaN and infinity stay in a sum; where there is none, as of words, each is looked at
        if isfinite(sum(predictions)) and (shares is None or isfinite(sum(map(sum, shares)))):
            return outputs
    except (TypeError, OverflowError):
        pass
    bad = unsendable(outputs)
    if bad:
        raise failed(bad, outputs)
    return outputs


def unsendable(outputs: Outputs) -> list[int]:
    """The rows whose answer is none: None, NaN or infinite, in the prediction or in a probability."""
    bad = [
        row
        for row, answer in enumerate(outputs.predictions)
        if answer is None
        or (answer.__class__ is float and not isfinite(answer))
        or (answer.__class__ is list and not all(cell is not None and sendable(cell) for cell in answer))
    ]
    if outputs.probabilities is not None:
        bad += [row for row, each in enumerate(outputs.probabilities) if not isfinite(sum(each)) and row not in bad]
    return sorted(bad)


def sendable(cell: Any) -> bool:
    return not isinstance(cell, float) or isfinite(cell)


def failed(bad: list[int], outputs: Outputs) -> ModelFailed:
    answers = list(outputs.predictions)
    first = answers[bad[0]]
    for row in bad:
        answers[row] = None
    what = "an unknown value" if first is None else "a number that is not finite" if isinstance(first, float) else "NaN"
    rows = ", ".join(str(row) for row in bad[:10]) + (", ..." if len(bad) > 10 else "")
    reason = f"answered {what} for row{'s' if len(bad) > 1 else ''} {rows}"
    return ModelFailed(reason, tuple(bad), Outputs(answers, outputs.probabilities))
