"""Fields at fault: each problem once, with its rows; a service and a bundle say them alike."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wherry.cli.faults import told
from wherry.contract.wire import FieldProblem

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]


def missing(*rows: int) -> list[FieldProblem]:
    return [FieldProblem(row, "area", "is missing", "add it") for row in rows]


@pytest.mark.parametrize(
    ("rows_at_fault", "asked", "table", "sentence"),
    [
        ((0,), range(1), False, "area is missing"),
        ((0,), range(3), False, "row 0: area is missing"),
        ((2,), range(0), False, "row 2: area is missing"),
        ((0, 1, 2), range(3), False, "every row: area is missing"),
        ((0, 1, 2), range(9), False, "rows 0 to 2: area is missing"),
        ((0, 1, 2), range(9), True, "every row: area is missing"),
        ((1000, 1001), range(1000, 1002), False, "rows 1000 to 1001: area is missing"),
        ((1, 3, 5, 7, 8, 9, 20), range(30), False, "rows 1, 3, 5, 7, 8 and 2 more: area is missing"),
    ],
)
def test_a_problem_is_said_once(rows_at_fault: tuple[int, ...], asked: range, table: bool, sentence: str) -> None:
    assert told(missing(*rows_at_fault), asked, table) == (sentence, "add it")


def test_several_problems_are_a_line_each() -> None:
    sentence, hint = told([*missing(0, 1), FieldProblem(0, "size", "is null")], range(2), True)
    assert sentence.splitlines()[1:] == ["  every row: area is missing (add it)", "  row 0: size is null"]
    assert hint == ""


def test_a_service_and_a_bundle_say_it_alike(
    wherry: Wherry, service: Callable[..., Any], linear_bundle: Path, tmp_path: Path
) -> None:
    from wherry.model.bundle import read_manifest

    names = list(read_manifest(linear_bundle).signature.names)
    (tmp_path / "misnamed.csv").write_text(",".join(["other", *names[1:]]) + "\n" + "5.1,3.5,1.4,0.2\n" * 1500)
    (tmp_path / "late.csv").write_text(",".join(names) + "\n" + "5.1,3.5,1.4,0.2\n" * 1200 + ",3.5,1.4,0.2\n")
    url = service(linear_bundle).url
    for file, expected in (
        ("misnamed.csv", [f"  every row: {names[0]} is missing", "  every row: other is not a column"]),
        ("late.csv", [f"row 1200: {names[0]} is null"]),
    ):
        here, there = (wherry("predict", where, file).stderr for where in (linear_bundle, url))
        assert there.replace(" 422:", "").split("; a request that does")[0].split("\nhint: a request")[0] in here
        for text in expected:
            assert here.count(text) == there.count(text) == 1, f"{here}\n{there}"
