"""A record is held against the columns: what is wrong is named by row and field, with what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.contract.signature import MOST_PROBLEMS, Column, OutputSpec, Signature

NUMBER = Column("size", "number", low=0.0, high=10.0)
COUNT = Column("count", "integer", nullable=True)
CITY = Column("city", "string", categories=("Oslo", "Bergen"), unknown_ok=False)
MEMBER = Column("member", "boolean", categories=(False, True))
SIGNATURE = Signature((NUMBER, COUNT, CITY, MEMBER), OutputSpec("number", "number"), target="price", unused=("id",))
GOOD = {"size": 1.5, "count": 3, "city": "Oslo", "member": True}


def problems(record: Any, **options: Any) -> list[tuple[str, str]]:
    found = SIGNATURE.check([record], **options)
    assert all(problem.hint for problem in found.problems if problem.field)
    return [(problem.field, problem.reason) for problem in found.problems]


def test_a_good_record_becomes_a_row_in_the_columns_order() -> None:
    found = SIGNATURE.check([dict(reversed(GOOD.items())), list(GOOD.values())])
    assert found.problems == ()
    assert found.rows == [(1.5, 3, "Oslo", True)] * 2


@pytest.mark.parametrize(
    ("field", "value", "cell"),
    [
        ("size", 2, 2.0),
        ("size", -1e300, -1e300),
        ("count", 2.0, 2),
        ("count", None, None),
        ("count", -(2**63), -(2**63)),
        ("member", False, False),
    ],
)
def test_what_is_taken(field: str, value: Any, cell: Any) -> None:
    found = SIGNATURE.check([GOOD | {field: value}])
    assert found.problems == ()
    taken = found.rows[0][SIGNATURE.names.index(field)]
    assert taken == cell
    assert type(taken) is type(cell)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("size", "1.5", "is a text, not a number"),
        ("size", True, "is true or false, not a number"),
        ("size", None, "is null, and may not be missing"),
        ("size", [1], "is a list, not a number"),
        ("size", {"a": 1}, "is an object, not a number"),
        ("size", math.nan, "is not a finite number"),
        ("size", math.inf, "is not a finite number"),
        ("size", 10**400, "is not a finite number"),
        ("count", 2.5, "is 2.5, not a whole number"),
        ("count", True, "is true or false, not a whole number"),
        ("count", "3", "is a text, not a whole number"),
        ("count", 2**63, "does not fit in 64 bits"),
        ("count", math.nan, "is nan, not a whole number"),
        ("city", 3, "is a number, not a text"),
        ("city", None, "is null, and may not be missing"),
        ("city", "Olso", "is 'Olso', which the model has never seen"),
        ("member", 1, "is a number, not true or false"),
        ("member", "true", "is a text, not true or false"),
    ],
)
def test_what_is_refused(field: str, value: Any, says: str) -> None:
    assert problems(GOOD | {field: value}) == [(field, says)]


def test_hints_say_what_to_type() -> None:
    hints = {
        problem.field: problem.hint
        for problem in SIGNATURE.check([{"size": " 1.5 ", "count": 2.5, "city": "Olso", "membr": True}]).problems
    }
    assert hints["size"] == "send it without quotes: 1.5"
    assert hints["count"] == "send a whole number, or pack with --float count"
    assert hints["city"] == "did you mean Oslo?"
    assert hints["membr"] == "did you mean member?"
    assert hints["member"] == 'add "member": true or false'


def test_missing_and_unknown_fields_are_all_named() -> None:
    found = problems({"size": 1.0, "sise": 2.0, "zzz": 3})
    assert ("count", "is missing") in found
    assert ("city", "is missing") in found
    assert ("sise", "is not a column of this model") in found
    assert ("zzz", "is not a column of this model") in found


def test_the_target_and_unused_columns_are_left_aside_and_counted() -> None:
    found = SIGNATURE.check([GOOD | {"price": 7, "id": "x"}])
    assert (found.problems, found.ignored) == ((), 2)


def test_unknown_fields_are_ignored_by_setting() -> None:
    found = SIGNATURE.check([GOOD | {"zzz": 1}], ignore_unknown=True)
    assert (found.problems, found.ignored) == ((), 1)


def test_a_declared_default_stands_in() -> None:
    signature = Signature((NUMBER, Column("n", "integer", default=4)), OutputSpec("number", "number"))
    assert signature.check([{"size": 1.0}]).rows == [(1.0, 4)]
    assert signature.json_schema()["required"] == ["size"]


@pytest.mark.parametrize("length", [0, 3, 5])
def test_a_list_of_the_wrong_length(length: int) -> None:
    assert problems([1] * length) == [("", f"has {length} values; this model has 4 columns")]


@pytest.mark.parametrize("record", [None, 3, "text", True])
def test_a_row_that_is_none(record: Any) -> None:
    ((_, reason),) = problems(record)
    assert reason.startswith("a row is an object or a list, not ")


def test_every_row_is_judged_and_the_problems_are_capped() -> None:
    found = SIGNATURE.check([GOOD, {}, GOOD, GOOD | {"size": "x"}])
    assert {problem.row for problem in found.problems} == {1, 3}
    assert len(SIGNATURE.check([{}] * 1000).problems) == MOST_PROBLEMS
    assert len(SIGNATURE.check([{f"key{n}": n for n in range(5000)}]).problems) <= MOST_PROBLEMS


def test_categories_are_open_where_the_estimator_takes_unknown_ones() -> None:
    signature = Signature((Column("city", "string", categories=("Oslo",)),), OutputSpec("number", "number"))
    found = signature.check([{"city": "Rome"}])
    assert found.problems == ()
    assert signature.outside(found.rows) == 1


def test_values_outside_the_sample_are_counted_not_refused() -> None:
    found = SIGNATURE.check([GOOD | {"size": 11}, GOOD | {"size": -0.1}, GOOD])
    assert found.problems == ()
    assert SIGNATURE.outside(found.rows) == 2
    assert SIGNATURE.outside([(None, None, None, None)]) == 0


def test_the_json_schema_says_the_same() -> None:
    schema = SIGNATURE.json_schema()
    assert schema["properties"]["count"]["type"] == ["integer", "null"]
    assert schema["properties"]["city"]["enum"] == ["Oslo", "Bergen"]
    assert schema["properties"]["member"]["examples"] == [False, True]
    assert schema["required"] == list(SIGNATURE.names)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(anything | st.fixed_dictionaries(dict.fromkeys(SIGNATURE.names, anything)), max_size=4))
def test_nothing_that_json_can_say_breaks_the_check(records: list[Any]) -> None:
    found = SIGNATURE.check(records)
    faulty = {problem.row for problem in found.problems}
    for index, row in enumerate(found.rows):
        if index not in faulty:
            size, count, city, member = row
            assert type(size) is float
            assert math.isfinite(size)
            assert count is None or type(count) is int
            assert city in ("Oslo", "Bergen")
            assert type(member) is bool


def wide(columns: int) -> Signature:
    return Signature(tuple(Column(f"column_{place}", "number") for place in range(columns)), SIGNATURE.output)


@pytest.mark.parametrize("columns", [6, 1000])
def test_looking_for_the_nearest_of_many_names_ends(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair takes some microseconds, and a request of two kilobytes would ask for a hundred thousand."""
    compared: list[int] = []
    find = difflib.get_close_matches

    def counted(word: str, among: Iterable[str], **options: Any) -> list[str]:
        names = list(among)
        compared.append(len(names))
        return find(word, names, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    signature = wide(columns)
    right = dict.fromkeys(signature.names, 1.0)
    found = signature.check([{**right, **{f"colunm_{place}": 1.0 for place in range(100)}}])
    assert len(found.problems) == MOST_PROBLEMS
    assert found.problems[0].hint == "did you mean column_0?"
    assert sum(compared) < 2 * 1000
    assert all(len(problem.hint) < 1000 for problem in found.problems)
    # The same mistake in every row is one to look for.
    compared.clear()
    found = signature.check([{**right, "colunm_1": 1.0}] * MOST_PROBLEMS)
    assert {problem.hint for problem in found.problems} == {"did you mean column_1?"}
    assert len(compared) == 1
