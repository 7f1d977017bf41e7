"""What each of the other doors refuses, and what only it can say."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import EXAMPLE, MIXED, NAMES, Answer, Fake, Linearly, Running, parse, project, raw, request

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.errors import BodyUnreadable, FieldsRefused, MediaWrong
from wherry.server.doors.arrow import Arrow
from wherry.server.doors.csv import Csv
from wherry.server.doors.native import Native
from wherry.server.doors.tensors import from_bytes, from_json, to_bytes

VALUES = list(EXAMPLE.values())
HOUSE = {"size": 2.5, "rooms": 3, "garden": True, "city": "Oslo"}
INFER = "/v2/models/breast/infer"


@pytest.fixture(scope="module")
def service(under: str) -> Iterator[Running]:
    with Running(Linearly(), under=under) as running:
        yield running


@pytest.fixture(scope="module")
def houses(under: str) -> Iterator[Running]:
    with Running(Fake(lambda row: 1.0), signature=MIXED, under=under) as running:
        yield running


def refusal(answer: Answer, status: int, words: str) -> Any:
    assert answer.status == status, answer.body
    assert words in answer.json["detail"], answer.body
    return answer.json


def post(service: Running, path: str, body: Any, media: str = "application/json", **headers: str) -> Answer:
    return service.ask("POST", path, body, {"Content-Type": media, **headers})


# Aliases


def test_readiness_and_listings_of_the_aliases(service: Running) -> None:
    assert service.ask("GET", "/ping").status == 200
    assert service.ask("GET", "/v1/models").json == {"models": ["breast"]}
    assert service.ask("GET", "/v1/models/breast").json == {"name": "breast", "ready": True}
    service.life.stage = "draining"
    try:
        for path in ("/ping", "/v1/models/breast", "/v2/health/ready", "/v2/models/breast/ready"):
            assert service.ask("GET", path).status == 503
        assert service.ask("GET", "/v2/health/live").status == 200
    finally:
        service.life.stage = "ready"


@pytest.mark.parametrize(
    "path", ["/v1/models/other", "/v1/models/other:predict", "/v2/models/other/infer", INFER[:-5] + "versions/2/infer"]
)
def test_another_model_is_not_here(service: Running, path: str) -> None:
    found = refusal(post(service, path, {"instances": []}), 404, path)
    assert "the model is breast, its version 1" in found["hint"]


def test_a_models_name_may_be_written_as_urls_have_it(service: Running) -> None:
    assert post(service, "/v1/models/brea%73t:predict", {"instances": [VALUES]}).json == {"predictions": [1]}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/invocations", {}, "there is no dataframe_split and no"),
        ("/invocations", {"inputs": [VALUES], "instances": [VALUES]}, "inputs came beside instances"),
        ("/invocations", {"dataframe_split": {"columns": list(NAMES)}}, "dataframe_split lacks columns or data"),
        ("/invocations", {"dataframe_records": EXAMPLE}, "dataframe_records is an object, not a list of rows"),
        (
            "/invocations",
            {"inputs": {"area_se": [1], "area_worst": []}},
            "inputs is not a list of values for each column",
        ),
        ("/invocations", [VALUES], "a request is an object here, not a list"),
        ("/v1/models/breast:predict", {"instances": VALUES}, "a row is an object or a list, not a number"),
        ("/v1/models/breast:predict", {"rows": [VALUES]}, "there is no instances and no inputs"),
        ("/api/v1.0/predictions", {}, "data is missing"),
        ("/api/v1.0/predictions", {"data": {"names": []}}, "there is no ndarray and no tensor"),
        (
            "/api/v1.0/predictions",
            {"data": {"names": ["a", 1], "ndarray": [VALUES]}},
            "data.names is not a list of names",
        ),
        ("/api/v1.0/predictions", {"data": {"tensor": {"shape": [1, 7], "values": VALUES}}}, "data.tensor.values"),
        ("/api/v1.0/predictions", {"data": {"tensor": {"shape": [-1, 6], "values": VALUES}}}, "data.tensor.shape"),
        ("/api/v1.0/predictions", {"data": {"tensor": {"shape": [2**63, 0], "values": []}}}, "data.tensor.shape"),
    ],
)
def test_what_the_aliases_refuse(service: Running, path: str, body: Any, words: str) -> None:
    found = refusal(post(service, path, body), 422, words)
    if path == "/invocations":
        assert (found["error_code"], found["message"]) == ("BAD_REQUEST", found["detail"])
    elif path.startswith("/v1"):
        assert found["error"] == found["detail"]


@pytest.mark.usefixtures("under")
def test_a_list_of_values_is_a_list_of_rows_for_a_model_with_one_column() -> None:
    texts = Signature((Column("text", "string"),), OutputSpec("number", "integer"))
    with Running(Fake(lambda row: len(row[0])), signature=texts) as service:
        for path in ("/v1/models/breast:predict", "/invocations"):
            assert post(service, path, {"instances": ["one", "three"]}).json == {"predictions": [3, 5]}


def test_a_seldon_reply_has_the_requests_form_and_puid(service: Running) -> None:
    answer = post(service, "/api/v1.0/predictions", {"meta": {"puid": "mine"}, "data": {"ndarray": [VALUES]}})
    assert answer.json == {"data": {"names": [], "ndarray": [1]}, "meta": {"puid": "mine"}}
    answer = post(service, "/api/v1.0/predictions", {"data": {"tensor": {"shape": [1, 6], "values": VALUES}}})
    assert answer.json["data"] == {"names": [], "tensor": {"shape": [1], "values": [1]}}
    assert answer.json["meta"]["puid"] == answer.headers["x-prediction-id"]


# CSV


def csv_rows(text: str, signature: Signature = MIXED, **options: bool) -> Any:
    return Csv(Native(signature, **options)).decode(text.encode()).rows


def test_csv_is_read_by_its_header() -> None:
    row = (2.5, 3, True, "Oslo")
    assert csv_rows("city,garden,rooms,size\nOslo,true,3,2.5\n") == [row]
    assert csv_rows('\ufeffsize,"rooms",garden , city\r\n2.5,3.0,1,"Oslo"\r\n\r\n') == [row]
    assert csv_rows("size,rooms,garden,city\n,3,True,Oslo\nNaN,3,False,Oslo\n") == [
        (None, 3, True, "Oslo"),
        (None, 3, False, "Oslo"),
    ]
    assert csv_rows("size,rooms,garden,city\n") == []
    assert csv_rows("size,rooms,garden,city,colour\n2.5,3,1,Oslo,red\n", ignore_unknown=True) == [row]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2.5,3,true,Oslo\n", "the first line names no column"),
        ("size;rooms;garden;city\n2.5;3;1;Oslo\n", "the first line names no column"),
        ("size,rooms,garden\n2.5,3,true\n", "city is missing"),
        ("size,rooms,garden,city,colour\n2.5,3,1,Oslo,red\n", "colour is not a column"),
        ("size,rooms,garden,city,size\n2.5,3,1,Oslo,2\n", "size is named twice"),
        ("size,rooms,garden,city\n2.5,3,1\n", "has 3 values for 4 columns (line 2)"),
        ("size,rooms,garden,city\n2.5,,1,Oslo\n", "rooms is null"),
        ("size,rooms,garden,city\n2.5,3.5,1,Oslo\n", "rooms is 3.5, not a whole number"),
        ("size,rooms,garden,city\n1e999,3,1,Oslo\n", "size is not a finite number"),
        ("size,rooms,garden,city\nbig,3,1,Oslo\n", "size is a text, not a number"),
    ],
)
def test_what_csv_refuses(houses: Running, text: str, words: str) -> None:
    refusal(post(houses, "/predict", text.encode(), "text/csv"), 422, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty"),
        (b"size,city\n1,\xff\n", "not UTF-8"),
        (b'size,city\n1,"Oslo', "line 2 of the CSV cannot be read"),
        (b"size,rooms,garden,city\ninf,3,1,Oslo\n", "size is inf"),
        (b"size,city\n1," + b"x" * 200_000, "of the CSV cannot be read"),
    ],
)
def test_csv_that_is_none(houses: Running, body: bytes, words: str) -> None:
    refusal(post(houses, "/predict", body, "text/csv"), 400, words)


def test_csv_in_another_encoding_is_refused(houses: Running) -> None:
    refusal(post(houses, "/predict", b"size\n1", "text/csv; charset=latin-1"), 415, "read as UTF-8")


# Arrow


def stream(columns: dict[str, Any], **options: Any) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = pyarrow.table(columns)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as out:
        out.write_table(table)
    return bytes(sink.getvalue())


def columns_of(**changes: Any) -> dict[str, Any]:
    return {**{name: [value] for name, value in HOUSE.items()}, **changes}


def test_arrow_reads_what_pandas_writes() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    door = Arrow(Native(MIXED))
    row = tuple(HOUSE.values())
    assert door.decode(stream(columns_of())).rows == [row]
    assert door.decode(stream(columns_of(city=pyarrow.array(["Oslo"]).dictionary_encode()))).rows == [row]
    for kind in (pyarrow.float16(), pyarrow.float32(), pyarrow.int8(), pyarrow.uint64()):
        assert door.decode(stream(columns_of(size=pyarrow.array([2], pyarrow.int64()).cast(kind)))).rows == [
            (2.0, *row[1:])
        ]
    for missing in (None, float("nan")):
        array = pyarrow.array([missing], pyarrow.float64(), from_pandas=False)
        assert door.decode(stream(columns_of(size=array))).rows == [(None, *row[1:])]


def test_what_arrow_refuses() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    door = Arrow(Native(MIXED))
    with pytest.raises(FieldsRefused, match="size is not a finite number"):
        door.decode(stream(columns_of(size=[float("inf")])))
    with pytest.raises(FieldsRefused, match="size is of the type list"):
        door.decode(stream(columns_of(size=[[1.0]])))
    with pytest.raises(FieldsRefused, match="more is of the type null"):
        door.decode(stream(columns_of(more=pyarrow.nulls(1))))
    for name in ("zstd", "lz4"):
        for encode in (False, True):
            many = pyarrow.array(["Oslo"] * 1000)
            body = stream({"city": many.dictionary_encode() if encode else many}, compression=name)
            with pytest.raises(BodyUnreadable, match="compressed"):
                door.decode(body)
    for body in (b"", b"ARROW1\0\0", b"\xff\xff\xff\xff\x10\0\0\0" + bytes(16), stream(columns_of())[:-40]):
        with pytest.raises(BodyUnreadable):
            door.decode(body)


def test_bits_are_not_read_into_gigabytes() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    many = pyarrow.array([True] * 600_000)
    with pytest.raises(BodyUnreadable, match="over 5,000,000 values"):
        Arrow(Native(MIXED)).decode(stream({f"c{place}": many for place in range(9)}))


def test_a_large_body_is_read_beside_the_small_ones(service: Running) -> None:
    rows = [VALUES] * 20_000
    text = ",".join(NAMES) + "\n" + "\n".join(",".join(map(str, row)) for row in rows)
    assert post(service, "/predict", text.encode(), "text/csv").json == {"predictions": [1] * 20_000}
    flat = [value for row in rows for value in row]
    assert infer(service, tensor(shape=[20_000, 6], data=flat)).json["outputs"][0]["data"] == [1] * 20_000
    refused = post(service, "/invocations", {"instances": [*rows, [1]]})
    assert (refused.status, refused.json["errors"][0]["row"]) == (422, 20_000)


def test_arrow_without_pyarrow_names_the_extra(houses: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = post(houses, "/predict", b"x", "application/vnd.apache.arrow.stream")
    assert "wherry[parquet]" in refusal(answer, 415, "pyarrow")["hint"]
    with pytest.raises(MediaWrong):
        Arrow(Native(MIXED)).decode(b"x")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_arrow_stream_is_the_services_fault(data: st.DataObject) -> None:
    body = bytearray(stream(columns_of()))
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BodyUnreadable, FieldsRefused):
        Arrow(Native(MIXED)).decode(bytes(body))


# Open Inference


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "rows", "datatype": "FP64", "shape": [1, 6], "data": VALUES, **changes}


def infer(service: Running, *inputs: Any, **more: Any) -> Answer:
    return post(service, INFER, {"inputs": list(inputs), **more})


def test_data_may_be_nested_or_flat(service: Running) -> None:
    for data in (VALUES, [VALUES], [[VALUES]]):
        assert infer(service, tensor(data=data), id="a").json["outputs"] == [
            {"name": "predict", "datatype": "INT64", "shape": [1, 1], "data": [1]}
        ]
    assert infer(service, tensor(shape=[0, 6], data=[])).json["outputs"][0]["data"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [2, 6]}, "rows has 6 values where its shape says 12"),
        ({"shape": [-1, 6]}, "rows has no shape"),
        ({"shape": [2**63, 6]}, "rows makes more than 5,000,000 values"),
        ({"shape": [True, 6]}, "rows has no shape"),
        ({"shape": None}, "rows has no shape"),
        ({"shape": [1, 6, 1]}, "rows has 3 dimensions"),
        ({"shape": [6, 1]}, "concavity_mean is missing"),
        ({"shape": [2, 3]}, "rows has the shape [2, 3]"),
        ({"datatype": "FP8"}, "datatype that there is not"),
        ({"datatype": ["FP64"]}, "datatype that there is not"),
        ({"datatype": "INT64"}, "which is no INT64"),
        ({"datatype": "BYTES"}, "which is no BYTES"),
        ({"datatype": "BOOL"}, "which is no BOOL"),
        ({"datatype": "INT8", "data": [300, 1, 1, 1, 1, 1]}, "300 at place 0, which is no INT8"),
        ({"datatype": "UINT8", "data": [-1, 1, 1, 1, 1, 1]}, "-1 at place 0, which is no UINT8"),
        ({"data": "AAAA"}, "data that is a text"),
        ({"data": None}, "data that is null"),
        ({"name": 5}, "a tensor without a name"),
        ({"parameters": []}, "parameters of rows is a list"),
        ({"parameters": {"shared_memory_region": "x"}}, "shared memory"),
        ({"parameters": {"binary_data_size": 8}}, "binary_data_size that does not fit"),
    ],
)
def test_what_a_tensor_may_not_be(service: Running, changes: dict[str, Any], words: str) -> None:
    found = refusal(infer(service, tensor(**changes)), 422, words)
    assert found["error"] == found["detail"]


def test_what_a_request_of_tensors_may_not_be(service: Running) -> None:
    refusal(post(service, INFER, {}), 422, "inputs is not a list of tensors")
    refusal(infer(service, tensor(), tensor()), 422, "rows is given twice")
    refusal(infer(service, tensor(), id=5), 422, "id is a number")
    refusal(infer(service, tensor(), outputs=[{"name": "other"}]), 422, "a name that there is not")
    refusal(infer(service, tensor(), outputs="predict"), 422, "outputs is not a list")
    one = tensor(name=NAMES[0], shape=[2], data=[1, 2])
    refusal(infer(service, one, tensor(name=NAMES[1], shape=[1], data=[1])), 422, "another number of rows")
    deep: Any = 1.0
    for _ in range(40):
        deep = [deep]
    refusal(infer(service, tensor(data=deep)), 422, "nested more than 32 deep")
    nan = json.dumps({"inputs": [tensor()]}).replace("0.3001", "NaN").encode()
    refusal(post(service, INFER, nan), 400, "NaN")


@pytest.mark.usefixtures("under")
def test_probabilities_are_an_output() -> None:
    asked = {"outputs": [{"name": "predict_proba"}]}
    with Running(Linearly()) as service:
        (found,) = infer(service, tensor(), **asked).json["outputs"]
        assert (found["name"], found["shape"], found["data"]) == ("predict_proba", [1, 2], pytest.approx([0.1, 0.9]))
    with Running(Linearly(), project=project(probabilities="always")) as service:
        assert [each["name"] for each in infer(service, tensor()).json["outputs"]] == ["predict", "predict_proba"]
    with Running(Linearly(), project=project(probabilities="never")) as service:
        assert infer(service, tensor(), **asked).status == 403
        assert len(service.ask("GET", "/v2/models/breast").json["outputs"]) == 1


@pytest.mark.parametrize("length", ["", "0", "-1", "x", "99999", "9" * 30, "\xb2"])
def test_a_wrong_length_of_the_json_is_refused(service: Running, length: str) -> None:
    body = json.dumps({"inputs": [tensor()]}).encode()
    data = request("POST", INFER, body, {"Inference-Header-Content-Length": "LENGTH"}, close=True)
    answer = parse(raw(service.address, data.replace(b"LENGTH", length.encode("latin-1"))))[0]
    assert answer.status == 400, answer.body


def test_bytes_that_belong_to_nothing_are_refused(service: Running) -> None:
    body = json.dumps({"inputs": [tensor()]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(body))}
    refusal(service.ask("POST", INFER, body + b"more", headers), 400, "4 bytes follow the last tensor")


@pytest.mark.usefixtures("under")
def test_nan_in_bytes_means_missing_and_infinity_nothing() -> None:
    assert from_bytes("a", "FP32", struct.pack("<2f", float("nan"), 1.5), 2) == [None, 1.5]
    with Running(Linearly()) as service:
        head = json.dumps({"inputs": [{**tensor(parameters={"binary_data_size": 48}), "data": None}]}).replace(
            '"data": null, ', ""
        )
        for value, words in ((float("nan"), "is null"), (float("inf"), "is not a finite number")):
            body = head.encode() + struct.pack("<6d", value, *VALUES[1:])
            answer = service.ask("POST", INFER, body, {"Inference-Header-Content-Length": str(len(head))})
            refusal(answer, 422, f"concavity_mean {words}")


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_cells_come_back_from_bytes_as_they_went(data: st.DataObject) -> None:
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "BOOL": st.booleans(),
        "INT8": st.integers(-128, 127),
        "UINT64": st.integers(0, 2**64 - 1),
        "INT64": st.integers(-(2**63), 2**63 - 1),
        "FP64": st.floats(allow_nan=False),
        "BYTES": st.text(),
    }
    datatype = data.draw(st.sampled_from(list(kinds)))
    cells = data.draw(st.lists(kinds[datatype], max_size=20))
    assert from_bytes("a", datatype, to_bytes(datatype, cells), len(cells)) == cells
    assert from_json("a", datatype, cells, len(cells)) == cells


# T09 in its short form: whatever comes in by whichever door, the service is never at fault

cell = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(2**63), st.just(-1))
word = st.sampled_from(
    [*NAMES, "rows", "columns", "data", "index", "names", "ndarray", "tensor", "shape", "values", "x"]
)
tree = st.recursive(
    cell, lambda inner: st.lists(inner, max_size=7) | st.dictionaries(word, inner, max_size=4), max_leaves=12
)
row = st.lists(cell, min_size=5, max_size=7) | st.fixed_dictionaries(dict.fromkeys(NAMES, cell))
rows = st.lists(row, max_size=3) | tree
wrong_tensor = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*NAMES, "rows"]) | cell,
        "datatype": st.sampled_from(["FP64", "FP32", "INT64", "UINT8", "BOOL", "BYTES", "FP8"]) | cell,
        "shape": st.lists(st.integers(-2, 7) | st.just(2**63), max_size=3) | tree,
    },
    optional={
        "data": rows | st.lists(st.floats(allow_nan=False), min_size=6, max_size=6),
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), st.integers(-1, 60) | cell) | cell,
    },
)
split = st.fixed_dictionaries({"columns": st.just(list(NAMES)) | tree, "data": rows})
form = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"])
seldon = st.fixed_dictionaries(
    {"data": st.dictionaries(st.sampled_from(["names", "ndarray", "tensor"]), rows | split | tree) | tree}
)
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "/invocations": st.dictionaries(form, rows | split, max_size=2),
    "/v1/models/breast:predict": st.dictionaries(form, rows | split, max_size=2),
    "/api/v1.0/predictions": seldon,
    "/predict": rows | split,
    INFER: st.fixed_dictionaries(
        {"inputs": st.lists(wrong_tensor, max_size=3)},
        optional={"id": cell, "parameters": tree, "outputs": tree | st.lists(st.fixed_dictionaries({"name": cell}))},
    ),
}
LIMITS: Callable[..., Any] = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("path", BODIES)
@LIMITS
@given(data=st.data())
def test_no_request_is_the_services_fault(service: Running, path: str, data: st.DataObject) -> None:
    body = json.dumps(data.draw(BODIES[path] | tree)).encode()
    headers = {}
    if path == INFER and data.draw(st.booleans()):
        body += data.draw(st.binary(max_size=50))
        headers["Inference-Header-Content-Length"] = str(data.draw(st.integers(0, len(body) + 1)))
    answer = post(service, path, body, **headers)
    assert answer.status in (200, 400, 403, 415, 422), answer.body
    if answer.status != 200:
        assert answer.json["detail"]


@LIMITS
@given(text=st.text(alphabet='",\r\n;0.e-x\x00é', max_size=40), header=st.booleans())
def test_no_csv_is_the_services_fault(service: Running, text: str, header: bool) -> None:
    body = (",".join(NAMES) + "\n" if header else "") + text
    assert post(service, "/predict", body.encode(), "text/csv").status in (200, 400, 422)
