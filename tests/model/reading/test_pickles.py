"""A pickle stream is followed to its last byte without being run, and tells what it holds."""

from __future__ import annotations

import io
import pickle
from functools import cache
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from wherry.model.reading import interpreter
from wherry.model.reading.arrays import cells, scalar
from wherry.model.reading.known import is_known
from wherry.model.reading.pickles import read
from wherry.model.reading.standins import Array, Group, Made, Pairs

X = pd.DataFrame({"size": [0.0, 1.0, 2.0, 3.0], "weight": [1.0, 2.0, 0.0, 4.0]})
Y = np.array(["B", "M", "B", "M"])


def written(value: Any, writer: str, protocol: int) -> bytes:
    out = io.BytesIO()
    if writer == "pickle":
        pickle.dump(value, out, protocol=protocol)
    else:
        joblib.dump(value, out, protocol=protocol)
    return out.getvalue()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("writer", ["pickle", "joblib"])
def test_a_pipeline_is_described(writer: str, protocol: int) -> None:
    voting = VotingClassifier([("line", LogisticRegression(C=0.5)), ("svc", SVC(gamma=2))])
    model = make_pipeline(SimpleImputer(strategy="median"), voting).fit(X, Y)
    found = read(written(model, writer, protocol))
    about = found.summary
    assert found.verdict == "known", found.sentence()
    assert (about.module, about.type) == ("sklearn.pipeline", "Pipeline")
    assert about.features == ("size", "weight")
    assert about.feature_count == 2
    assert set(about.classes) == {"B", "M"}
    assert about.versions == {"scikit-learn": __import__("sklearn").__version__}
    assert about.fitted
    assert about.root is not None
    assert [part.name for part in about.root.parts] == ["simpleimputer", "votingclassifier"]
    assert about.root.parts[0].settings["strategy"] == "median"
    inner = about.root.parts[1].parts
    assert [(part.name, part.settings.get("C")) for part in inner] == [("line", 0.5), ("svc", 1.0)]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("writer", ["pickle", "joblib"])
@pytest.mark.parametrize("labels", [Y, np.array([3, 7, 3, 7]), np.array([True, False, True, False])])
def test_classes_of_every_type(writer: str, protocol: int, labels: Any) -> None:
    found = read(written(LogisticRegression().fit(X.to_numpy(), labels), writer, protocol))
    assert found.summary.classes == tuple(sorted(set(labels.tolist())))
    assert found.summary.features == ()


def test_an_unfitted_estimator_is_told() -> None:
    assert not read(pickle.dumps(LogisticRegression())).summary.fitted


def test_what_boosting_with_categories_brings_is_explained_and_not_waved_through() -> None:
    frame = X.assign(city=pd.Categorical(["a", "b", "a", "b"]))
    model = HistGradientBoostingClassifier(max_iter=1, categorical_features="from_dtype").fit(frame, Y)
    found = read(written(model, "joblib", 4))
    assert found.verdict == "code"
    assert found.unknown == ("functools.partial", "sklearn.utils.validation.check_array")
    assert found.sentence().endswith(" (boosting with categories brings these, and other code can too)")


def test_a_function_that_is_put_together_is_named_so() -> None:
    found = read(b"\x80\x02cbuiltins\nlist\n)R)R.")
    assert found.sentence() == "can run code: calls a function that it puts together while it is loaded"


def plain(value: Any) -> Any:
    """What a stream of plain values says, back as the values."""
    if isinstance(value, Pairs):
        return {plain(key): plain(item) for key, item in value.entries}
    if isinstance(value, Group):
        return {plain(item) for item in value.items}
    if isinstance(value, Made) and value.maker.name in ("set", "frozenset"):
        return {plain(item) for item in value.args[0]}
    if isinstance(value, Made) and value.maker.name == "encode":
        return value.args[0].encode("latin-1")
    if isinstance(value, Made) and value.maker.name in ("bytes", "bytearray"):
        return (
            b"" if not value.args else plain(value.args[0]) if len(value.args) == 1 else value.args[0].encode("latin-1")
        )
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return value


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
keys = st.text() | st.integers() | st.binary()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.tuples(inner, inner) | st.sets(keys),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(values, st.integers(0, 5))
def test_plain_values_are_read_as_pickle_reads_them(value: Any, protocol: int) -> None:
    reader = interpreter.Interpreter(pickle.dumps(value, protocol=protocol))
    assert plain(reader.run()) == value
    assert reader.refusals == {}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    assert read(b"\x80\x04" + content).verdict in ("known", "code", "unreadable")


