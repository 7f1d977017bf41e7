"""`[serve.defaults]`: what a record that leaves a column out is taken to say."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

import msgspec

from wherry.contract.signature import Signature, cell_of
from wherry.contract.wire import Cell
from wherry.errors import SettingProblem


def unfit(defaults: Mapping[str, Cell], signature: Signature) -> Iterator[SettingProblem]:
    """Those that name no column of the model, or hold what it does not take."""
    columns = {column.name: column for column in signature.columns}
    for name, value in defaults.items():
        where = f"serve.defaults.{name}"
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"did you mean {near[0]}?" if near else "the columns are " + ", ".join(list(columns)[:20])
            yield SettingProblem(where, "is no column of this model", hint)
        elif (problem := cell_of(columns[name], value, 0)[1]) is not None:
            yield SettingProblem(where, problem.reason, problem.hint)


def filled(signature: Signature, defaults: Mapping[str, Cell]) -> Signature:
    """The signature whose columns may be left out where `defaults`, which fit, say their value."""
    columns = (
        msgspec.structs.replace(column, default=cell_of(column, defaults[column.name], 0)[0])
        if column.name in defaults
        else column
        for column in signature.columns
    )
    return msgspec.structs.replace(signature, columns=tuple(columns))
