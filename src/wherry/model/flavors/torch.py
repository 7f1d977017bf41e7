"""PyTorch's programs (torch.export, TorchScript), made into ONNX graphs on the desk: no image holds PyTorch.

Reading such a file unpickles parts of it, and a program can do what it likes: only one that was vouched for comes here.
"""

from __future__ import annotations

import io
from typing import Any

from wherry.errors import ExtraMissing, ModelUnknown
from wherry.model.flavors.converted import Converted
from wherry.model.reading.files import ModelFile
from wherry.model.reading.kinds import CALLED

try:
    import torch
    import torch.onnx.ops  # which needs onnxscript: better missed here than after a minute
except ImportError as error:
    hint = "pip install torch onnxscript (--index-url https://download.pytorch.org/whl/cpu has one without CUDA)"
    raise ExtraMissing(error.name or "torch", "", "a PyTorch model", hint) from error

OPSET = 20
DYNAMIC = torch.export.Dim.DYNAMIC
OTHERWISE = (
    "call model.eval() before it is exported; or pack a Python file whose load() reads it, with --with: the image then "
    "holds PyTorch, most of a gigabyte"
)


def converted(file: ModelFile, width: int) -> Converted:
    """The program in `file` and the graph made of it. width: how many columns its rows have, where it does not say.

    Raises ModelUnknown.
    """
    return of_program(file) if file.kind == "pt2" else of_script(file, width)


def of_program(file: ModelFile) -> Converted:
    try:
        program = torch.export.load(io.BytesIO(file.content))
        module = program.module(check_guards=False)  # whether it takes one row as it takes two is seen in the answers
    except Exception as error:  # PyTorch has no class for what it cannot read
        raise unread(file, error) from error
    taken = [each.meta["val"] for each in program.graph.nodes if each.name in program.graph_signature.user_inputs]
    open_ = [{axis: DYNAMIC for axis, size in enumerate(each.shape) if not isinstance(size, int)} for each in taken]
    rows = [
        torch.zeros([size if isinstance(size, int) else 2 for size in each.shape], dtype=each.dtype) for each in taken
    ]
    try:
        # A program that was read no longer knows all of its open sizes, and a new one of the same operators does.
        again = torch.export.export(module, tuple(rows), dynamic_shapes=tuple(open_))
        names = list(program.graph_signature.user_inputs)
        made = torch.onnx.export(again, dynamo=True, verbose=False, opset_version=OPSET, input_names=names)
        data = made.model_proto.SerializeToString()
    except Exception as error:  # nor for what it cannot convert
        raise unconvertible(file, error) from error
    return Converted("torch.export.ExportedProgram", data, lambda given: asked(module, given), OTHERWISE)


def of_script(file: ModelFile, width: int) -> Converted:
    """A TorchScript program, which takes one tensor of float32: what else it takes, it does not say."""
    try:
        module = torch.jit.load(io.BytesIO(file.content), map_location="cpu").eval()
        taken = [each.name for each in module.forward.schema.arguments[1:] if not each.has_default_value()]
    except Exception as error:  # whatever it raises
        raise unread(file, error) from error
    if len(taken) != 1:
        hint = "export it with torch.export, which keeps what each input takes: torch.export.save(program, 'model.pt2')"
        raise ModelUnknown(file.path, CALLED[file.kind], f"takes {len(taken)} inputs: {', '.join(taken)}", hint)
    sink = io.BytesIO()
    try:
        with torch.no_grad():
            answer = module(torch.zeros(2, width))
        names = [f"output_{place}" for place in range(len(leaves(answer)))]
        axes = {name: {0: "n"} for name in (taken[0], *names)}
        torch.onnx.export(
            module,
            (torch.zeros(2, width),),
            sink,
            dynamo=False,  # the way for programs of this older kind
            input_names=taken,
            output_names=names,
            dynamic_axes=axes,
            opset_version=OPSET,
        )
    except Exception as error:  # whatever it raises over this width, or over its own operators
        raise unconvertible(file, error) from error
    return Converted("torch.jit.ScriptModule", sink.getvalue(), lambda given: asked(module, given), OTHERWISE)


def asked(module: Any, given: list[Any]) -> list[Any]:
    """The program's own answers: arrays in, arrays out."""
    with torch.no_grad():
        answer = module(*(torch.from_numpy(each) for each in given))
    return [each.detach().cpu().numpy() for each in leaves(answer)]


def leaves(answer: Any) -> list[Any]:
    """The tensors in an answer, which may be a tuple, a list or a dict of them."""
    return [each for each in torch.utils._pytree.tree_leaves(answer) if isinstance(each, torch.Tensor)]


def unread(file: ModelFile, error: Exception) -> ModelUnknown:
    reason = f"cannot be read by PyTorch {torch.__version__}: {first_line(error)}"
    return ModelUnknown(
        file.path, CALLED[file.kind], reason, "read it with the PyTorch that wrote it, and save it again"
    )


def unconvertible(file: ModelFile, error: Exception) -> ModelUnknown:
    return ModelUnknown(file.path, CALLED[file.kind], f"cannot be made an ONNX graph: {first_line(error)}", OTHERWISE)


def first_line(error: BaseException) -> str:
    """What lies at the bottom of an error: those above it tell of PyTorch's own steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
