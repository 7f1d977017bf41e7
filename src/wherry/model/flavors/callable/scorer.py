"""Rows to what a callable is given, and what it returns to answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row
from wherry.model.flavors.callable.annotations import RowKind, row_kind
from wherry.model.flavors.callable.service import Service, failure
from wherry.model.matrix import item, matrix

Make: TypeAlias = Callable[[Sequence[Row]], Any]


class CodeScorer:
    """Answers with the user's own code."""

    def __init__(self, service: Service, signature: Signature) -> None:
        self.service = service
        self.make = array_of(signature) if service.array else maker(row_kind(service.rows), signature)
        self.shares = service.shares if signature.output.probabilities else None
        self.whole = signature.output.kind == "number" and signature.output.type == "number"
        given: dict[str, Any] = {"meta": {}} if service.meta else {}
        names = (list(signature.names),) if service.features else ()
        self.ask = (lambda rows: service.ask(rows, *names, **given)) if names or given else service.ask

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        """Raises CodeFailed, which names the line; ValueError when there are not as many answers as rows."""
        answers = self.called(self.ask, rows)
        if self.whole:
            answers = [float(each) if each.__class__ is int else each for each in answers]
        if self.shares is None or not probabilities:
            return Outputs(answers)
        return Outputs(answers, self.called(self.shares, rows))

    def called(self, call: Callable[[Any], Any], rows: Sequence[Row]) -> list[Any]:
        try:
            answers = call(self.make(rows))
        except Exception as error:  # the user's code may raise anything
            raise failure(self.service.path, error) from error
        answers = answers.tolist() if hasattr(answers, "tolist") else answers
        if isinstance(answers, (str, bytes, dict)) or not hasattr(answers, "__len__") or len(answers) != len(rows):
            what = f"{len(answers)} answers" if hasattr(answers, "__len__") else f"a {type(answers).__name__}"
            raise ValueError(f"{self.service.name} gave {what} to {len(rows)} rows")
        return [plain(each) for each in answers]


def plain(answer: Any) -> Any:
    """One answer as JSON carries it."""
    if answer.__class__ in (float, str, int, bool):
        return answer
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    return [plain(each) for each in answer] if isinstance(answer, (list, tuple)) else item(answer)


def maker(kind: RowKind, signature: Signature) -> Make:
    """What makes of rows what the annotation says."""
    names = signature.names
    if kind.form == "value":
        return lambda rows: [row[0] for row in rows]
    if kind.form == "tuple":
        return list
    if kind.form == "list":
        return lambda rows: [list(row) for row in rows]
    if kind.form == "array":
        return array_of(signature)
    build = kind.build or dict
    return lambda rows: [build(**dict(zip(names, row, strict=True))) for row in rows]


def array_of(signature: Signature) -> Make:
    """What makes a matrix of rows, NaN for a missing number: of whole numbers, of numbers, or of objects."""
    kinds = {column.type for column in signature.columns}
    if kinds <= {"integer"} and not any(column.nullable for column in signature.columns):
        return lambda rows: np.array(rows, dtype=np.int64)
    if kinds <= {"number", "integer", "boolean"}:
        return lambda rows: matrix(rows).copy()  # the code may write into it
    return lambda rows: np.array(rows, dtype=object)
