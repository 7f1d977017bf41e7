"""The baseline's histograms and the metrics' figures, against numpy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Outputs
from wherry.model.pack import baseline, metrics
from wherry.model.pack.baseline import spread

numbers = st.lists(st.none() | st.floats(-1e9, 1e9) | st.integers(-1000, 1000), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(numbers)
def test_every_value_is_counted_once(cells: list[float | int | None]) -> None:
    found = spread(cells, numeric=True)
    present = [cell for cell in cells if cell is not None]
    assert found.missing == pytest.approx(1 - len(present) / len(cells))
    assert sum(found.counts) == len(present)
    if present:
        assert len(found.edges) == len(found.counts) + 1
        assert found.edges[0] == pytest.approx(min(present))
        assert found.edges[-1] == pytest.approx(max(present))


def test_bins_hold_equally_many() -> None:
    assert spread([float(n) for n in range(100)], numeric=True).counts == (10,) * 10


def test_one_value_is_one_bin() -> None:
    found = spread([3.0, 3.0], numeric=True)
    assert (found.edges, found.counts) == ((3.0, 3.0), (2,))


def test_categories_are_counted_the_most_frequent_first() -> None:
    found = spread(["b", "a", "b", None], numeric=False)
    assert found.categories == (("b", 2), ("a", 1))
    assert found.missing == 0.25
    many = spread([f"v{n}" for n in range(150)], numeric=False)
    assert (len(many.categories), many.others) == (100, 50)


def test_all_missing() -> None:
    assert spread([None, None], numeric=True) == baseline.Spread(1.0)


def test_a_baseline_has_every_column_and_the_answers() -> None:
    signature = Signature((Column("a", "number"), Column("b", "string")), OutputSpec("class", "integer", (0, 1)))
    found = baseline.of(signature, [(1.0, "x"), (2.0, None)], [0, 0])
    assert set(found.columns) == {"a", "b"}
    assert found.predictions.categories == ((0, 2),)


CLASSES = OutputSpec("class", "string", ("a", "b", "c"), True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore:.*y_pred contains classes not in y_true.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*single label.*:UserWarning")
def test_class_metrics_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    right, answers = [a for a, _ in pairs], [b for _, b in pairs]
    found = {metric.name: metric for metric in metrics.of(CLASSES, right, Outputs(list(answers)))}
    assert found["accuracy"].value == pytest.approx(theirs.accuracy_score(right, answers), abs=1e-6)
    assert found["balanced accuracy"].value == pytest.approx(theirs.balanced_accuracy_score(right, answers), abs=1e-6)
    assert found["F1 (macro)"].value == pytest.approx(
        theirs.f1_score(right, answers, average="macro", zero_division=0), abs=1e-6
    )
    assert found["accuracy"].baseline == pytest.approx(max(map(right.count, right)) / len(right), abs=1e-6)


@pytest.mark.filterwarnings("error")
def test_log_loss_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.dirichlet([1, 1, 1], 50)
    right = rng.choice(["a", "b", "c"], 50).tolist()
    found = metrics.log_loss(("a", "b", "c"), right, matrix.tolist())
    assert found == pytest.approx(theirs.log_loss(right, matrix))


def test_rows_without_a_right_answer_are_left_out() -> None:
    found = metrics.of(CLASSES, ["a", None, float("nan"), "b"], Outputs(["a", "a", "a", "a"]))
    assert (found[0].value, found[0].rows) == (0.5, 2)
    assert metrics.of(CLASSES, [None], Outputs(["a"])) == ()


def test_number_metrics() -> None:
    right, answers = [1.0, 2.0, 4.0], [1.5, 2.0, 3.0]
    found = {m.name: m for m in metrics.of(OutputSpec("number", "number"), right, Outputs(list(answers)))}
    assert found["R2"].value == pytest.approx(theirs.r2_score(right, answers), rel=1e-5)
    assert found["MAE"].value == pytest.approx(0.5)
    assert found["RMSE"].value == pytest.approx(math.sqrt(1.25 / 3), rel=1e-5)
    assert found["MAE"].baseline == pytest.approx(10 / 9, rel=1e-5)


def test_what_cannot_be_compared_says_why() -> None:
    with pytest.raises(metrics.Incomparable, match="M, X"):
        metrics.of(CLASSES, ["M", "X"], Outputs(["a", "b"]))
    with pytest.raises(metrics.Incomparable, match="no number"):
        metrics.of(OutputSpec("number", "number"), ["M"], Outputs([1.0]))


def test_clusters_and_several_outputs_have_no_metrics() -> None:
    assert metrics.of(OutputSpec("cluster", "integer"), [1], Outputs([1])) == ()
    assert metrics.of(OutputSpec("number", "number", width=2), [[1, 2]], Outputs([[1, 2]])) == ()
