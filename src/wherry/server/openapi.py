"""The OpenAPI 3.1 document of one model's service, made from its signature. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from wherry.contract.reply import fill
from wherry.contract.signature import Column, OutputSpec, Signature, column_schema
from wherry.contract.wire import (
    ARROW,
    CSV,
    HEALTH,
    INFO,
    JSON,
    LIVEZ,
    PREDICT,
    PROBLEM_JSON,
    READYZ,
)
from wherry.server.about import filled
from wherry.server.doors.image import FORM
from wherry.server.openapi_doors import csv, of_several, paths
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
REFUSALS = {status: {"$ref": f"#/components/responses/{status}"} for status in PROBLEMS}


def openapi(manifest: Manifest, project: Project, others: Sequence[Manifest] = ()) -> dict[str, Any]:
    """The document that /openapi.json sends. others: of the models that are served beside the first."""
    signature = manifest.signature
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": manifest.name, "version": manifest.version, "description": f"Model {manifest.digest}"},
        "paths": {
            PREDICT: {"post": post(signature, project), "get": get(signature, project)},
            INFO: {"get": plain("What the model is, accepts and returns")},
            HEALTH: {"get": plain("Whether the service is up")},
            LIVEZ: {"get": plain("Whether the process lives")},
            READYZ: {"get": plain("Whether it answers predictions", {"503": {"description": "It does not"}})},
            **paths(manifest, project, REFUSALS),
            **(of_several((manifest, *others), REFUSALS) if others else {}),
            **own_paths(manifest, project),
        },
        "components": {
            "schemas": schemas(signature, project),
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


def post(signature: Signature, project: Project) -> dict[str, Any]:
    one = example(signature)
    values = list(one.values())
    examples = {
        "record": {"summary": "One record", "value": one},
        "records": {"summary": "A list of records", "value": [one, one]},
        "rows": {"summary": "Columns and rows", "value": {"columns": list(one), "rows": [values, values]}},
        "lists": {"summary": "A list of lists, in the order of the columns", "value": [values]},
    }
    schema: dict[str, Any] = {
        "anyOf": [{"$ref": f"#/components/schemas/{form}"} for form in ("Record", "Records", "Table", "Lists")]
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
        "responses": responses(project),
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


def get(signature: Signature, project: Project) -> dict[str, Any]:
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
        "responses": responses(project),
    }


def ask_probabilities() -> dict[str, Any]:
    schema = {"type": "boolean", "default": False}
    text = "whether to give the probability of each class, in the order of the classes"
    return {"name": "probabilities", "in": "query", "required": False, "schema": schema, "description": text}


def responses(project: Project) -> dict[str, Any]:
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
        "anyOf": [{"$ref": "#/components/schemas/Prediction"}, {"$ref": "#/components/schemas/Predictions"}]
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


def schemas(signature: Signature, project: Project) -> dict[str, Any]:
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
    text = {"type": "string"}
    fault = {"row": {"type": "integer"}, "field": text, "reason": text, "hint": text}
    return {
        "Record": record,
        "Records": {"type": "array", "items": {"$ref": "#/components/schemas/Record"}},
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
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "request_id": text,
                "errors": {"type": "array", "items": {"type": "object", "properties": fault}},
                "hint": text,
                "curl": {"type": "string", "description": "for 422: a corrected request, ready to run"},
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


def prediction_schema(output: OutputSpec) -> dict[str, Any]:
    one: dict[str, Any] = {"type": output.type}
    if output.classes:
        one["enum"] = list(output.classes)
    if output.width > 1:
        return {"type": "array", "items": one, "minItems": output.width, "maxItems": output.width}
    return one
