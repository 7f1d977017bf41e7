"""Model files are told by their content, never by their name, and never unpack without a limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from wherry.errors import FileMissing, ModelUnknown, ModelUnsafe, NotStorable, NotVouched, UsageRefused
from wherry.model.reading import files, vouch
from wherry.model.reading.kinds import kind_of

MODEL = LogisticRegression().fit([[0.0], [1.0]], [0, 1])


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    return out.getvalue()


def joblib_bytes(**options: Any) -> bytes:
    out = io.BytesIO()
    joblib.dump(MODEL, out, **options)
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(2))
    return out.getvalue()


def onnx_model() -> bytes:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    data: bytes = helper.make_model(graph).SerializeToString()
    return data


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_every_protocol(protocol: int) -> None:
    assert kind_of(pickle.dumps(MODEL, protocol=protocol)) == "pickle"
    assert kind_of(joblib_bytes(protocol=protocol)) == "pickle"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: skops.io.dumps(MODEL), "skops"),
        (npz, "npz"),
        (onnx_model, "onnx"),
        (lambda: archive(**{"config.json": b"{}", "model.weights.h5": b""}), "keras"),
        (lambda: archive(**{"archive/data.pkl": b""}), "torch"),
        (lambda: archive(readme=b""), "zip"),
        (lambda: b"\x89HDF\r\n\x1a\nrest", "hdf5"),
        (lambda: b"PAR1", "parquet"),
        (lambda: b"a,b\n1,2\n", "text"),
        (lambda: b"copy,of,things\n1,2,3\n", "text"),
        (lambda: bytes(range(256)), "unknown"),
    ],
)
def test_every_other_kind(make: Any, kind: str) -> None:
    assert kind_of(make()) == kind


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_every_compression_that_joblib_writes(method: str, tmp_path: Path) -> None:
    path = tmp_path / "DryBeanSVM"
    joblib.dump(MODEL, path, compress=(method, 3))
    found = files.read(path)
    assert (found.kind, found.compression) == ("pickle", method)
    assert found.size == path.stat().st_size
    assert vouch.open_model(path).estimator.predict([[1.0]]).tolist() == [1]


def test_lz4_is_read_where_it_is_installed_and_named_elsewhere(tmp_path: Path) -> None:
    try:
        import lz4.frame
    except ImportError:
        path = tmp_path / "model"
        path.write_bytes(b"\x04\x22\x4d\x18rest")
        with pytest.raises(ModelUnsafe) as wrong:
            files.read(path)
        assert wrong.value.hint == "pip install lz4"
    else:
        assert files.decompressed(lz4.frame.compress(b"abc"), "lz4", "model") == b"abc"


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_zlib_of_every_level(level: int) -> None:
    raw = pickle.dumps(MODEL) * 50
    packed = zlib.compress(raw, level)
    assert files.compression_of(packed) == "zlib"
    assert files.decompressed(packed, "zlib", "m") == raw


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zlib.compress])
def test_a_bomb_stops_at_the_limit(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(pack(b"\0" * 50_000_000))
    with pytest.raises(ModelUnsafe, match="unpacks to more than 1,000,000 bytes"):
        files.read(path, limit=1_000_000)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zlib.compress])
def test_cut_short_is_named(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(pack(pickle.dumps(MODEL))[:-9])
    with pytest.raises(ModelUnsafe, match="cut short or damaged") as unsafe:
        files.read(path)
    assert unsafe.value.hint == "copy it again"


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("make", [lambda: pickle.dumps(MODEL), joblib_bytes])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_file_that_is_cut_off_is_told_so_trusted_or_not(make: Any, share: float, trust: bool, tmp_path: Path) -> None:
    path = tmp_path / "cut.joblib"
    whole = make()
    path.write_bytes(whole[: int(len(whole) * share) - 1])
    with pytest.raises(ModelUnsafe) as unsafe:
        vouch.open_model(path, trust=trust)
    assert str(unsafe.value) == f"{path}: ends too early (it is cut off)"
    assert unsafe.value.hint == "copy it again"


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 100)
    with pytest.raises(ModelUnsafe, match="larger than 99 bytes"):
        files.read(path, limit=99)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="no such model file"):
        files.read(tmp_path / "gone")
    with pytest.raises(UsageRefused, match="is a folder"):
        files.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it: who opened it would wait
    with pytest.raises(UsageRefused, match="is a pipe"):
        files.read(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        (b"", "is empty", "copy it again"),
        (skops.io.dumps(MODEL)[:-50], "a zip archive that is cut short", "copy it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS", "git lfs pull"),
    ],
)
def test_what_did_not_arrive_is_named(content: bytes, says: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(ModelUnsafe, match=says) as unsafe:
        files.read(path)
    assert unsafe.value.hint == hint


@pytest.mark.parametrize(("content", "says"), [(b"a,b\n1,2\n", "a text file"), (npz(), "numpy archive")])
def test_what_is_no_model_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.joblib"
    path.write_bytes(content)
    with pytest.raises(ModelUnknown, match=says):
        vouch.open_model(path, trust=True)


@pytest.mark.parametrize("thing", [{"a": 1}, [1], np.zeros(3), "text", 3.0])
def test_a_pickle_of_no_estimator_is_named(thing: Any, tmp_path: Path) -> None:
    path = tmp_path / "thing.joblib"
    joblib.dump(thing, path)
    with pytest.raises(ModelUnknown, match="no estimator"):
        vouch.open_model(path, trust=True)


def test_a_library_that_is_not_installed_is_named_before_anybody_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x8c\x0dabsentml.nets\x8c\x03Net\x93)\x81}b.")
    with pytest.raises(ModelUnknown, match=r"absentml\.nets\.Net and absentml is not installed"):
        vouch.open_model(path)


@pytest.mark.parametrize("trust", [False, True])
def test_what_lives_in_the_training_script_is_named_before_anybody_is_asked(scripted: Path, trust: bool) -> None:
    with pytest.raises(ModelUnknown) as unknown:
        vouch.open_model(scripted, trust=trust)
    assert str(unknown.value) == f"{scripted}: needs `lg`, which lives in the script or notebook that trained it"
    assert "put it in a module of its own" in unknown.value.hint


def test_what_this_very_script_has_is_no_hindrance(scripted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "lg", lambda x: x, raising=False)
    assert vouch.open_model(scripted, trust=True).estimator.predict([[3.0]]).tolist() == pytest.approx([3.0])
    with pytest.raises(NotVouched):
        vouch.open_model(scripted)


def test_pickle_is_not_offered_for_what_it_would_not_find_again() -> None:
    assert "module that can be imported" in NotStorable(("__main__.lg",), {}).hint
    assert "--allow-pickle" in NotStorable(("shop.lg",), {}).hint
