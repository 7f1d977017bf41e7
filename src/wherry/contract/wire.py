"""The shape of a request, a reply and a problem, and the paths they travel on."""

from __future__ import annotations

from typing import Any, TypeAlias

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
HISTORY = "/history"
# What other services call theirs, so that their clients find what they look for.
INVOCATIONS = "/invocations"  # MLflow
PING = "/ping"
KSERVE = "/v1/models"  # KServe's first protocol: NAME, NAME:predict
OIP = "/v2"  # the Open Inference Protocol: models/NAME, models/NAME/infer
SELDON = "/api/v1.0/predictions"
SELDON_FEEDBACK = "/api/v1.0/feedback"

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PROBLEM_JSON = "application/problem+json"
# `type` of a problem is this plus the error's code: stable, and an anchor in docs/errors.md.
PROBLEM_TYPE = "https://wherry.dev/errors#"


class Outputs(msgspec.Struct, frozen=True):
    """What a predictor answers: one prediction a row, in the order of the rows.

    predictions: length n; a class label, a number, or (several outputs) a list of them.
    probabilities: length n, each one float a class in the signature's order of classes; None where the model has none.
    """

    predictions: list[Any]
    probabilities: list[list[float]] | None = None


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
