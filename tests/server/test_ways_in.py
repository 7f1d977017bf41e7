"""One signature feeds every way in, and each answers the same question with the same numbers."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from serving import MIXED, Answer, Fake, Running

from wherry.contract.project import Project
from wherry.contract.reply import Reply
from wherry.contract.wire import Row
from wherry.server.doors import native

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")

HOUSES: list[dict[str, Any]] = [
    {"size": 2.5, "rooms": 3, "garden": True, "city": "Oslo"},
    {"size": None, "rooms": 1, "garden": False, "city": "Bergen"},
    {"size": 0.1 + 0.2, "rooms": 9, "garden": True, "city": "Bergen"},
]
COLUMNS = list(HOUSES[0])
CODES = {"size": "FP64", "rooms": "INT64", "garden": "BOOL", "city": "BYTES"}
PACK = {"FP64": "d", "INT64": "q", "BOOL": "?"}


def price(row: Row) -> float:
    """A number that shows every column, with all its digits."""
    size, rooms, garden, city = row
    assert type(rooms) is int and type(garden) is bool and type(city) is str
    return (1 / 3 if size is None else float(size)) * rooms + garden / 7 + len(city) / 11


def answers(rows: Sequence[dict[str, Any]]) -> list[float]:
    return [price(tuple(row.values())) for row in rows]


Rows = list[dict[str, Any]]
Ask = Callable[[Running, Rows], Answer]


def spelled(value: Any) -> str:
    """A value as CSV has it."""
    return "" if value is None else str(value)


def lists(rows: Rows) -> list[list[Any]]:
    return [list(row.values()) for row in rows]


def post(path: str, make: Callable[[Rows], Any], media: str = "application/json") -> Ask:
    return lambda service, rows: service.ask("POST", path, make(rows), {"Content-Type": media})


def as_csv(rows: Rows) -> bytes:
    names = COLUMNS[::-1]
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow(names)
    lines.writerows([[spelled(row[name]) for name in names] for row in rows])
    return out.getvalue().encode()


def as_arrow(rows: Rows) -> bytes:
    types = (pyarrow.string(), pyarrow.bool_(), pyarrow.int32(), pyarrow.float64())
    schema = pyarrow.schema(list(zip(COLUMNS[::-1], types, strict=True)))
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pyarrow.Table.from_pylist(rows, schema=schema), max_chunksize=2)
    return bytes(sink.getvalue())


def tensors(rows: Rows) -> dict[str, Any]:
    def one(name: str) -> dict[str, Any]:
        data = [row[name] for row in rows]
        return {"name": name, "datatype": CODES[name], "shape": [len(rows), 1], "data": data}

    return {"inputs": [one(name) for name in COLUMNS]}


def by_binary(service: Running, rows: Rows) -> Answer:
    """The binary extension both ways; NaN stands for what is missing."""
    request, tail = tensors(rows), b""
    for tensor in request["inputs"]:
        data = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            part = b"".join(struct.pack("<I", len(text)) + text.encode() for text in data)
        else:
            values = [float("nan") if value is None else value for value in data]
            part = struct.pack(f"<{len(data)}{PACK[tensor['datatype']]}", *values)
        tensor["parameters"] = {"binary_data_size": len(part)}
        tail += part
    request["parameters"] = {"binary_data_output": True}
    head = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return service.ask("POST", "/v2/models/breast/infer", head + tail, headers)


def plain(answer: Answer) -> Any:
    return answer.json["predictions"]


def oip(answer: Answer) -> Any:
    if "inference-header-content-length" not in answer.headers:
        (output,) = answer.json["outputs"]
        assert output["shape"] == [len(output["data"]), 1]
        return output["data"]
    size = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.body[:size])["outputs"]
    count = output["shape"][0]
    assert output["parameters"]["binary_data_size"] == 8 * count == len(answer.body) - size
    return list(struct.unpack(f"<{count}d", answer.body[size:]))


def seldon(answer: Answer) -> Any:
    data = answer.json["data"]
    return data["tensor"]["values"] if "tensor" in data else data["ndarray"]


def columnar(rows: Rows) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in COLUMNS}


def split(rows: Rows) -> dict[str, Any]:
    return {"columns": COLUMNS[::-1], "index": list(range(len(rows))), "data": [r[::-1] for r in lists(rows)]}


WAYS: dict[str, tuple[Ask, Callable[[Answer], Any]]] = {
    "records": (post("/predict", lambda rows: rows), plain),
    "csv": (post("/predict", as_csv, "text/csv; charset=utf-8"), plain),
    "arrow": (post("/predict", as_arrow, "application/vnd.apache.arrow.stream"), plain),
    "mlflow split": (post("/invocations", lambda rows: {"dataframe_split": split(rows)}), plain),
    "mlflow records": (post("/invocations", lambda rows: {"dataframe_records": rows}), plain),
    "mlflow inputs": (post("/invocations", lambda rows: {"inputs": lists(rows)}), plain),
    "mlflow columns": (post("/invocations", lambda rows: {"inputs": columnar(rows), "params": {}}), plain),
    "mlflow instances": (post("/invocations", lambda rows: {"instances": rows}), plain),
    "mlflow csv": (post("/invocations", as_csv, "text/csv"), plain),
    "kserve lists": (post("/v1/models/breast:predict", lambda rows: {"instances": lists(rows)}), plain),
    "kserve records": (post("/v1/models/breast:predict", lambda rows: {"instances": rows}), plain),
    "kserve columns": (post("/v1/models/breast:predict", lambda rows: {"inputs": columnar(rows)}), plain),
    "oip": (post("/v2/models/breast/infer", tensors), oip),
    "oip version": (post("/v2/models/breast/versions/1/infer", tensors), oip),
    "oip binary": (by_binary, oip),
    "seldon ndarray": (post("/api/v1.0/predictions", lambda rows: {"data": {"ndarray": lists(rows)}}), seldon),
    "seldon names": (
        post(
            "/api/v1.0/predictions",
            lambda rows: {"data": {"names": COLUMNS[::-1], "ndarray": [row[::-1] for row in lists(rows)]}},
        ),
        seldon,
    ),
    "seldon tensor": (
        post(
            "/api/v1.0/predictions",
            lambda rows: {
                "data": {"tensor": {"shape": [len(rows), 4], "values": [v for row in lists(rows) for v in row]}}
            },
        ),
        seldon,
    ),
    "declared": (post("/score", lambda rows: {"X": lists(rows)}), plain),
}
# Those where a whole number may be spelled 3.0.
UNTYPED = [
    way for way in WAYS if way.startswith(("records", "mlflow", "kserve", "seldon", "declared")) and "csv" not in way
]
PROJECT = Project(reply=Reply(request={"X": "$rows"}, predict_paths=("/score",)))


@pytest.fixture(scope="module")
def service(under: str) -> Iterator[Running]:
    with Running(Fake(price), signature=MIXED, project=PROJECT, under=under) as running:
        yield running


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_numbers(service: Running, way: str, count: int) -> None:
    rows = HOUSES[:count]
    ask, read = WAYS[way]
    answer = ask(service, rows)
    assert answer.status == 200, answer.body
    assert read(answer) == answers(rows)


@pytest.mark.parametrize("way", WAYS)
def test_no_way_is_refused_for_its_names(service: Running, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names there are, those that a request can have may be there."""
    monkeypatch.setattr(native, "MOST_NAMES", -1)
    ask, read = WAYS[way]
    rows = [{**row, "rooms": float(row["rooms"])} if way in UNTYPED else row for row in HOUSES]  # not flawless
    answer = ask(service, rows)
    assert answer.status == 200, answer.body
    assert read(answer) == answers(HOUSES)


