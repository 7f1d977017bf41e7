"""A loaded bundle answers people and the service alike, and blames only the rows that are to blame."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from model_parts import breast_cancer, draft, make_bundle, rows_of, signature_of, write_bundle
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import wherry
from wherry.contract.golden import GoldenRows
from wherry.contract.wire import Outputs, Row
from wherry.errors import BundleUnreadable, FieldsRefused, GoldenDiffers, ModelFailed
from wherry.model import flavors
from wherry.model.loaded import Model, load
from wherry.model.proving import convert

HEAVY = ("sklearn", "scipy", "pandas", "skops", "joblib", "onnx", "skl2onnx")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    X, y = breast_cancer()
    folder = tmp_path_factory.mktemp("linear") / "bundle"
    make_bundle(folder, make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X)
    return folder


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    X, y = breast_cancer()
    folder = tmp_path_factory.mktemp("onnx") / "bundle"
    make_bundle(folder, RandomForestClassifier(20, random_state=0).fit(X, y), X)
    return folder


def test_people_get_the_same_answers_however_they_hold_their_rows(linear: Path) -> None:
    X, y = breast_cancer()
    expected = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y).predict(X)[:20].tolist()
    model = wherry.load(linear)
    model.replay()
    head = X.head(20)
    shuffled = head[head.columns[::-1]]
    assert model.predict(head) == expected
    assert model.predict(shuffled) == expected
    assert model.predict(shuffled.to_dict("records")) == expected
    assert model.predict(head.to_numpy()) == expected
    assert model.predict(head.to_numpy().tolist()) == expected
    assert model.predict([tuple(row) for row in head.to_numpy()]) == expected
    assert model.predict(head.assign(answer=1)) == expected  # the target does no harm
    assert model.predict(head.iloc[3].to_dict()) == expected[3:4]
    assert model.predict(head.to_numpy()[3]) == expected[3:4]
    assert model.predict([]) == [] and model.predict(head.head(0)) == []
    assert all(type(answer) is int for answer in model.predict(head))
    numbered = head.copy()
    numbered.columns = range(6)
    assert model.predict(numbered) == expected


def test_a_row_that_does_not_fit_is_named(linear: Path) -> None:
    X, _ = breast_cancer()
    model = load(linear)
    records: list[dict[str, Any]] = X.head(3).to_dict("records")
    del records[1]["area_se"]
    with pytest.raises(FieldsRefused) as caught:
        model.predict(records)
    assert [(each.row, each.field) for each in caught.value.problems] == [(1, "area_se")]
    holes = X.head(3).copy()
    holes.loc[2, "area_se"] = np.nan
    with pytest.raises(FieldsRefused, match="area_se is null"):
        model.predict(holes)
    with pytest.raises(FieldsRefused, match="5 values"):
        model.predict(X.head(1).to_numpy()[:, :5])


@pytest.mark.parametrize("form", ["linear", "onnx"])
def test_loading_and_answering_imports_nothing_heavy(
    form: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    folder: Path = request.getfixturevalue(form)
    code = f"""
