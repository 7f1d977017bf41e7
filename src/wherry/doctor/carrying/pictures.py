"""A service that is sent pictures: the shape of its reply, which its code puts together key by key."""

from __future__ import annotations

import ast
from typing import Any

from wherry.doctor.carrying.carried import Carried
from wherry.doctor.source import Function, Source, constant

LABELS = "labels.txt"


def takes_pictures(source: Source, function: Function) -> bool:
    return "request.files" in ast.unparse(function) or "UploadFile" in source.text


def read_pictures(source: Source, function: Function, where: str, carried: Carried) -> None:
    """The model's labels, whose file is the user's to bring, and the reply to one picture."""
    carried.set("model.image.labels", LABELS)
    carried.lose(f"{where}: pictures are uploaded; put the name of each class on a line of {LABELS} beside wherry.toml")
    first, last = reply_of(function)
    if "$top" in last.values():
        carried.set("reply.record", last)
        if first:
            carried.set("reply.error", {**first, "detail": "$detail"})
    else:
        carried.lose(f"{where}: the reply, which this code puts together")


def reply_of(function: Function) -> tuple[dict[str, Any], dict[str, Any]]:
    """The dict that is returned, as it begins and as it ends; in the order of its keys, as Flask writes it.

    A list that is filled on the way holds the likeliest classes.
    """
    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    names = {
        each.id
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and node.value is not None
        for each in ast.walk(node.value)
        if isinstance(each, ast.Name)
    }
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id in names and isinstance(node.value, ast.Dict):
                first = {
                    str(constant(key)): constant(value)
                    for key, value in zip(node.value.keys, node.value.values, strict=True)
                    if key is not None and constant(value) is not None
                }
            elif (
                isinstance(target, ast.Subscript)
                and isinstance(target.value, ast.Name)
                and target.value.id in names
                and isinstance(key := constant(target.slice), str)
            ):
                value = constant(node.value)
                if isinstance(node.value, (ast.List, ast.ListComp)):
                    last[key] = "$top"
                elif isinstance(value, (bool, int, float)):
                    last[key] = value
    return first, dict(sorted({**first, **last}.items()))
