"""The official client of the Open Inference Protocol works against the service as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from serving import EXAMPLE, MIXED, NAMES, Fake, Linearly, Running

http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
utils = pytest.importorskip("tritonclient.utils", reason="needs tritonclient")

NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
ROWS = np.array([list(EXAMPLE.values()), [0.1] * 6, [0.0] * 6])


@pytest.fixture(scope="module")
def service(under: str) -> Iterator[Running]:
    with Running(Linearly(), under=under) as running:
        yield running


@pytest.fixture
def client(service: Running) -> Iterator[Any]:
    found = http.InferenceServerClient(f"{service.address[0]}:{service.address[1]}")
    yield found
    found.close()


def one_tensor(dtype: Any = np.float64, *, binary: bool) -> list[Any]:
    tensor = http.InferInput("rows", ROWS.shape, utils.np_to_triton_dtype(dtype))
    tensor.set_data_from_numpy(ROWS.astype(dtype), binary_data=binary)
    return [tensor]


def tensor_a_column(*, binary: bool) -> list[Any]:
    found = []
    for place, name in reversed(list(enumerate(NAMES))):
        found.append(http.InferInput(name, [len(ROWS), 1], "FP64"))
        found[-1].set_data_from_numpy(ROWS[:, place : place + 1].copy(), binary_data=binary)
    return found


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("breast")
    assert client.is_model_ready("breast", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "wherry"
    held = client.get_model_repository_index()
    assert held == [{"name": "breast", "version": "1", "state": "READY", "reason": ""}]
    metadata = client.get_model_metadata("breast")
    assert metadata["versions"] == ["1"]
    assert [tensor["name"] for tensor in metadata["inputs"]] == list(NAMES)
    assert metadata["inputs"][0] == {"name": NAMES[0], "datatype": "FP64", "shape": [-1, 1]}
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["predict", "predict_proba"]


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("version", ["", "1"])
def test_answers_in_both_forms(client: Any, binary_in: bool, binary_out: bool, version: str) -> None:
    wanted = [http.InferRequestedOutput(name, binary_data=binary_out) for name in ("predict", "predict_proba")]
    for inputs in (one_tensor(binary=binary_in), tensor_a_column(binary=binary_in)):
        result = client.infer("breast", inputs, model_version=version, outputs=wanted, request_id="mine")
        assert result.as_numpy("predict").tolist() == [[1], [0], [0]]
        np.testing.assert_allclose(result.as_numpy("predict_proba"), [[0.1, 0.9], [1.0, 0.0], [1.0, 0.0]], atol=1e-12)
        assert result.get_response()["id"] == "mine"
        assert result.get_response()["model_version"] == "1"


def test_without_outputs_the_prediction_is_given(client: Any) -> None:
    result = client.infer("breast", one_tensor(binary=True))
    assert result.as_numpy("predict").tolist() == [[1], [0], [0]]
    assert result.as_numpy("predict_proba") is None


# The client sends half precision as bytes only.
@pytest.mark.parametrize(
    ("dtype", "binary"),
    [(dtype, binary) for dtype in NUMBERS for binary in (True, False) if binary or dtype != "float16"],
)
def test_every_number_datatype(dtype: str, binary: bool) -> None:
    with Running(Fake(lambda row: float(sum(row)))) as summing:
        client = http.InferenceServerClient(f"{summing.address[0]}:{summing.address[1]}")
        values = np.array([[1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 100]], np.dtype(dtype))
        tensor = http.InferInput("rows", [2, 6], utils.np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values, binary_data=binary)
        wanted = [http.InferRequestedOutput("predict", binary_data=False)]
        assert client.infer("breast", [tensor], outputs=wanted).get_response()["outputs"][0]["data"] == [21.0, 100.0]
        client.close()


@pytest.mark.parametrize("binary", [True, False])
def test_texts_and_booleans(binary: bool) -> None:
    def told(row: tuple[Any, ...]) -> float:
        assert row[2] is True
        return float(len(row[3]))

    with Running(Fake(told), signature=MIXED) as service:
        client = http.InferenceServerClient(f"{service.address[0]}:{service.address[1]}")
        inputs = []
        for name, values in (
            ("size", np.array([1.5, 2.5])),
            ("rooms", np.array([1, 2], np.int32)),
            ("garden", np.array([True, True])),
            ("city", np.array(["Oslo", "Bergen"], object)),
        ):
            inputs.append(http.InferInput(name, [2], utils.np_to_triton_dtype(values.dtype)))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
        assert client.infer("breast", inputs).as_numpy("predict").tolist() == [[4.0], [6.0]]
        client.close()


def test_errors_reach_the_client_as_its_own(client: Any) -> None:
    tensor = http.InferInput("rows", [1, 2], "FP64")
    tensor.set_data_from_numpy(np.ones((1, 2)))
    with pytest.raises(utils.InferenceServerException, match="rows has the shape") as refused:
        client.infer("breast", [tensor])
    assert refused.value.status() == "422"
    with pytest.raises(utils.InferenceServerException, match="there is no /v2/models/other"):
        client.infer("other", one_tensor(binary=True))


def test_requests_at_once(client: Any, service: Running) -> None:
    many = http.InferenceServerClient(f"{service.address[0]}:{service.address[1]}", concurrency=4)
    waiting = [many.async_infer("breast", one_tensor(binary=True)) for _ in range(40)]
    assert all(each.get_result().as_numpy("predict").tolist() == [[1], [0], [0]] for each in waiting)
    many.close()