import json, sys, time
start = time.perf_counter()
import wherry
model = wherry.load({str(folder)!r})
loaded = time.perf_counter() - start
model.replay()
whole = time.perf_counter() - start
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps({{"form": model.manifest.conversion.form, "loaded": loaded, "whole": whole, "heavy": heavy}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    said = json.loads(done.stdout)
    with capsys.disabled():
        print(
            f"\nloading a {form} bundle in a fresh process: {said['loaded']:.3f} s from `import wherry`, "
            f"golden rows answered after {said['whole']:.3f} s"
        )
    assert said["heavy"] == []
    assert said["form"] == form
    assert said["loaded"] < 5


def test_importing_wherry_imports_nothing() -> None:
    code = "import sys, wherry; print([m for m in ('msgspec', 'numpy', 'wherry.model') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = wherry.nothing_such


class Scripted:
    """Answers 2 * x; raises for 666, answers NaN for 13, infinity for 14."""

    def __init__(self, probabilities: bool = False) -> None:
        self.probabilities = probabilities
        self.calls = 0

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        self.calls += 1
        values: list[float] = [row[0] for row in rows]
        if 666.0 in values:
            raise ValueError("no such number of the beast")
        odd = {13.0: float("nan"), 14.0: float("inf")}
        answers = [odd.get(value, 2 * value) for value in values]
        chances = [[float("nan"), 0.5] if value == 15.0 else [0.5, 0.5] for value in values]
        return Outputs(answers, chances if probabilities and self.probabilities else None)


def scripted(scorer: flavors.Scorer, golden: GoldenRows | None = None) -> Model:
    X = np.arange(40.0).reshape(-1, 1)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, X[:, 0] > 20)
    signature = signature_of(estimator, X)
    stored = convert.store(estimator, signature, rows_of(X))
    return Model(draft(stored, signature, rows=0), golden or GoldenRows((), (), ()), scorer)


def test_only_the_rows_without_an_answer_are_blamed() -> None:
    model = scripted(Scripted())
    assert model.score([(1.0,), (2.0,)]) == Outputs([2.0, 4.0])
    with pytest.raises(ModelFailed) as caught:
        model.score([(1.0,), (13.0,), (3.0,), (14.0,)])
    assert caught.value.rows == (1, 3)
    assert caught.value.outputs.predictions == [2.0, None, 6.0, None]
    with pytest.raises(ModelFailed) as caught:
        scripted(Scripted(probabilities=True)).score([(1.0,), (15.0,)])
    assert caught.value.rows == (1,)


@pytest.mark.parametrize("form", ["linear", "onnx", "skops"])
def test_without_probabilities_the_predictions_are_the_same(form: str, tmp_path: Path) -> None:
    X, y = breast_cancer()
    models = {
        "linear": LogisticRegression(),
        "onnx": RandomForestClassifier(5, random_state=0),
        "skops": KNeighborsClassifier(),
    }
    model = make_pipeline(StandardScaler(), models[form]).fit(X, y)
    signature, rows = signature_of(model, X), rows_of(X)
    stored = convert.store(model, signature, [] if form == "skops" else rows)  # unproven, it stays as it is
    assert write_bundle(tmp_path / "bundle", stored, signature, rows).conversion.form == form
    packed = load(tmp_path / "bundle")
    assert packed.score(rows).probabilities is not None
    assert packed.score(rows, probabilities=False).predictions == packed.score(rows).predictions


def test_nobody_asks_for_probabilities_that_nobody_wants() -> None:
    model = scripted(Scripted(probabilities=True))
    assert model.score([(1.0,)]).probabilities == [[0.5, 0.5]]
    assert model.score([(1.0,)], probabilities=False) == Outputs([2.0])
    with pytest.raises(ModelFailed) as caught:
        model.score([(1.0,), (666.0,), (2.0,)], probabilities=False)
    assert (caught.value.rows, caught.value.outputs) == ((1,), Outputs([2.0, None, 4.0]))


def test_a_row_that_raises_does_not_take_its_batch_with_it() -> None:
    scorer = Scripted()
    rows: list[Row] = [(float(place),) for place in range(20, 84)]
    rows[10] = (666.0,)
    rows[50] = (13.0,)
    with pytest.raises(ModelFailed) as caught:
        scripted(scorer).score(rows)
    assert caught.value.rows == (10, 50)
    assert caught.value.outputs.predictions[9:12] == [58.0, None, 62.0]
    assert scorer.calls <= 2 * 7 + 2  # halved, not asked row by row
    with pytest.raises(ModelFailed, match="ValueError: no such number"):
        scripted(Scripted()).score([(666.0,)])


def test_a_model_that_loses_answers_is_a_failure() -> None:
    class Short:
        def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
            return Outputs([1] * len(rows[1:]), [[0.5, 0.5]] * len(rows) if probabilities else None)

    class Shares:
        def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
            return Outputs([1] * len(rows), [[0.5, 0.5]])

    for scorer in (Short(), Shares()):
        with pytest.raises(ModelFailed, match="answers to 2 rows"):
            scripted(scorer).score([(1.0,), (2.0,)])


def test_golden_rows_that_are_answered_otherwise_are_refused() -> None:
    golden = GoldenRows(("x0",), ((1.0,), (2.0,), (3.0,)), (2.0, 5.0, 6.0))
    with pytest.raises(GoldenDiffers) as caught:
        scripted(Scripted(), golden).replay()
    assert (caught.value.row, caught.value.expected, caught.value.found) == (1, 5.0, 4.0)
    assert "1 of 3" in str(caught.value)
    chances = GoldenRows(("x0",), ((1.0,),), (2.0,), ((0.9, 0.1),))
    with pytest.raises(GoldenDiffers):
        scripted(Scripted(probabilities=True), chances).replay()
    scripted(Scripted(), GoldenRows(("x0",), ((1.0,),), (2.0,))).replay()


def test_a_flavor_that_nobody_knows(linear: Path) -> None:
    manifest = msgspec.structs.replace(load(linear).manifest, flavor="os")
    with pytest.raises(BundleUnreadable, match="flavor 'os'"):
        flavors.load(linear / "model.npz", manifest)
