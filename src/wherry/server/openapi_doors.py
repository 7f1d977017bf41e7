"""The paths beside /predict in the OpenAPI document: what other services' clients call, each with an example. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from wherry import __version__
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.contract.signature import OutputSpec
from wherry.contract.wire import (
    CSV,
    FEEDBACK,
    HISTORY,
    INVOCATIONS,
    JSON,
    KSERVE,
    OIP,
    PING,
    SELDON,
    SELDON_FEEDBACK,
)
from wherry.server.doors import kserve, oip
from wherry.server.doors.tensors import OF_COLUMN, datatype_of
from wherry.server.problems import example


def of_service(manifest: Manifest, names: Sequence[str], errors: dict[str, Any]) -> dict[str, Any]:
    """Path to path item, of what belongs to no model; `errors` are the responses to a request that is refused."""
    truth = {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "truth": example_prediction(manifest.signature.output)}
    told = {
        "response": {"meta": {"puid": truth["id"]}},
        "truth": {"data": {"ndarray": [truth["truth"]]}},
    }
    return {
        PING: {"get": get("Whether it answers predictions, as MLflow and SageMaker ask")},
        KSERVE: {"get": get("The models, as KServe has it", kserve.models(*names))},
        OIP: {"get": get("The server, as the Open Inference Protocol has it", oip.server(__version__))},
        f"{OIP}/health/live": {"get": get("Whether the process lives", {"status": "alive", "live": True})},
        f"{OIP}/health/ready": {"get": get("Whether it answers predictions", {"status": "ready", "ready": True})},
        HISTORY: {"get": {**get("The predictions that are kept, the newest first"), "parameters": asked()}},
        FEEDBACK: {
            "post": {
                **post("What turned out to be true", {JSON: {"truth": truth}}, {"accepted": 1}, errors),
                "responses": {"202": {"description": "It is kept"}, **errors},
            }
        },
        SELDON_FEEDBACK: {
            "post": post("What turned out to be true, as Seldon has it", {JSON: {"truth": told}}, {"data": {}}, errors)
        },
    }


def of_first(manifest: Manifest, errors: dict[str, Any]) -> dict[str, Any]:
    """The paths that name no model and are the first one's."""
    one = example(manifest.signature)
    names, values = list(one), list(one.values())
    predictions = {"predictions": [example_prediction(manifest.signature.output)]}
    forms = {
        "dataframe_split": {"dataframe_split": {"columns": names, "data": [values]}},
        "dataframe_records": {"dataframe_records": [one]},
        "instances": {"instances": [values]},
        "inputs": {"inputs": {key: [value] for key, value in one.items()}},
    }
    arrays = {
        "ndarray": {"data": {"names": names, "ndarray": [values]}},
        "tensor": {"data": {"tensor": {"shape": [1, len(values)], "values": values}}},
    }
    seldon = {"data": {"names": [], "ndarray": predictions["predictions"]}, "meta": {"puid": "the prediction's id"}}
    return {
        INVOCATIONS: {
            "post": post("Predict as MLflow has it", {JSON: forms, CSV: {"csv": csv(one)}}, predictions, errors)
        },
        SELDON: {"post": post("Predict as Seldon's first protocol has it", {JSON: arrays}, seldon, errors)},
    }


def of_model(
    manifest: Manifest, project: Project, errors: dict[str, Any], versions: Sequence[str] = ()
) -> dict[str, Any]:
    """The paths of other protocols that name the model; versions: all that there are of its name."""
    one = example(manifest.signature)
    predictions = {"predictions": [example_prediction(manifest.signature.output)]}
    name, version = quote(manifest.name, safe=""), quote(manifest.version, safe="")
    instances = {"lists": {"instances": [list(one.values())]}, "records": {"instances": [one]}}
    ready = {"name": manifest.name, "ready": True}
    tensor = {JSON: {"tensors": {"inputs": tensors(manifest)}}}
    about = oip.model(manifest, project.serve.probabilities, versions)
    found: dict[str, Any] = {}
    for end, of in (("", ""), (f"/versions/{version}", ", of one version")):
        of_kserve, of_oip = f"{KSERVE}/{name}{end}", f"{OIP}/models/{name}{end}"
        infer = post(f"Predict as the Open Inference Protocol has it{of}", tensor, reply_of_tensors(manifest), errors)
        found |= {
            of_kserve: {"get": get(f"Whether the model answers, as KServe asks{of}", ready)},
            f"{of_kserve}:predict": {
                "post": post(f"Predict as KServe's first protocol has it{of}", {JSON: instances}, predictions, errors)
            },
            of_oip: {"get": get(f"The model's tensors{of}", about)},
            f"{of_oip}/ready": {"get": get(f"Whether the model answers{of}", ready)},
            f"{of_oip}/infer": {"post": infer},
        }
    return found


def post(summary: str, bodies: dict[str, dict[str, Any]], reply: Any, errors: dict[str, Any]) -> dict[str, Any]:
    """An operation that predicts; `bodies` are examples by content type and name."""
    content = {
        media: {"schema": {}, "examples": {key: {"summary": key, "value": value} for key, value in each.items()}}
        for media, each in bodies.items()
    }
    ok = {"description": "The predictions", "content": {JSON: {"schema": {}, "example": reply}}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": ok, **errors},
    }


def get(summary: str, reply: Any = None) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": summary}
    if reply is not None:
        ok["content"] = {JSON: {"schema": {}, "example": reply}}
    return {"summary": summary, "responses": {"200": ok}}


def asked() -> list[dict[str, Any]]:
    """What /history may be asked for."""
    texts = {
        "limit": "how many, 1 to 1000",
        "before": "the last id of the page before: `next` of its reply",
        "since": "a time such as 2026-01-31T09:30:00Z",
        "until": "a time",
        "where": "COLUMN=VALUE, as often as needed",
    }
    return [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in texts.items()
    ]


def tensors(manifest: Manifest) -> list[dict[str, Any]]:
    """One row as the Open Inference Protocol has it."""
    one = example(manifest.signature)
    return [
        {"name": column.name, "datatype": datatype_of(column), "shape": [1, 1], "data": [one[column.name]]}
        for column in manifest.signature.columns
    ]


def reply_of_tensors(manifest: Manifest) -> dict[str, Any]:
    output = manifest.signature.output
    found = example_prediction(output)
    tensor = {"name": oip.PREDICT, "datatype": OF_COLUMN[output.type], "shape": [1, output.width]}
    outputs = [{**tensor, "data": found if output.width > 1 else [found]}]
    return {"model_name": manifest.name, "model_version": manifest.version, "id": "", "outputs": outputs}


def example_prediction(output: OutputSpec) -> Any:
    """A value such as the model answers."""
    one = output.classes[0] if output.classes else {"number": 0.5, "integer": 1, "boolean": True}.get(output.type, "")
    return [one] * output.width if output.width > 1 else one


def csv(record: dict[str, Any]) -> str:
    """A header and one row."""
    return "\n".join(",".join(map(cell, line)) for line in (record, record.values())) + "\n"


def cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
