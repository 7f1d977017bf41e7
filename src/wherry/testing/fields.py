"""Objects taken apart field by field, as server-side apply sees them; selectors; who owns whom."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str, str]  # plural, namespace, name
Leaf: TypeAlias = tuple[str, ...]


def matches(made: Object, labels: str, fields: str) -> bool:
    has = labels_of(made)
    wanted = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
    plain = dict(pair.split("=", 1) for pair in fields.split(",") if pair)
    return all(has.get(k) == v for k, v in wanted.items()) and all(str(made.get(k)) == v for k, v in plain.items())


def labels_of(made: Object) -> Mapping[str, str]:
    return made["metadata"].get("labels") or {}


def said_of(made: Object) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Labels and annotations."""
    return labels_of(made), made["metadata"].get("annotations") or {}


def uid(made: Object) -> str:
    return str(made["metadata"]["uid"])


def gone_with(made: Object, key: Key, deleted: Key, objects: Mapping[Key, Object]) -> bool:
    """Whether deleting `deleted` takes this object along: it lies in that namespace, or its owner is no more."""
    if deleted[0] == "namespaces":
        return key[1] == deleted[2]
    alive = {uid(other) for other in objects.values()}
    owners = [one["uid"] for one in made["metadata"].get("ownerReferences") or ()]
    return bool(owners) and not set(owners) & alive


def leaves(value: Object, at: Leaf = ()) -> Iterator[tuple[Leaf, Any]]:
    """Every field that is no object itself; a list counts as one."""
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from leaves(inner, (*at, key))
        else:
            yield (*at, key), inner


def read(value: Any, path: Leaf) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def write(value: Object, path: Leaf, leaf: Any) -> None:
    for part in path[:-1]:
        value = value.setdefault(part, {})
    value[path[-1]] = copy.deepcopy(leaf)


def drop(value: Object, path: Leaf) -> None:
    for part in path[:-1]:
        value = value.get(part) or {}
    value.pop(path[-1], None)


def managed(owners: Mapping[Leaf, set[str]]) -> list[Object]:
    """The managedFields entries that tell who owns what."""
    trees: dict[str, Object] = {}
    for path, who in owners.items():
        for manager in who:
            write(trees.setdefault(manager, {}), tuple(f"f:{part}" for part in path), {})
    return [{"manager": manager, "operation": "Apply", "fieldsV1": tree} for manager, tree in trees.items()]
