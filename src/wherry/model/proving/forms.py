"""The forms that a model may be kept in: each tried here, none of them trusted yet."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import msgspec

from wherry.contract.signature import Signature
from wherry.model.flavors import Scorer
from wherry.model.proving.proof import first_line
from wherry.model.requirements import distributions


class Candidate(msgspec.Struct, frozen=True):
    """A form that holds the model; whether it answers alike is still to be shown.

    file: its name in the bundle (model.npz, model.onnx, ...); packages: what loading it needs beside the form's own;
    beside: other files that it needs, by their name in the bundle.
    rtol, atol: how far a number that this form answers may lie from itself on another machine (Golden's fields).
    """

    form: str
    flavor: str
    file: str
    data: bytes
    scorer: Scorer
    packages: tuple[str, ...] = ()
    rtol: float = 1e-6
    atol: float = 1e-9
    beside: dict[str, bytes] = {}


class NoForm(Exception):
    """A form does not hold this model; str() says why. types: what is not known to be safe."""

    def __init__(self, reason: str, types: tuple[str, ...] = ()) -> None:
        self.types = types
        super().__init__(reason)


Candidates: TypeAlias = Iterator[Callable[[], Candidate]]


def linear(estimator: Any, signature: Signature, *, proven: bool) -> Candidates:
    def make() -> Candidate:
        from wherry.model.flavors.linear import Linear, LinearScorer
        from wherry.model.flavors.sklearn.converting.features import NotFoldable
        from wherry.model.flavors.sklearn.converting.fold import fold

        try:
            data = fold(estimator, signature).dump()
        except NotFoldable as error:
            raise NoForm(str(error)) from error
        except Exception as error:  # a step's attributes are not as this version of scikit-learn is known to have them
            raise NoForm(f"{type(error).__name__}: {first_line(error)}") from error
        return Candidate("linear", "linear", "model.npz", data, LinearScorer(Linear.parse(data, "model.npz")))

    yield make


def onnx(estimator: Any, signature: Signature, *, proven: bool) -> Candidates:
    from wherry.model.flavors.onnx import OnnxScorer
    from wherry.model.flavors.sklearn.converting import to_onnx

    for way in to_onnx.ways(estimator, signature):

        def make(way: to_onnx.Way = way) -> Candidate:
            try:
                data = to_onnx.convert(estimator, signature, way)
                scorer = OnnxScorer(data, signature)
            except Exception as error:  # skl2onnx raises whatever it stumbles over
                raise NoForm(f"{type(error).__name__}: {first_line(error)}") from error
            # float32 sums differ in their last digits between processors
            rtol, atol = (1e-6, 1e-9) if way.exact else (1e-5, 1e-6)
            return Candidate("onnx", "onnx", "model.onnx", data, scorer, rtol=rtol, atol=atol)

        yield make


def boosted(library: str, estimator: Any, signature: Signature, *, proven: bool) -> Candidates:
    """The booster of a wrapper that XGBoost or LightGBM has for scikit-learn, in the library's own file."""
    if type(estimator).__module__.partition(".")[0] != library:
        return

    def make() -> Candidate:
        flavor = importlib.import_module(f"wherry.model.flavors.{library}")
        try:
            file, data, scorer = flavor.of_estimator(estimator, signature.output)
        except Exception as error:  # whatever the library says of its own model
            raise NoForm(f"{type(error).__name__}: {first_line(error)}") from error
        return Candidate(library, library, file, data, scorer, distributions(library))

    yield make


def skops(estimator: Any, signature: Signature, *, proven: bool) -> Candidates:
    from wherry.model.flavors.sklearn import skops_file

    def data_of() -> bytes:
        try:
            data = skops_file.dump(estimator)
        except Exception as error:  # skops raises its own and whatever an object's state raises
            raise NoForm(f"{type(error).__name__}: {first_line(error)}") from error
        types = skops_file.untrusted(data)
        if types:
            raise NoForm(f"types that wherry does not know to be safe: {', '.join(types)}", types)
        return data

    load = partial(skops_file.load, path="model.skops")
    yield from as_estimator("skops", estimator, signature, data_of, load, proven)


def pickle(estimator: Any, signature: Signature, *, proven: bool) -> Candidates:
    from wherry.model.flavors.sklearn.load import pickled, unpickle

    yield from as_estimator("pickle", estimator, signature, lambda: pickled(estimator), unpickle, proven)


def as_estimator(
    form: str,
    estimator: Any,
    signature: Signature,
    data_of: Callable[[], bytes],
    load: Callable[[bytes], Any],
    proven: bool,
) -> Candidates:
    """The estimator as it is: given arrays if that can be shown to do, else what it was fitted on."""
    from wherry.model.flavors.sklearn.inputs import NUMERIC, Kind, builder, fitted_on
    from wherry.model.flavors.sklearn.scorer import EstimatorScorer, made_to_serve

    kinds: list[Kind] = [fitted_on(estimator)]
    if kinds == ["frame"] and proven and all(column.type in NUMERIC for column in signature.columns):
        kinds = ["array", "frame"]  # a frame costs 150 us a request
    for kind in kinds:

        def make(kind: Kind = kind) -> Candidate:
            data = data_of()
            try:
                copy = made_to_serve(load(data), nameless=kind == "array")
                scorer = EstimatorScorer(copy, builder(signature, kind), signature.output)
            except Exception as error:  # whatever reading it back raises, it cannot be served in this form
                raise NoForm(f"{type(error).__name__}: {first_line(error)}") from error
            packages = ("pandas",) if kind == "frame" else ()
            return Candidate(form, "sklearn", f"model.{form}", data, scorer, packages)

        yield make


# From the fastest to the most faithful.
FORMS: dict[str, Callable[..., Candidates]] = {
    "linear": linear,
    "onnx": onnx,
    "xgboost": partial(boosted, "xgboost"),
    "lightgbm": partial(boosted, "lightgbm"),
    "skops": skops,
    "pickle": pickle,
}
