"""The head of an ONNX graph: columns of numbers and texts, with holes, as the matrix that a pipeline makes of them.

skl2onnx converts no imputer of texts, and sums in the precision of its inputs; what `steps` knows of the columns is
exact, in float64, and short. The rest of the pipeline is converted by skl2onnx and joined to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell
from wherry.model.flavors.onnx import MISSING_TEXT
from wherry.model.flavors.sklearn.converting.features import Number, Table

MATRIX = "wherry_matrix"


class Graph:
    """Nodes and constants as they are added; every result has a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        name = f"wherry_c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"wherry_n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], domain=domain, **attributes))
        return name


def head(signature: Signature, features: Sequence[Number | Table], opsets: dict[str, int], ir_version: int) -> Any:
    """A model with an input a column that is used and one output: n x features, float64."""
    graph = Graph()
    blocks: list[tuple[list[int], str]] = []
    numbers = [place for place, feature in enumerate(features) if isinstance(feature, Number)]
    if numbers:
        blocks.append((numbers, number_block(graph, signature, [features[place] for place in numbers])))
    tables: dict[tuple[int, tuple[Cell, ...]], list[int]] = defaultdict(list)
    for place, feature in enumerate(features):
        if isinstance(feature, Table):
            tables[feature.column, feature.known].append(place)
    for (column, known), places in tables.items():
        members = [features[place] for place in places]
        block = text_block if signature.columns[column].type == "string" else category_block
        blocks.append((places, block(graph, signature.names[column], known, members)))
    joined = graph.add("Concat", *(name for _, name in blocks), axis=1) if len(blocks) > 1 else blocks[0][1]
    order = np.argsort([place for places, _ in blocks for place in places])
    graph.nodes.append(helper.make_node("Gather", [joined, graph.constant(order, np.int64)], [MATRIX], axis=1))
    used = sorted({feature.column for feature in features})
    inputs = [
        helper.make_tensor_value_info(
            signature.names[place],
            TensorProto.STRING if signature.columns[place].type == "string" else TensorProto.DOUBLE,
            [None, 1],
        )
        for place in used
    ]
    output = helper.make_tensor_value_info(MATRIX, TensorProto.DOUBLE, [None, len(features)])
    made = helper.make_graph(graph.nodes, "columns", inputs, [output], initializer=graph.constants)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(made, opset_imports=imports, ir_version=ir_version)


def number_block(graph: Graph, signature: Signature, features: Sequence[Any]) -> str:
    """Where(missing, its value, slope * (clipped - shift) + offset), all features at once."""
    used = sorted({feature.column for feature in features})
    names = [signature.names[column] for column in used]
    cells = graph.add("Concat", *names, axis=1) if len(names) > 1 else names[0]
    places = [used.index(feature.column) for feature in features]
    if places != list(range(len(used))):
        cells = graph.add("Gather", cells, graph.constant(places, np.int64), axis=1)
    holes = graph.add("IsNaN", cells)
    if any(np.isfinite((feature.low, feature.high)).any() for feature in features):
        low, high = ([getattr(feature, end) for feature in features] for end in ("low", "high"))
        cells = graph.add("Max", graph.add("Min", cells, graph.constant(high)), graph.constant(low))
    cells = graph.add("Sub", cells, graph.constant([feature.shift for feature in features]))
    cells = graph.add("Mul", cells, graph.constant([feature.slope for feature in features]))
    cells = graph.add("Add", cells, graph.constant([feature.offset for feature in features]))
    return graph.add("Where", holes, graph.constant([feature.missing for feature in features]), cells)


def entries(known: tuple[Cell, ...], members: Sequence[Any]) -> Any:
    """(known, unknown, missing) x members: what each value of the column becomes."""
    rows = [[member.values.get(value, member.otherwise) for member in members] for value in known]
    return np.array([*rows, [member.unknown for member in members], [member.missing for member in members]])


def text_block(graph: Graph, name: str, known: tuple[Cell, ...], members: Sequence[Any]) -> str:
    """The text's place in the list, and the line of a table at that place."""
    codes = graph.add(
        "LabelEncoder",
        name,
        domain="ai.onnx.ml",
        keys_strings=[*(str(value) for value in known), MISSING_TEXT],
        values_int64s=[*range(len(known)), len(known) + 1],
        default_int64=len(known),
    )
    flat = graph.add("Reshape", codes, graph.constant([-1], np.int64))
    return graph.add("Gather", graph.constant(entries(known, members)), flat, axis=0)


def category_block(graph: Graph, name: str, known: tuple[Cell, ...], members: Sequence[Any]) -> str:
    """Numbers and booleans as categories: which one it equals picks the line of the table."""
    table = entries(known, members)
    values = [float(value) for value in known if value is not None]
    equal = graph.add("Cast", graph.add("Equal", name, graph.constant([values])), to=TensorProto.DOUBLE)
    any_ = graph.add("ReduceSum", equal, graph.constant([1], np.int64), keepdims=1)
    none = graph.add("Sub", graph.constant([1.0]), any_)
    # What is refused before it comes here (NaN in the table) must not spoil the sum.
    listed = graph.add("MatMul", equal, graph.constant(table[:-2]))
    unknown = graph.add("Mul", none, graph.constant([np.nan_to_num(table[-2])]))
    found = graph.add("Add", listed, unknown)
    return graph.add("Where", graph.add("IsNaN", name), graph.constant([table[-1]]), found)


def joined(front: Any, rest: Any, *, cast: bool) -> Any:
    """`front` with `rest` (one 2-D input) behind it; cast: in float32 from there on."""
    wanted = rest.graph.input[0].name
    if cast:
        name = "wherry_float32"
        front.graph.node.append(helper.make_node("Cast", [MATRIX], [name], to=TensorProto.FLOAT))
        shape = front.graph.output[0].type.tensor_type.shape
        del front.graph.output[:]
        width = shape.dim[1].dim_value
        front.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width]))
    return onnx.compose.merge_models(front, rest, [(front.graph.output[0].name, wanted)], prefix2="rest_")
