"""[serve.defaults] against the columns of a model."""

from __future__ import annotations

import msgspec

from wherry.contract.defaults import filled, unfit
from wherry.contract.signature import Column, OutputSpec, Signature

SIGNATURE = Signature(
    (
        Column("area", "number"),
        Column("age", "integer", nullable=True),
        Column("city", "string", categories=("Oslo", "Bergen"), unknown_ok=False),
    ),
    OutputSpec("number", "number"),
)


def test_what_names_no_column_or_holds_what_it_does_not_take_is_told() -> None:
    found = list(unfit({"aera": 1, "age": 2.5, "city": "Rome", "area": None}, SIGNATURE))
    assert [(each.path, each.reason) for each in found] == [
        ("serve.defaults.aera", "is no column of this model"),
        ("serve.defaults.age", "is 2.5, not a whole number"),
        ("serve.defaults.city", "is 'Rome', which the model has never seen"),
        ("serve.defaults.area", "is null, and may not be missing"),
    ]
    assert found[0].hint == "did you mean area?"
    assert all(each.hint for each in found)
    assert not list(unfit({"area": 1, "age": None, "city": "Oslo"}, SIGNATURE))


def test_columns_are_filled_with_values_of_their_type() -> None:
    made = filled(SIGNATURE, {"area": 1, "age": None})
    assert [column.default for column in made.columns] == [1.0, None, msgspec.UNSET]
    assert type(made.columns[0].default) is float
    assert made.check([{"city": "Oslo"}]).rows == [(1.0, None, "Oslo")]
