"""What packing is told of a model that stays as its library wrote it: nothing is converted, nothing to be proven."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.model.flavors import Scorer


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Such a model. name: what its maker calls it; form, flavor, file, data, beside, packages: as in a Candidate.

    columns: those that the model states with their types; else names, or count, as far as the model knows them.
    nullable: whether it answers rows with missing cells, whichever they are. output: None where only its answers tell;
    outputs: what several outputs a row are called.
    scorer: what answers rows of a signature.
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
    output: OutputSpec | None = None
    outputs: tuple[str, ...] = ()
