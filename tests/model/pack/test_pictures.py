"""A graph and its labels become a bundle without a line of code; what does not fit is said with what to write."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("PIL", reason="needs Pillow")

import wherry
from wherry.contract.pictures import PictureModel
from wherry.errors import DataUnreadable, FileMissing, ModelUnknown, ModelUnsafe, WherryError
from wherry.model.pack.pictures import pack_graph


@pytest.fixture
def pack(pictures: Any, tmp_path: Path) -> Callable[..., Any]:
    """Pack a graph: pack(data=..., graph={"layout": "NHWC"}, top=2); the bundle's manifest."""

    def make(*, graph: dict[str, Any] | None = None, data: Path | None = None, **declared: Any) -> Any:
        path = pictures.written(tmp_path / "model", **(graph or {}))
        labels = declared.pop("labels", str(path.with_name("labels.txt")))
        return pack_graph(path, PictureModel(labels=labels, **declared), data=data, to=tmp_path / "bundle")

    return make


def answers(bundle: Path, pictures: Any) -> list[str]:
    rows = [{"image": pictures.picture(colour)} for colour in pictures.COLOURS]
    found: list[str] = wherry.load(bundle).predict(rows)
    return found


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("batch", ["n", 1])
def test_the_graph_says_what_can_be_known(
    layout: str, softmax: bool, batch: Any, pack: Any, pictures: Any, tmp_path: Path
) -> None:
    manifest = pack(graph={"layout": layout, "softmax": softmax, "batch": batch, "side": 24})
    prepare = manifest.signature.picture.prepare
    assert (prepare.layout, prepare.width, prepare.height, prepare.resize) == (layout, 24, 24, 27)
    assert manifest.signature.output.softmax is not softmax
    assert manifest.signature.output.classes == ("red", "green", "blue")
    assert "pillow" in manifest.requirements.packages
    assert answers(tmp_path / "bundle", pictures) == ["red", "green", "blue"]
    model = wherry.load(tmp_path / "bundle")
    shares = model.score([(pictures.picture("red"),)] * 2).probabilities
    assert [sum(each) for each in shares] == pytest.approx([1, 1], abs=1e-5)


def test_everything_is_stated_in_the_manifest(pack: Any, tmp_path: Path) -> None:
    pack(resize=0, colours="BGR", mean=(1.0, 2.0, 3.0), scale=1.0, formats=("png",), pixels=200_000, top=2)
    raw = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    [column] = raw["signature"]["columns"]
    assert column["prepare"] == {
        "width": 32, "height": 32, "resize": 0, "filter": "bilinear", "scale": 1.0, "mean": [1.0, 2.0, 3.0],
        "std": [0.229, 0.224, 0.225], "layout": "NCHW", "colours": "BGR", "formats": ["png"], "pixels": 200_000,
    }  # fmt: skip  # a table reads better than one name a line
    assert raw["signature"]["output"]["top"] == 2


def test_golden_pictures_are_drawn_alike_and_answered_again(pack: Any, tmp_path: Path) -> None:
    first = pack()
    golden = (tmp_path / "bundle" / "golden.json").read_bytes()
    second = pack()
    assert (tmp_path / "bundle" / "golden.json").read_bytes() == golden
    assert first.golden.rows == second.golden.rows == 4
    assert len(golden) < 300_000
    wherry.load(tmp_path / "bundle").replay()
    example = json.loads((tmp_path / "bundle" / "example.json").read_bytes())
    assert wherry.load(tmp_path / "bundle").predict(example)


def test_a_model_that_answers_otherwise_is_caught(pack: Any, pictures: Any, tmp_path: Path) -> None:
    """The control of the golden pictures: the same graph, its classes turned about."""
    pack()
    model = wherry.load(tmp_path / "bundle")
    output = msgspec.structs.replace(model.signature.output, classes=("green", "blue", "red"))
    model._score.__self__.output = output
    with pytest.raises(WherryError, match="golden"):
        model.replay()


def test_ones_own_pictures_are_kept_small(pack: Any, pictures: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "more").mkdir(parents=True)
    for place, colour in enumerate(pictures.COLOURS):
        kind = ("JPEG", "PNG", "WEBP")[place]
        name = folder / ("more" if place else "") / f"{colour}.anything"
        name.write_bytes(pictures.picture(colour, (1000, 800), kind))
    manifest = pack(data=folder)
    assert manifest.golden.rows == 3
    golden = json.loads((tmp_path / "bundle" / "golden.json").read_bytes())
    assert sorted(golden["predictions"]) == ["blue", "green", "red"]
    assert all(len(base64.b64decode(cell)) < 20_000 for [cell] in golden["rows"])
    wherry.load(tmp_path / "bundle").replay()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"labels": "nowhere.txt"}, FileMissing, "no such file of labels"),
        ({"size": (24, 24)}, ModelUnknown, "takes pictures of 32 x 32"),
        ({"graph": {"batch": 4}}, ModelUnknown, "takes 4 pictures at once"),
        ({"graph": {"side": 3}}, ModelUnknown, "which axis holds the colours"),
        ({"graph": {"side": "s"}}, ModelUnknown, "how large its pictures are"),
        ({"graph": {"steep": float("nan")}}, ModelUnsafe, "not finite"),
    ],
)
def test_what_does_not_fit_is_told(options: dict[str, Any], kind: type[Exception], words: str, pack: Any) -> None:
    with pytest.raises(kind, match=words) as caught:
        pack(**options)
    assert caught.value.hint


