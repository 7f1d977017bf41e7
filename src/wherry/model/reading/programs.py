"""What a Python file says: whether it is one, and which libraries it takes. It is parsed, and never run."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

from wherry.errors import CodeFailed, ExtraMissing, ModelUnknown

# What a program has and no table of values: only then is it worth parsing.
STATES = re.compile(rb"(?m)^(?:import|from) +\w")
DEFINES = re.compile(rb"(?m)^(?:(?:async +)?def +\w+ *\(|class +\w+ *[(:])")
# A block of TOML in comments, as the inline script metadata of Python's packaging standards has it.
SCRIPT = re.compile(r"(?m)^# /// script\r?$\s(?P<content>(?:^#(?:| .*)\r?$\s)+)^# ///\r?$")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def is_program(content: bytes) -> bool:
    """Whether a text is Python code that defines something, though there be mistakes in it, or imports something."""
    if DEFINES.search(content):
        return True
    if not STATES.search(content):
        return False
    try:
        ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def libraries(content: bytes, path: str) -> tuple[str, ...]:
    """The distributions that the code imports, wherever in it, and those that its block of metadata names.

    Raises CodeFailed for code that cannot be read; ModelUnknown for a module that lies here and is in no distribution;
    ExtraMissing for one that is named and not installed.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0) or 0
        raise CodeFailed(Path(path).name, line, "", f"SyntaxError: {getattr(error, 'msg', error)}") from error
    known = packages_distributions()
    installed = {normal(each): each for names in known.values() for each in names}
    found = set()
    for module in sorted(set(imported(tree)) - {"wherry", "__future__"} - sys.stdlib_module_names):
        if module in known:
            found.add(known[module][0])
        elif find_spec(module) is not None:
            hint = "put what it takes of it into the file itself, or install it as a package"
            raise ModelUnknown(path, f"imports {module},", "which is no installed package: one file is packed", hint)
    for name in named(content, path):
        if normal(name) not in installed:
            raise ExtraMissing(name, "", path)
        found.add(installed[normal(name)])
    return tuple(sorted(found))


def imported(tree: ast.AST) -> Iterator[str]:
    """The top name of every module that the code imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def named(content: bytes, path: str) -> Iterator[str]:
    """The names of the dependencies in the block of metadata; their versions are those that are here."""
    block = SCRIPT.search(content.decode("utf-8", "replace"))
    if block is None:
        return
    text = "".join(line[2:] if line.startswith("# ") else line[1:] for line in block["content"].splitlines(True))
    try:
        stated = tomllib.loads(text).get("dependencies", [])
    except tomllib.TOMLDecodeError as error:
        raise ModelUnknown(path, "its block of metadata", f"cannot be read: {error}", "it is TOML") from error
    for each in stated:
        if match := NAME.match(str(each).strip()):
            yield match[0]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