def test_the_query_gives_the_same_number(service: Running) -> None:
    record = {**HOUSES[0], "garden": "true"}
    answer = service.ask("GET", "/predict?" + urlencode(record))
    assert answer.json == {"prediction": answers(HOUSES[:1])[0]}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_refuses_the_same_row_by_name(service: Running, way: str) -> None:
    wrong = [HOUSES[0], {**HOUSES[2], "city": "Atlantis"}]
    answer = WAYS[way][0](service, wrong)
    assert answer.status == 422, answer.body
    (fault,) = answer.json["errors"]
    assert (fault["row"], fault["field"]) == (1, "city")
    assert "never seen" in fault["reason"]
    assert "Atlantis" not in answer.json["curl"]
    assert '"rooms":9' in answer.json["curl"]  # what was right stays


@pytest.mark.parametrize("way", WAYS)
def test_every_reply_says_which_model_it_was(service: Running, way: str) -> None:
    answer = WAYS[way][0](service, HOUSES)
    for name in ("x-request-id", "x-prediction-id", "x-model-version", "x-model-digest"):
        assert answer.headers[name]


def test_requests_are_counted_by_door(service: Running) -> None:
    for way in WAYS:
        WAYS[way][0](service, HOUSES)
    doors = {door for door, status in service.metrics.requests if status == 200}
    assert {"native", "csv", "arrow", "mlflow", "kserve", "oip", "seldon"} <= doors


@pytest.mark.usefixtures("under")
@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_fails_names_the_row(way: str) -> None:
    def moody(row: Row) -> float:
        return float("nan") if row[1] == 9 else 1.0

    with Running(Fake(moody), signature=MIXED, project=PROJECT) as failing:
        answer = WAYS[way][0](failing, HOUSES)
        assert answer.status == 500
        assert [fault["row"] for fault in answer.json["errors"]] == [2]
