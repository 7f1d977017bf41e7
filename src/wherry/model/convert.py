"""The form in which a fitted estimator is kept: the fastest that is proven to answer like the estimator itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from wherry.contract.events import Step, Tell, silent
from wherry.contract.manifest import Conversion, Requirements
from wherry.contract.signature import Signature
from wherry.contract.wire import Row
from wherry.errors import NotStorable
from wherry.model import requirements
from wherry.model.flavors import Scorer
from wherry.model.proof import Evidence, NotAlike, Proof, first_line, gather, prove

UNPROVEN = Proof(rows=0, ties_left_out=0, largest_difference=0.0)


class Stored(msgspec.Struct, frozen=True):
    """A model in the form that was chosen and proven.

    rtol, atol: how far a number that this form answers may lie from itself on another machine (Golden's fields).
    scorer: what the bundle will answer with; golden answers are its answers.
    """

    flavor: str
    file: str  # the file's name in the bundle: model.npz, model.onnx, model.skops, model.pickle
    data: bytes
    conversion: Conversion
    requirements: Requirements
    scorer: Scorer
    rtol: float = 1e-6
    atol: float = 1e-9


class Candidate(msgspec.Struct, frozen=True):
    """A form that holds the model; whether it answers alike is still to be shown."""

    form: str
    flavor: str
    file: str
    data: bytes
    scorer: Scorer
    packages: tuple[str, ...] = ()
    rtol: float = 1e-6
    atol: float = 1e-9


class NoForm(Exception):
    """A form does not hold this model; str() says why. types: what is not known to be safe."""

    def __init__(self, reason: str, types: tuple[str, ...] = ()) -> None:
        self.types = types
        super().__init__(reason)


Candidates = Iterator[Callable[[], Candidate]]


def reference(estimator: Any, signature: Signature) -> Any:
    """The estimator itself as a scorer: given what it was fitted on (a frame or an array), changed in nothing."""
    from wherry.model.flavors.sklearn.reference import EstimatorReference

    return EstimatorReference(estimator, signature)


def store(
    estimator: Any,
    signature: Signature,
    sample: Sequence[Row],
    *,
    allow_pickle: bool = False,
    tell: Tell = silent,
) -> Stored:
    """The estimator in the first of the forms linear, onnx, skops, pickle that holds it and answers like it.

    sample: rows of cells in the signature's order, every one of which is asked; empty when there is no sample (then no
    form can be proven, and the estimator is kept as it is: skops or pickle).
    Raises NotStorable when only pickle would do and `allow_pickle` does not permit it.
    """
    itself = reference(estimator, signature)
    evidence: Evidence | None = None
    if sample:
        tell(Step(f"asking the model about {len(sample)} rows and the boundaries between its answers"))
        evidence = gather(itself, signature, sample)
    refused: dict[str, str] = {}
    types: tuple[str, ...] = ()
    for form, candidates in FORMS.items():
        if form == "pickle" and not allow_pickle:
            continue
        if evidence is None and form in ("linear", "onnx"):
            refused[form] = "not tried: no sample to prove it on"
            continue
        tell(Step(f"trying to store it as {form}"))
        reasons: list[Exception] = []
        for make in candidates(estimator, signature, proven=evidence is not None):
            try:
                candidate = make()
                proof = UNPROVEN if evidence is None else prove(itself, candidate.scorer, signature, evidence)
            except (NoForm, NotAlike) as error:
                reasons.append(error)
                types = getattr(error, "types", types)
                continue
            return stored(candidate, proof, refused)
        refused[form] = said(reasons)
    raise NotStorable(types, refused)


def said(reasons: Sequence[Exception]) -> str:
    """Why a form was refused. Wrong answers say more than that some other way to it does not exist."""
    wrong = [str(reason) for reason in reasons if isinstance(reason, NotAlike)]
    return "; ".join(dict.fromkeys(wrong or [str(reason) for reason in reasons]))


def stored(candidate: Candidate, proof: Proof, refused: dict[str, str]) -> Stored:
    return Stored(
        flavor=candidate.flavor,
        file=candidate.file,
        data=candidate.data,
        conversion=Conversion(
            form=candidate.form,
            proven_rows=proof.rows,
            ties_left_out=proof.ties_left_out,
            largest_difference=proof.largest_difference,
            refused=refused,
        ),
        requirements=requirements.here(candidate.form, candidate.packages),
        scorer=candidate.scorer,
        rtol=candidate.rtol,
        atol=candidate.atol,
    )


def linear(estimator: Any, signature: Signature, *, proven: bool) -> Candidates:
    def make() -> Candidate:
        from wherry.model.flavors.linear import Linear, LinearScorer
        from wherry.model.flavors.sklearn.features import NotFoldable
        from wherry.model.flavors.sklearn.fold import fold

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
    from wherry.model.flavors.sklearn import to_onnx

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


def skops(estimator: Any, signature: Signature, *, proven: bool) -> Candidates:
    from wherry.model.flavors.sklearn import safe

    def data_of() -> bytes:
        try:
            data = safe.dump(estimator)
        except Exception as error:  # skops raises its own and whatever an object's state raises
            raise NoForm(f"{type(error).__name__}: {first_line(error)}") from error
        types = safe.untrusted(data)
        if types:
            raise NoForm(f"types that wherry does not know to be safe: {', '.join(types)}", types)
        return data

    yield from as_estimator("skops", estimator, signature, data_of, lambda data: safe.load(data, "model.skops"), proven)


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
            except Exception as error:
                raise NoForm(f"{type(error).__name__}: {first_line(error)}") from error
            packages = ("pandas",) if kind == "frame" else ()
            return Candidate(form, "sklearn", f"model.{form}", data, scorer, packages)

        yield make


FORMS = {"linear": linear, "onnx": onnx, "skops": skops, "pickle": pickle}
