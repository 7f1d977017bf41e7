"""Pictures over HTTP: every door gives the numbers that the model gives, and what cannot be answered is said why."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serving import SIGNATURE, Kept, Linearly, Running, ask

pytest.importorskip("PIL", reason="needs Pillow")

import wherry
from wherry.contract.names import NATIVE_MEDIA
from wherry.contract.project import Project
from wherry.contract.reply import Reply
from wherry.contract.wire import Outputs
from wherry.errors import BodyUnreadable, FieldsRefused
from wherry.server.doors import image
from wherry.server.doors.door import Sent
from wherry.server.doors.image import Image
from wherry.server.doors.native import Native
from wherry.server.journal import Entry
from wherry.server.limits import Limits
from wherry.server.predictor import Cost

KERAS = Reply(record={"predictions": "$top", "success": True})


@pytest.fixture(scope="module")
def model(picture_bundle: Path) -> Any:
    return wherry.load(picture_bundle)


@pytest.fixture(scope="module")
def start(model: Any) -> Callable[..., Running]:
    def make(predictor: Any = None, **options: Any) -> Running:
        return Running(predictor or model, signature=model.signature, golden=model.golden, **options)

    return make


@pytest.fixture(scope="module")
def journal() -> Kept:
    return Kept()


@pytest.fixture(scope="module")
def service(start: Callable[..., Running], journal: Kept) -> Iterator[Running]:
    with start(journal=journal) as running:
        yield running


@pytest.fixture(scope="module")
def upload(pictures: Any) -> Callable[..., Any]:
    """Upload pictures as a form: upload(service, data, data, path="/predict")."""

    def send(running: Running, *data: bytes, path: str = "/predict", field: str = "image", **headers: str) -> Any:
        body, sent = pictures.form(*((field, each) for each in data))
        return ask(running.address, "POST", path, body, {**sent, **headers})

    return send


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_an_upload_is_answered(colour: str, kind: str, service: Running, pictures: Any, upload: Any) -> None:
    answer = upload(service, pictures.picture(colour, kind=kind))
    assert answer.status == 200, answer.body
    assert answer.json["prediction"] == colour
    top = answer.json["top"]
    assert top[0]["label"] == colour
    shares = [each["probability"] for each in top]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-6)


def test_every_door_gives_the_same_numbers(service: Running, model: Any, pictures: Any, upload: Any) -> None:
    data = pictures.picture((90, 130, 110), kind="JPEG")
    text = b64(data)
    wanted = model.score([(text,)]).probabilities[0]

    def asked(path: str, body: Any, **headers: str) -> Any:
        answer = ask(service.address, "POST", path, body, {k.replace("_", "-").title(): v for k, v in headers.items()})
        assert answer.status == 200, answer.body
        return answer.json

    all_of_them = "/predict?probabilities=true"
    assert upload(service, data, path=all_of_them).json["probabilities"] == wanted
    for media in ("image/jpeg", "image/png", "IMAGE/JPEG", "application/octet-stream"):
        assert asked(all_of_them, data, content_type=media)["probabilities"] == wanted
    assert asked(all_of_them, {"image": text})["probabilities"] == wanted
    assert asked(all_of_them, [{"image": {"b64": text}}])["probabilities"] == [wanted]
    assert asked(all_of_them, {"columns": ["image"], "rows": [[text], [text]]})["probabilities"] == [wanted] * 2
    assert asked(all_of_them, f"image\n{text}\n".encode(), content_type="text/csv")["probabilities"] == [wanted]
    [label] = asked("/v1/models/breast:predict", {"instances": [{"image": {"b64": text}}]})["predictions"]
    assert label == upload(service, data).json["prediction"]
    assert asked("/invocations", {"dataframe_split": {"columns": ["image"], "data": [[text]]}})["predictions"] == [
        label
    ]
    assert asked("/api/v1.0/predictions", {"data": {"ndarray": [[text]]}})["data"]["ndarray"] == [label]
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES"}
    outputs = {"outputs": [{"name": "predict_proba"}]}
    infer = "/v2/models/breast/infer"
    assert asked(infer, {"inputs": [{**tensor, "data": [text]}], **outputs})["outputs"][0]["data"] == wanted
    # the encoded picture itself as a binary tensor
    for cell in (data, text.encode()):
        raw = struct.pack("<I", len(cell)) + cell
        head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}], **outputs}).encode()
        answered = asked(infer, head + raw, inference_header_content_length=str(len(head)))
        assert answered["outputs"][0]["data"] == wanted


def test_several_pictures_are_rows(service: Running, pictures: Any, upload: Any) -> None:
    answer = upload(service, *(pictures.picture(colour) for colour in ("blue", "red", "green")))
    assert answer.json["predictions"] == ["blue", "red", "green"]
    assert [top[0]["label"] for top in answer.json["top"]] == ["blue", "red", "green"]


def test_the_project_declares_the_reply(start: Callable[..., Running], pictures: Any, upload: Any) -> None:
    with start(project=Project(reply=KERAS)) as running:
        answer = upload(running, pictures.picture("green"))
        assert list(answer.json) == ["predictions", "success"]
        assert answer.json["success"] is True
        assert [list(each) for each in answer.json["predictions"]] == [["label", "probability"]] * 3
        assert answer.json["predictions"][0]["label"] == "green"
        assert upload(running, pictures.picture("red"), Accept=NATIVE_MEDIA).json["prediction"] == "red"


def test_labels_can_be_renamed(start: Callable[..., Running], pictures: Any, upload: Any) -> None:
    with start(project=Project(reply=Reply(record="$top", labels={"green": "grün"}))) as running:
        assert upload(running, pictures.picture("green")).json[0]["label"] == "grün"


def test_a_large_upload_takes_the_same_way(service: Running, upload: Any, pictures: Any) -> None:
    data = pictures.picture("blue", kind="PNG", compress_level=0, size=(600, 500))
    assert len(data) > 256 * 1024
    assert upload(service, data).json["prediction"] == "blue"
    assert ask(service.address, "POST", "/predict", {"image": b64(data)}).json["prediction"] == "blue"


# --- refusals -----------------------------------------------------------------------------------------------------


def refusal(answer: Any, status: int, code: str) -> Any:
    assert answer.status == status, answer.body
    assert answer.json["type"].endswith(f"#{code}")
    assert answer.json["hint"]
    return answer.json


def test_what_is_no_picture_is_refused_by_field_and_reason(service: Running, pictures: Any, upload: Any) -> None:
    good = pictures.picture("red", (300, 300), kind="JPEG")
    for data, status, code in (
        (b"hello", 415, "picture-format"),
        (b"GIF89a" + b"\0" * 50, 415, "picture-format"),
        (good[: len(good) // 2], 400, "picture-unreadable"),
        (b"", 400, "picture-unreadable"),
        (pictures.picture("red", (6000, 5000), kind="JPEG"), 413, "picture-too-large"),
    ):
        problem = refusal(upload(service, data), status, code)
        [fault] = problem["errors"]
        assert (fault["row"], fault["field"]) == (0, "image")
        assert fault["reason"]
        assert fault["hint"]
    assert upload(service, good).status == 200  # the control


def test_a_bad_picture_among_good_ones_is_named(service: Running, pictures: Any, upload: Any) -> None:
    problem = refusal(upload(service, pictures.picture("red"), b"hello"), 415, "picture-format")
    assert problem["errors"][0]["row"] == 1
    assert problem["detail"].startswith("row 1: ")


def test_other_content_types_are_told_what_is_taken(service: Running, pictures: Any) -> None:
    data = pictures.picture("red")
    for media in ("image/gif", "image/svg+xml", "application/x-www-form-urlencoded", "text/plain"):
        problem = refusal(ask(service.address, "POST", "/predict", data, {"Content-Type": media}), 415, "media-type")
        assert problem["hint"].startswith("curl -F image=@FILE http://127.0.0.1")


def test_a_field_that_is_none_is_named(service: Running, pictures: Any, upload: Any) -> None:
    problem = refusal(upload(service, pictures.picture("red"), field="img"), 422, "fields")
    assert problem["errors"][0]["field"] == "img"
    assert problem["curl"].startswith("curl -F image=@FILE http://127.0.0.1")
    assert refusal(ask(service.address, "POST", "/predict", {"image": 5}), 422, "fields")["errors"][0]["hint"]


def test_a_form_that_is_broken_is_400(service: Running, pictures: Any) -> None:
    body, headers = pictures.form(("image", pictures.picture("red")))
    for data, sent in (
        (body[:-30], headers),
        (body, {"Content-Type": "multipart/form-data"}),
        (body, {"Content-Type": "multipart/form-data; boundary=other"}),
        (body.replace(b"form-data; name", b"attachment; name"), headers),
    ):
        refusal(ask(service.address, "POST", "/predict", data, sent), 400, "body-unreadable")


def test_a_body_over_the_limit_is_413(start: Callable[..., Running], pictures: Any, upload: Any) -> None:
    with start(limits=Limits(body_bytes=20_000)) as running:
        assert upload(running, pictures.picture("red", (300, 300), compress_level=0)).status == 413
        assert upload(running, pictures.picture("red")).status == 200


# --- the form -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def door(model: Any) -> Image:
    return Image(Native(model.signature, may_skip=True), "image")


def read(door: Image, body: bytes, media: bytes = b"multipart/form-data; boundary=cut-here") -> Any:
    return door.read(Sent(body, {b"content-type": media}))[0]


@pytest.mark.parametrize("at_once", [1, 7, 2**20])
def test_forms_as_clients_write_them(door: Image, pictures: Any, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "AT_ONCE", at_once)  # wherever one look ends
    data = b"\r\n--cut\r\n\r\nnot the boundary --cut-her\r\n"
    body, _ = pictures.form(("image", data))
    assert read(door, body).rows == [(data,)]
    assert read(door, b"preamble, which nobody reads\r\n" + body + b"epilogue").rows == [(data,)]
    assert read(door, body, b'multipart/form-data; charset=utf-8; boundary="cut-here"').rows == [(data,)]
    assert read(door, body.replace(b'name="image"', b"name=image")).rows == [(data,)]
    assert read(door, body.replace(b"Content-Disposition", b"content-disposition")).rows == [(data,)]
    assert read(door, body.replace(b'name="image"; filename="a.jpg"', b'filename="name=x"; name="image"')).rows
    assert read(door, pictures.form(("image", b""))[0]).rows == [(b"",)]
    two = read(door, pictures.form(("image", b"a"), ("store", b"false"), ("image", b"b"))[0])
    assert (two.rows, two.single, two.store) == ([(b"a",), (b"b",)], False, False)


def test_forms_that_cannot_be_read(door: Image, pictures: Any) -> None:
    body, _ = pictures.form(("image", b"data"))
    encoded = body.replace(b"Content-Type: image/jpeg", b"Content-Transfer-Encoding: base64")
    for broken in (body[:40], body[:-25], encoded, b"", pictures.form(*[("image", b"x")] * 65)[0]):
        with pytest.raises(BodyUnreadable):
            read(door, broken)
    assert len(read(door, pictures.form(*[("image", b"x")] * 64)[0]).rows) == 64
    for wrong in (("store", b"perhaps"), ("picture", b"x")):
        with pytest.raises(FieldsRefused):
            read(door, pictures.form(("image", b"x"), wrong)[0])
    with pytest.raises(FieldsRefused, match="image is missing"):
        read(door, pictures.form(("store", b"true"))[0])


# --- what is kept, and what waits ---------------------------------------------------------------------------------


def test_what_is_kept_are_digest_size_and_format(service: Running, journal: Kept, pictures: Any, upload: Any) -> None:
    data = pictures.picture("red", (31, 17), kind="JPEG")
    answer = upload(service, data)
    entry = next(each for each in journal.entries if each.id == answer.headers["x-prediction-id"])
    text = f"jpeg 31x17, {len(data)} bytes, sha256:{hashlib.sha256(data).hexdigest()}"
    assert (entry.door, entry.rows, entry.predictions) == ("image", [(text,)], ["red"])
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=Entry)  # as the spool does
    assert again.rows[0][0] == text
    assert entry.probabilities is not None
    assert entry.probabilities[0] == [round(share, 6) for share in entry.probabilities[0]]


def test_golden_rows_that_say_so_are_not_kept(service: Running, journal: Kept, model: Any) -> None:
    before = len(journal.entries)
    answer = ask(
        service.address, "POST", "/predict", model.golden.request(), {"X-Wherry-No-Store": "1", "Accept": NATIVE_MEDIA}
    )
    assert answer.json["predictions"] == list(model.golden.predictions)
    assert len(journal.entries) == before


def test_pictures_are_decoded_beside_the_loop(start: Callable[..., Running], pictures: Any, upload: Any) -> None:
    """While one is decoded, which is held up here, the service answers other requests, and takes no more than fit."""
    held, begun = threading.Event(), threading.Event()
    with start(cost=Cost(0.0, 1.0)) as running:  # a second each: 64 may wait
        studio = running.predictions.pictures.studio
        ready = type(studio).ready

        class Slow:
            def ready(self, cell: Any) -> Any:
                begun.set()
                assert held.wait(20)
                return ready(studio, cell)

        running.predictions.pictures.studio = Slow()
        found: list[Any] = []
        sender = threading.Thread(
            target=lambda: found.append(
                upload(running, *[pictures.picture("red")] * running.predictions.batcher.queue_rows)
            )
        )
        sender.start()
        assert begun.wait(20)
        assert ask(running.address, "GET", "/health").status == 200
        assert not running.predictions.idle
        refused = upload(running, pictures.picture("red"))
        assert refused.status == 503
        assert "retry-after" in refused.headers
        held.set()
        sender.join(20)
        assert found[0].status == 200
        assert set(found[0].json["predictions"]) == {"red"}


def test_pictures_that_wait_are_scored_in_one_call(
    start: Callable[..., Running], model: Any, pictures: Any, upload: Any
) -> None:
    calls: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    class Watched:
        def score(self, rows: Any, probabilities: bool = True) -> Outputs:
            calls.append(len(rows))
            if len(calls) == 1:
                first.set()
                assert go_on.wait(20)
            found: Outputs = model.score(rows, probabilities)
            return found

    with start(Watched(), cost=Cost(0.0, 0.01)) as running:
        colours = ["red", "green", "blue"] * 4
        found: dict[int, Any] = {}

        def send(place: int) -> None:
            found[place] = upload(running, pictures.picture(colours[place])).json["prediction"]

        threads = [threading.Thread(target=send, args=(0,))]
        threads[0].start()
        assert first.wait(20)
        for place in range(1, len(colours)):
            threads.append(threading.Thread(target=send, args=(place,)))
            threads[-1].start()
        waiting = running.predictions.batcher
        pause = threading.Event()
        for _ in range(2000):
            if waiting.waiting_rows == len(colours) - 1:
                break
            pause.wait(0.01)
        go_on.set()
        for each in threads:
            each.join(20)
        assert [found[place] for place in range(len(colours))] == colours
        assert calls == [1, 8, 3]  # never more at once than fit in memory


# --- the documents ------------------------------------------------------------------------------------------------


def test_the_documents_say_how_pictures_are_sent(service: Running) -> None:
    document = ask(service.address, "GET", "/openapi.json").json
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) >= {"multipart/form-data", "image/jpeg", "image/png", "image/webp", "application/json"}
    fields = content["multipart/form-data"]["schema"]["properties"]
    assert set(fields) == {"image"}
    assert document["components"]["schemas"]["Prediction"]["properties"]["top"]["type"] == "array"
    [tensor] = ask(service.address, "GET", "/v2/models/breast").json["inputs"]
    assert tensor == {"name": "image", "datatype": "BYTES", "shape": [-1, 1]}
    [column] = ask(service.address, "GET", "/info").json["columns"]
    assert column["type"] == "image"
    assert column["prepare"]["width"] == 32


def test_the_example_of_the_documents_is_answered(service: Running) -> None:
    document = ask(service.address, "GET", "/openapi.json").json
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]["record"]
    assert ask(service.address, "POST", "/predict", example["value"]).status == 200


def test_a_service_of_tables_takes_no_pictures(pictures: Any, upload: Any) -> None:
    assert SIGNATURE.picture is None
    with Running(Linearly()) as running:
        assert upload(running, pictures.picture("red")).status == 415
