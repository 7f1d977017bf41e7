"""`[reply]`: the shapes of requests and replies that clients written for another service rely on.

A template is any TOML value. A text in it that is exactly `$name` is replaced by that value; `$json:name` by the value
as a JSON text; `$$` begins a literal dollar. Everything else is sent as it stands.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from wherry.contract.signature import Signature
from wherry.errors import SettingProblem

# What a template may name, and what stands there.
PLACEHOLDERS: dict[str, str] = {
    "prediction": "the prediction of the first row",
    "predictions": "the predictions of all rows, a list",
    "label": "the first prediction as [reply.labels] names it",
    "labels": "all predictions as [reply.labels] names them, a list",
    "probability": "the probability of the first prediction",
    "probabilities": "the probabilities of all rows, a list of lists",
    "top": "the likeliest classes of the first row, a list of { label, probability }; where the bundle says how many",
    "tops": "the same of all rows, a list of lists",
    "id": "the id of the first prediction",
    "ids": "the ids of all predictions, a list",
    "name": "the model's name",
    "version": "the model's version",
}
ERROR_PLACEHOLDERS: dict[str, str] = {
    "detail": "what is wrong, one sentence",
    "title": "the kind of error",
    "status": "the HTTP status",
    "errors": "the fields at fault, a list",
    "request_id": "the request's id",
}
# What a request's template may name. One of them holds the rows; the others are optional.
REQUEST_PLACEHOLDERS: dict[str, str] = {
    "rows": "the rows: a record, a list of records or of lists; as a JSON text with $json:rows",
    "store": "whether the prediction may be kept: true or false",
}
Template = Any


class Reply(Struct, frozen=True, kw_only=True):
    """The shapes of requests and replies. Unset: the native shape."""

    request: Annotated[
        Template | UnsetType,
        Meta(description="shape of a request's JSON object, beside the native ones: $rows or $json:rows, and $store"),
    ] = UNSET
    record: Annotated[
        Template | UnsetType, Meta(description="reply to one record; rows too where `rows` is not given")
    ] = UNSET
    rows: Annotated[Template | UnsetType, Meta(description="reply to several rows")] = UNSET
    error: Annotated[Template | UnsetType, Meta(description="body of an error; the status stays what it is")] = UNSET
    labels: Annotated[dict[str, str], Meta(description="what $label says for a prediction")] = {}
    root: Annotated[Template | UnsetType, Meta(description="reply to GET /: a JSON value, or a text")] = UNSET
    root_file: Annotated[
        str, Meta(description="HTML file beside wherry.toml that GET / shows, read when a command starts")
    ] = ""
    info: Annotated[Template | UnsetType, Meta(description="reply to GET /info")] = UNSET
    health: Annotated[Template | UnsetType, Meta(description="reply to GET /health")] = UNSET
    predict_paths: Annotated[tuple[str, ...], Meta(description="further paths that answer as /predict does")] = ()
    paths: Annotated[dict[str, Template], Meta(description="further paths, and what GET answers there")] = {}


def placeholders(template: Template, path: str = "") -> Iterator[tuple[str, str]]:
    """Each placeholder in `template`: where it stands, and the text after its dollar."""
    if isinstance(template, str):
        if template.startswith("$") and not template.startswith("$$"):
            yield path, template[1:]
    elif isinstance(template, dict):
        for key, value in template.items():
            yield from placeholders(value, f"{path}.{key}" if path else str(key))
    elif isinstance(template, (list, tuple)):
        for index, value in enumerate(template):
            yield from placeholders(value, f"{path}[{index}]")


def fill(template: Template, values: dict[str, Any]) -> Any:
    """`template` with every placeholder replaced from `values` (by the name after the dollar)."""
    if isinstance(template, str):
        if template.startswith("$$"):
            return template[1:]
        if template.startswith("$json:"):
            return spaced_json(values[template[6:]])
        return values[template[1:]] if template.startswith("$") else template
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [fill(value, values) for value in template]
    return template


def spaced_json(value: Any) -> str:
    """`value` as the standard library's json.dumps writes it, a blank after each comma and colon."""

    return json.dumps(msgspec.to_builtins(value), ensure_ascii=True)


def misnamed(reply: Reply, signature: Signature) -> Iterator[SettingProblem]:
    """The labels of [reply.labels] that name no class of the model, where its classes are known."""
    classes = [str(each) for each in signature.output.classes]
    for key in reply.labels if classes else ():
        if key not in classes:
            near = difflib.get_close_matches(key, classes, n=1)
            hint = f"did you mean {near[0]}?" if near else "the classes are " + ", ".join(classes[:20])
            yield SettingProblem(f"reply.labels.{key}", "is no class of this model", hint)
