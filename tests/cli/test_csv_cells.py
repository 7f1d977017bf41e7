"""Cells of a CSV: one that is not of its type is named, the others of its column are what they say."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wherry.cli import payload
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.errors import FieldsRefused

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]
SIGNATURE = Signature(
    columns=(Column("age", "integer"), Column("area", "number", nullable=True), Column("smoker", "boolean")),
    output=OutputSpec("class", "integer", (0, 1)),
)


def read(folder: Path, text: str) -> payload.Rows:
    (folder / "rows.csv").write_text(text)
    return payload.read_table(folder / "rows.csv", "utf-8", SIGNATURE)


def test_only_the_cell_at_fault_is_named(tmp_path: Path) -> None:
    text = "age,area,smoker\n1,2.5,true\n\n2,abc,false\n3,,true\n"
    with pytest.raises(FieldsRefused) as refused:
        read(tmp_path, text)
    (problem,) = refused.value.problems
    assert (problem.row, problem.field, problem.hint) == (1, "area", "")
    assert problem.reason == "is 'abc', not a number (line 4)"


def test_rows_at_fault_come_in_order(tmp_path: Path) -> None:
    with pytest.raises(FieldsRefused) as refused:
        read(tmp_path, 'age,area,smoker\n"1",2.5,"a\nb"\nx,2,maybe\n1_0,2,true\n')
    found = [(problem.row, problem.field, problem.reason[-7:-1]) for problem in refused.value.problems]
    assert found == [
        (0, "smoker", "line 2"),
        (1, "age", "line 4"),
        (1, "smoker", "line 4"),
        (2, "age", "line 5"),
    ]


def test_cells_are_read_by_their_column_s_type(tmp_path: Path) -> None:
    rows = read(tmp_path, "age,area,smoker\n1,2.5,1\n2,null,0\n")
    assert rows.cells == [[1, 2.5, True], [2, None, False]]
    assert [type(cell) for cell in rows.cells[0]] == [int, float, bool]
    assert read(tmp_path, "age,area,smoker\n1,2.5,yes\n2, 3,no\n").cells == [[1, 2.5, True], [2, 3.0, False]]


def test_a_decimal_comma_stays_one_beside_a_cell_at_fault(tmp_path: Path) -> None:
    with pytest.raises(FieldsRefused) as refused:
        read(tmp_path, "age;area;smoker\n1;2,5;true\n2;abc;false\n3;1,5;true\n")
    assert [(problem.row, problem.field) for problem in refused.value.problems] == [(1, "area")]


def test_texts_in_typed_forms_are_left_to_the_model_s_check(tmp_path: Path) -> None:
    rows = read(tmp_path, '{"age": 1, "area": "2.5", "smoker": true}\n{"age": 2, "area": "3", "smoker": true}\n')
    assert [row[1] for row in rows.cells] == ["2.5", "3"]


def test_a_cell_deep_in_a_file_is_named_alone(wherry: Wherry, linear_bundle: Path, tmp_path: Path) -> None:
    from wherry.model.bundle import read_manifest

    names = read_manifest(linear_bundle).signature.names
    rows: list[list[Any]] = [[5.1, 3.5, 1.4, 0.2] for _ in range(1500)]
    rows[1402][2] = "abc"
    (tmp_path / "deep.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in [names, *rows]))
    done = wherry("predict", linear_bundle, "deep.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: row 1402: {names[2]} is 'abc', not a number (line 1404)\n"
