"""`[store]`: views that show predictions under the names that somebody's queries use already, and what may not be set.

[store.views.drybeans]
columns = { id = "id", name = "prediction", created_at = "created_at" }
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from wherry.errors import SettingProblem

if TYPE_CHECKING:
    from wherry.contract.project import Store

# What a view's column may show, beside `input.NAME`: the prediction itself, and the columns of the table.
SOURCES = (
    *("id", "request_id", "created_at", "prediction", "model_name", "model_version", "model_digest", "signature_hash"),
    *("status", "latency_ms", "door", "host", "sequence"),
)
INPUT = "input."
TAKEN = frozenset({"predictions", "feedback", "wherry_progress", "wherry_schema"})
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


class View(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view of the predictions that were answered. columns: what each shows. model: of this one alone, by name."""

    columns: dict[str, str]
    model: str = ""


def store_contradictions(store: Store) -> Iterator[SettingProblem]:
    """Settings of [store] that are each well formed and cannot work together."""
    if store.inputs == "named" and not store.input_columns:
        yield SettingProblem("store.inputs", "is named, and store.input_columns names none", 'input_columns = ["age"]')
    if store.input_columns and store.inputs != "named":
        hint = 'set inputs = "named", or leave input_columns out'
        yield SettingProblem("store.input_columns", f"has no use where store.inputs is {store.inputs}", hint)
    if store.hash_key_file and store.inputs != "hashed":
        hint = 'set inputs = "hashed", or leave hash_key_file out'
        yield SettingProblem("store.hash_key_file", f"has no use where store.inputs is {store.inputs}", hint)
    yield from view_problems(store.views)


def view_problems(views: Mapping[str, View]) -> Iterator[SettingProblem]:
    for name, view in views.items():
        path = f"store.views.{name}"
        if not NAME.fullmatch(name) or name.lower() in TAKEN:
            yield SettingProblem(path, "is no name for a view", "letters, digits and _; not a table of wherry's")
        if not view.columns:
            yield SettingProblem(f"{path}.columns", "is empty", 'columns = { id = "id", name = "prediction" }')
        for column, source in view.columns.items():
            if not NAME.fullmatch(column):
                yield SettingProblem(f"{path}.columns.{column}", "is no name for a column", "letters, digits and _")
            if source not in SOURCES and not (source.startswith(INPUT) and len(source) > len(INPUT)):
                near = difflib.get_close_matches(source, SOURCES, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SOURCES)}, {INPUT}COLUMN"
                yield SettingProblem(f"{path}.columns.{column}", f"shows {source!r}, which is nothing we keep", hint)


def unknown_inputs(store: Store, names: tuple[str, ...]) -> Iterator[SettingProblem]:
    """The columns of store.input_columns that the model, whose columns are `names`, does not have."""
    for name in store.input_columns:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "the columns are " + ", ".join(names[:20])
            yield SettingProblem("store.input_columns", f"names {name}, which is no column of this model", hint)
