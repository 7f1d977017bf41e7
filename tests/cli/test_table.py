"""Tables and figures as people read them."""

from __future__ import annotations

import pytest

from wherry.cli import table


def test_columns_are_aligned_and_the_last_is_cut() -> None:
    found = list(table.lines(("name", "rows"), [("a", 5), ("longer", 12000)], right=("rows",)))
    assert found == ["NAME     ROWS", "a           5", "longer  12000"]
    cut = list(table.lines(("name", "what"), [("a", "x" * 50)], width=20))
    assert cut[1] == "a     " + "x" * 13 + "…"
    assert all(len(line) <= 20 for line in cut)


def test_pairs_leave_out_what_is_not_there() -> None:
    assert list(table.pairs([("a", 1), ("none", None), ("long", "x\ny"), ("empty", "")])) == [
        "a     1",
        "long  x",
        "      y",
    ]


def test_long_values_are_folded_where_a_terminal_ends() -> None:
    assert list(table.pairs([("why", "one two three four five six")], width=25)) == [
        "why  one two three four",
        "       five six",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.30012345, "0.3001"), (2019.0, "2019"), (1e-7, "1e-07"), (True, "yes"), (None, "")],
)
def test_cells(value: object, text: str) -> None:
    assert table.cell_text(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (3400, "3.4 kB"), (12_000_000, "12 MB"), (7e12, "7000 GB")]
)
def test_sizes(count: float, text: str) -> None:
    assert table.size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0123, "12 ms"), (3.44, "3.4 s"), (125, "2 min 5 s")])
def test_durations(seconds: float, text: str) -> None:
    assert table.duration(seconds) == text
