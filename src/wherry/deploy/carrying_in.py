"""Takes a bundle from one connection and lays it into a volume: the program of the pod that `carrying` makes.

Its text is handed to the python3 of whatever image is deployed, so it takes the standard library alone. A folder is
there whole or not at all; what it replaces is gone only then. Whoever loads the bundle verifies it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path, PurePosixPath
from typing import BinaryIO

HOST = "127.0.0.1"  # only the API server's forward leads there
WAIT_SECONDS = 120.0
CHUNK = 1 << 20
LISTENING = "listening"  # said once it may be written to


def main(words: str) -> int:
    """0 once the bundle is there. words: a JSON object of port, volume (a folder), folder (in it)."""
    wish = json.loads(words)
    volume = Path(wish["volume"])
    with socket.create_server((HOST, wish["port"])) as door:
        door.settimeout(WAIT_SECONDS)
        sys.stdout.write(f"{LISTENING}\n")
        sys.stdout.flush()
        caller, _ = door.accept()
        with caller, caller.makefile("rb") as stream:
            caller.settimeout(WAIT_SECONDS)
            try:
                laid_down(stream, volume, wish["folder"])
                said = ""
            except (OSError, ValueError) as error:
                said = f"{type(error).__name__}: {error}"
            caller.sendall(json.dumps({"error": said}).encode() + b"\n")
            stream.read(1)  # until the reply has been read
    return 1 if said else 0


def laid_down(stream: BinaryIO, volume: Path, folder: str) -> None:
    """The stream: a line of JSON, a list of path and size, then the files' bytes one after the other."""
    target = volume / inside(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    new, old = (target.with_name(f".{target.name}.{state}") for state in ("new", "old"))
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    for path, size in json.loads(stream.readline()):
        file = new / inside(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            while size:
                piece = stream.read(min(size, CHUNK))
                if not piece:
                    raise ValueError("the connection ended early")
                out.write(piece)
                size -= len(piece)
            out.flush()
            os.fsync(out.fileno())
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def inside(path: str) -> PurePosixPath:
    """`path`, once it is known to stay where it is put. Raises ValueError."""
    found = PurePosixPath(path)
    if found.is_absolute() or ".." in found.parts or not found.parts:
        raise ValueError(f"{path!r} is no path inside the volume")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
