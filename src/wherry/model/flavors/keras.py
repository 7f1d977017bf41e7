"""Keras 3 models (.keras files), made into ONNX graphs on the desk: neither Keras nor what it runs on is in an image.

Such a file names classes of Python that reading it looks up: only one that was vouched for comes here, and even then
nothing in it is unpickled (safe_mode).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from wherry.errors import ExtraMissing, ModelUnknown
from wherry.model.flavors.converted import Converted
from wherry.model.reading.files import ModelFile
from wherry.model.reading.kinds import CALLED

try:
    import keras

    if keras.backend.backend() == "torch":
        import onnxscript  # noqa: F401  # what PyTorch exports by: better missed here than after a minute
except ImportError as error:
    lacking = error.name or "keras"
    hint = "pip install keras torch onnxscript; it runs on TensorFlow, too, with tf2onnx"
    raise ExtraMissing(lacking, "", "a Keras model", hint) from error

OTHERWISE = (
    "pack a Python file whose load() calls keras.saving.load_model, with --with: the image then holds Keras and what "
    "it runs on, most of a gigabyte"
)


def converted(file: ModelFile, width: int) -> Converted:
    """The model in `file` and the graph made of it. Raises ModelUnknown, ExtraMissing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(file.content)
        try:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever it stumbles over
            reason = f"cannot be read by Keras {keras.__version__}: {said(error)}"
            raise ModelUnknown(file.path, CALLED[file.kind], reason, OTHERWISE) from error
        graph = Path(folder) / "model.onnx"
        try:
            # It is traced by a call, and unknown sizes are those of this one.
            model([np.zeros([size or 2 for size in each.shape], each.dtype) for each in model.inputs])
            model.export(graph, format="onnx", verbose=False)
            data = graph.read_bytes()
        except ImportError as error:
            hint = f"pip install {error.name or 'onnxscript'}"
            raise ExtraMissing(error.name or "a library", "", "making an ONNX graph of a Keras model", hint) from error
        except Exception as error:  # or over what its library cannot convert
            reason = f"cannot be made an ONNX graph: {said(error)}"
            raise ModelUnknown(file.path, CALLED[file.kind], reason, OTHERWISE) from error
    name = f"keras.{type(model).__name__}"
    return Converted(name, data, lambda given: asked(model, given), OTHERWISE)


def asked(model: Any, given: list[Any]) -> list[Any]:
    """The model's own answers: arrays in, arrays out."""
    answer = model(given if len(given) > 1 else given[0], training=False)
    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(answer)]


def said(error: Exception) -> str:
    """The innermost of the sentences that Keras wraps in each other."""
    inner = str(error).rpartition("Exception encountered: ")[2]
    return (inner.strip().splitlines() or [type(error).__name__])[0][:300]
