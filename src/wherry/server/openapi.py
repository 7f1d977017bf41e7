"""The OpenAPI 3.1 document of a service, made from the signatures of its models. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from wherry.contract.manifest import Manifest
from wherry.contract.names import (
    HEADER_MODEL_DIGEST,
    HEADER_MODEL_VERSION,
    HEADER_PREDICTION_ID,
    HEADER_REQUEST_ID,
)
from wherry.contract.pictures import Preparation
from wherry.contract.project import Project
from wherry.contract.reply import Reply, fill
from wherry.contract.signature import Column, OutputSpec, Signature, column_schema
from wherry.contract.wire import (
    ARROW,
    CSV,
    HEALTH,
    INDEX,
    INFO,
    JSON,
    LIVEZ,
    MODELS,
    PREDICT,
    PROBLEM_JSON,
    READYZ,
)
from wherry.server.about import about_path, filled
from wherry.server.doors.image import FORM
from wherry.server.openapi_doors import csv, of_first, of_model, of_service
from wherry.server.openapi_doors import get as got
from wherry.server.problems import example

PROBLEMS = {
    "400": "The body cannot be read: not JSON, NaN or Infinity in it, nested too deeply, or unclear framing",
    "401": "A token is needed",
    "403": "Switched off by a setting, which the hint names",
    "408": "The request came too slowly",
    "413": "The body is over the limit",
    "415": "The content type is none that is read at this path",
    "422": "Fields that do not fit the columns, each named with what to do",
    "500": "The model failed on the rows that are named",
    "503": "Too busy, or stopping; Retry-After says when to come back",
    "504": "No answer in time",
}
TEXT = {"type": "string"}
FAULT = {"row": {"type": "integer"}, "field": TEXT, "reason": TEXT, "hint": TEXT}
PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "request_id": TEXT,
        "errors": {"type": "array", "items": {"type": "object", "properties": FAULT}},
        "hint": TEXT,
        "curl": {"type": "string", "description": "for 422: a corrected request, ready to run"},
    },
    "required": ["type", "title", "status", "detail"],
}
REFUSALS = {status: {"$ref": f"#/components/responses/{status}"} for status in PROBLEMS}


def openapi(manifest: Manifest, project: Project, others: Sequence[Manifest] = ()) -> dict[str, Any]:
    """The document that /openapi.json sends. others: of the models that are served beside the first.

    Where there are several, an operation of one of them is tagged with its name and version.
    """
    signature, several = manifest.signature, (manifest, *others)
    first = {
        PREDICT: {"post": post(signature, project), "get": get(signature, project)},
        **of_first(manifest, REFUSALS),
        **own_paths(manifest, project),
    }
    of_models: dict[str, Any] = {}
    made = {"Problem": PROBLEM}
    marked = list(zip(several, marks(several), strict=True))
    for each, mark in reversed(marked):  # without a version the first of a name is meant
        shaped = msgspec.structs.replace(project, reply=Reply()) if mark else project
        own = of_model(each, project, REFUSALS, [one.version for one in several if one.name == each.name])
        of_models |= tagged({**own, **of_several(each, shaped, mark)}, each) if others else own
        made |= schemas(each.signature, shaped, mark)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": manifest.name, "version": manifest.version, "description": f"Model {manifest.digest}"},
        "paths": {
            **(tagged(first, manifest) if others else first),
            INFO: {"get": plain("What the model is, accepts and returns")},
            HEALTH: {"get": plain("Whether the service is up")},
            LIVEZ: {"get": plain("Whether the process lives")},
            READYZ: {"get": plain("Whether it answers predictions", {"503": {"description": "It does not"}})},
            **of_service(manifest, list(dict.fromkeys(each.name for each in several)), REFUSALS),
            **of_list(several),
            **of_models,
        },
        "components": {
            "schemas": made,
            "responses": {status: problem(text) for status, text in PROBLEMS.items()},
        },
    }
    if project.serve.token_file:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        }
        document["security"] = [{"bearer": []}, {"key": []}]
    return document


def marks(manifests: Sequence[Manifest]) -> list[str]:
    """What the names of each model's schemas begin with: nothing, of the first."""
    found = [""]
    for place, each in enumerate(manifests[1:], 2):
        mark = re.sub("[^A-Za-z0-9]", "_", f"{each.name}_{each.version}_")
        found.append(f"{mark}{place}_" if mark in found else mark)
    return found


