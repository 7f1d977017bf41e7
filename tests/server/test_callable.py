"""A function, and a class as Seldon has them, behind the real service: what walkthrough 1's text describes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from serving import code_bundle

IDENTITY = """
    def predict(X: list[float]) -> list[float]:
        return X
"""
FUSSY = """
    def predict(X: list[float]) -> list[float]:
        inverse = []
        for x in X:
            inverse.append(1 / x)
        return inverse
"""
MEAN = """
    import numpy as np

    class Mean:
        class_names = ["mean", "largest"]

        def predict(self, X, features_names):
            return np.stack([X.mean(axis=1), X.max(axis=1)], axis=1)
"""
SCORE = """
    [reply]
    request = { X = "$rows" }
    record = { score = "$predictions" }
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    return partial(code_bundle, tmp_path)


def test_the_identity_answers_what_it_is_sent(
    bundle: Callable[..., Path], service: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "wherry.toml").write_text(dedent(SCORE))
    running = service(bundle(IDENTITY), "--no-store")
    assert running.ask("/predict", {"X": [1, 2.5]}).json == {"score": [1, 2.5]}
    assert running.ask("/predict", {"X": []}).json == {"score": []}
    refused = running.ask("/predict", {"Y": [1]})
    assert refused.status == 422
    assert running.ask("/predict", {"X": ["1"]}).status == 422


def test_an_error_in_the_code_is_a_500_whose_line_only_the_log_tells(
    bundle: Callable[..., Path], service: Callable[..., Any]
) -> None:
    running = service(bundle(FUSSY), "--no-store")
    failed = running.ask("/predict", [[2], [0], [4]])
    assert failed.status == 500
    assert [(each["row"], each["reason"]) for each in failed.json["errors"]] == [(1, "the model raised an error")]
    assert b"service.py" not in failed.body
    assert b"ZeroDivision" not in failed.body
    assert "the model" not in running.log.read_text().partition(failed.json["request_id"])[0]
    line = f"request {failed.json['request_id']}: service.py, line 5, in predict: ZeroDivisionError: float division by"
    assert line in running.log.read_text()


def test_who_sends_a_good_row_never_pays_for_a_bad_one(
    bundle: Callable[..., Path], service: Callable[..., Any]
) -> None:
    running = service(bundle(FUSSY), "--no-store")
    with ThreadPoolExecutor(8) as pool:
        sent = [float(number % 4) for number in range(120)]
        replies = list(pool.map(lambda x: running.ask("/predict", {"x0": x}), sent))
    for x, reply in zip(sent, replies, strict=True):
        assert reply.status == (200 if x else 500)
        assert not x or reply.json == {"prediction": 1 / x}


def test_a_seldon_class_answers_by_every_door(
    bundle: Callable[..., Path], service: Callable[..., Any], tmp_path: Path
) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("a,b\n0.5,2.5\n3.5,4\n")
    running = service(bundle(MEAN, "Mean.py", data), "--no-store")
    seldon = running.ask("/api/v1.0/predictions", {"data": {"names": ["b", "a"], "ndarray": [[3, 1]]}})
    assert seldon.json["data"] == {"names": ["mean", "largest"], "ndarray": [[2, 3]]}
    tensor = running.ask("/api/v1.0/predictions", {"data": {"tensor": {"shape": [1, 2], "values": [1, 3]}}})
    assert tensor.json["data"] == {"names": ["mean", "largest"], "tensor": {"shape": [1, 2], "values": [2, 3]}}
    assert running.ask("/predict", {"a": 1, "b": 3}).json == {"prediction": [2, 3]}
    oip = running.ask(
        "/v2/models/Mean/infer",
        {
            "inputs": [
                {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [cell]}
                for name, cell in (("a", 1), ("b", 3))
            ]
        },
    )
    assert oip.status == 200
    assert oip.json["outputs"][0]["data"] == [2, 3]
