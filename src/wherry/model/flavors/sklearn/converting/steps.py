"""One preprocessing step after the other, applied to what is known of the columns so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from wherry.contract.wire import Cell
from wherry.model.flavors.sklearn.converting.features import (
    NAN,
    Feature,
    NotFoldable,
    Number,
    Raw,
    Table,
    as_categories,
    as_numeric,
    is_missing,
)

Features = list[Feature]


def apply(step: Any, features: Features) -> Features:
    """What a fitted step makes of `features`. Raises NotFoldable."""
    if step is None or step == "passthrough":
        return features
    if step == "drop":
        return []
    known = STEPS.get(type(step))
    if known is not None:
        return known(step, features)
    if isinstance(step, SelectorMixin) and isinstance(step, BaseEstimator) and of_sklearn(step):
        return [features[place] for place in np.flatnonzero(step.get_support())]
    raise NotFoldable(f"{type(step).__name__} is not a function of one column each")


def of_sklearn(step: Any) -> bool:
    return type(step).__module__.startswith("sklearn.")


def pipeline(step: Any, features: Features) -> Features:
    for _, inner in step.steps:
        features = apply(inner, features)
    return features


def column_transformer(step: Any, features: Features) -> Features:
    made: Features = []
    for name, inner, _ in step.transformers_:
        places = step._transformer_to_input_indices.get(name, [])  # the only place that holds them resolved
        if len(places) and not (isinstance(inner, str) and inner == "drop"):
            made += apply(inner, [features[place] for place in places])
    weights = step.transformer_weights
    if weights:
        raise NotFoldable("ColumnTransformer has transformer_weights")
    return made


def feature_union(step: Any, features: Features) -> Features:
    if step.transformer_weights:
        raise NotFoldable("FeatureUnion has transformer_weights")
    return [feature for _, inner in step.transformer_list for feature in apply(inner, features)]


def function(step: Any, features: Features) -> Features:
    if step.func is not None:
        raise NotFoldable("FunctionTransformer calls a function")
    return features


def imputer(step: Any, features: Features) -> Features:
    if not is_missing(step.missing_values):
        raise NotFoldable(f"SimpleImputer fills {step.missing_values!r}")
    made: Features = []
    for feature, statistic in zip(features, step.statistics_.tolist(), strict=True):
        if is_missing(statistic):
            raise NotFoldable("SimpleImputer drops a column that is always missing")
        if isinstance(feature, Raw):
            made.append(feature if feature.fill is not None else Raw(feature.column, statistic))
        elif isinstance(statistic, str):
            raise NotFoldable("SimpleImputer fills numbers with text")
        else:
            made.append(feature.filled(float(statistic)))
    if step.add_indicator:
        made += [indicator(features[place]) for place in step.indicator_.features_.tolist()]
    return made


def indicator(feature: Feature) -> Feature:
    """1 where the cell is missing, 0 elsewhere."""
    if isinstance(feature, Raw):
        return Table(feature.column, (), {}, 0.0, 0.0, 1.0 if feature.fill is None else 0.0)
    if isinstance(feature, Table):
        return feature.mapped(lambda value: float(np.isnan(value)))
    return Number(feature.column, 0.0, 0.0, missing=float(np.isnan(feature.missing)))


def scaled(features: Features, slopes: Any, offsets: Any) -> list[Number | Table]:
    return [
        as_numeric(feature).scaled(float(slope), float(offset))
        for feature, slope, offset in zip(features, slopes, offsets, strict=True)
    ]


def standardised(features: Features, center: Any, scale: Any) -> Features:
    """(x - center) / scale, where either may be None."""
    count = len(features)
    divide = np.ones(count) if scale is None else np.asarray(scale)
    shift = np.zeros(count) if center is None else np.asarray(center)
    return [
        as_numeric(feature).centered(float(center), float(scale))
        for feature, center, scale in zip(features, shift, divide, strict=True)
    ]


def standard(step: Any, features: Features) -> Features:
    return standardised(features, step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)


def robust(step: Any, features: Features) -> Features:
    return standardised(
        features, step.center_ if step.with_centering else None, step.scale_ if step.with_scaling else None
    )


def min_max(step: Any, features: Features) -> Features:
    made = scaled(features, step.scale_, step.min_)
    return [feature.clipped(*step.feature_range) for feature in made] if step.clip else [*made]


def max_abs(step: Any, features: Features) -> Features:
    made = scaled(features, 1.0 / step.scale_, np.zeros(len(features)))
    return [feature.clipped(-1.0, 1.0) for feature in made] if getattr(step, "clip", False) else [*made]


def one_hot(step: Any, features: Features) -> Features:
    if getattr(step, "_infrequent_enabled", False):
        raise NotFoldable("OneHotEncoder gathers rare categories")
    made: Features = []
    dropped = [None] * len(features) if step.drop_idx_ is None else step.drop_idx_
    for feature, categories, drop in zip(features, step.categories_, dropped, strict=True):
        column, fill = as_categories(feature)
        listed = [key(value) for value in categories.tolist()]
        known = tuple(value for value in listed if value is not None)
        unknown = NAN if step.handle_unknown == "error" else 0.0
        for place, category in enumerate(listed):
            if drop is not None and place == drop:
                continue
            if fill is not None:
                missing = float(fill == category) if fill in known else unknown
            elif None in listed:
                missing = float(category is None)
            else:
                missing = unknown
            values: dict[Cell, float] = {} if category is None else {category: 1.0}
            made.append(Table(column, known, values, 0.0, unknown, missing))
    return made


def key(value: Any) -> Cell:
    """A category as a cell holds it."""
    if is_missing(value):
        return None
    if not isinstance(value, (str, int, float, bool)):
        raise NotFoldable(f"a category is a {type(value).__name__}")
    return value


def ordinal(step: Any, features: Features) -> Features:
    if getattr(step, "_infrequent_enabled", False):
        raise NotFoldable("OrdinalEncoder gathers rare categories")
    unknown = NAN if step.handle_unknown == "error" else float(step.unknown_value)
    made: Features = []
    for feature, categories in zip(features, step.categories_, strict=True):
        listed = [key(value) for value in categories.tolist()]
        codes: dict[Cell, float] = {value: float(place) for place, value in enumerate(listed) if value is not None}
        absent = float(step.encoded_missing_value) if None in listed else unknown
        made.append(coded(feature, codes, unknown, absent))
    return made


def target(step: Any, features: Features) -> Features:
    if step.target_type_ == "multiclass":
        raise NotFoldable("TargetEncoder has several targets")
    made: Features = []
    for feature, categories, encodings in zip(features, step.categories_, step.encodings_, strict=True):
        pairs: dict[Cell, float] = {
            key(value): float(code) for value, code in zip(categories.tolist(), encodings, strict=True)
        }
        unknown = float(step.target_mean_)
        absent = pairs.pop(None, unknown)
        made.append(coded(feature, pairs, unknown, absent))
    return made


def coded(feature: Feature, codes: dict[Cell, float], unknown: float, absent: float) -> Table:
    """One number a category."""
    column, fill = as_categories(feature)
    missing = absent if fill is None else codes.get(fill, unknown)
    return Table(column, tuple(codes), codes, unknown, unknown, missing)


STEPS: dict[type, Callable[[Any, Features], Features]] = {
    Pipeline: pipeline,
    ColumnTransformer: column_transformer,
    FeatureUnion: feature_union,
    FunctionTransformer: function,
    SimpleImputer: imputer,
    StandardScaler: standard,
    RobustScaler: robust,
    MinMaxScaler: min_max,
    MaxAbsScaler: max_abs,
    OneHotEncoder: one_hot,
    OrdinalEncoder: ordinal,
    TargetEncoder: target,
}