def test_a_size_that_the_graph_leaves_open_is_declared(pack: Any, pictures: Any, tmp_path: Path) -> None:
    manifest = pack(graph={"side": "s"}, size=(20, 16), layout="NCHW")
    assert manifest.signature.picture.prepare.width == 20
    assert answers(tmp_path / "bundle", pictures) == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("red\ngreen\n", "has 2 labels, and the graph answers with 3 classes"), ("red\n\nblue\n", "line 2 is empty")],
)
def test_labels_that_do_not_fit(text: str, words: str, pack: Any, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DataUnreadable, match=words):
        pack(labels=str(tmp_path / "names.txt"))


def test_pictures_of_the_sample_that_are_none(pack: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataUnreadable, match="holds no pictures"):
        pack(data=tmp_path / "mine")
    (tmp_path / "mine" / "notes.txt").write_text("hello")
    with pytest.raises(DataUnreadable, match=r"notes\.txt: the picture begins like no"):
        pack(data=tmp_path / "mine")


def test_a_graph_that_keeps_its_weights_elsewhere_is_told_how_to_mend_it(pictures: Any, tmp_path: Path) -> None:
    import onnx

    path = pictures.written(tmp_path / "model")
    made = onnx.load(path)
    onnx.save(made, path, save_as_external_data=True, size_threshold=0)
    declared = PictureModel(labels=str(path.with_name("labels.txt")))
    with pytest.raises(ModelUnsafe, match="weights in other files") as caught:
        pack_graph(path, declared, to=tmp_path / "bundle")
    assert "onnx.save" in caught.value.hint
    assert not (tmp_path / "bundle").exists()


def test_the_command_line(pictures: Any, wherry: Any, tmp_path: Path) -> None:
    """By a flag, by wherry.toml, and what is asked that cannot be."""
    path = pictures.written(tmp_path / "model")
    told = wherry("pack", path, "--labels", path.with_name("labels.txt"))
    assert told.returncode == 0, told.stderr
    assert "one of red, green, blue" in told.stdout
    assert "32 x 32" in told.stdout
    (tmp_path / "wherry.toml").write_text('[model.image]\nlabels = "model/labels.txt"\ntop = 1\n')
    told = wherry("pack", path, "--json")
    assert json.loads(told.stdout)["manifest"]["signature"]["output"]["top"] == 1
    assert wherry("pack", path, "--target", "x").returncode == 2
    (tmp_path / "wherry.toml").write_text('[model.image]\nlables = "model/labels.txt"\n')
    told = wherry("pack", path)
    assert told.returncode == 2
    assert "did you mean model.image.labels?" in told.stderr
    (tmp_path / "wherry.toml").unlink()
    told = wherry("pack", path)
    assert told.returncode == 2
    assert "--labels" in told.stderr


def test_the_command_line_asks_about_a_picture(
    pictures: Any, picture_bundle: Path, wherry: Any, tmp_path: Path
) -> None:
    """A file is known by its content; --image says it; what is none is said as a service says it."""
    (tmp_path / "sky.dat").write_bytes(pictures.picture("blue", kind="JPEG"))
    for words in (("sky.dat",), ("--image", "sky.dat")):
        told = wherry("predict", picture_bundle, *words)
        assert (told.returncode, json.loads(told.stdout)) == (0, {"prediction": "blue"})
    (tmp_path / "notes.txt").write_text("hello")
    told = wherry("predict", picture_bundle, "--image", "notes.txt")
    assert told.returncode == 1
    assert "the picture begins like no jpeg or png or webp file" in told.stderr
    assert wherry("predict", "--check", picture_bundle).returncode == 0


def test_a_graph_is_served_as_it_lies_there_and_what_is_asked_is_kept(
    pictures: Any, service: Any, wherry: Any, tmp_path: Path
) -> None:
    """From a file to a kept prediction: format, size and digest, and never the picture."""
    path = pictures.written(tmp_path / "model")
    (tmp_path / "wherry.toml").write_text('[model.image]\nlabels = "model/labels.txt"\n')
    running = service(path)
    data = pictures.picture("green", (64, 48), kind="WEBP")
    answer = running.ask("/predict", data, headers={"Content-Type": "image/webp"})
    assert answer.json["prediction"] == "green"
    assert running.stop() == 0
    told = wherry("history", "--json")
    record = json.loads(told.stdout.splitlines()[-1])
    digest = hashlib.sha256(data).hexdigest()
    assert record["inputs"] == {"image": f"webp 64x48, {len(data)} bytes, sha256:{digest}"}
    assert (record["door"], record["prediction"]) == ("image", "green")
    assert len(record["probabilities"]) == 3
    found = wherry("history", "--json", "--where", f"image={record['inputs']['image']}")
    assert len(found.stdout.splitlines()) == 1
