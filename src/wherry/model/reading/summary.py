"""The estimator that a file would make: its class, steps, settings, features and versions, from stand-ins alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from wherry.model.reading.arrays import cells, scalar
from wherry.model.reading.standins import Array, Global, Made, Pairs, Value, walk

MAX_DEPTH = 8
MAX_PARTS = 200


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """An estimator within an estimator. name: what its holder calls it; settings: those that are plain values."""

    name: str
    type: str
    settings: dict[str, Any] = {}
    parts: tuple[Part, ...] = ()


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model file says about its model; empty where it says nothing."""

    module: str = ""
    type: str = ""
    root: Part | None = None
    features: tuple[str, ...] = ()
    feature_count: int | None = None
    classes: tuple[Any, ...] = ()
    versions: dict[str, str] = {}
    fitted: bool = False


def summarise(value: Value) -> Summary:
    """The summary of the value that a stream makes."""
    if isinstance(value, (list, tuple, str, bytes, int, float)) or value is None:
        return Summary(module="builtins", type=type(value).__name__)
    if isinstance(value, Array):
        return Summary(module="numpy", type="ndarray")
    if isinstance(value, Pairs):
        return Summary(module="builtins", type="dict")
    if isinstance(value, Global):
        return Summary(module=value.module, type=value.name)
    if not isinstance(value, Made):
        return Summary(module="builtins", type="set")
    names, count = features_of(value)
    return Summary(
        module=value.maker.module,
        type=value.maker.name,
        root=part("", value, 0, [MAX_PARTS]),
        features=tuple(names),
        feature_count=count,
        classes=tuple(item for item in classes_of(value) if isinstance(item, (str, int, float, bool))),
        versions=versions_of(value),
        fitted=any(is_fitted(step) for step in chain(value)),
    )


def is_fitted(made: Made) -> bool:
    return any(key.endswith("_") and not key.startswith("_") for key in made.attributes())


def chain(value: Made) -> list[Made]:
    """The estimator and, of a pipeline, its steps in order; of a wrapper, the first estimator fitted within it."""
    found: list[Made] = []
    waiting = [value]
    while waiting and len(found) < MAX_PARTS:
        here = waiting.pop(0)
        found.append(here)
        own = here.attributes()
        steps = own.get("steps")
        if isinstance(steps, list):
            waiting[:0] = [step[-1] for step in steps if isinstance(step, tuple) and isinstance(step[-1], Made)]
        elif "n_features_in_" not in own:
            waiting[:0] = [inner for key in FITTED_INNER for _, inner in estimators_in(key, own.get(key))][:1]
    return found


def classes_of(value: Made) -> list[Any]:
    """The classes of the estimator that answers: of a pipeline the last step, of a search the best."""
    for _ in range(MAX_DEPTH):
        own = value.attributes()
        found = cells(own.get("classes_"))
        if found:
            return found
        steps = own.get("steps")
        last = steps[-1][-1] if isinstance(steps, list) and steps and isinstance(steps[-1], tuple) else None
        inner = last or own.get("best_estimator_") or own.get("estimator_")
        if not isinstance(inner, Made):
            break
        value = inner
    return []


def features_of(value: Made) -> tuple[list[str], int | None]:
    """The names and the number of the columns that the first step was fitted on."""
    names: list[str] = []
    count: int | None = None
    for step in chain(value):
        own = step.attributes()
        found = cells(own.get("feature_names_in_"))
        number = scalar(own.get("n_features_in_"))
        if count is None and isinstance(number, int):
            count = number
        if found and all(isinstance(name, str) for name in found):
            names = [str(name) for name in found]
        if names or count is not None:
            break
    return names, count if count is not None else (len(names) or None)


def versions_of(value: Made) -> dict[str, str]:
    """The library versions that the stream states: scikit-learn's in every estimator."""
    found: dict[str, str] = {}
    for made in walk(value):
        version = made.attributes().get("_sklearn_version") if made.states else None
        if isinstance(version, str) and len(version) < 40:
            found.setdefault("scikit-learn", version)
            if found["scikit-learn"] != version:
                found["scikit-learn"] = f"{found['scikit-learn']}, {version}"
                break
    return found


def part(name: str, made: Made, depth: int, left: list[int]) -> Part:
    """`made` and the estimators that are its settings; `left` counts down what may still be shown."""
    left[0] -= 1
    settings: dict[str, Any] = {}
    parts: list[Part] = []
    for key, raw in made.attributes().items():
        if key.startswith("_") or (key.endswith("_") and key != "best_estimator_"):
            continue
        value = scalar(raw)
        if value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) < 200):
            settings[key] = value
        for inner_name, inner in estimators_in(key, value):
            if depth < MAX_DEPTH and left[0] > 0:
                parts.append(part(inner_name, inner, depth + 1, left))
    return Part(name, str(made.maker), settings, tuple(parts))


# Where an estimator that knows no columns itself keeps one that was fitted on the same columns.
FITTED_INNER = ("best_estimator_", "estimator_", "regressor_", "estimators_", "calibrated_classifiers_", "estimator")


def estimators_in(key: str, value: Value) -> Iterator[tuple[str, Made]]:
    """The estimators in one setting: the value itself, or the named ones of a list."""
    if isinstance(value, Made) and value.states:
        yield key, value
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, tuple) and len(item) >= 2 and isinstance(item[0], str) and isinstance(item[1], Made):
                yield item[0], item[1]
            elif isinstance(item, Made) and item.states:
                yield key, item
