"""Outputs to bytes: the native reply, or the shape that the project declares. Compiled once; pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.reply import Reply, spaced_json
from wherry.contract.signature import OutputSpec, Signature
from wherry.contract.wire import Cell, Outputs
from wherry.server.doors.door import Encode
from wherry.server.ids import row_id

encode = msgspec.json.encode
Value: TypeAlias = Callable[[Outputs, str], Any]


class Shapes:
    """Every shape in which the predictions of one service can be given."""

    def __init__(self, manifest: Manifest, reply: Reply) -> None:
        values = placeholder_values(manifest, reply)
        unset = msgspec.UNSET
        one: dict[str, str] = {"prediction": "$prediction"}
        many: dict[str, str] = {"predictions": "$predictions"}
        if manifest.signature.output.top:
            one["top"], many["top"] = "$top", "$tops"
        self.native = (
            one_prediction(manifest.signature.output.classes) if len(one) == 1 else Template(one, values).encode,
            Template(many, values).encode,
        )
        self.native_shares = (
            Template({**one, "probabilities": "$shares"}, values).encode,
            Template({**many, "probabilities": "$probabilities"}, values).encode,
        )
        record = self.native[0] if reply.record is unset else Template(reply.record, values).encode
        declared_rows = reply.record if reply.rows is unset else reply.rows
        rows = self.native[1] if declared_rows is unset else Template(declared_rows, values).encode
        self.declared = None if reply.record is unset and reply.rows is unset else (record, rows)

    def choose(self, single: bool, *, native: bool, probabilities: bool) -> Encode:
        """How to write a reply: to one record or to rows."""
        if self.declared is not None and not native:
            return self.declared[not single]
        return (self.native_shares if probabilities else self.native)[not single]


def one_prediction(classes: Sequence[Cell]) -> Encode:
    """What the template {"prediction": "$prediction"} comes to, spelled out: nearly every reply is one of few."""
    kind = next((kind for kind in (int, str) if all(type(each) is kind for each in classes)), None)
    known = {each: b'{"prediction":%b}' % encode(each) for each in classes}

    def written(outputs: Outputs, first_id: str) -> bytes:
        predictions = outputs.predictions
        value = predictions[0] if predictions else None
        if value.__class__ is kind and value in known:
            return known[value]
        return b'{"prediction":%b}' % encode(value)

    return written


class Template:
    """A declared shape, cut at its placeholders: what stands between them is encoded once."""

    def __init__(self, template: Any, values: dict[str, Value]) -> None:
        self.pieces: list[bytes | Value] = []
        self.cut(template, values)
        merged: list[bytes | Value] = []
        for piece in self.pieces:
            if isinstance(piece, bytes) and merged and isinstance(merged[-1], bytes):
                merged[-1] += piece
            else:
                merged.append(piece)
        self.pieces = merged

    def encode(self, outputs: Outputs, first_id: str) -> bytes:
        return b"".join([p if p.__class__ is bytes else encode(p(outputs, first_id)) for p in self.pieces])  # type: ignore[operator]  # bytes or a Value

    def cut(self, template: Any, values: dict[str, Value]) -> None:
        add = self.pieces.append
        if isinstance(template, str) and template.startswith("$") and not template.startswith("$$"):
            if template.startswith("$json:"):
                value = values[template[6:]]
                add(lambda outputs, first_id: spaced_json(value(outputs, first_id)))
            else:
                add(values[template[1:]])
        elif isinstance(template, str):
            add(encode(template[1:] if template.startswith("$$") else template))
        elif isinstance(template, dict):
            for index, (key, part) in enumerate(template.items()):
                add((b"," if index else b"{") + encode(str(key)) + b":")
                self.cut(part, values)
            add(b"}" if template else b"{}")
        elif isinstance(template, (list, tuple)):
            for index, part in enumerate(template):
                add(b"," if index else b"[")
                self.cut(part, values)
            add(b"]" if template else b"[]")
        else:
            add(encode(template))


def placeholder_values(manifest: Manifest, reply: Reply) -> dict[str, Value]:
    """What each placeholder of contract.reply stands for. An empty request has no first row: null."""
    signature, labels = manifest.signature, reply.labels

    def first(values: Sequence[Any] | None) -> Any:
        return values[0] if values else None

    def label(prediction: Any) -> Any:
        return labels.get(str(prediction), prediction)

    def ids(outputs: Outputs, first_id: str) -> list[str]:
        return [row_id(first_id, row) for row in range(len(outputs.predictions))]

    def top(shares: Sequence[float]) -> list[dict[str, Any]]:
        return likeliest(shares, signature.output, labels)

    return {
        "top": lambda o, _: top(o.probabilities[0]) if o.probabilities else [],
        "tops": lambda o, _: [top(shares) for shares in o.probabilities or ()],
        "prediction": lambda o, _: first(o.predictions),
        "predictions": lambda o, _: o.predictions,
        "label": lambda o, _: label(o.predictions[0]) if o.predictions else None,
        "labels": lambda o, _: [label(prediction) for prediction in o.predictions],
        "probability": lambda o, _: probability(o, signature),
        "probabilities": lambda o, _: o.probabilities,
        "shares": lambda o, _: first(o.probabilities),
        "id": lambda o, first_id: first_id,
        "ids": ids,
        "name": lambda o, _: manifest.name,
        "version": lambda o, _: manifest.version,
    }


def likeliest(shares: Sequence[float], output: OutputSpec, labels: dict[str, str]) -> list[dict[str, Any]]:
    """The likeliest classes of one row, each with its probability; of equal ones the first in the model's order."""
    places = heapq.nlargest(output.top or len(shares), range(len(shares)), key=shares.__getitem__)
    classes = output.classes
    return [
        {"label": labels.get(str(classes[place]), classes[place]), "probability": shares[place]} for place in places
    ]


def probability(outputs: Outputs, signature: Signature) -> float | None:
    """The probability of the first prediction; null where the model gives none."""
    if not outputs.probabilities or not outputs.predictions:
        return None
    classes: tuple[Cell, ...] = signature.output.classes
    shares, prediction = outputs.probabilities[0], outputs.predictions[0]
    return shares[classes.index(prediction)] if prediction in classes else max(shares)
