"""The query door: GET /predict?a=1&b=2, each value read by its column's type. Pure."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from wherry.contract.signature import Column, Signature
from wherry.contract.wire import FieldProblem
from wherry.errors import BodyUnreadable, FieldsRefused
from wherry.server.doors.door import Asked
from wherry.server.doors.native import check

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
LITERALS = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"})
LONGEST_INTEGER = 32  # digits: no column holds as many, and to read more takes quadratic time
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def decode(query: bytes, signature: Signature, *, ignore_unknown: bool = False) -> Asked:
    """The one record that a query asks about. Raises BodyUnreadable, FieldsRefused."""
    record: dict[str, Any] = {}
    columns = {column.name: column for column in signature.columns}
    for key, text in pairs(query):
        if key in record:
            raise FieldsRefused((FieldProblem(0, key, "is given twice", "give each field once"),))
        record[key] = value_of(columns[key], text) if key in columns else text
    return check(signature, [record], True, ignore_unknown)


def pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values of a query, in order. Raises BodyUnreadable."""
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except (UnicodeDecodeError, ValueError) as error:
        raise BodyUnreadable("the query cannot be read", hint="encode it as UTF-8 with percent signs") from error


def value_of(column: Column, text: str) -> Any:
    """`text` as the column's type; left a text where it is none, for the check to name."""
    if column.type == "string":
        return text
    text = text.strip()
    if column.nullable and text in ("", "null"):
        return None
    if column.type == "boolean":
        return BOOLEANS.get(text.lower(), text)
    if text.lower() in LITERALS:
        raise BodyUnreadable(f"{column.name} is {text}, which no prediction can be made of", hint="leave it out")
    if NUMBER.fullmatch(text):
        if column.type == "integer" and text.lstrip("+-").isdigit():
            return int(text[:LONGEST_INTEGER])
        return float(text)
    return text
