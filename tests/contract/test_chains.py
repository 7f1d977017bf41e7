"""How the answers of one step become the columns of the next."""

from __future__ import annotations

import pytest

from wherry.contract.chains import Join, join
from wherry.contract.project import Chain, Project, Serve
from wherry.contract.settings import resolve, to_environ
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Outputs
from wherry.errors import ChainRefused

CHAIN = Chain(steps=("one", "two"))
ANY = OutputSpec("number", "number")


def joined(output: OutputSpec, *columns: Column) -> Join:
    return join(CHAIN, output, Signature(columns, ANY), ["one", "two"])


def test_one_answer_is_one_column() -> None:
    found = joined(OutputSpec("number", "number"), Column("x", "number"))
    assert found.rows(Outputs([1.0, 2.5])) == ([(1.0,), (2.5,)], [])
    assert joined(OutputSpec("class", "integer"), Column("x", "number")).rows(Outputs([1])) == ([(1.0,)], [])


def test_several_are_matched_by_name_else_by_place() -> None:
    columns = (Column("a", "number"), Column("b", "number"))
    by_name = joined(OutputSpec("number", "number", width=2, names=("b", "a")), *columns)
    assert by_name.rows(Outputs([[1.0, 2.0]])) == ([(2.0, 1.0)], [])
    for names in ((), ("u", "v")):
        by_place = joined(OutputSpec("number", "number", width=2, names=names), *columns)
        assert by_place.rows(Outputs([[1.0, 2.0]])) == ([(1.0, 2.0)], [])


def test_a_column_for_each_class_takes_the_probabilities() -> None:
    output = OutputSpec("class", "string", classes=("no", "yes"), probabilities=True)
    found = joined(output, Column("yes", "number"), Column("no", "number"))
    assert found.shares
    assert found.rows(Outputs(["no"], [[0.9, 0.1]])) == ([(0.1, 0.9)], [])
    assert not joined(output, Column("label", "string")).shares


def test_known_categories_are_held_against_the_classes() -> None:
    strict = Column("x", "string", categories=("a", "b"), unknown_ok=False)
    assert joined(OutputSpec("class", "string", classes=("a",)), strict)
    with pytest.raises(ChainRefused):
        joined(OutputSpec("class", "string", classes=("a", "c")), strict)
    open_ended = joined(OutputSpec("number", "string"), strict)
    assert open_ended.rows(Outputs(["a", "c"]))[1] == [1]


@pytest.mark.parametrize(
    ("output", "columns"),
    [
        (OutputSpec("number", "number"), (Column("x", "integer"),)),
        (OutputSpec("class", "string"), (Column("x", "number"),)),
        (OutputSpec("class", "boolean"), (Column("x", "number"),)),
        (OutputSpec("number", "number", width=2), (Column("x", "number"),)),
        (OutputSpec("number", "number"), (Column("x", "number"), Column("y", "number"))),
        (OutputSpec("number", "number"), (Column("x", "image"),)),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(output: OutputSpec, columns: tuple[Column, ...]) -> None:
    with pytest.raises(ChainRefused, match=f"one answers .*{output.type}.*, and two takes x") as refused:
        joined(output, *columns)
    assert refused.value.chain == "chain"


def test_its_declaration_travels_as_environment() -> None:
    project = Project(serve=Serve(chain=Chain(steps=("one", "two:2"), name="all")))
    environ = to_environ(project)
    assert environ == {"WHERRY_SERVE_CHAIN_STEPS": "one,two:2", "WHERRY_SERVE_CHAIN_NAME": "all"}
    assert resolve({}, environ, {}).project == project
