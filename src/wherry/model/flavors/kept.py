"""What packing is told of a model that is no estimator: it stays as it came, or a graph was made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from wherry.contract.signature import Column, ColumnType, OutputSpec, Signature
from wherry.contract.wire import Row
from wherry.model.flavors import Scorer

if TYPE_CHECKING:
    from wherry.model.proving.evidence import Reference

Truth: TypeAlias = Sequence[Any] | None  # the right answers of a sample, where they came with it


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Such a model. name: what its maker calls it; form, flavor, file, data, beside, packages: as in a Candidate.

    columns: those that the model states with their types; else names, or count, as far as the model knows them, and
    types: what it takes in each of them, or in all where one is named.
    nullable: whether it answers rows with missing cells, whichever they are. output: None where only its answers tell;
    outputs: what several outputs a row are called; reads: what finds the output by asking.
    precision: how far, as a share of itself, a number may lie from itself on another machine.
    scorer: what answers rows of a signature; original: what it was made of, for the two to be held against each other,
    and otherwise: what to do where they differ.
    """

    name: str
    form: str
    flavor: str
    file: str
    data: bytes
    scorer: Callable[[Signature], Scorer]
    beside: dict[str, bytes] = {}
    packages: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    named: bool = True  # of columns: whether they have names of their own
    names: tuple[str, ...] | None = None
    count: int | None = None
    nullable: bool = False
    types: tuple[ColumnType, ...] = ()
    output: OutputSpec | None = None
    reads: Callable[[Signature, Sequence[Row], Truth], OutputSpec] | None = None
    precision: float = 1e-6
    original: Callable[[Signature], Reference] | None = None
    otherwise: str = ""
    outputs: tuple[str, ...] = ()
