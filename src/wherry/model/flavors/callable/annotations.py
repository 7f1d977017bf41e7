"""What a callable's annotations say: what a row is, its columns, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

import msgspec
from msgspec import inspect as types

from wherry.contract.signature import Column, ColumnType, OutputSpec

Form: TypeAlias = Literal["record", "value", "tuple", "list", "array"]
KINDS: dict[type, ColumnType] = {
    types.FloatType: "number",
    types.IntType: "integer",
    types.BoolType: "boolean",
    types.StrType: "string",
}
RECORDS = (types.TypedDictType, types.DataclassType, types.NamedTupleType, types.StructType)


class Unclear(ValueError):
    """An annotation that no signature can be made of; str() says why."""


class RowKind(msgspec.Struct, frozen=True):
    """What a row is given as. build: the class of a record; columns: those that the annotation names."""

    form: Form
    build: Callable[..., Any] | None = None
    columns: tuple[Column, ...] = ()
    named: bool = True


def row_kind(annotation: Any) -> RowKind:
    """What the annotation of `rows` says of one of them; records whose columns nobody names, where it says nothing.

    Raises Unclear.
    """
    if annotation is Any:
        return RowKind("record")
    if getattr(annotation, "__module__", "").startswith("numpy") or "ndarray" in str(annotation):
        return RowKind("array")
    whole = told(annotation)
    if not isinstance(whole, (types.ListType, types.VarTupleType, types.CollectionType)):
        raise Unclear(f"rows is annotated {shown(annotation)}, and is a list of rows: list[Row], list[float], ...")
    one = whole.item_type
    if isinstance(one, (types.AnyType, types.DictType)):
        return RowKind("record")
    if isinstance(one, RECORDS):
        order = list(get_type_hints(one.cls))  # as written: msgspec sorts the keys of a TypedDict
        fields = sorted(one.fields, key=lambda each: order.index(each.name))
        return RowKind("record", one.cls, tuple(field(each) for each in fields))
    if isinstance(one, types.TupleType):
        columns = [column(f"x{place}", each) for place, each in enumerate(one.item_types)]
        return RowKind("tuple", columns=tuple(columns), named=False)
    if isinstance(one, (types.ListType, types.VarTupleType)):
        return RowKind("list")
    return RowKind("value", columns=(column("x0", one),), named=False)


def field(found: types.Field) -> Column:
    made = column(found.encode_name, found.type)
    if found.default is not msgspec.NODEFAULT:
        return msgspec.structs.replace(made, default=found.default)
    if not found.required:
        return msgspec.structs.replace(made, nullable=True, default=None)
    return made


def column(name: str, found: types.Type) -> Column:
    """One column of a type. Raises Unclear for a type that no cell has."""
    nullable = False
    if isinstance(found, types.UnionType):
        others = [each for each in found.types if not isinstance(each, types.NoneType)]
        nullable = len(others) < len(found.types)
        if {type(each) for each in others} == {types.IntType, types.FloatType}:
            others = [types.FloatType()]
        if len(others) != 1:
            raise Unclear(f"{name} may be of several types, and a column is of one")
        found = others[0]
    if isinstance(found, types.LiteralType):
        kind: ColumnType = "integer" if isinstance(found.values[0], int) else "string"
        return Column(name, kind, nullable, categories=tuple(found.values), unknown_ok=False)
    if type(found) not in KINDS:
        raise Unclear(f"{name} is a {type(found).__name__.removesuffix('Type').lower()}, and no cell of a row is one")
    return Column(name, KINDS[type(found)], nullable)


def output(annotation: Any) -> OutputSpec | None:
    """What the annotation of what is returned says of one answer; None where it leaves that open. Raises Unclear."""
    if annotation is Any or "ndarray" in str(annotation):
        return None
    whole = told(annotation)
    if not isinstance(whole, (types.ListType, types.VarTupleType, types.CollectionType)):
        raise Unclear(
            f"predict returns {shown(annotation)}, and one answer a row is wanted: list[float], list[str], ..."
        )
    one = whole.item_type
    if isinstance(one, types.LiteralType):
        kind: ColumnType = "integer" if isinstance(one.values[0], int) else "string"
        return OutputSpec(
            "class", kind, get_args(get_args(annotation)[0])
        )  # as written, which is predict_proba's order
    if isinstance(one, types.TupleType):
        return OutputSpec("number", "number", width=len(one.item_types))
    if type(one) not in KINDS:
        return None
    return of_kind(KINDS[type(one)])


def of_kind(kind: ColumnType) -> OutputSpec:
    """Numbers are numbers; texts, and yes or no, are classes that nobody has listed."""
    return OutputSpec("number" if kind in ("number", "integer") else "class", kind)


def told(annotation: Any) -> types.Type:
    try:
        return types.type_info(annotation)
    except TypeError as error:
        raise Unclear(f"the annotation {shown(annotation)} cannot be read: {error}") from error


def shown(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation)) if not hasattr(annotation, "__args__") else str(annotation)
