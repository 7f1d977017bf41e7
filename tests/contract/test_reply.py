"""[reply] templates: what stands where a placeholder stood."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from wherry.contract.reply import Reply, fill, misnamed, placeholders
from wherry.contract.signature import Column, OutputSpec, Signature

VALUES: dict[str, Any] = {
    "prediction": 1,
    "predictions": ["DERMASON"],
    "label": "M",
    "labels": ["M"],
    "probability": 0.75,
    "name": "beans",
}


@pytest.mark.parametrize(
    ("template", "reply"),
    [
        ({"output": "$predictions"}, {"output": ["DERMASON"]}),
        ({"label": "$label", "prediction": "$prediction"}, {"label": "M", "prediction": 1}),
        (
            {"predictions": [{"label": "$label", "probability": "$probability"}], "success": True},
            {"predictions": [{"label": "M", "probability": 0.75}], "success": True},
        ),
        ({"predictions": "$json:predictions"}, {"predictions": '["DERMASON"]'}),
        ({"status": "error", "predict": -1}, {"status": "error", "predict": -1}),
        ("$$5", "$5"),
        ("costs $5", "costs $5"),
        ("$name", "beans"),
        ([1, ["$prediction"]], [1, [1]]),
        ({"$name": "$name"}, {"$name": "beans"}),  # keys stand as they are
    ],
)
def test_fill(template: Any, reply: Any) -> None:
    assert fill(template, VALUES) == reply


def test_json_texts_are_spaced_as_the_standard_library_does() -> None:
    value = {"a": [1, 2.5, "é"], "b": None}
    assert fill("$json:v", {"v": value}) == json.dumps(value)


def test_placeholders_are_found_with_their_place() -> None:
    template = {"a": ["$x", "$$y"], "b": {"c": "$json:z"}, "d": "plain"}
    assert list(placeholders(template)) == [("a[0]", "x"), ("b.c", "json:z")]


def test_labels_that_name_no_class_are_found_with_the_nearest() -> None:
    output = OutputSpec("class", "string", classes=("SIRA", "SEKER"))
    signature = Signature((Column("a", "number"),), output)
    found = list(misnamed(Reply(labels={"SEKR": "x", "SIRA": "y"}), signature))
    assert [(each.path, each.hint) for each in found] == [("reply.labels.SEKR", "did you mean SEKER?")]
    numbers = msgspec.structs.replace(signature, output=OutputSpec("number", "number"))
    assert not list(misnamed(Reply(labels={"SEKR": "x"}), numbers))
