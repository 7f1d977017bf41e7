"""Packing a model that is no estimator: described by a sample, and asked; where it was converted, proven equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from wherry.contract.events import Note, Step, Tell
from wherry.contract.golden import same
from wherry.contract.manifest import Conversion
from wherry.contract.signature import Column, ColumnType, OutputSpec, Signature
from wherry.contract.wire import Cell, Outputs, Row
from wherry.errors import ModelUnreadable, SampleUnfit, UsageRefused
from wherry.model import requirements
from wherry.model.flavors import Scorer
from wherry.model.flavors.kept import Kept, Truth
from wherry.model.golden import finite
from wherry.model.loaded import unsendable
from wherry.model.pack.subject import SAMPLE, Given
from wherry.model.proving.convert import Stored, conversion_of
from wherry.model.proving.evidence import Reference, gather
from wherry.model.proving.probes import UNSEEN, changed
from wherry.model.proving.proof import NotAlike, prove

if TYPE_CHECKING:
    from wherry.model.tables.sampled import Described, Sampled

AT_ONCE = 1024  # rows in one call, as the service has it
ALONE = 8  # rows that are asked again, each for itself
FIRST = 64  # rows whose answers say what an answer is
ATOL = 1e-9
NUMBER = OutputSpec("number", "number")


class Unconverted:
    """Such a model as a Subject."""

    def __init__(self, kept: Kept) -> None:
        self.kept, self.name = kept, kept.name

    def describe(self, given: Given) -> Described:
        from wherry.model.tables.sampled import Described  # imports pandas

        found = self.sampled(given)
        columns = self.columns(found)
        self.refuse_floats(given.float_columns, columns)
        if found is not None and self.kept.reads is not None and found.rows:
            columns = self.refusing(columns, found)
        rows = [] if found is None else self.held(columns, found.rows, given.source)
        named = self.kept.named if self.kept.columns else self.kept.names is not None
        signature = Signature(
            columns,
            NUMBER,
            given.target,
            () if found is None else found.unused,
            named or (found is not None and found.named),
        )
        truth = None if found is None else found.answers
        signature = msgspec.structs.replace(signature, output=self.output(signature, rows, truth))
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
            seen = tuple(
                msgspec.structs.replace(each, nullable=each.nullable or kept.nullable) for each in found.columns
            )
            types = kept.types if len(kept.types) == len(seen) else kept.types[:1] * len(seen)
            return tuple(map(typed, seen, types)) if types else seen
        names = kept.names or tuple(f"x{place}" for place in range(kept.count or 0))
        if not names:
            raise SampleUnfit(kept.name, "does not say which columns it takes", "give a sample with --data")
        types = kept.types if len(kept.types) == len(names) else (kept.types[:1] or ("number",)) * len(names)
        dtype = {"number": "float64", "integer": "int64", "boolean": "bool"}
        return tuple(
            Column(name, kind, kept.nullable, dtype=dtype.get(kind, "object"))
            for name, kind in zip(names, types, strict=True)
        )

    def refuse_floats(self, asked: Sequence[str], columns: Sequence[Column]) -> None:
        """Raises UsageRefused for a column that is to take fractions, where the model says that it takes none."""
        types = {column.name: column.type for column in columns}
        for name in asked:
            if types.get(name) != "number":
                takes = f"states that {name} is {types[name]}" if name in types else f"has no column {name}"
                hint = "state it as a number there, or leave --float out"
                raise UsageRefused(f"--float {name}: {self.name} {takes}", hint=hint)

    def refusing(self, columns: tuple[Column, ...], found: Sampled) -> tuple[Column, ...]:
        """The columns, with those whose texts the model takes only if it has seen them marked as such."""
        scorer = self.kept.scorer(Signature(columns, NUMBER, named=found.named))
        return tuple(
            msgspec.structs.replace(column, unknown_ok=answers(scorer, changed(found.rows[0], {place: UNSEEN})))
            if column.categories and column.type == "string" and answers(scorer, found.rows[0])
            else column
            for place, column in enumerate(columns)
        )

    def held(self, columns: tuple[Column, ...], rows: list[Row], source: str) -> list[Row]:
        """The rows as the columns have them. Raises SampleUnfit for a row that a request could not carry either."""
        checked = Signature(columns, NUMBER).check(rows)
        if checked.problems:
            first = checked.problems[0]
            raise SampleUnfit(source, f"row {first.row}: {first.field} {first.reason}", first.hint)
        return checked.rows

    def output(self, signature: Signature, rows: Sequence[Row], truth: Truth) -> OutputSpec:
        """What an answer is: as the model says, or as its first answers show."""
        if self.kept.output is not None:
            return self.kept.output
        if self.kept.reads is not None:
            return self.kept.reads(signature, rows or [warm_row(signature)], truth)
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
        if without := unsendable(answers):
            if len(without) == len(rows):
                hint = "are these rows as it was trained on them? Scaling belongs into the model"
                raise ModelUnreadable(f"{self.name} answers no row of the sample with a finite number", hint=hint)
            text = f"{len(without)} of {len(rows)} rows are answered with no finite number, as row {without[0]} is"
            tell(Note(text, warn=True, hint="a service replies to such a row with the status 500"))
        rtol, atol = kept.precision, max(ATOL, kept.precision * spread_of(signature, answers, without) / 10)
        hold_alone(scorer, rows, answers, self.name, rtol=rtol, atol=atol)
        conversion = Conversion(kept.form)
        if kept.original is not None:
            conversion, answers = proven(kept.original(signature), kept, scorer, signature, rows, tell)
        return Stored(
            form=kept.form,
            flavor=kept.flavor,
            file=kept.file,
            data=kept.data,
            scorer=scorer,
            packages=kept.packages,
            rtol=rtol,
            atol=atol,
            beside=kept.beside,
            answers=answers,
            conversion=conversion,
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


def answers(scorer: Scorer, row: Row) -> bool:
    """Whether the model answers the row at all."""
    try:
        scorer.score([row])
    except Exception:  # noqa: BLE001  # whatever a model raises, it says no
        return False
    return True


def spread_of(signature: Signature, answers: Outputs, without: Sequence[int]) -> float:
    """The standard deviation of answers that are numbers."""
    if signature.output.kind != "number" or len(without) == len(answers.predictions):
        return 0.0
    left_out = set(without)
    return float(np.std([each for row, each in enumerate(answers.predictions) if row not in left_out]))


def hold_alone(scorer: Scorer, rows: Sequence[Row], answers: Outputs, name: str, *, rtol: float, atol: float) -> None:
    """Nothing when rows asked alone are answered as among others. Raises ModelUnreadable."""
    step = max(1, len(rows) // ALONE)
    for place in range(0, len(rows), step):
        [alone] = answered(scorer, [rows[place]], name).predictions
        if finite(answers.predictions[place]) and not same(answers.predictions[place], alone, rtol, atol):
            among = answers.predictions[place]
            raise ModelUnreadable(
                f"{name} answers row {place} of the sample with {alone!r} when it is asked alone, and with {among!r} "
                "among others",
                hint="let an answer depend on its own row alone, and on no chance: rows that wait are scored together",
            )


def proven(
    original: Reference, kept: Kept, scorer: Scorer, signature: Signature, rows: Sequence[Row], tell: Tell
) -> tuple[Conversion, Outputs]:
    """The record of how a graph answers like what it was made of, whose answers they are. Raises ModelUnreadable."""
    if not rows:
        reason = "is kept as an ONNX graph, and without rows nothing shows that it answers alike"
        raise SampleUnfit(kept.name, reason, "give rows like those it was trained on: --data FILE")
    tell(Step(f"asking the model about {len(rows)} rows and the boundaries between its answers"))
    evidence = gather(original, signature, rows)
    try:
        proof = prove(original, scorer, signature, evidence, precision=kept.precision)
    except NotAlike as error:
        text = f"the ONNX graph that was made of this {kept.name} answers otherwise: {error}"
        raise ModelUnreadable(text, hint=kept.otherwise) from error
    return conversion_of(kept.form, proof, evidence), evidence.answers


def typed(seen: Column, kind: ColumnType) -> Column:
    """A column of the sample as the model takes it. A missing cell can only be told among floating numbers."""
    listed = seen.categories if kind == seen.type else ()
    return msgspec.structs.replace(seen, type=kind, nullable=seen.nullable and kind == "number", categories=listed)


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