def tagged(items: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    """The same, each operation said to be of this model."""
    tags = [f"{manifest.name} {manifest.version}"]
    return {path: {key: {**each, "tags": tags} for key, each in item.items()} for path, item in items.items()}


def of_list(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Where a service says which models it holds."""
    held = [{"name": each.name, "version": each.version, "state": "READY", "reason": ""} for each in manifests]
    index = {**got("The models, as Triton's clients ask", held), "requestBody": {"content": {JSON: {}}}}
    found = {INDEX: {"post": index}}
    return {MODELS: {"get": got("The models, each with where it is asked")}, **found} if len(manifests) > 1 else found


def of_several(manifest: Manifest, project: Project, mark: str) -> dict[str, Any]:
    """The paths that a service of several models has for one of them, in its own form."""
    signature, found = manifest.signature, {}
    for about, of in ((f"{MODELS}/{quote(manifest.name, safe='')}", ""), (about_path(manifest), ", of one version")):
        ask, by_query = post(signature, project, mark), get(signature, project, mark)
        path = f"{about}/predict"
        found[about] = {"get": got(f"What the model is, accepts and returns{of}")}
        found[path] = {
            "post": {**ask, "operationId": f"predict{path}", "summary": f"{ask['summary']}{of}"},
            "get": {**by_query, "operationId": f"predictByQuery{path}", "summary": f"{by_query['summary']}{of}"},
        }
    return found


def post(signature: Signature, project: Project, mark: str = "") -> dict[str, Any]:
    """mark: what the names of the model's schemas begin with."""
    one = example(signature)
    values = list(one.values())
    examples = {
        "record": {"summary": "One record", "value": one},
        "records": {"summary": "A list of records", "value": [one, one]},
        "rows": {"summary": "Columns and rows", "value": {"columns": list(one), "rows": [values, values]}},
        "lists": {"summary": "A list of lists, in the order of the columns", "value": [values]},
    }
    schema: dict[str, Any] = {
        "anyOf": [{"$ref": f"#/components/schemas/{mark}{form}"} for form in ("Record", "Records", "Table", "Lists")]
    }
    if project.reply.request is not UNSET:
        schema["anyOf"].append({"type": "object", "description": "the shape that the project declares in [reply]"})
        shown = fill(project.reply.request, {"rows": [values, values], "store": True})
        examples["declared"] = {"summary": "The project's own shape", "value": shown}
    of_csv = {"schema": {"type": "string"}, "examples": {"csv": {"summary": "Rows under a header", "value": csv(one)}}}
    of_arrow = {"schema": {"type": "string", "format": "binary"}}
    content = {JSON: {"schema": schema, "examples": examples}, CSV: of_csv, ARROW: of_arrow}
    if signature.picture is not None:
        content = {**of_pictures(signature.picture), JSON: content[JSON]}
    return {
        "operationId": "predict",
        "summary": "Predict for one or many records",
        "parameters": [ask_probabilities()] if signature.output.probabilities else [],
        "requestBody": {
            "required": True,
            "content": content,
        },
        "responses": responses(project, mark),
    }


def of_pictures(column: Column) -> dict[str, Any]:
    """The ways to send a picture as it is: in a form, several of them if need be, or as the whole body."""
    prepare = column.prepare or Preparation(width=0, height=0)
    picture = {"type": "string", "format": "binary"}
    sides = f"made {prepare.width} x {prepare.height} for the model; at most {prepare.pixels:,} points"
    form = {"type": "object", "required": [column.name], "properties": {column.name: {**picture, "description": sides}}}
    return {FORM: {"schema": form}, **{f"image/{each}": {"schema": picture} for each in prepare.formats}}


def own_paths(manifest: Manifest, project: Project) -> dict[str, Any]:
    """The paths that the project declares."""
    reply, signature = project.reply, manifest.signature
    found: dict[str, Any] = {}
    for path in reply.predict_paths:
        found[path] = {
            "post": {**post(signature, project), "operationId": f"predict{path}"},
            "get": {**get(signature, project), "operationId": f"predictByQuery{path}"},
        }
    for path, template in reply.paths.items():
        found[path] = {"get": got(f"What the project says at {path}", filled(template, manifest))}
    return found


def get(signature: Signature, project: Project, mark: str = "") -> dict[str, Any]:
    one = example(signature)
    parameters = [
        {
            "name": column.name,
            "in": "query",
            "required": column.name in signature.json_schema()["required"] and not column.nullable,
            "schema": column_schema(column),
            "example": one[column.name],
        }
        for column in signature.columns
    ]
    taken = {column.name for column in signature.columns}
    if signature.output.probabilities and "probabilities" not in taken:
        parameters.append(ask_probabilities())
    return {
        "operationId": "predictByQuery",
        "summary": "Predict for one record",
        "parameters": parameters,
        "responses": responses(project, mark),
    }


def ask_probabilities() -> dict[str, Any]:
    schema = {"type": "boolean", "default": False}
    text = "whether to give the probability of each class, in the order of the classes"
    return {"name": "probabilities", "in": "query", "required": False, "schema": schema, "description": text}


def responses(project: Project, mark: str) -> dict[str, Any]:
    headers = {
        name: {"schema": {"type": "string"}, "description": text}
        for name, text in (
            (HEADER_REQUEST_ID, "the request's id, taken over when sent"),
            (HEADER_PREDICTION_ID, "the id of the first row; row k has this id, a hyphen and k"),
            (HEADER_MODEL_VERSION, "the model's version"),
            (HEADER_MODEL_DIGEST, "the model's digest"),
        )
    }
    answer: dict[str, Any] = {"description": "The predictions", "headers": headers}
    schema: dict[str, Any] = {
        "anyOf": [{"$ref": f"#/components/schemas/{mark}{form}"} for form in ("Prediction", "Predictions")]
    }
    if project.reply.record is not UNSET or project.reply.rows is not UNSET:
        schema = {"description": "the shape that the project declares in [reply]"}
    answer["content"] = {JSON: {"schema": schema}}
    return {"200": answer, **REFUSALS}


def problem(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def plain(text: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    ok = {"description": text, "content": {JSON: {"schema": {}}}}
    return {"summary": text, "security": [], "responses": {"200": ok, **(more or {})}}


def schemas(signature: Signature, project: Project, mark: str = "") -> dict[str, Any]:
    """What is sent to the model and comes back, each by its name with `mark` before it."""
    record = signature.json_schema()
    if project.serve.unknown_fields == "refuse" and not signature.target and not signature.unused:
        record["additionalProperties"] = False
    cell = {"type": ["number", "string", "boolean", "null"]}
    row = {"type": "array", "items": cell}
    rows = {"type": "array", "items": row}
    lists = {"type": "array", "items": {**row, "minItems": len(signature.columns), "maxItems": len(signature.columns)}}
    names = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    prediction = prediction_schema(signature.output)
    likely: dict[str, Any] = {}
    if signature.output.top:
        one = {"type": "object", "properties": {"label": {"type": "string"}, "probability": {"type": "number"}}}
        about = f"the {signature.output.top} likeliest classes, the likeliest first"
        likely = {"top": {"type": "array", "items": one, "description": about}}
    shares = {"type": "array", "items": {"type": "number"}, "description": "one a class, in the order of the classes"}
    made: dict[str, Any] = {
        "Record": record,
        "Records": {"type": "array", "items": {"$ref": f"#/components/schemas/{mark}Record"}},
        "Table": {
            "type": "object",
            "properties": {"columns": names, "rows": rows, "data": rows, "index": {}},
            "required": ["columns"],
        },
        "Lists": lists,
        "Prediction": {
            "type": "object",
            "properties": {"prediction": prediction, **likely, "probabilities": shares},
            "required": ["prediction"],
        },
        "Predictions": {
            "type": "object",
            "properties": {
                "predictions": {"type": "array", "items": prediction},
                **{key: {"type": "array", "items": value} for key, value in likely.items()},
                "probabilities": {"type": "array", "items": shares},
            },
            "required": ["predictions"],
        },
    }
    return {f"{mark}{name}": schema for name, schema in made.items()}


def prediction_schema(output: OutputSpec) -> dict[str, Any]:
    one: dict[str, Any] = {"type": output.type}
    if output.classes:
        one["enum"] = list(output.classes)
    if output.width > 1:
        return {"type": "array", "items": one, "minItems": output.width, "maxItems": output.width}
    return one
