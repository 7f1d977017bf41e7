"""What a flavor hands packing of a model that is kept as an ONNX graph: the graph, and what it was made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class Converted(msgspec.Struct, frozen=True):
    """Such a model. name: its class; asks: its own answers, of arrays in the order of the graph's inputs to arrays in
    the order of its outputs; otherwise: what to do where the two answer differently."""

    name: str
    graph: bytes
    asks: Callable[[list[Any]], list[Any]]
    otherwise: str
