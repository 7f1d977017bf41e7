"""The shape of a request, a reply and a problem, and the paths they travel on."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

# A cell is what JSON can carry for one column of one row; a row has one cell a column, in the signature's order.
Cell: TypeAlias = float | int | str | bool | None
Row: TypeAlias = tuple[Cell, ...]

PREDICT = "/predict"
ROOT = "/"
INFO = "/info"
HEALTH = "/health"
LIVEZ = "/livez"
READYZ = "/readyz"
DOCS = "/docs"
OPENAPI = "/openapi.json"
METRICS = "/metrics"
FEEDBACK = "/feedback"
MODELS = "/models"  # where a service holds several: NAME/predict, NAME/versions/VERSION/predict
HISTORY = "/history"
# What other services call theirs, so that their clients find what they look for.
INVOCATIONS = "/invocations"  # MLflow
PING = "/ping"
KSERVE = "/v1/models"  # KServe's first protocol: NAME, NAME:predict
OIP = "/v2"  # the Open Inference Protocol: models/NAME, models/NAME/infer
INDEX = f"{OIP}/repository/index"  # which models there are, as Triton's clients ask
SELDON = "/api/v1.0/predictions"
SELDON_FEEDBACK = "/api/v1.0/feedback"

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PROBLEM_JSON = "application/problem+json"
# `type` of a problem is this plus the error's code: stable, and an anchor in docs/errors.md.
PROBLEM_TYPE = "https://wherry.dev/errors#"


class Rows(list[Row]):
    """Checked rows, and their cells as numbers where they are nothing else: packed once for all who calculate.

    pack: what makes float64 of one row's cells, as `struct.Struct("3d").pack` does; None where cells are no numbers.
    """

    __slots__ = ("block", "pack")

    def __init__(self, pack: Callable[..., bytes] | None) -> None:
        """Without rows at first: they are added, which takes less time than giving them to the list's own __init__."""
        self.pack = pack
        self.block: bytes | None = None

    def doubles(self) -> bytes | None:
        """Every cell as a float64 of this machine, row after row; None where a cell is none."""
        if self.block is None and self.pack is not None:
            pack = self.pack
            try:
                self.block = b"".join([pack(*row) for row in self])
            except (struct.error, OverflowError):  # a cell that no float64 holds
                self.pack = None
        return self.block


class Cells(msgspec.Struct, frozen=True, gc=False):
    """Checked rows of numbers as the float64 that they were read as: rows of cells only where somebody looks at them.

    A sequence of rows, though mypy cannot be told: a struct's metaclass is its own, and one is made for every request.
    """

    block: bytes  # every cell as a float64 of this machine, row after row
    count: int  # rows
    unpack: Callable[[bytes], Iterable[Row]]

    def doubles(self) -> bytes:
        return self.block

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        return iter(self.unpack(self.block))

    def __getitem__(self, place: Any) -> Any:
        return list(self)[place]


Sequence.register(Cells)
Gathered: TypeAlias = Rows | Cells  # the rows of several requests


class Outputs(msgspec.Struct, frozen=True):
    """What a predictor answers: one prediction a row, in the order of the rows.

    predictions: length n; a class label, a number, or (several outputs) a list of them.
    probabilities: length n, each one float a class in the signature's order of classes; None where the model has none.
    """

    predictions: list[Any]
    probabilities: list[list[float]] | None = None


class Sums(msgspec.Struct, frozen=True):
    """What a classifier of n cells and k sums is that adds and compares, and does nothing else.

    weights: k x n, bias: k, both float64 of this machine. decide: as a folded linear model has it.
    """

    decide: Literal["sign", "argmax", "votes"]
    weights: bytes
    bias: bytes
    classes: tuple[Cell, ...]


class FieldProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with one field: the row (from 0), the field's name, why, and what to do."""

    row: int
    field: str
    reason: str
    hint: str = ""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem: what a client gets instead of a prediction."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str = ""
    errors: tuple[FieldProblem, ...] = ()
    hint: str = ""
    curl: str = ""
