"""What a skops file holds, read from its schema alone: nothing of it is constructed."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from wherry.model.reading.compression import LIMIT
from wherry.model.reading.known import is_known
from wherry.model.reading.pickles import Contents
from wherry.model.reading.standins import Global, Made, Pairs, Value
from wherry.model.reading.summary import summarise

MAX_NODES = 5_000_000
# Nodes that call what they name, or look an attribute up: no estimator of scikit-learn needs them.
CALLING = frozenset({"OperatorFuncNode", "PartialNode", "MethodNode"})


class Unsound(ValueError):
    """The archive is not one that skops writes."""


def read(content: bytes) -> Contents:
    """What the skops archive in `content` holds."""
    try:
        schema = schema_of(content)
        names: dict[Global, None] = {}
        calling: dict[str, None] = {}
        value = tree(schema, names, calling)
    except (Unsound, RecursionError, zipfile.BadZipFile, ValueError, KeyError, TypeError, OSError) as error:
        return Contents("unreadable", reasons=(str(error) or type(error).__name__,))
    unknown = tuple(str(name) for name in names if not is_known(name.module, name.name))
    return Contents(
        verdict="code" if unknown or calling else "known",
        names=tuple(sorted(str(name) for name in names)),
        unknown=unknown,
        reasons=tuple(calling),
        summary=summarise(value),
    )


def schema_of(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        if len({info.filename for info in infos}) != len(infos):
            raise Unsound("holds two files of one name")
        if sum(info.file_size for info in infos) > LIMIT:
            raise Unsound(f"unpacks to more than {LIMIT:,} bytes")
        return json.loads(archive.read("schema.json"))


def tree(schema: Any, names: dict[Global, None], calling: dict[str, None]) -> Value:
    """The schema's value in stand-ins. A node that occurs again is one object, as skops has it."""
    done: dict[int, Value] = {}
    count = 0

    def value_of(node: Any) -> Value:
        nonlocal count
        count += 1
        if count > MAX_NODES:
            raise Unsound(f"more than {MAX_NODES:,} nodes")
        if isinstance(node, list):
            return [value_of(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "__loader__" not in node:
            return Pairs([(key, value_of(value)) for key, value in node.items()])
        loader, here = str(node["__loader__"]), Global(str(node.get("__module__")), str(node.get("__class__")))
        if loader == "CachedNode":
            return done.get(int(node["__id__"]))
        names[here] = None
        if loader in CALLING:
            calling[f"{loader} calls {here}"] = None
        content = node.get("content")
        made: Value
        if loader == "JsonNode":
            made = json.loads(str(content))
        elif loader in ("DictNode", "DefaultDictNode"):
            inner = value_of(content)
            value_of({key: value for key, value in node.items() if key not in STANDING and key != "content"})
            made = inner
        elif loader == "TupleNode":
            made = tuple(value_of(content))
        elif loader in ("ListNode", "SetNode") or (loader == "NdArrayNode" and node.get("type") == "json"):
            made = value_of(content)
        elif loader == "TypeNode":
            made = here
        else:
            rest = {key: value for key, value in node.items() if key not in STANDING}
            made = Made(here, (), [value_of(part) for part in rest.values()])
        if isinstance(node.get("__id__"), int):
            done[node["__id__"]] = made
        return made

    return value_of(schema)


STANDING = frozenset({"__class__", "__module__", "__loader__", "__id__", "protocol", "_skops_version"})
