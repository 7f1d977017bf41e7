"""MLflow's door, POST /invocations: dataframe_split, dataframe_records, instances, inputs, or CSV. Pure."""

from __future__ import annotations

from wherry.contract.signature import kind_of
from wherry.contract.wire import CSV, JSON, FieldProblem
from wherry.errors import FieldsRefused
from wherry.server.doors.csv import Csv
from wherry.server.doors.door import Asked, Encode, Sent
from wherry.server.doors.listed import columnar, listed, object_of, one_of, predictions
from wherry.server.doors.native import Native

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Mlflow:
    """Reads what MLflow's scoring server reads. `params` are left aside: a packed model takes none."""

    name, media = "mlflow", (JSON, CSV)

    def __init__(self, native: Native) -> None:
        self.native, self.csv = native, Csv(native)

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        if sent.headers.get(b"content-type", b"").lower().startswith(CSV.encode()):
            return self.csv.decode(sent.body), predictions
        return self.decode(sent.body), predictions

    def decode(self, body: bytes) -> Asked:
        """The rows that `body` asks about. Raises BodyUnreadable, FieldsRefused."""
        value = object_of(self.native.parse(body), 'send {"dataframe_split": {"columns": [...], "data": [[...]]}}')
        form = one_of(value, FORMS)
        rows = value[form]
        if form == "dataframe_split":
            if not isinstance(rows, dict) or "columns" not in rows or "data" not in rows:
                what = f"is {kind_of(rows)}" if not isinstance(rows, dict) else "lacks columns or data"
                hint = 'send "dataframe_split": {"columns": [...], "data": [[...]]}'
                raise FieldsRefused((FieldProblem(0, form, what, hint),))
            return self.native.split(rows)
        if form == "inputs" and isinstance(rows, dict):
            return columnar(self.native, rows, form)
        return listed(self.native, rows, form)
