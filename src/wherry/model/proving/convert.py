"""The form in which a fitted estimator is kept: the fastest that is proven to answer like the estimator itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.contract.manifest import Conversion, Requirements
from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row
from wherry.errors import NotStorable
from wherry.model import requirements
from wherry.model.proving.evidence import Evidence, gather
from wherry.model.proving.forms import FORMS, Candidate, NoForm
from wherry.model.proving.proof import NotAlike, Proof, prove

UNPROVEN = Proof(rows=0, ties_left_out=0, largest_difference=0.0)


class Stored(Candidate, frozen=True, kw_only=True):
    """A model in the form that was chosen and proven. answers: the estimator's own to the sample."""

    answers: Outputs
    conversion: Conversion
    requirements: Requirements


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
    from wherry.model.flavors.sklearn.reference import EstimatorReference  # imports scikit-learn

    itself = EstimatorReference(estimator, signature)
    evidence: Evidence | None = None
    if sample:
        tell(Step(f"asking the model about {len(sample)} rows and the boundaries between its answers"))
        evidence = gather(itself, signature, sample)
        if evidence.pairs_left_out:
            every = evidence.pairs + evidence.pairs_left_out
            tell(Note(f"{evidence.pairs:,} of {every:,} pairs of rows at the boundaries are asked: the model is slow"))
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
            return stored(candidate, proof, evidence, refused)
        if reasons:
            refused[form] = said(reasons)
    raise NotStorable(types, refused)


def said(reasons: Sequence[Exception]) -> str:
    """Why a form was refused. Wrong answers say more than that some other way to it does not exist."""
    wrong = [str(reason) for reason in reasons if isinstance(reason, NotAlike)]
    return "; ".join(dict.fromkeys(wrong or [str(reason) for reason in reasons]))


def stored(candidate: Candidate, proof: Proof, evidence: Evidence | None, refused: dict[str, str]) -> Stored:
    return Stored(
        **msgspec.structs.asdict(candidate),
        answers=Outputs([]) if evidence is None else evidence.answers,
        conversion=conversion_of(candidate.form, proof, evidence, refused),
        requirements=requirements.here(candidate.form, candidate.packages),
    )


def conversion_of(
    form: str, proof: Proof, evidence: Evidence | None, refused: dict[str, str] | None = None
) -> Conversion:
    """The record of how a form was shown to answer alike."""
    return Conversion(
        form=form,
        proven_rows=proof.rows,
        ties_left_out=proof.ties_left_out,
        largest_difference=proof.largest_difference,
        boundary_pairs=0 if evidence is None else evidence.pairs,
        boundary_pairs_left_out=0 if evidence is None else evidence.pairs_left_out,
        refused=refused or {},
        spread=proof.spread,
    )
