"""What can be packed: something that describes itself by a sample, and says in which form a bundle keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from wherry.contract.events import Tell
from wherry.contract.signature import Signature
from wherry.contract.wire import Row
from wherry.model.proving import convert
from wherry.model.proving.convert import Stored

if TYPE_CHECKING:
    from wherry.model.tables.sampled import Described

SAMPLE = "the sample"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What came with a model. sample: rows like those it was trained on, or None; answers: the right ones, or None;
    target: what they are called; source: what an error calls the sample."""

    sample: Any = None
    answers: Any = None
    target: str = ""
    float_columns: tuple[str, ...] = ()
    source: str = SAMPLE


class Subject(Protocol):
    """A model that is being packed. name: its class, or what else its maker calls it."""

    @property
    def name(self) -> str: ...

    def describe(self, given: Given) -> Described:
        """Its signature, and the sample as rows of it. Raises SampleUnfit, ModelUnreadable."""

    def store(self, signature: Signature, rows: Sequence[Row], *, allow_pickle: bool, tell: Tell) -> Stored:
        """The form that a bundle keeps, with its answers to `rows`. Raises NotStorable, ModelUnreadable."""


class Estimator:
    """A fitted scikit-learn estimator: kept in the fastest form that is proven to answer like it."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.name = f"{type(estimator).__module__}.{type(estimator).__qualname__}"

    def describe(self, given: Given) -> Described:
        from wherry.model.flavors.sklearn.describing.describe import describe  # imports scikit-learn

        return describe(
            self.estimator,
            given.sample,
            given.answers,
            target=given.target,
            float_columns=given.float_columns,
            source=given.source,
        )

    def store(self, signature: Signature, rows: Sequence[Row], *, allow_pickle: bool, tell: Tell) -> Stored:
        return convert.store(self.estimator, signature, rows, allow_pickle=allow_pickle, tell=tell)
