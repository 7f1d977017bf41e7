"""KServe's first protocol, POST /v1/models/NAME:predict, which TensorFlow Serving's clients speak too. Pure."""

from __future__ import annotations

from typing import Any

from wherry.contract.wire import JSON
from wherry.server.doors.door import Asked, Encode, Sent
from wherry.server.doors.listed import columnar, listed, object_of, one_of, predictions
from wherry.server.doors.native import Native


class Kserve:
    """Reads `instances` (a list of rows), or `inputs` (that, or a list a column)."""

    name, media = "kserve", (JSON,)

    def __init__(self, native: Native) -> None:
        self.native = native

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        return self.decode(sent.body), predictions

    def decode(self, body: bytes) -> Asked:
        """The rows that `body` asks about. Raises BodyUnreadable, FieldsRefused."""
        value = object_of(self.native.parse(body), 'send {"instances": [[...]]}')
        form = one_of(value, ("instances", "inputs"))
        rows = value[form]
        if form == "inputs" and isinstance(rows, dict):
            return columnar(self.native, rows, form)
        return listed(self.native, rows, form)


def models(*names: str) -> dict[str, Any]:
    """What GET /v1/models says."""
    return {"models": list(names)}


def model(name: str, ready: bool) -> dict[str, Any]:
    """What GET /v1/models/NAME says."""
    return {"name": name, "ready": ready}
