"""Errors as clients see them: the table error class -> HTTP status, and the problem's members. No internals leave."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from wherry.contract.reply import PLACEHOLDERS, fill
from wherry.contract.signature import Column, Signature
from wherry.contract.wire import JSON, PREDICT, PROBLEM_JSON, PROBLEM_TYPE, FieldProblem, Problem
from wherry.errors import (
    BodyUnreadable,
    CodeFailed,
    DeadlinePassed,
    DiskFull,
    FieldsRefused,
    FramingWrong,
    HeadersTooLarge,
    HostUnknown,
    MediaWrong,
    MethodWrong,
    ModelFailed,
    Overloaded,
    PathUnknown,
    PictureFormatWrong,
    PictureRefused,
    PictureTooLarge,
    RequestRefused,
    StoreFailed,
    StoreUnreachable,
    SwitchedOff,
    TokenRefused,
    TooLarge,
    TooSlow,
    UrlTooLong,
    WherryError,
)

STATUS: dict[type[BaseException], int] = {
    BodyUnreadable: 400,
    FramingWrong: 400,
    PictureRefused: 400,
    TokenRefused: 401,
    SwitchedOff: 403,
    PathUnknown: 404,
    MethodWrong: 405,
    TooSlow: 408,
    TooLarge: 413,
    PictureTooLarge: 413,
    UrlTooLong: 414,
    MediaWrong: 415,
    PictureFormatWrong: 415,
    HostUnknown: 421,
    FieldsRefused: 422,
    HeadersTooLarge: 431,
    ModelFailed: 500,
    Overloaded: 503,
    StoreFailed: 503,
    StoreUnreachable: 503,
    DiskFull: 503,
    DeadlinePassed: 504,
}
Members: TypeAlias = Callable[[Problem], dict[str, Any]]
HOST = re.compile(r"[A-Za-z0-9.\-_]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


def status_of(error: BaseException) -> int:
    """500 for whatever is not in the table."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem_of(error: BaseException, request_id: str, curl: str = "") -> Problem:
    """What a client is told about `error`. Only a refusal's own words leave; anything else is told in general."""
    status = status_of(error)
    if isinstance(error, RequestRefused):
        code, title, detail, hint = error.code, error.title, str(error), error.hint
    elif isinstance(error, ModelFailed):
        code, title, detail, hint = "model", "The model failed", str(error), error.hint
    elif isinstance(error, StoreUnreachable):
        code, title = "history", "Stored predictions cannot be read"
        detail, hint = "the database does not answer; predictions go on", "try again; the service's log says why"
    elif isinstance(error, (StoreFailed, DiskFull)):
        code, title = "store", "Prediction not kept"
        detail, hint = "the prediction could not be stored, so it is not given", "try again; the service's log says why"
    else:
        code, title = "internal", "Internal error"
        detail, hint = "the service failed to answer this request", "the service's log says more, by the request id"
    faults: tuple[FieldProblem, ...] = ()
    if isinstance(error, FieldsRefused):
        faults = tuple(FieldProblem(p.row, p.field, p.reason, p.hint) for p in error.problems)
    elif isinstance(error, PictureRefused):
        faults = (FieldProblem(error.row, error.field, error.reason, error.hint),)
    elif isinstance(error, ModelFailed):
        each = zip(error.rows, error.reasons, strict=True)
        faults = tuple(FieldProblem(row, "", f"the model {reason}") for row, reason in each)
    return Problem(PROBLEM_TYPE + code, title, status, detail, request_id, faults, hint, curl)


def fields_of(error: BaseException) -> bytes:
    """The header lines that go with an error."""
    if isinstance(error, MethodWrong):
        return f"Allow: {', '.join(error.allowed)}\r\n".encode()
    if isinstance(error, TokenRefused):
        return b"WWW-Authenticate: Bearer\r\n"
    if isinstance(error, Overloaded):
        return b"Retry-After: %d\r\n" % (error.retry_after + random.randrange(3))
    if isinstance(error, (StoreFailed, StoreUnreachable, DiskFull)):
        return b"Retry-After: 5\r\n"
    return b""


