"""Packing a model that stays as its library wrote it: described by a sample, and asked, but never converted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.contract.events import Tell
from wherry.contract.golden import same
from wherry.contract.manifest import Conversion
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Cell, Outputs, Row
from wherry.errors import ModelUnreadable, SampleUnfit
from wherry.model import requirements
from wherry.model.flavors import Scorer
from wherry.model.flavors.kept import Kept
from wherry.model.pack.subject import SAMPLE, Given
from wherry.model.proving.convert import Stored

if TYPE_CHECKING:
    from wherry.model.tables.sampled import Described, Sampled

AT_ONCE = 1024  # rows in one call, as the service has it
ALONE = 8  # rows that are asked again, each for itself
FIRST = 64  # rows whose answers say what an answer is
RTOL, ATOL = 1e-6, 1e-9
NUMBER = OutputSpec("number", "number")


class Unconverted:
    """Such a model as a Subject."""

    def __init__(self, kept: Kept) -> None:
        self.kept, self.name = kept, kept.name

    def describe(self, given: Given) -> Described:
        from wherry.model.tables.sampled import Described  # imports pandas

        found = self.sampled(given)
        columns = self.columns(found)
        rows = [] if found is None else self.held(columns, found.rows, given.source)
        named = self.kept.named if self.kept.columns else self.kept.names is not None
        signature = Signature(
            columns,
            NUMBER,
            given.target,
            () if found is None else found.unused,
            named or (found is not None and found.named),
        )
        signature = msgspec.structs.replace(signature, output=self.output(signature, rows))
        if found is None:
            return Described(signature, [])
        return Described(signature, rows, found.frame, found.answers, found.left_out)

    def sampled(self, given: Given) -> Sampled | None:
        """The sample in the order of the columns that the model knows."""
        if given.sample is None:
            return None
        from wherry.model.tables import sampled

        kept = self.kept
        names = tuple(column.name for column in kept.columns) if kept.columns and kept.named else kept.names
        return sampled.of(
            given.sample,
            given.answers,
            names,
            len(kept.columns) or kept.count,
            target=given.target,
            float_columns=given.float_columns,
            source=given.source,
        )

    def columns(self, found: Sampled | None) -> tuple[Column, ...]:
        """The model's own columns with what the sample shows of each; else the sample's; else numbers."""
        kept = self.kept
        if kept.columns:
            if found is None:
                return tuple(msgspec.structs.replace(own, example=warm(own)) for own in kept.columns)
            return tuple(
                msgspec.structs.replace(own, low=seen.low, high=seen.high, example=seen.example, dtype=seen.dtype)
                for own, seen in zip(kept.columns, found.columns, strict=True)
            )
        if found is not None:
            return tuple(
                msgspec.structs.replace(each, nullable=each.nullable or kept.nullable) for each in found.columns
            )
        names = kept.names or tuple(f"x{place}" for place in range(kept.count or 0))
        if not names:
            raise SampleUnfit(kept.name, "does not say which columns it takes", "give a sample with --data")
        return tuple(Column(name, "number", kept.nullable, dtype="float64") for name in names)

    def held(self, columns: tuple[Column, ...], rows: list[Row], source: str) -> list[Row]:
        """The rows as the columns have them. Raises SampleUnfit for a row that a request could not carry either."""
        checked = Signature(columns, NUMBER).check(rows)
        if checked.problems:
            first = checked.problems[0]
            raise SampleUnfit(source, f"row {first.row}: {first.field} {first.reason}", first.hint)
        return checked.rows

    def output(self, signature: Signature, rows: Sequence[Row]) -> OutputSpec:
        """What an answer is: as the model says, or as its first answers show."""
        if self.kept.output is not None:
            return self.kept.output
        asked = rows[:FIRST] or [warm_row(signature)]
        answers = answered(self.kept.scorer(signature), asked, self.name).predictions
        found = shown(answers, self.name)
        names = self.kept.outputs if len(self.kept.outputs) == found.width else ()
        return msgspec.structs.replace(found, names=names)

    def store(self, signature: Signature, rows: Sequence[Row], *, allow_pickle: bool, tell: Tell) -> Stored:
        kept = self.kept
        scorer = kept.scorer(signature)
        answers = answered(scorer, rows, self.name)
        if not rows:
            answered(scorer, [warm_row(signature)], self.name)
        hold_alone(scorer, rows, answers, self.name)
        return Stored(
            form=kept.form,
            flavor=kept.flavor,
            file=kept.file,
            data=kept.data,
            scorer=scorer,
            packages=kept.packages,
            rtol=RTOL,
            atol=ATOL,
            beside=kept.beside,
            answers=answers,
            conversion=Conversion(kept.form),
            requirements=requirements.here(kept.form, kept.packages),
        )


def answered(scorer: Scorer, rows: Sequence[Row], name: str) -> Outputs:
    """What the model answers to rows of the sample. Raises SampleUnfit with what it raises."""
    predictions: list[Any] = []
    shares: list[list[float]] = []
    for start in range(0, len(rows), AT_ONCE):
        try:
            found = scorer.score(rows[start : start + AT_ONCE])
        except Exception as error:  # whatever the model says of the user's data
            raise SampleUnfit(
                SAMPLE,
                f"is not what {name} takes: {error}",
                "give rows as the model takes them, with --data",
            ) from error
        predictions += found.predictions
        shares += found.probabilities or []
    return Outputs(predictions, shares or None)


def hold_alone(scorer: Scorer, rows: Sequence[Row], answers: Outputs, name: str) -> None:
    """Nothing when rows asked alone are answered as among others. Raises ModelUnreadable."""
    step = max(1, len(rows) // ALONE)
    for place in range(0, len(rows), step):
        [alone] = answered(scorer, [rows[place]], name).predictions
        if not same(answers.predictions[place], alone, RTOL, ATOL):
            among = answers.predictions[place]
            raise ModelUnreadable(
                f"{name} answers row {place} of the sample with {alone!r} when it is asked alone, and with {among!r} "
                "among others",
                hint="let an answer depend on its own row alone, and on no chance: rows that wait are scored together",
            )


def warm_row(signature: Signature) -> Row:
    return tuple(warm(column) for column in signature.columns)


def warm(column: Column) -> Cell:
    """A value that the column takes. Not zero, by which one cannot divide."""
    if column.example is not None:
        return column.example
    if column.categories:
        return column.categories[0]
    return {"number": 1.0, "integer": 1, "boolean": True}.get(column.type, "text")


def shown(answers: Sequence[Any], name: str) -> OutputSpec:
    """What answers show that an answer is. Raises ModelUnreadable for what no reply carries."""
    known = [answer for answer in answers if answer is not None]
    kinds = {type(answer) for answer in known}
    if kinds == {bool}:
        return OutputSpec("class", "boolean")
    if kinds == {str}:
        return OutputSpec("class", "string")
    if kinds and kinds <= {int, float}:
        return OutputSpec("number", "integer" if kinds == {int} else "number")
    widths = {len(answer) for answer in known if isinstance(answer, list)}
    cells = {type(cell) for answer in known if isinstance(answer, list) for cell in answer}
    if kinds == {list} and len(widths) == 1 and cells <= {int, float}:
        return OutputSpec("number", "number", width=widths.pop())
    what = ", ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
    raise ModelUnreadable(
        f"{name} answers with {what}, and an answer is a number, a text, true or false, or as many numbers a row",
        hint="return one plain value, or one list of numbers, for each row",
    )
