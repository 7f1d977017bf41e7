"""The project in the working directory: its file, the environment and the flags, resolved once a command."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wherry.cli.console import Console
from wherry.contract.manifest import Manifest
from wherry.contract.names import PROJECT_FILE, STATE_DIR
from wherry.contract.project import Project
from wherry.contract.settings import Resolved, resolve, with_root
from wherry.errors import SettingProblem, SettingsRefused, SettingsUnreadable

PYPROJECT = "pyproject.toml"
GATHERED = "gathered"  # in the state: the bundles of a service that holds several, as they go into an image


def load(console: Console, flags: Mapping[str, Any] | None = None, where: Path = Path()) -> Resolved:
    """The settings of wherry.toml, else of [tool.wherry] in pyproject.toml, in `where`; warnings become notes.

    Raises SettingsUnreadable, SettingsRefused.
    """
    table, source = read(where)
    resolved = resolve(table, os.environ, flags or {}, source)
    for warning in resolved.warnings:
        console.note(warning, warn=True)
    name = resolved.project.reply.root_file
    return with_root(resolved, page(where / name, source)) if name else resolved


def page(path: Path, source: str) -> str:
    """The text of `reply.root_file`. Raises SettingsRefused."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        problem = SettingProblem(
            "reply.root_file", f"cannot be read: {path}: {reason}", "name a file beside wherry.toml"
        )
        raise SettingsRefused((problem,), source) from error


def read(where: Path) -> tuple[dict[str, Any], str]:
    """The table of settings in `where` and the file's name; empty when there is no project."""
    own = where / PROJECT_FILE
    if own.is_file():
        return parse(own), PROJECT_FILE
    shared = where / PYPROJECT
    if shared.is_file():
        table = parse(shared).get("tool", {}).get("wherry")
        if table is not None:
            return table, f"{PYPROJECT} [tool.wherry]"
    return {}, "settings"


def parse(path: Path) -> dict[str, Any]:
    """The TOML in `path`. Raises SettingsUnreadable naming the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        reason = found[1] if found else str(error)
        line = int(found[2]) if found and found[2] else len(path.read_text(encoding="utf-8").splitlines())
        raise SettingsUnreadable(path.name, line, reason[0].lower() + reason[1:]) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SettingsUnreadable(path.name, line, f"byte {error.start} is not UTF-8") from error


def packed(declared: Project, bundle: Path) -> tuple[Path, Manifest]:
    """The bundle that goes out, and its manifest: verified, and with those inside that the project declares beside it.

    Raises what `verify` raises, BundlesClash, ChainRefused.
    """
    from wherry.contract.chains import DECLARED, chained, distinct, joins, steps_of
    from wherry.model.bundle import gather, read_manifest, verify

    further, chain = [Path(folder) for folder in declared.serve.bundles], declared.serve.chain
    manifest, folder = verify(bundle), bundle
    manifests = [manifest, *map(read_manifest, further)]
    steps = [manifests[place] for place in steps_of(chain, manifests)]
    joins(chain, steps)
    made = [chained(chain, steps)] if steps else []
    distinct([*manifests, *made], [str(bundle), *map(str, further), *[DECLARED] * len(made)])
    if further:
        folder = state() / GATHERED
        manifest = gather(folder, bundle, further)
    return folder, manifest


def state() -> Path:
    """Where this project keeps what it must remember."""
    return Path(STATE_DIR)
