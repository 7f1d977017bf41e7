"""The document of a service lists every path, and every example in it works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from serving import MIXED, SIGNATURE, Fake, Linearly, Running, manifest_of

from wherry.contract.project import Project
from wherry.contract.reply import Reply
from wherry.contract.signature import Signature
from wherry.server.openapi import openapi

PROJECT = Project(
    reply=Reply(
        request={"data": "$json:rows", "store": "$store"},
        predict_paths=("/score",),
        paths={"/version": {"version": "$version"}},
    )
)
SERVED = {"breast": (Linearly(), SIGNATURE), "houses": (Fake(lambda row: 0.5), MIXED)}


@pytest.fixture(params=SERVED, scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Running, Signature]]:
    model, signature = SERVED[request.param]
    with Running(model, signature=signature, project=PROJECT) as running:
        yield running, signature


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def test_every_example_is_answered_as_the_document_says(served: tuple[Running, Signature]) -> None:
    service, _ = served
    tried = 0
    for path, method, operation in operations(service.ask("GET", "/openapi.json").json):
        if path in ("/history", "/feedback", "/api/v1.0/feedback"):
            continue  # off where no prediction is kept
        if method == "GET":
            if path in ("/predict", "/score"):
                continue
            answer = service.ask("GET", path)
            assert answer.status == 200, path
            shown = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("example")
            assert shown is None or answer.json == shown, path
            continue
        for media, content in operation["requestBody"]["content"].items():
            for example in content.get("examples", {}).values():
                value = example["value"]
                body = value.encode() if media == "text/csv" else json.dumps(value).encode()
                answer = service.ask("POST", path, body, {"Content-Type": media})
                assert answer.status == 200, (path, answer.body)
                shown = operation["responses"]["200"]["content"]["application/json"].get("example", {})
                assert shown.keys() <= answer.json.keys(), path
                tried += 1
    assert tried >= 18


def test_every_path_of_the_service_is_listed() -> None:
    with Running(Linearly(), project=PROJECT) as service:
        listed = set(service.ask("GET", "/openapi.json").json["paths"])
        routes = {path.decode() for path in service.port.site.routes}
    assert routes - listed <= {"/", "/docs", "/openapi.json"}


def test_operations_have_ids_of_their_own() -> None:
    ids = [
        operation["operationId"]
        for _, _, operation in operations(openapi(manifest_of(), PROJECT))
        if "operationId" in operation
    ]
    assert len(ids) == len(set(ids))
