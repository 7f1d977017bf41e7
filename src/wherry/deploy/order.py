"""What a builder is asked for, what it gives, and what every builder can do."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from wherry.contract.events import Tell, silent
from wherry.deploy.engines import Engine
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference


class Order(msgspec.Struct, frozen=True):
    """An image to be built under `reference`, and where it is to be: a registry, an engine of this machine, a file."""

    plan: ImagePlan
    bundle: Path
    reference: Reference
    platform: str
    push: bool = True
    load: Engine | None = None
    output: Path | None = None

    @property
    def base(self) -> Reference:
        return Reference.parse(self.plan.base)


class Builder(Protocol):
    """One way of making an image."""

    @property
    def name(self) -> str: ...

    def trouble(self, order: Order) -> str:
        """Why it cannot be used for this order; empty when it can. Raises BuildFailed where the base cannot be had."""

    def make(self, order: Order, tell: Tell = silent) -> str:
        """Build, and bring the image where the order says; its digest once pushed, else its id.

        Raises BuildFailed and its kinds, DiskFull, FileMissing.
        """
