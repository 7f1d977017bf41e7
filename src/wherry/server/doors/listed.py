"""Rows as other services' clients write them: a list of whatever, or a list a column. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from wherry.contract.signature import kind_of
from wherry.contract.wire import FieldProblem, Outputs
from wherry.errors import FieldsRefused
from wherry.server.doors.door import Asked
from wherry.server.doors.native import Native


def listed(native: Native, value: Any, field: str) -> Asked:
    """The rows in a list of records, of lists or, for a model with one column, of values."""
    if not isinstance(value, list):
        raise FieldsRefused((FieldProblem(0, field, f"is {kind_of(value)}, not a list of rows"),))
    rows = [[cell] for cell in value] if plain(value) and one_column(native) else value
    flawless = native.flawless_rows({"columns": list(native.signature.names), "rows": rows})
    return native.understand(rows) if flawless is None else Asked(flawless, False)


def columnar(native: Native, value: dict[str, Any], field: str) -> Asked:
    """The rows in {"a": [1, 2], "b": [3, 4]}."""
    sizes = {len(cells) if isinstance(cells, list) else -1 for cells in value.values()}
    if len(sizes) != 1 or -1 in sizes:
        hint = "send one list a column, all of one length"
        raise FieldsRefused((FieldProblem(0, field, "is not a list of values for each column", hint),))
    return native.table(list(value), [list(row) for row in zip(*value.values(), strict=True)])


def plain(value: list[Any]) -> bool:
    """Whether the list holds values, not rows."""
    return bool(value) and not any(isinstance(cell, (dict, list)) for cell in value)


def one_column(native: Native) -> bool:
    return len(native.signature.columns) == 1


def object_of(value: Any, what: str) -> dict[str, Any]:
    """The JSON object that a body is, else FieldsRefused is raised, which says `what` to send."""
    if not isinstance(value, dict):
        raise FieldsRefused((FieldProblem(0, "", f"a request is an object here, not {kind_of(value)}", what),))
    return value


def one_of(value: dict[str, Any], keys: tuple[str, ...]) -> str:
    """The one of `keys` that is there. Raises FieldsRefused."""
    found = [key for key in keys if key in value]
    if len(found) != 1:
        reason = f"{found[1]} came beside {found[0]}" if found else f"there is no {' and no '.join(keys)}"
        raise FieldsRefused((FieldProblem(0, "", reason, f"send one of {', '.join(keys)}"),))
    return found[0]


def predictions(outputs: Outputs, first_id: str) -> bytes:
    """{"predictions": [...]}, whatever the project declares for its own path."""
    return msgspec.json.encode({"predictions": outputs.predictions})
