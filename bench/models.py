"""The models that servers are compared with, as files: what each peer loads, and what it is asked.

m1: StandardScaler and LogisticRegression, 30 columns. m2: imputer, MinMaxScaler and a hard vote of three, 6 columns;
its conversion to ONNX is wrong for some rows, so it must be served by scikit-learn. m3: StandardScaler and linear SVC,
16 columns, 7 classes. m4: a forest of 200 trees over the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODELS = ("m1", "m2", "m3", "m4")
BODIES = 569  # different records, asked in turns
BEANS = Path(__file__).parents[2] / "shared" / "data" / "dry_bean.csv"
FIELDS = ("mean concavity", "mean concave points", "perimeter error", "area error", "worst texture", "worst area")


def trained(model: str, beans: Path) -> tuple[Any, Any, Any]:
    """An estimator that is not fitted yet, its columns as a frame, its answers. beans: the Dry Bean table, as CSV."""
    import pandas as pd
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier, VotingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    if model in ("m1", "m2"):
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        if model == "m1":
            return make_pipeline(StandardScaler(), LogisticRegression()), X, y
        votes = [
            ("logistic", LogisticRegression()),
            ("cart", DecisionTreeClassifier(random_state=0)),
            ("svm", SVC(random_state=0)),
        ]
        vote = VotingClassifier(votes, flatten_transform=False)  # skl2onnx refuses the default
        return make_pipeline(SimpleImputer(), MinMaxScaler(), vote), X[list(FIELDS)], 1 - y
    if not beans.exists():
        raise SystemExit(f"{model} needs the Dry Bean table as CSV: --beans FILE")
    table = pd.read_csv(beans).sample(frac=1, random_state=0)[:9000]
    X, y = table.drop(columns="Class").astype(float), table["Class"].astype(str)
    if model == "m3":
        return make_pipeline(StandardScaler(), SVC(kernel="linear")), X, y
    return RandomForestClassifier(200, random_state=0), X, y


def write(folder: Path, model: str, beans: Path = Path()) -> tuple[Any, Any, Any]:
    """model.joblib, columns.json, and the bodies: rows.jsonl, a record a line, and values.jsonl, its values alone.

    The pipeline of the file is fitted on bare numbers, as the peers give it; fitted on the frame, it is returned with
    its columns and answers.
    """
    import joblib
    from sklearn.base import clone

    estimator, X, y = trained(model, beans)
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(clone(estimator).fit(X.to_numpy(), y), folder / "model.joblib")
    (folder / "columns.json").write_text(json.dumps(list(X)))
    asked = X[:BODIES]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked.to_dict("records")))
    (folder / "values.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked.to_numpy().tolist()))
    return estimator.fit(X, y), X, y


def pack(folder: Path, forms: tuple[str, ...], model: str = "m1", beans: Path = Path()) -> dict[str, Path]:
    """Bundles of the model, each kept in one of `forms`; "" is what wherry chooses."""
    import wherry
    from wherry.model.proving import convert

    fitted, X, y = write(folder, model, beans)
    bundles, every = {}, dict(convert.FORMS)
    for form in forms:
        convert.FORMS = {form: every[form]} if form else every  # the others are not what is measured
        made = wherry.pack(fitted, X, y, to=str(folder / (form or "chosen")), name="limit").conversion.form
        if form and made != form:
            raise SystemExit(f"stored as {made}, not {form}")
        bundles[made] = folder / (form or "chosen")
    convert.FORMS = every
    return bundles
