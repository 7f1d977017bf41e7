"""wherry itself as a wheel, made of the files that run right now: nothing is downloaded, nothing installs it by name.

Only the half that runs in the container goes in: the desk's rooms would be dead weight there, and one more thing to
attack.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import wherry
from wherry.contract.names import RUNTIME
from wherry.deploy import pins

# The rooms of the container, and what they stand on.
ROOMS = ("__init__.py", "errors", "py.typed", "contract", "model", "server")
# What only a compiler or an editor reads.
SOURCES = (".c", ".pyi")
# The earliest time a zip can hold: equal files make equal bytes.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def wheel(platform: str = "") -> tuple[str, bytes]:
    """The wheel's file name and its bytes: equal for equal sources.

    platform: the image's (linux/arm64), empty for this machine's. What was compiled here goes into its own alone.
    """
    version = wherry.__version__
    info = f"wherry-{version}.dist-info"
    platform = platform or pins.native_platform()
    here = sys.platform == "linux" and platform == pins.native_platform()
    files = dict(sources(Path(wherry.__file__).parent, compiled=here))
    pure = not any(path.endswith(".so") for path in files)
    tag = "py3-none-any" if pure else f"cp311-abi3-linux_{pins.architecture(platform)}"
    files[f"{info}/METADATA"] = metadata(version).encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: wherry\nRoot-Is-Purelib: {str(pure).lower()}\nTag: {tag}\n".encode()
    )
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD").encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, compresslevel=9)
    return f"wherry-{version}-{tag}.whl", held.getvalue()


def sources(package: Path, *, compiled: bool) -> Iterator[tuple[str, bytes]]:
    """The files of the container's rooms by their path in the wheel, sorted; machine code if `compiled`."""
    left_out = (".pyc", ".pyo", *SOURCES, *(() if compiled else (".so",)))
    for room in ROOMS:
        path = package / room
        found = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in found:
            if file.suffix not in left_out and "__pycache__" not in file.parts:
                yield f"wherry/{file.relative_to(package).as_posix()}", file.read_bytes()


def metadata(version: str) -> str:
    needed = "".join(f"Requires-Dist: {text}\n" for text in requirements(RUNTIME))
    return f"Metadata-Version: 2.1\nName: wherry\nVersion: {version}\nLicense: Apache-2.0\n{needed}"


def requirements(names: Iterable[str]) -> tuple[str, ...]:
    """Each distribution as the installed wherry, an extra of it included, states it: msgspec>=0.19 for msgspec."""
    try:
        lines = importlib.metadata.requires("wherry") or []
    except importlib.metadata.PackageNotFoundError:  # run from its sources, without an installation
        lines = []
    stated: dict[str, str] = {}
    for line in lines:
        requirement = line.partition(";")[0].strip()
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()
        stated.setdefault(name, requirement)
    return tuple(stated.get(name, name) for name in names)


def record(files: dict[str, bytes], own: str) -> str:
    """RECORD: each file with its hash and size, its own line without."""
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    return "".join(lines) + f"{own},,\n"