@cache
def honest() -> bytes:
    return written(LogisticRegression().fit(X, Y), "joblib", 4)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_byte_breaks_nothing_either(data: st.DataObject) -> None:
    content = bytearray(honest())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    read(bytes(content))


def test_every_truncation_is_unreadable() -> None:
    content = honest()
    for end in range(len(content)):
        assert read(content[:end]).verdict == "unreadable", end


def test_a_text_of_no_characters_is_left_as_it_lies() -> None:
    """numpy breaks on some code points beyond the last one, and makes texts that are none of others."""
    found = interpreter.Interpreter(written(np.array(["ab", "cd"]), "joblib", 4)).run()
    assert isinstance(found, Array)
    assert cells(found) == ["ab", "cd"]
    assert cells(Array(found.dtype, found.shape, raw=memoryview(b"\xff" * 16))) is None
    assert cells(Array(found.dtype, found.shape, raw=memoryview(b"a\0\x11\0" * 4))) is None
    assert cells(interpreter.Interpreter(written(np.array(["\U0001f600", "", "b"], ">U3"), "joblib", 4)).run()) == [
        "\U0001f600",
        "",
        "b",
    ]


@pytest.mark.parametrize("tail", [b".", b"\0", b"N.", b"\n"])
def test_bytes_behind_the_end_are_unreadable(tail: bytes) -> None:
    found = read(pickle.dumps(LogisticRegression()) + tail)
    assert found.verdict == "unreadable"
    assert "follow its end" in found.sentence()


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "MAX_OPCODES", 1000)
    assert "more than 1,000 opcodes" in read(b"\x80\x02" + b"N0" * 1000 + b"N.").sentence()
    assert "memo beyond" in read(b"\x80\x02Nr\xff\xff\xff\xff.").sentence()


def test_deep_nesting_needs_no_recursion() -> None:
    depth = 200_000
    assert read(b"\x80\x02" + b"N" + b"\x85" * depth + b".").verdict == "known"
    assert read(b"\x80\x02" + b"(" * depth + b"N.").verdict == "unreadable"


def test_arrays_keep_their_bytes_where_they_lie() -> None:
    reader = interpreter.Interpreter(written(np.arange(6.0).reshape(2, 3), "joblib", 4))
    found = reader.run()
    assert isinstance(found, Array)
    assert (found.shape, found.dtype.code) == ((2, 3), "<f8")
    assert found.raw is not None
    assert np.frombuffer(found.raw).tolist() == list(range(6))


@pytest.mark.parametrize("value", [np.float64(1.5), np.int32(7), np.bool_(True), np.str_("ab")])
@pytest.mark.parametrize("protocol", range(6))
def test_numpy_scalars(value: Any, protocol: int) -> None:
    assert scalar(interpreter.Interpreter(pickle.dumps(value, protocol=protocol)).run()) == value.item()


UNKNOWN = """
    builtins:getattr builtins:eval builtins:type builtins:open builtins:map functools:partial operator:attrgetter
    importlib:import_module os:system numpy:load numpy:fromfile numpy:vectorize numpy.f2py:compile joblib:load
    joblib:Memory joblib:Parallel joblib.numpy_pickle:load sklearn:svm sklearn.svm:os sklearn.svm.SVC:fit
    sklearn.svm:SVC.fit sklearn.datasets:load_files sklearn.utils.parallel:Parallel sklearn.externals.x:SVC
    sklearn.svm.tests.test_svm:SVC xsklearn.svm:SVC sklearn.svmx:SVC sklearn.svm._:os numpy._core:_ufunc_reconstruct
    numpy.testing:runstring pandas:eval pandas:read_pickle copyreg:__newobj__ collections:namedtuple
    sklearn.pipeline:_final_estimator_has
"""


@pytest.mark.parametrize(("module", "name"), [one.split(":") for one in UNKNOWN.split()])
def test_what_is_not_on_the_list(module: str, name: str) -> None:
    assert not is_known(module, name)


def test_every_estimator_of_this_scikit_learn_is_on_the_list() -> None:
    from sklearn.utils import all_estimators

    missing = [name for name, cls in all_estimators() if not is_known(cls.__module__, name)]
    assert len(missing) <= 3, missing  # a newer scikit-learn may bring a few