# Beside the problem's members: what the clients of other protocols read of an error.
MEMBERS: dict[str, Members] = {
    "oip": lambda problem: {"error": problem.detail},
    "kserve": lambda problem: {"error": problem.detail},
    "mlflow": lambda problem: {
        "error_code": "BAD_REQUEST" if problem.status < 500 else "INTERNAL_ERROR",
        "message": problem.detail,
    },
}


def body_of(
    problem: Problem, template: Any, names: dict[str, Any], members: Members | None = None
) -> tuple[bytes, bytes]:
    """Body and content type: RFC 9457, with `members` beside its own, or the project's own error shape.

    With `members` it is plain JSON: the clients that look for them show them in nothing else.
    """
    if members is not None:
        return msgspec.json.encode({**msgspec.to_builtins(problem), **members(problem)}), JSON.encode()
    if template is msgspec.UNSET:
        return msgspec.json.encode(problem), PROBLEM_JSON.encode()
    values = {
        **dict.fromkeys(PLACEHOLDERS), **names,
        "detail": problem.detail, "title": problem.title, "status": problem.status,
        "errors": problem.errors, "request_id": problem.request_id,
    }  # fmt: skip  # a table reads better than one name a line
    return msgspec.json.encode(fill(template, values)), b"application/json"


def curl(record: Any, host: str, picture: str = "", path: str = PREDICT) -> str:
    """A line that sends `record` to the service that was called as `host`, and works in every shell and any curl.

    picture: the field that takes one; then it is uploaded. path: where the service predicts.
    """
    where = f"{host if HOST.fullmatch(host) else '127.0.0.1:8080'}{path}"
    if picture:
        return f"curl -F {shlex.quote(picture)}=@FILE http://{where}"
    body = msgspec.json.encode(record).decode()
    return f"curl -H 'Content-Type: application/json' -d {shlex.quote(body)} http://{where}"


def example_of(column: Column) -> Any:
    """A value that the column takes."""
    if column.example is not None:
        return column.example
    if column.default is not msgspec.UNSET:
        return column.default
    if column.categories:
        return column.categories[0]
    if column.low is not None:
        return int(column.low) if column.type == "integer" else column.low
    return {"number": 0.0, "integer": 0, "boolean": False, "string": "text"}[column.type]


def example(signature: Signature) -> dict[str, Any]:
    """A record that the model answers."""
    return {column.name: example_of(column) for column in signature.columns}


def corrected(signature: Signature, record: Any) -> dict[str, Any]:
    """`record` with what is wrong replaced by a value that would do; what is right stays."""
    fixed = example(signature)
    if isinstance(record, (list, tuple)) and len(record) == len(signature.columns):
        record = dict(zip(signature.names, record, strict=True))
    if isinstance(record, dict):
        known = {key: value for key, value in record.items() if key in fixed}
        found = signature.check([{**fixed, **known}], ignore_unknown=True)
        wrong = {problem.field for problem in found.problems}
        fixed.update({key: value for key, value in known.items() if key not in wrong})
    return fixed


def blamed(error: BaseException) -> BaseException | None:
    """Whose traceback the log shows: that of what a model raised; where that is the user's code, of this alone."""
    found = cause = error.__cause__ if isinstance(error, ModelFailed) else error
    while found is not None and not isinstance(found, CodeFailed):
        found = found.__cause__ or found.__context__
    return found or cause


def log_line(error: BaseException, request_id: str, trace: bytes | None = None) -> str:
    """What the service's own log says about an error that clients are not told about."""
    if isinstance(code := blamed(error), CodeFailed):
        error = code
    kind = "" if isinstance(error, WherryError) else f"{type(error).__name__}: "
    of = f" of trace {trace[3:35].decode()}" if trace is not None else ""
    return f"request {request_id}{of}: {kind}{error}"
