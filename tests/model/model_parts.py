"""What the tests of the model room share: data, signatures and bundles made without the pack verb."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from wherry.contract.manifest import Golden, Manifest, Measured, Origin
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Row
from wherry.model import bundle, golden
from wherry.model.proving import convert

WALKTHROUGH = {
    "mean concavity": "concavity_mean",
    "mean concave points": "concave_points_mean",
    "perimeter error": "perimeter_se",
    "area error": "area_se",
    "worst texture": "texture_worst",
    "worst area": "area_worst",
}


def breast_cancer() -> tuple[Any, Any]:
    """Six columns by the walkthrough's names; M is 1, B is 0 (scikit-learn's own target is inverted)."""
    data = load_breast_cancer(as_frame=True)
    return data.data.rename(columns=WALKTHROUGH)[list(WALKTHROUGH.values())], (1 - data.target).to_numpy()


def walkthrough_model() -> Pipeline:
    voters = [
        ("lr", LogisticRegression(max_iter=1000)),
        ("cart", DecisionTreeClassifier(random_state=0)),
        ("svc", SVC()),
    ]
    return make_pipeline(SimpleImputer(), MinMaxScaler(), VotingClassifier(voters))


def signature_of(
    estimator: Any, X: Any, *, nullable: bool = False, kind: str = "", unknown_ok: bool = True
) -> Signature:
    """What pack would infer, for the plain cases of these tests."""
    named = hasattr(X, "columns")
    columns = []
    for place in range(X.shape[1]):
        cells = X.iloc[:, place] if named else X[:, place]
        name = str(X.columns[place]) if named else f"x{place}"
        types = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}
        type_ = types.get(cells.dtype.kind, "string")
        listed = [each for each in cells.tolist() if each is not None and each == each]
        columns.append(
            Column(
                name,
                type_,
                nullable=nullable or len(listed) < len(cells),
                categories=tuple(sorted(set(listed))) if type_ == "string" else (),
                unknown_ok=unknown_ok,
                dtype=str(cells.dtype),
            )
        )
    if not kind:
        kind = "class" if hasattr(estimator, "classes_") else "number"
    if kind == "class":
        classes = np.asarray(estimator.classes_)
        types = {"i": "integer", "b": "boolean", "f": "number"}
        output = OutputSpec(
            "class",
            types.get(classes.dtype.kind, "string"),
            tuple(classes.tolist()),
            hasattr(estimator, "predict_proba"),
        )
    else:
        output = OutputSpec(kind, "number" if kind == "number" else "integer")
    return Signature(tuple(columns), output, target="answer", named=named)


def rows_of(X: Any) -> list[Row]:
    listed = X.astype(object).to_numpy().tolist() if hasattr(X, "columns") else X.tolist()
    return [tuple(None if cell is None or cell != cell else cell for cell in row) for row in listed]


def draft(stored: convert.Stored, signature: Signature, *, rows: int, allow_pickle: bool = False) -> Manifest:
    return Manifest(
        format=1,
        name="breast",
        version="1",
        digest="",
        flavor=stored.flavor,
        model=stored.file,
        signature=signature,
        golden=Golden("golden.json", rows, stored.rtol, stored.atol),
        baseline="baseline.json",
        requirements=stored.requirements,
        files={},
        origin=Origin("test"),
        conversion=stored.conversion,
        measured=Measured(0.1, 1),
        allow_pickle=allow_pickle,
    )


def make_bundle(
    folder: Path,
    estimator: Any,
    X: Any,
    *,
    signature: Signature | None = None,
    allow_pickle: bool = False,
    changes: dict[str, Any] | None = None,
) -> Manifest:
    """A bundle of the estimator at `folder`; `changes` replaces fields of the manifest before it is sealed."""
    signature = signature or signature_of(estimator, X)
    rows = rows_of(X)
    stored = convert.store(estimator, signature, rows, allow_pickle=allow_pickle)
    return write_bundle(folder, stored, signature, rows, allow_pickle=allow_pickle, changes=changes)


def write_bundle(
    folder: Path,
    stored: convert.Stored,
    signature: Signature,
    rows: Sequence[Row],
    *,
    allow_pickle: bool = False,
    changes: dict[str, Any] | None = None,
) -> Manifest:
    scorer = stored.scorer
    chosen = golden.choose(signature, rows, scorer.score(rows), scorer, rtol=stored.rtol, atol=stored.atol)
    manifest = draft(stored, signature, rows=len(chosen.rows), allow_pickle=allow_pickle)
    files = {
        stored.file: stored.data,
        "golden.json": msgspec.json.encode(chosen),
        "baseline.json": b"{}",
        "example.json": b"{}",
    }
    return bundle.write(folder, msgspec.structs.replace(manifest, **(changes or {})), files)
