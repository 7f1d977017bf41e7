"""What of a request's cells is kept: decided before anything is written, so that the spool never holds more."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import msgspec

from wherry.contract.project import Store
from wherry.contract.views import unknown_inputs
from wherry.contract.wire import Cell
from wherry.errors import FileMissing, SettingProblem, SettingsRefused
from wherry.server.journal import Entry

KEY_FILE = "inputs.key"
KEY_BYTES = 16  # at least: a shorter key can be tried out
HASH_BYTES = 16
MARK = "#"  # before a hash, so that nobody takes it for a value
Reduce = Callable[[Entry], Entry]


def kept_columns(store: Store, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns, of those of the model, whose cells are kept in one form or another."""
    if store.inputs == "off":
        return ()
    return tuple(name for name in columns if name in store.input_columns) if store.inputs == "named" else columns


def reducing(store: Store, columns: tuple[str, ...], state: Path, *, desk: bool) -> Reduce | None:
    """What makes of an entry the one that is kept, its cells those of `kept_columns`; None where it is kept whole.

    Raises SettingsRefused (a column that the model has not; no key), FileMissing.
    """
    if store.inputs == "whole":
        return None
    if problems := tuple(unknown_inputs(store, columns)):
        raise SettingsRefused(problems, "the model and the settings")
    if store.inputs == "hashed":
        key = key_of(store, state, desk=desk)
        starts = [msgspec.json.encode(name) + b":" for name in columns]
        return lambda entry: msgspec.structs.replace(
            entry, rows=[tuple(map(hashed, repeat(key), starts, row)) for row in entry.rows]
        )
    places = [columns.index(name) for name in kept_columns(store, columns)]
    return lambda entry: msgspec.structs.replace(
        entry, rows=[tuple([row[place] for place in places]) for row in entry.rows]
    )


def hashed(key: bytes, start: bytes, cell: Cell) -> str | None:
    """BLAKE2b of the column's name and the cell, as JSON has them, under `key`: 128 bits, in hexadecimal.

    Equal cells of one column get equal hashes, and those of two columns none; what is missing stays missing.
    """
    if cell is None:
        return None
    return MARK + hashlib.blake2b(start + msgspec.json.encode(cell), digest_size=HASH_BYTES, key=key).hexdigest()


def key_of(store: Store, state: Path, *, desk: bool) -> bytes:
    """The key: that of store.hash_key_file, else on a desk one of this project's own, made when it is first needed."""
    path = Path(store.hash_key_file) if store.hash_key_file else state / KEY_FILE
    if not store.hash_key_file:
        if not desk:
            problem = SettingProblem(
                "store.inputs",
                "is hashed, and no key is named: each container would make one of its own",
                "mount a file of random letters, and name it in store.hash_key_file",
            )
            raise SettingsRefused((problem,), "settings")
        make_key(path)
    try:
        text = path.read_bytes().strip()
    except OSError as error:
        raise FileMissing(str(path), "file with the key of hashed inputs", "store.hash_key_file names it") from error
    if len(text) < KEY_BYTES:
        hint = f"head -c 32 /dev/urandom | base64 > {path}"
        raise SettingsRefused(
            (SettingProblem("store.hash_key_file", "holds a key that is too short", hint),), "settings"
        )
    return hashlib.blake2b(text).digest()


def make_key(path: Path) -> None:
    """Write a new key, for its owner alone to read, unless there is one; whole, should two try at once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(secrets.token_hex(32) + "\n")
    with contextlib.suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()
