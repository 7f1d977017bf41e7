"""What a manifest says, in the words that a person reads."""

from __future__ import annotations

from wherry.cli import describe
from wherry.contract.manifest import Conversion
from wherry.contract.signature import Column, OutputSpec, Signature


def test_how_far_numbers_are_off_is_said_beside_how_far_they_are_spread() -> None:
    record = Conversion("onnx", proven_rows=1808, largest_difference=0.5, spread=250_000.0)
    assert list(describe.form(record)) == ["onnx, equal on 1,808 rows within 2e-06 of a standard deviation"]


def test_how_far_probabilities_are_off_is_said_as_it_is() -> None:
    record = Conversion("onnx", proven_rows=2, largest_difference=3e-7)
    assert list(describe.form(record)) == ["onnx, equal on 2 rows within 3e-07"]


def test_without_a_sample_only_the_types_that_are_known_are_stated() -> None:
    city, spare = Column("city", "string", categories=("Bergen", "Oslo")), [Column(f"x{n}", "number") for n in range(7)]
    output = OutputSpec("number", "number")
    assert describe.assumed(Signature((city, *spare[:2]), output)) == (
        "city (string), x0, x1 (types unknown: taken as numbers)"
    )
    assert describe.assumed(Signature((city,), output)) == "city (string)"
    assert describe.assumed(Signature(tuple(spare), output)) == (
        "x0, x1, x2, x3, x4, x5 (types unknown: taken as numbers) and 1 more"
    )
