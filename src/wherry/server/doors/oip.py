"""The Open Inference Protocol's door, POST /v2/models/NAME/infer, with its binary tensor data extension. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.signature import kind_of
from wherry.contract.wire import JSON, Outputs
from wherry.errors import BodyUnreadable, SwitchedOff
from wherry.server.content import BINARY, Content
from wherry.server.doors.door import MOST_CELLS, Asked, Encode, Sent
from wherry.server.doors.listed import object_of
from wherry.server.doors.native import Native
from wherry.server.doors.tensors import (
    DATATYPES,
    OF_COLUMN,
    datatype_of,
    from_bytes,
    from_json,
    refused,
    to_bytes,
)

JSON_LENGTH = b"inference-header-content-length"
PREDICT, SHARES = "predict", "predict_proba"  # the outputs, as MLServer calls them


class Wanted(msgspec.Struct, frozen=True):
    """An output that the reply is to hold, and whether as bytes."""

    name: str
    binary: bool


class Oip:
    """Reads one tensor a column, or one of all columns; answers with the outputs that were asked for."""

    name = "oip"
    media = (JSON, "application/octet-stream", "")  # the official client names none

    def __init__(self, native: Native, manifest: Manifest, probabilities: str) -> None:
        self.native, self.signature, self.picture = native, manifest.signature, manifest.signature.picture
        self.model, self.version = manifest.name, manifest.version
        self.shares = self.signature.output.probabilities and probabilities != "never"
        self.given = (PREDICT, SHARES) if self.shares and probabilities == "always" else (PREDICT,)

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        """Raises BodyUnreadable, FieldsRefused, SwitchedOff."""
        head, rest = cut(sent)
        value = object_of(
            self.native.parse(head), 'send {"inputs": [{"name": ..., "shape": ..., "datatype": ..., "data": [...]}]}'
        )
        request_id, parameters = value.get("id", ""), parameters_of(value, "the request")
        if not isinstance(request_id, str):
            raise refused("id", f"is {kind_of(request_id)}, not a text")
        tensors, left = self.tensors(value.get("inputs"), rest)
        if left:
            raise BodyUnreadable(
                f"{len(left)} bytes follow the last tensor", hint="let binary_data_size say how many belong to each"
            )
        binary = parameters.get("binary_data_output") is True
        return self.rows(tensors), Answer(self, request_id, self.wanted(value.get("outputs"), binary))

    def tensors(self, inputs: Any, rest: bytes) -> tuple[dict[str, tuple[list[int], list[Any]]], bytes]:
        """Shape and cells of each input, by name, and the bytes that belong to none."""
        if not isinstance(inputs, list) or not inputs or not all(isinstance(each, dict) for each in inputs):
            raise refused("inputs", "is not a list of tensors", "send one tensor a column, or one of all columns")
        found: dict[str, tuple[list[int], list[Any]]] = {}
        total = 0
        for each in inputs:
            name, shape, datatype = each.get("name"), each.get("shape"), each.get("datatype")
            if not isinstance(name, str):
                raise refused("inputs", "has a tensor without a name")
            if name in found:
                raise refused(name, "is given twice", "give each input once")
            if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
                raise refused(name, "has no shape", 'send "shape": [rows, 1]')
            if datatype not in DATATYPES:
                raise refused(name, "has a datatype that there is not", f"it is one of {', '.join(DATATYPES)}")
            if len(shape) not in (1, 2):
                raise refused(name, f"has {len(shape)} dimensions", "send [rows], [rows, 1] or [rows, columns]")
            count = shape[0] * (shape[1] if len(shape) == 2 else 1)
            total += count
            if total > MOST_CELLS:
                raise refused(name, f"makes more than {MOST_CELLS:,} values", "send fewer rows")
            parameters = parameters_of(each, name)
            if any(key.startswith("shared_memory") for key in parameters):
                raise refused(name, "lies in shared memory, which is not read here", "send its data")
            size = parameters.get("binary_data_size")
            if size is None:
                found[name] = shape, from_json(name, datatype, each.get("data"), count)
            elif type(size) is not int or not 0 <= size <= len(rest) or "data" in each:
                raise refused(name, "has a binary_data_size that does not fit", "let its bytes follow the JSON")
            else:
                picture = self.picture is not None and name == self.picture.name
                found[name] = shape, from_bytes(name, datatype, rest[:size], count, picture=picture)
                rest = rest[size:]
        return found, rest

    def rows(self, tensors: dict[str, tuple[list[int], list[Any]]]) -> Asked:
        """The rows that the tensors hold: matched by name, or by place in the only one."""
        width = len(self.signature.columns)
        if len(tensors) == 1:
            ((name, (shape, cells)),) = tensors.items()
            if name not in self.native.names and (shape[1] if len(shape) == 2 else 1) == width:
                rows = [cells[start : start + width] for start in range(0, len(cells), width)]
                return self.native.table(list(self.signature.names), rows)
        for name, (shape, cells) in tensors.items():
            if len(shape) == 2 and shape[1] != 1:
                hint = f"send [rows, 1] for each column, or one tensor of [rows, {width}]"
                raise refused(name, f"has the shape {shape}"[:200], hint)
            if len(cells) != len(next(iter(tensors.values()))[1]):
                raise refused(name, "has another number of rows than the first input", "send as many for each column")
        columns = [cells for _, cells in tensors.values()]
        return self.native.table(list(tensors), [list(row) for row in zip(*columns, strict=True)])

    def wanted(self, outputs: Any, binary: bool) -> tuple[Wanted, ...]:
        if outputs is None or outputs == []:
            return tuple(Wanted(name, binary) for name in self.given)
        if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
            raise refused("outputs", "is not a list of outputs", f'send [{{"name": "{PREDICT}"}}]')
        wanted: dict[str, Wanted] = {}
        for each in outputs:
            name = each.get("name")
            parameters = parameters_of(each, "an output")
            if name == SHARES and not self.shares:
                raise SwitchedOff("this service gives no probabilities", hint=f"ask for {PREDICT}")
            if name not in (PREDICT, SHARES):
                raise refused("outputs", "has a name that there is not", f"the outputs are {PREDICT} and {SHARES}")
            if "classification" in parameters:
                raise refused(name, "is not sorted into classes here", f"ask for {SHARES}")
            wanted[name] = Wanted(name, parameters.get("binary_data", binary) is True)
        return tuple(wanted.values())


class Answer:
    """Outputs to a reply with the tensors that one request wants."""

    def __init__(self, door: Oip, request_id: str, wanted: tuple[Wanted, ...]) -> None:
        self.door, self.request_id, self.wanted = door, request_id, wanted

    def __call__(self, outputs: Outputs, first_id: str) -> bytes | Content:
        door, tail = self.door, []
        tensors: list[dict[str, Any]] = []
        for wanted in self.wanted:
            datatype, shape, cells = self.tensor(wanted.name, outputs)
            tensor: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": shape}
            if wanted.binary:
                tail.append(to_bytes(datatype, cells))
                tensor["parameters"] = {"binary_data_size": len(tail[-1])}
            else:
                tensor["data"] = cells
            tensors.append(tensor)
        body = msgspec.json.encode(
            {
                "model_name": door.model,
                "model_version": door.version,
                "id": self.request_id or first_id,
                "outputs": tensors,
            }
        )
        if not tail:
            return body
        return Content(BINARY, b"".join((body, *tail)), b"Inference-Header-Content-Length: %d\r\n" % len(body))

    def tensor(self, name: str, outputs: Outputs) -> tuple[str, list[int], list[Any]]:
        output, count = self.door.signature.output, len(outputs.predictions)
        if name == SHARES:
            shares = outputs.probabilities or []
            return "FP64", [count, len(output.classes)], [share for row in shares for share in row]
        cells = [cell for row in outputs.predictions for cell in row] if output.width > 1 else outputs.predictions
        return OF_COLUMN[output.type], [count, output.width], cells


def cut(sent: Sent) -> tuple[bytes, bytes]:
    """The JSON of a request and the bytes of its tensors."""
    said = sent.headers.get(JSON_LENGTH)
    if said is None:
        return sent.body, b""
    if not said.isdigit() or len(said) > 12 or not 0 < int(said) <= len(sent.body):
        raise BodyUnreadable(
            "Inference-Header-Content-Length is not the length of the body's JSON", hint="count the bytes of the JSON"
        )
    return sent.body[: int(said)], sent.body[int(said) :]


def parameters_of(value: dict[str, Any], whose: str) -> dict[str, Any]:
    found = value.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise refused("parameters", f"of {whose[:80]} is {kind_of(found)}, not an object")
    return found


def server(version: str) -> dict[str, Any]:
    """What GET /v2 says."""
    return {"name": "wherry", "version": version, "extensions": ["binary_tensor_data"]}


def model(manifest: Manifest, probabilities: str, versions: Sequence[str] = ()) -> dict[str, Any]:
    """What GET /v2/models/NAME says. versions: all that there are of that name, where there are several."""
    signature = manifest.signature
    output = signature.output
    outputs = [{"name": PREDICT, "datatype": OF_COLUMN[output.type], "shape": [-1, output.width]}]
    if output.probabilities and probabilities != "never":
        outputs.append({"name": SHARES, "datatype": "FP64", "shape": [-1, len(output.classes)]})
    inputs = [{"name": c.name, "datatype": datatype_of(c), "shape": [-1, 1]} for c in signature.columns]
    return {
        "name": manifest.name,
        "versions": list(versions) or [manifest.version],
        "platform": f"wherry_{manifest.flavor}",
        "inputs": inputs,
        "outputs": outputs,
    }
