"""The signature is inferred from the estimator and the sample, and what tags claim is tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from wherry.contract.signature import Column
from wherry.errors import ModelNotFitted, ModelUnknown, SampleUnfit
from wherry.model.flavors.sklearn import restore
from wherry.model.flavors.sklearn.describing.describe import Described, describe

RNG = np.random.default_rng(0)
ROWS = 60
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 80, ROWS),
        "income": RNG.normal(3e4, 1e4, ROWS),
        "city": RNG.choice(["Oslo", "Bergen", "Ås"], ROWS),
        "member": RNG.random(ROWS) > 0.5,
        "rooms": RNG.choice([1, 2, 3], ROWS),
    }
)
LABELS = np.where(FRAME["age"] > 50, "old", "young")
NUMBERS = FRAME[["age", "income"]]
TWO = np.c_[LABELS == "old", FRAME["member"]].astype(int)
HARD = VotingClassifier([("a", SVC()), ("b", DecisionTreeClassifier())])


def mixed(encoder: Any, *, missing: bool = False) -> Any:
    frame = FRAME.copy()
    if missing:
        frame.loc[3, "income"] = np.nan
        frame.loc[5, "city"] = np.nan
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["income"]),
        (encoder, ["city"]),
        remainder="drop" if missing else "passthrough",
    )
    if missing:
        columns = make_column_transformer(
            (SimpleImputer(), ["income", "age"]),
            (make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), ["city"]),
        )
    return make_pipeline(columns, LogisticRegression(max_iter=5000)).fit(frame, LABELS), frame


def column(found: Described, name: str) -> Column:
    return next(column for column in found.signature.columns if column.name == name)


def test_types_ranges_categories_and_examples() -> None:
    model, frame = mixed(OneHotEncoder())
    found = describe(model, frame, LABELS, target="group")
    assert [(c.name, c.type) for c in found.signature.columns] == [
        ("age", "integer"),
        ("income", "number"),
        ("city", "string"),
        ("member", "boolean"),
        ("rooms", "integer"),
    ]
    age = column(found, "age")
    assert (age.low, age.high, age.dtype) == (float(frame["age"].min()), float(frame["age"].max()), "int64")
    assert column(found, "city").categories == ("Bergen", "Oslo", "Ås")
    assert column(found, "member").categories == (False, True)
    assert age.categories == ()
    assert found.signature.target == "group"
    assert found.rows[0] == tuple(frame.iloc[0].tolist())
    assert all(type(cell) in (int, float, str, bool) for cell in found.rows[0])
    assert found.answers is not None
    assert type(found.answers[0]) is str


def test_columns_are_matched_by_name_and_others_left_unused() -> None:
    model = LogisticRegression().fit(NUMBERS, LABELS)
    found = describe(model, FRAME[["rooms", "income", "city", "age"]], LABELS)
    assert found.signature.names == ("age", "income")
    assert found.signature.unused == ("rooms", "city")
    assert found.rows[0] == (FRAME["age"][0], FRAME["income"][0])


def test_a_missing_column_is_named_with_the_nearest() -> None:
    model = LogisticRegression().fit(NUMBERS, LABELS)
    with pytest.raises(SampleUnfit, match="income") as unfit:
        describe(model, NUMBERS.rename(columns={"income": "incomes"}), LABELS)
    assert "incomes" in unfit.value.hint


def test_without_names_the_sample_gives_them_if_the_count_fits() -> None:
    model = LogisticRegression().fit(NUMBERS.to_numpy(), LABELS)
    found = describe(model, NUMBERS, LABELS)
    assert (found.signature.names, found.signature.named) == (("age", "income"), True)
    found = describe(model, NUMBERS.to_numpy(), LABELS)
    assert (found.signature.names, found.signature.named) == (("x0", "x1"), False)
    with pytest.raises(SampleUnfit, match="has 3 columns; the model was fitted on 2") as unfit:
        describe(model, FRAME[["age", "income", "rooms"]])
    assert unfit.value.hint == "name the column of right answers: --target COLUMN"


def test_a_column_too_many_is_no_target_when_there_is_one() -> None:
    model = LogisticRegression().fit(NUMBERS.to_numpy(), LABELS)
    with pytest.raises(SampleUnfit) as unfit:
        describe(model, FRAME[["age", "income", "rooms"]], LABELS, target="rich")
    assert unfit.value.hint == "leave out 1 of age, income, rooms"


@pytest.mark.parametrize("name", ["Unnamed: 0", "__index_level_0__"])
def test_a_saved_index_is_named(name: str) -> None:
    model = LogisticRegression().fit(NUMBERS.to_numpy(), LABELS)
    with pytest.raises(SampleUnfit, match=f"fitted on 2, without names: {name} looks like a saved index") as unfit:
        describe(model, NUMBERS.assign(**{name: 0}), LABELS)
    assert "to_csv(..., index=False)" in unfit.value.hint


def test_an_array_for_a_model_with_names_takes_them() -> None:
    model = LogisticRegression().fit(NUMBERS, LABELS)
    assert describe(model, NUMBERS.to_numpy(), LABELS).signature.names == ("age", "income")


@pytest.mark.parametrize("kind", ["names", "places", "none"])
def test_without_a_sample(kind: str) -> None:
    model = LogisticRegression().fit(NUMBERS if kind == "names" else NUMBERS.to_numpy(), LABELS)
    found = describe(model)
    assert found.signature.names == (("age", "income") if kind == "names" else ("x0", "x1"))
    assert found.signature.named == (kind == "names")
    assert {c.type for c in found.signature.columns} == {"number"}
    assert found.signature.output.classes == ("old", "young")
    assert found.rows == []


def test_without_a_sample_the_encoders_know_their_categories() -> None:
    model, _ = mixed(OneHotEncoder())
    assert column(describe(model), "city").categories == ("Bergen", "Oslo", "Ås")
    assert column(describe(model), "city").type == "string"


@pytest.mark.parametrize(
    ("encoder", "unknown_ok"),
    [
        (OneHotEncoder(), False),
        (OneHotEncoder(handle_unknown="ignore"), True),
        (OrdinalEncoder(), False),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), True),
    ],
)
def test_an_unseen_category_is_tried(encoder: Any, unknown_ok: bool) -> None:
    model, frame = mixed(encoder)
    found = describe(model, frame.head(2), LABELS[:2])  # the encoder has seen more than this sample
    assert column(found, "city").unknown_ok is unknown_ok
    assert column(found, "city").categories == ("Bergen", "Oslo", "Ås")


def test_whole_numbers_behind_a_strict_encoder_are_categories() -> None:
    columns = make_column_transformer((OneHotEncoder(), ["rooms"]), remainder="drop")
    model = make_pipeline(columns, LogisticRegression()).fit(FRAME, LABELS)
    rooms = column(describe(model, FRAME, LABELS), "rooms")
    assert (rooms.type, rooms.categories, rooms.unknown_ok) == ("integer", (1, 2, 3), False)


def test_missing_is_allowed_where_the_sample_has_it() -> None:
    model, frame = mixed(OneHotEncoder(handle_unknown="ignore"), missing=True)
    found = describe(model, frame, LABELS)
    assert column(found, "income").nullable
    assert column(found, "city").nullable
    assert found.rows[3][1] is None
    assert found.rows[5][2] is None


@pytest.mark.parametrize(
    ("model", "nullable"),
    [
        (LogisticRegression(), False),
        (make_pipeline(StandardScaler(), LogisticRegression()), False),  # the scaler claims it, the pipeline cannot
        (make_pipeline(SimpleImputer(), LogisticRegression()), True),
        (HistGradientBoostingClassifier(max_iter=2), True),
        (DecisionTreeClassifier(), True),
    ],
)
def test_missing_is_allowed_where_the_estimator_bears_it(model: Any, nullable: bool) -> None:
    found = describe(model.fit(NUMBERS, LABELS), NUMBERS, LABELS)
    assert {c.nullable for c in found.signature.columns} == {nullable}


def test_missing_is_judged_column_by_column() -> None:
    columns = make_column_transformer((SimpleImputer(), ["age"]), ("passthrough", ["income"]))
    model = make_pipeline(columns, LogisticRegression()).fit(NUMBERS, LABELS)
    found = describe(model, NUMBERS, LABELS)
    assert [c.nullable for c in found.signature.columns] == [True, False]


def test_float_columns_widen_whole_numbers() -> None:
    model = LogisticRegression().fit(NUMBERS, LABELS)
    found = describe(model, NUMBERS, LABELS, float_columns=["age"])
    assert (column(found, "age").type, column(found, "age").dtype) == ("number", "float64")
    assert isinstance(found.rows[0][0], float)
    with pytest.raises(SampleUnfit, match="no column agee") as unfit:
        describe(model, NUMBERS, LABELS, float_columns=["agee"])
    assert unfit.value.hint == "did you mean --float age?"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.array([1, 2, None], dtype="Int64"), "integer"),
        (pd.array([True, None, False], dtype="boolean"), "boolean"),
        (pd.array([1.5, None, 2.5], dtype="Float64"), "number"),
        (pd.Series([True, False, None], dtype=object), "boolean"),
        (pd.Series(["a", None, "b"], dtype=object), "string"),
        (pd.Series([1, 2.5, None], dtype=object), "number"),
        (pd.Categorical(["a", "b", "a"]), "string"),
        (pd.Categorical([1, 2, 1]), "integer"),
    ],
)
def test_the_type_of_every_dtype(values: Any, kind: str) -> None:
    from wherry.model.tables.columns import column_of

    found = column_of("c", pd.Series(values), source="the sample")
    assert found.type == kind
    assert found.nullable == bool(pd.Series(values).isna().any())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (pd.to_datetime(["2020-01-01"]), "no JSON request can carry"),
        (pd.Series(["a", 1], dtype=object), "mixes values: integer, string"),
        (pd.Series([[1], [2]], dtype=object), "of type list"),
    ],
)
def test_what_no_request_can_carry_is_named(values: Any, says: str) -> None:
    from wherry.model.tables.columns import column_of

    with pytest.raises(SampleUnfit, match=says):
        column_of("c", pd.Series(values), source="the sample")


def test_more_than_a_thousand_values_are_no_categories() -> None:
    from wherry.model.tables.columns import column_of

    assert len(column_of("c", pd.Series([f"v{n}" for n in range(1000)]), source="s").categories) == 1000
    assert column_of("c", pd.Series([f"v{n}" for n in range(1001)]), source="s").categories == ()


@pytest.mark.parametrize(
    ("model", "y", "kind", "type_", "classes", "probabilities", "width"),
    [
        (LogisticRegression(), LABELS, "class", "string", ("old", "young"), True, 1),
        (LogisticRegression(), (LABELS == "old").astype(int), "class", "integer", (0, 1), True, 1),
        (LogisticRegression(), LABELS == "old", "class", "boolean", (False, True), True, 1),
        (LogisticRegression(), (LABELS == "old").astype(float), "class", "number", (0.0, 1.0), True, 1),
        (SVC(), LABELS, "class", "string", ("old", "young"), False, 1),
        (HARD, LABELS, "class", "string", ("old", "young"), False, 1),
        (LinearRegression(), FRAME["income"], "number", "number", (), False, 1),
        (LinearRegression(), FRAME[["income"]], "number", "number", (), False, 1),
        (LinearRegression(), FRAME[["income", "age"]], "number", "number", (), False, 2),
        (RandomForestClassifier(3), TWO, "class", "integer", (), False, 2),
        (KMeans(2, n_init=1), None, "cluster", "integer", (), False, 1),
        (IsolationForest(n_estimators=3), None, "class", "integer", (-1, 1), False, 1),
    ],
)  # fmt: skip
def test_outputs(model: Any, y: Any, kind: str, type_: str, classes: Any, probabilities: bool, width: int) -> None:
    model.fit(NUMBERS) if y is None else model.fit(NUMBERS, y)
    output = describe(model, NUMBERS, y).signature.output
    assert (output.kind, output.type, output.classes) == (kind, type_, classes)
    assert (output.probabilities, output.width) == (probabilities, width)


def test_infinite_numbers_are_left_aside() -> None:
    model = LogisticRegression().fit(NUMBERS, LABELS)
    frame = NUMBERS.copy()
    frame.loc[4, "income"] = np.inf
    found = describe(model, frame, LABELS)
    assert found.left_out == 1
    assert len(found.rows) == len(found.table) == len(found.answers or []) == ROWS - 1
    assert np.isfinite(column(found, "income").high or 0)


def test_a_sample_that_the_model_cannot_take_says_so() -> None:
    model = LogisticRegression().fit(NUMBERS, LABELS)
    with pytest.raises(SampleUnfit, match="is not what the model takes: LogisticRegression says"):
        describe(model, NUMBERS.assign(age="old"), LABELS)
    with pytest.raises(SampleUnfit, match="60 rows and 3 answers"):
        describe(model, NUMBERS, LABELS[:3])


class Strange(ClassifierMixin, BaseEstimator):
    """Fitted, and unable to predict."""

    def __init__(self) -> None:
        self.classes_ = np.array([0, 1])


@pytest.mark.parametrize("thing", [object(), {"a": 1}, LogisticRegression, Strange(), StandardScaler().fit(NUMBERS)])
def test_what_is_no_model_is_refused(thing: Any) -> None:
    with pytest.raises(ModelUnknown) as unknown:
        restore.hold(thing)
    assert unknown.value.hint


def test_an_unfitted_model_is_refused() -> None:
    for model in (LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())):
        with pytest.raises(ModelNotFitted, match="is not fitted"):
            restore.hold(model)
