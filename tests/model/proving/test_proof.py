"""The gate: a form that answers otherwise, however rarely, is caught, and a tie is told from a mistake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from model_parts import breast_cancer, rows_of, signature_of
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Outputs, Row
from wherry.errors import SampleUnfit
from wherry.model.flavors.sklearn.reference import EstimatorReference
from wherry.model.proving.boundaries import APART, PAIRS
from wherry.model.proving.evidence import Evidence, gather
from wherry.model.proving.probes import UNSEEN
from wherry.model.proving.proof import NotAlike, Proof, prove


class Case:
    def __init__(self, estimator: Any, X: Any) -> None:
        self.signature: Signature = signature_of(estimator, X)
        self.rows = rows_of(X)
        self.reference = EstimatorReference(estimator, self.signature)
        self.evidence: Evidence = gather(self.reference, self.signature, self.rows)

    def prove(self, change: Any) -> Proof:
        """Hold the estimator itself against the evidence, its outputs altered by `change(rows, outputs)`."""
        reference = self.reference

        class Changed:
            def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
                outputs = reference.score(rows)
                answers = list(outputs.predictions)
                chances = [list(each) for each in outputs.probabilities] if outputs.probabilities else None
                return change(rows, answers, chances) or Outputs(answers, chances)

        return prove(reference, Changed(), self.signature, self.evidence)


@pytest.fixture(scope="module")
def cancer() -> Case:
    X, y = breast_cancer()
    return Case(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X)


@pytest.fixture(scope="module")
def line() -> Case:
    X = np.random.default_rng(0).normal(size=(200, 2))
    return Case(LinearRegression().fit(X, X @ [1.0, 2.0]), X)


def test_the_estimator_answers_like_itself(cancer: Case) -> None:
    proof = cancer.prove(lambda rows, answers, chances: None)
    assert (proof.rows, proof.ties_left_out) == (len(cancer.evidence.rows), 0)
    assert proof.largest_difference < 1e-12  # sums of another batch may be added in another order
    assert cancer.evidence.sample == 569
    assert cancer.evidence.pairs == PAIRS


def test_pairs_are_halved_to_the_boundary_and_no_further(cancer: Case) -> None:
    ends = cancer.evidence.rows[569 : 569 + 2 * PAIRS]
    answers = cancer.evidence.outputs.predictions[569 : 569 + 2 * PAIRS]
    spread = np.array(cancer.rows, dtype=float).std(axis=0)
    for place in range(0, len(ends), 2):
        assert answers[place] != answers[place + 1]
        apart = (np.abs(np.subtract(ends[place], ends[place + 1])) / spread).max()
        assert APART / 2 * 0.99 < apart <= APART


def test_one_wrong_sample_row_is_enough(cancer: Case) -> None:
    def change(rows: Sequence[Row], answers: list[Any], chances: Any) -> None:
        for place, row in enumerate(rows):
            if row == cancer.rows[300]:
                answers[place] = 1 - answers[place]

    with pytest.raises(NotAlike, match="1 of 569 sample rows are answered otherwise"):
        cancer.prove(change)


def test_a_shifted_boundary_is_caught_though_every_sample_row_is_right(cancer: Case) -> None:
    """A threshold on the probability at 0.51: no sample row need lie between, the halved pairs do."""
    known = set(cancer.rows)

    def change(rows: Sequence[Row], answers: list[Any], chances: Any) -> None:
        for place, row in enumerate(rows):
            if row not in known:
                answers[place] = int(chances[place][1] > 0.51)

    with pytest.raises(NotAlike, match="of 400 rows at the boundaries"):
        cancer.prove(change)


def test_a_label_of_another_type_is_another_label(cancer: Case) -> None:
    with pytest.raises(NotAlike, match=r"with (1\.0|0\.0) instead of (1|0)"):
        cancer.prove(lambda rows, answers, chances: Outputs([float(each) for each in answers], chances))


def test_probabilities_count(cancer: Case) -> None:
    def change(rows: Sequence[Row], answers: list[Any], chances: Any) -> None:
        chances[0][0] += 1e-4

    with pytest.raises(NotAlike, match=r"a probability differs by 0\.0001"):
        cancer.prove(change)
    with pytest.raises(NotAlike, match="no probabilities"):
        cancer.prove(lambda rows, answers, chances: Outputs(answers))
    with pytest.raises(NotAlike, match="differs by nan"):
        cancer.prove(lambda rows, answers, chances: Outputs(answers, [[float("nan")] * 2 for _ in answers]))


def test_a_form_that_raises_or_answers_too_little_is_refused(cancer: Case) -> None:
    def fail(rows: Any, answers: Any, chances: Any) -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(NotAlike, match="ZeroDivisionError: by nothing"):
        cancer.prove(fail)
    with pytest.raises(NotAlike, match="answers to"):
        cancer.prove(lambda rows, answers, chances: Outputs(answers[1:], chances[1:]))


class Tied:
    """Two classes that are equally likely for whole numbers; which one is said is chance."""

    classes_ = np.array([0, 1])

    def __init__(self, every: int = 1) -> None:
        self.every = every

    def predict_proba(self, X: Any) -> Any:
        x = np.asarray(X)[:, 0]
        tied = (x == np.round(x)) & (np.round(x) % self.every == 0)
        high = np.where(tied, 0.5, np.where(x > 50, 0.9, 0.1))
        return np.stack([1 - high, high], axis=1)

    def predict(self, X: Any) -> Any:
        return self.predict_proba(X).argmax(axis=1)


def flipped_where_tied(rows: Sequence[Row], answers: list[Any], chances: Any) -> None:
    for place, (one, other) in enumerate(chances):
        if one == other:
            answers[place] = 1


def test_ties_are_left_out_and_counted() -> None:
    X = np.arange(0.0, 100.0, 0.25).reshape(-1, 1)
    case = Case(Tied(every=5), X)
    proof = case.prove(flipped_where_tied)
    assert proof.ties_left_out >= 20
    assert proof.rows + proof.ties_left_out == len(case.evidence.rows)


def test_ties_excuse_no_form_that_is_all_ties() -> None:
    case = Case(Tied(), np.arange(100.0).reshape(-1, 1))
    with pytest.raises(NotAlike, match="ties that it breaks otherwise"):
        case.prove(flipped_where_tied)


def test_numbers_may_differ_by_the_stated_tolerance_and_no_more(line: Case) -> None:
    proof = line.prove(lambda rows, answers, chances: Outputs([each * (1 + 5e-6) for each in answers]))
    assert 0 < proof.largest_difference < 1e-4
    assert proof.spread == pytest.approx(np.std(line.evidence.answers.predictions))
    with pytest.raises(NotAlike, match="of 200 sample rows"):
        line.prove(lambda rows, answers, chances: Outputs([each * (1 + 3e-5) for each in answers]))
    with pytest.raises(NotAlike, match="no numbers"):
        line.prove(lambda rows, answers, chances: Outputs(["a" for _ in answers]))


def test_values_far_out_of_range_are_asked(line: Case) -> None:
    with pytest.raises(NotAlike, match="rows with odd values are answered otherwise"):
        line.prove(lambda rows, answers, chances: Outputs([min(each, 100.0) for each in answers]))


def test_missing_cells_and_unseen_categories_are_asked_where_the_estimator_takes_them() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=90), "city": random.choice(["Bern", "Basel", "Genf"], 90)})
    frame.loc[3, "city"] = None
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    case = Case(make_pipeline(encoder, LogisticRegression()).fit(frame, frame["size"] > 0), frame)
    cells = {row[1] for row in case.evidence.rows[90 + 2 * case.evidence.pairs :]}
    assert {None, UNSEEN} <= cells

    def forgetful(rows: Sequence[Row], answers: list[Any], chances: Any) -> None:
        for place, row in enumerate(rows):
            if row[1] == UNSEEN:
                answers[place] = not answers[place]

    with pytest.raises(NotAlike, match="odd values"):
        case.prove(forgetful)
    strict = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    refusing = Case(make_pipeline(strict, LogisticRegression()).fit(frame, frame["size"] > 0), frame)
    assert UNSEEN not in {row[1] for row in refusing.evidence.rows}


def test_a_row_that_the_model_does_not_take_is_named_with_its_odd_cell() -> None:
    class Sum:
        def score(self, rows: Any, probabilities: bool = True) -> Outputs:
            return Outputs([float(row[0]) + float(row[1]) for row in rows])

    signature = Signature((Column("a", "string"), Column("b", "string")), OutputSpec("number", "number"))
    good: list[Any] = [("1", "2"), ("3", "4"), ("5", "6")]
    for cell, said in (("abc", "row 4: b is 'abc'"), (None, "row 4: b is empty")):
        with pytest.raises(SampleUnfit, match=re.escape(said)):
            gather(Sum(), signature, [*good, ("7", cell)])
