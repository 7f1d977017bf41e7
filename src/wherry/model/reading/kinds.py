"""What kind of file some bytes are, told by their content and never by a name."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Literal

from wherry.model.reading.graphs import looks_like_onnx
from wherry.model.reading.programs import is_program

Kind = Literal[
    "pickle",
    "skops",
    "onnx",
    "xgboost",
    "lightgbm",
    "npz",
    "keras",
    "pt2",
    "torchscript",
    "torch",
    "hdf5",
    "zip",
    "parquet",
    "python",
    "text",
    "unknown",
]

ZIP = b"PK\x03\x04"
# How a pickle of protocol 0 or 1 begins: a global, or a mark, an empty container and what fills it.
OLD_PICKLE = re.compile(rb"c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\((?:[cdilt]|[a-z]?c[a-z_]|S'|V)|[]}]q|[]}]\(")

# XGBoost's JSON and UBJSON, and LightGBM's text.
BOOSTED = re.compile(rb'\{(?:\s*"learner"\s*:\s*|[Li]\x00*\x07learner)\{|tree\nversion=v\d')

# What each kind is called in an error.
CALLED: dict[Kind, str] = {
    "pickle": "a pickle",
    "skops": "a skops file",
    "onnx": "an ONNX model",
    "xgboost": "an XGBoost model",
    "lightgbm": "a LightGBM model",
    "npz": "a numpy archive (.npz)",
    "keras": "a Keras model",
    "pt2": "a PyTorch program (torch.export)",
    "torchscript": "a TorchScript program",
    "torch": "a PyTorch checkpoint (torch.save)",
    "hdf5": "an HDF5 file (Keras keeps models so)",
    "zip": "a zip archive",
    "parquet": "a Parquet table",
    "python": "Python code",
    "text": "a text file",
    "unknown": "a file of an unknown kind",
}


def kind_of(content: bytes) -> Kind:
    """What (decompressed) content is."""
    if content[:1] == b"\x80" and content[1:2] <= b"\5":  # a lone byte is the beginning of one
        return "pickle"
    if content.startswith(ZIP):
        return kind_of_zip(content)
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if content.startswith(b"PAR1"):
        return "parquet"
    if BOOSTED.match(content):
        return "xgboost" if content[:1] == b"{" else "lightgbm"
    head = content[:4096]
    readable = b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    if readable and is_program(content):  # a blank line is how many an ONNX graph begins
        return "python"
    if looks_like_onnx(content):
        return "onnx"
    if OLD_PICKLE.match(content):
        return "pickle"
    return "text" if readable else "unknown"


def kind_of_zip(content: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()[:100_000]
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "unknown"
    if "schema.json" in names:
        return "skops"
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return "keras"
    ends = {name.partition("/")[2] for name in names}
    if "archive_format" in ends or "serialized_exported_program.json" in names:
        return "pt2"
    if {"data.pkl", "constants.pkl"} <= ends and any(end.startswith("code/") for end in ends):
        return "torchscript"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"
