"""Seldon's first protocol, POST /api/v1.0/predictions: data as ndarray or tensor, with or without names. Pure."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from wherry.contract.signature import kind_of
from wherry.contract.wire import JSON, FieldProblem, Outputs
from wherry.errors import FieldsRefused
from wherry.server.doors.door import Asked, Encode, Sent
from wherry.server.doors.listed import listed, object_of, one_of
from wherry.server.doors.native import Native, parse


class Seldon:
    """Reads rows by `names` where they come, else in the order of the columns; answers in the form that came."""

    name, media = "seldon", (JSON,)

    def __init__(self, native: Native) -> None:
        self.native = native
        self.names = list(native.signature.output.names)

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        """Raises BodyUnreadable, FieldsRefused."""
        value = object_of(self.native.parse(sent.body), 'send {"data": {"ndarray": [[...]]}}')
        data, meta = value.get("data"), value.get("meta")
        if not isinstance(data, dict):
            what = "is missing" if "data" not in value else f"is {kind_of(data)}, not an object"
            raise FieldsRefused((FieldProblem(0, "data", what, 'send {"data": {"ndarray": [[...]]}}'),))
        form = one_of(data, ("ndarray", "tensor"))
        rows = data[form] if form == "ndarray" else untensored(data[form])
        names = names_of(data.get("names"))
        puid = meta.get("puid") if isinstance(meta, dict) else None
        encode = partial(answer, form, self.names, puid if isinstance(puid, str) else None)
        if names and self.native.signature.named and isinstance(rows, list):
            return self.native.split({"columns": names, "rows": rows}), encode
        return listed(self.native, rows, f"data.{form}"), encode


def names_of(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise FieldsRefused((FieldProblem(0, "data.names", "is not a list of names"),))
    return value


def untensored(tensor: Any) -> list[Any]:
    """The rows of {"shape": [rows, columns], "values": [...]}."""
    shape, values = (tensor.get("shape"), tensor.get("values")) if isinstance(tensor, dict) else (None, None)
    if not isinstance(shape, list) or len(shape) != 2 or any(type(size) is not int or size < 0 for size in shape):
        raise fault("shape", "is not a number of rows and one of columns", "send [2, 3] for 2 rows of 3 columns")
    count, width = shape
    if not isinstance(values, list) or len(values) != count * width:
        raise fault("values", f"is not a list of {count} times {width} values", "send them row by row")
    if count and not width:
        raise fault("shape", "has rows without a column", "send one value a column")
    return [values[start : start + width] for start in range(0, len(values), width or 1)]


def fault(member: str, reason: str, hint: str) -> FieldsRefused:
    return FieldsRefused((FieldProblem(0, f"data.tensor.{member}", reason, hint),))


def answer(form: str, names: list[str], puid: str | None, outputs: Outputs, first_id: str) -> bytes:
    """The predictions in the form that the request had; texts cannot stand in a tensor."""
    values = outputs.predictions
    data: dict[str, Any] = {"names": names}
    if form == "tensor" and all(type(value) in (int, float) for value in values):
        data["tensor"] = {"shape": [len(values)], "values": values}
    elif form == "tensor" and all(type(value) is list for value in values):  # several numbers a row
        flat = [cell for value in values for cell in value]
        data["tensor"] = {"shape": [len(values), len(values[0])], "values": flat}
    else:
        data["ndarray"] = values
    return msgspec.json.encode({"data": data, "meta": {"puid": puid or first_id}})


def truths(body: bytes) -> list[dict[str, Any]]:
    """What Seldon's feedback says turned out true, as POST /feedback has it: the truth's rows, else the reward.

    The prediction is the one that the reply's puid named. Raises BodyUnreadable, FieldsRefused.
    """
    value = object_of(parse(body), 'send {"response": {"meta": {"puid": ...}}, "truth": {"data": {"ndarray": [...]}}}')
    response, truth = value.get("response"), value.get("truth")
    meta = response.get("meta") if isinstance(response, dict) else None
    puid = meta.get("puid") if isinstance(meta, dict) else None
    if not isinstance(puid, str):
        hint = "send the response as it came, with its meta"
        raise FieldsRefused((FieldProblem(0, "response.meta.puid", "does not name a prediction", hint),))
    data = truth.get("data") if isinstance(truth, dict) else None
    if not isinstance(data, dict):
        return [{"id": puid, "truth": {"reward": value.get("reward")} if value.get("reward") is not None else None}]
    form = one_of(data, ("ndarray", "tensor"))
    tensor = data[form]
    rows = tensor.get("values") if form == "tensor" and isinstance(tensor, dict) else tensor
    if not isinstance(rows, list):
        raise FieldsRefused((FieldProblem(0, f"truth.data.{form}", f"is {kind_of(rows)}, not a list of rows"),))
    flat = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in rows]
    return [{"id": f"{puid}-{place}" if place else puid, "truth": each} for place, each in enumerate(flat)]
