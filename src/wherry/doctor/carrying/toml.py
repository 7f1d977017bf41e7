"""Settings as the text of a wherry.toml."""

from __future__ import annotations

import json
import re
from typing import Any

TABLES = ("model", "serve", "store", "image", "reply", "deploy")
HEAD = "# `wherry config` prints every setting, its value and where that comes from.\n"


def written(settings: dict[str, Any]) -> str:
    """The text: a table for each part of a path but the last, what holds braces inline."""
    tables: dict[str, dict[str, Any]] = {}
    for path, value in settings.items():
        table, _, key = path.rpartition(".")
        if table and isinstance(value, dict) and path == "reply.paths":
            tables.setdefault(path, {}).update(value)
        else:
            tables.setdefault(table, {})[key] = value
    order = sorted(tables, key=lambda name: (TABLES.index(name.partition(".")[0]), name))
    parts = [
        f"[{name}]\n" + "".join(f"{key_of(key)} = {value_of(value)}\n" for key, value in tables[name].items())
        for name in order
    ]
    return HEAD + "".join(f"\n{part}" for part in parts)


def key_of(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def value_of(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{key_of(key)} = {value_of(each)}" for key, each in value.items()) + " }"
            if value
            else "{}"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(value_of(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # TOML's own spelling of texts, numbers and truths
