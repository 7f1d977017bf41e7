"""KServe's own client works against the service as it is, by both protocols. It lives in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import EXAMPLE, Linearly, Running

pytestmark = pytest.mark.heavy
PYTHON = Path(f"{sys.prefix}-kserve/bin/python")  # scripts/heavy-env makes it
ROWS = [list(EXAMPLE.values()), [0.1] * 6]
CLIENT = """
import asyncio, json, sys

import httpx
import numpy
from kserve import InferInput, InferRequest, InferenceRESTClient
from kserve.inference_client import RESTConfig

url, rows = sys.argv[1], json.loads(sys.argv[2])


def tensors(binary, dtype="float64", named="FP64"):
    values = InferInput("rows", [len(rows), len(rows[0])], named)
    values.set_data_from_numpy(numpy.array(rows, dtype), binary_data=binary)
    return InferRequest("breast", [values], request_id="mine")


async def main():
    found = {}
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        found["v1"] = [
            await client.is_server_live(url),
            await client.is_model_ready(url, "breast"),
            await client.infer(url, {"instances": rows}, "breast"),
        ]
        found["refused"] = []
        for name, instances in (("other", rows), ("breast", [[1.0]])):
            try:
                await client.infer(url, {"instances": instances}, name)
            except httpx.HTTPStatusError as error:
                found["refused"].append([error.response.status_code, str(error)])
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        found["v2"] = [
            await client.is_server_live(url),
            await client.is_server_ready(url),
            await client.is_model_ready(url, "breast"),
            await client.is_model_ready(url, "other"),
        ]
        found["answers"] = []
        for request in (tensors(True), tensors(False), tensors(True, "float32", "FP32")):
            answer = await client.infer(url, request, "breast")
            output = answer.outputs[0]
            found["answers"].append([answer.id, answer.model_name, output.name, output.as_numpy().tolist()])
    print(json.dumps(found))


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def found(under: str) -> Iterator[dict[str, Any]]:
    """What the client was told."""
    if not PYTHON.exists():
        pytest.skip("needs KServe's client: scripts/heavy-env")
    with Running(Linearly(), under=under) as service:
        url = f"http://{service.address[0]}:{service.address[1]}"
        done = subprocess.run(
            [PYTHON, "-c", CLIENT, url, json.dumps(ROWS)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)


def test_its_first_protocol(found: dict[str, Any]) -> None:
    assert found["v1"] == [True, True, {"predictions": [1, 0]}]
    assert [status for status, _ in found["refused"]] == [404, 422]
    assert "has 1 values; this model has 6 columns" in found["refused"][1][1]  # what it shows of our words


def test_the_open_inference_protocol(found: dict[str, Any]) -> None:
    assert found["v2"] == [True, True, True, False]
    assert found["answers"] == [["mine", "breast", "predict", [[1], [0]]]] * 3
