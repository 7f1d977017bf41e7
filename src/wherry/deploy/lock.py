"""wherry.lock: what the first build resolved, so that later ones are made of the same. Readable, and meant for git."""

from __future__ import annotations

import errno
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.deploy import pins
from wherry.errors import DiskFull, LockUnreadable
from wherry.release.reference import Reference

VERSION = 1
HEAD = """\
# What the first build resolved: later builds take the same. Commit this file.
# wherry build --refresh resolves it again.
version = 1
"""


class Packages(msgspec.Struct, frozen=True):
    """What was asked for, and what it came to: NAME==VERSION --hash=sha256:... each."""

    wanted: tuple[str, ...]
    locked: tuple[str, ...]


class Lock(msgspec.Struct, frozen=True):
    """base: image name to digest. packages: "3.11 linux/amd64" to what is installed there."""

    base: dict[str, str] = {}
    packages: dict[str, Packages] = {}


class Settled(msgspec.Struct, frozen=True):
    """What a build is made of: the base by digest, the name it had, the text of requirements.txt."""

    base: Reference
    base_name: str
    requirements: str


def read(path: Path) -> Lock:
    """The lock at `path`, an empty one when there is none. Raises LockUnreadable."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Lock()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LockUnreadable(str(path), str(error)) from error
    if raw.get("version") != VERSION:
        raise LockUnreadable(str(path), f"has version {raw.get('version')!r}; this wherry reads version {VERSION}")
    try:
        lock = msgspec.convert({key: value for key, value in raw.items() if key != "version"}, Lock)
    except msgspec.ValidationError as error:
        raise LockUnreadable(str(path), str(error)) from error
    for name, digest in lock.base.items():
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise LockUnreadable(str(path), f"base {name} has no digest but {digest!r}")
    return lock


def write(path: Path, lock: Lock) -> None:
    """Replace the lock at `path` in one step. Raises DiskFull, LockUnreadable."""
    text = [HEAD, "\n[base]\n", *(f"{quoted(name)} = {quoted(digest)}\n" for name, digest in sorted(lock.base.items()))]
    for key, packages in sorted(lock.packages.items()):
        text.append(f"\n[packages.{quoted(key)}]\n")
        text.append(f"wanted = {listed(packages.wanted)}\nlocked = {listed(packages.locked)}\n")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text("".join(text), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(str(path)) from error
        raise LockUnreadable(str(path), f"cannot be written: {error.strerror}") from error


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def listed(values: tuple[str, ...]) -> str:
    return "[\n" + "".join(f"  {quoted(value)},\n" for value in values) + "]"


def settle(
    path: Path,
    *,
    base: str,
    wanted: tuple[str, ...],
    python: str,
    platform: str,
    refresh: bool = False,
    tell: Tell = silent,
) -> Settled:
    """What the lock says of this base and these packages; what it does not say yet is resolved and written there.

    refresh: both are resolved again, and what differs is told; nothing is written before all is resolved.
    Raises LockUnreadable, BaseMissing, PipMissing, RequirementsUnresolved.
    """
    lock = read(path)
    changes: dict[str, Any] = {}
    held = lock.base.get(base, "")
    if held and not refresh:
        pinned = Reference.parse(base).pinned(held)
    else:
        tell(Step(f"resolving {base}"))
        pinned = pins.pin_base(base, tell)
        if pinned.digest != held:
            changes["base"] = {**lock.base, base: pinned.digest}
    key = f"{python} {platform}"
    before = packages = lock.packages.get(key)
    if packages is None or packages.wanted != wanted or refresh:
        tell(Step(f"resolving {len(wanted)} packages for Python {python} on {platform}"))
        packages = Packages(wanted, pins.pin_requirements(wanted, python, platform))
        if packages != before:
            changes["packages"] = {**lock.packages, key: packages}
    if changes:
        write(path, msgspec.structs.replace(lock, **changes))
        tell(Note(f"wrote {path}: {' and '.join(changes)} resolved", hint=f"git add {path.name}"))
    if refresh:
        told = differences(held, pinned.digest, before.locked if before else (), packages.locked)
        tell(Note("; ".join(told) or f"base and packages are as {path.name} has them"))
    requirements = "".join(f"{line}\n" for line in packages.locked)
    return Settled(pinned, base, requirements)


def differences(base: str, new_base: str, before: tuple[str, ...], now: tuple[str, ...]) -> list[str]:
    """What became another since the lock was written, a phrase each."""
    told = [f"the base is {new_base[:19]}, no longer {base[:19]}"] if base and base != new_base else []
    old, new = (dict(line.partition(" ")[0].split("==", 1) for line in lines) for lines in (before, now))
    for name in sorted(old.keys() | new.keys()) if old else ():
        if old.get(name) != new.get(name):
            told.append(f"{name} {old.get(name, 'none')} is {new.get(name, 'gone')}")
    return told
