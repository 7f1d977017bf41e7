"""Lays wheels down as the files of an image: the one program that does it, whichever builder asks.

It runs alone and needs nothing but Python: a Dockerfile copies it into the build and runs

    python3 unpack.py WHEELS TARGET

What would be dead weight in a container is left out (tests, stubs, headers); scripts are left out too, since nothing in
the image calls them. RECORD lists what is really there.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import marshal
import sys
import types
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

# Packages that are known to serve without the following; of all others every file is kept.
TRIMMED = frozenset(
    {
        *("httptools", "joblib", "msgspec", "numpy", "onnxruntime", "pandas", "scipy", "sklearn", "skops"),
        *("sqlalchemy", "uvloop"),
    }
)
# Folders that only developers of those import; numpy.testing reads one file of numpy's tests.
TEST_FOLDERS = frozenset({"test", "tests"})
KEPT = ("numpy/_core/tests/__init__.py", "numpy/_core/tests/_natype.py")
UNUSED = (
    *("onnxruntime/quantization/", "onnxruntime/tools/", "onnxruntime/transformers/"),
    # The C++ library for other programs: Python's module has it linked in.
    "onnxruntime/capi/libonnxruntime.so.",
    # The store writes tables; it maps no objects, and speaks to databases whose drivers an image can hold.
    *("sqlalchemy/ext/", "sqlalchemy/orm/", "sqlalchemy/testing/"),
    *("sqlalchemy/dialects/mssql/", "sqlalchemy/dialects/oracle/"),
)
# Machine code beside Python that does the same; what it saves a writer of batches was below what could be measured.
SPARED = ("sqlalchemy/", "_cy.")
# What a compiler or an editor reads.
SOURCES = (".a", ".c", ".cc", ".cpp", ".f90", ".h", ".hpp", ".lib", ".pxd", ".pxi", ".pyi", ".pyx")
# What a wheel's .data folder may hold that goes into the target itself; headers and scripts stay out.
LAID_SCHEMES = ("data", "platlib", "purelib")


class File(NamedTuple):
    """A file as it will lie: `path` beneath the target, its mode, its bytes."""

    path: str
    mode: int
    content: bytes


def files(wheel: Path | IO[bytes], target: str, compiled: bool) -> Iterator[File]:
    """The files of one wheel, sorted; with byte code that is never held against its source when `compiled`."""
    record = []
    info = ""
    with zipfile.ZipFile(wheel) as archive:
        members = {laid(entry.filename): entry for entry in archive.infolist() if not entry.is_dir()}
        for path, entry in sorted(members.items(), key=lambda member: member[0]):
            if path.endswith(".dist-info/RECORD") and path.count("/") == 1:
                info = path
            elif path and not left_out(path):
                mode = 0o755 if entry.external_attr >> 16 & 0o111 else 0o644
                made = File(path, mode, archive.read(entry))
                record.append(recorded(made))
                yield made
                if compiled and path.endswith(".py"):
                    yield from byte_code(made, target)
    if info:
        yield File(info, 0o644, "".join([*sorted(record), f"{info},,\n"]).encode())


def laid(name: str) -> str:
    """Where a member of the wheel goes beneath the target; empty when nowhere. Raises ValueError."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise ValueError(f"the wheel holds a file of the name {name!r}, which leads out of it")
    if parts[0].endswith(".data"):
        return "/".join(parts[2:]) if len(parts) > 2 and parts[1] in LAID_SCHEMES else ""
    return "/".join(parts)


def left_out(path: str) -> bool:
    """Whether a service never reads the file."""
    first, *rest = path.split("/")
    if path.endswith((".pyc", ".pyo")):
        return True
    if first not in TRIMMED or path in KEPT:
        return False
    if path.startswith(SPARED[0]) and SPARED[1] in path and path.endswith(".so"):
        return True
    return path.endswith(SOURCES) or path.startswith(UNUSED) or not TEST_FOLDERS.isdisjoint(rest[:-1])


def recorded(file: File) -> str:
    """The file's line of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(file.content).digest()).rstrip(b"=").decode()
    name = f'"{file.path}"' if "," in file.path else file.path
    return f"{name},sha256={digest},{len(file.content)}\n"


def byte_code(file: File, target: str) -> Iterator[File]:
    """The file compiled, as bytes that depend on the source and Python's version alone; nothing if it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(file.content, f"{target}/{file.path}", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return  # a template, or for another Python
    # marshal writes an object that only it holds differently from one that others hold too: here all are held.
    held: list[Any] = []
    hold(code, held)
    folder, _, name = file.path.rpartition("/")
    path = f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc".lstrip("/")
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(file.content)
    yield File(path, 0o644, head + marshal.dumps(code))


def hold(value: Any, held: list[Any]) -> None:
    """Keep a second hand on the value and on all that it is made of."""
    held.append(value)
    if isinstance(value, types.CodeType):
        parts = (value.co_consts, value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
        for part in (*parts, value.co_filename, value.co_name, value.co_qualname, value.co_linetable):
            hold(part, held)
        held.append(value.co_exceptiontable)
    elif isinstance(value, (tuple, frozenset)):
        for part in value:
            hold(part, held)
    elif isinstance(value, str) and len(value) < 2:
        # Python has each of these once, and marshal writes down whether anybody has interned it.
        held.append(sys.intern(value))


def main(source: str, target: str) -> None:
    """Lay every wheel of the folder `source` down in `target`, compiled by the Python that runs this."""
    for wheel in sorted(Path(source).glob("*.whl")):
        for file in files(wheel, target, compiled=True):
            path = Path(target, file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(file.mode)


if __name__ == "__main__":
    main(*sys.argv[1:])
