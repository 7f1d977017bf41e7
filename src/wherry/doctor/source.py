"""Python as facts: names as imports spell them, the routes of a service, and what a route's function reaches."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

MAX_MENDED = 40
VERBS = ("get", "post", "put", "delete", "patch")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Route:
    """A function that answers a path. framework: flask or fastapi."""

    function: Function
    path: str
    methods: tuple[str, ...]
    framework: str


class Source:
    """One module, or a notebook's cells. `tree` is what could be read of it."""

    def __init__(
        self, path: str, text: str, tree: ast.Module, lines: Sequence[int] = (), notes: Sequence[str] = ()
    ) -> None:
        self.path, self.text, self.tree, self.notes = path, text, tree, tuple(notes)
        self.file_lines = lines

    def at(self, node: ast.AST) -> int:
        """The line of the file that `node` stands on."""
        return self.line(int(getattr(node, "lineno", 1)))

    def line(self, number: int) -> int:
        return self.file_lines[number - 1] if 0 < number <= len(self.file_lines) else number

    @cached_property
    def imports(self) -> dict[str, str]:
        """What each imported name means in full: {"np": "numpy", "request": "flask.request"}."""
        found: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for name in node.names:
                    found[name.asname or name.name.partition(".")[0]] = (
                        name.name if name.asname else name.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    found[name.asname or name.name] = f"{node.module or ''}.{name.name}"
        return found

    def named(self, node: ast.AST | None) -> str:
        """The dotted name that an expression is, its first part as imported; empty for what is no name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.imports.get(node.id, node.id))
        return ".".join(reversed(parts))

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the module."""
        return list(ast.walk(self.tree))

    @cached_property
    def is_test(self) -> bool:
        """Whether the module is a test, whose secrets and chances are nobody's."""
        folders, _, name = self.path.rpartition("/")
        return name.startswith(("test_", "conftest")) or {"test", "tests"} & {*folders.split("/")} != set()

    def calls(self, within: ast.AST | None = None) -> Iterator[tuple[ast.Call, str]]:
        """Every call with the name of what is called; a method of an expression has the method's name alone."""
        if within is None:
            yield from self.all_calls
        else:
            yield from self.calls_of(ast.walk(within))

    @cached_property
    def all_calls(self) -> list[tuple[ast.Call, str]]:
        return list(self.calls_of(self.nodes))

    def calls_of(self, nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.Call, str]]:
        for node in nodes:
            if isinstance(node, ast.Call):
                yield node, self.named(node.func) or (node.func.attr if isinstance(node.func, ast.Attribute) else "")

    @cached_property
    def functions(self) -> dict[str, Function]:
        return {node.name: node for node in self.nodes if isinstance(node, Function)}

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    def holders(self, node: ast.AST) -> Iterator[ast.AST]:
        """What holds `node`, from the inside out."""
        here: ast.AST | None = self.parents.get(node)
        while here is not None:
            yield here
            here = self.parents.get(here)

    def guarded(self, node: ast.AST) -> bool:
        """Whether an exception at `node` is caught in its function."""
        inner = node
        for holder in self.holders(node):
            if isinstance(holder, ast.Try) and inner in holder.body and holder.handlers:
                return True
            if isinstance(holder, Function):
                return False
            inner = holder
        return False

    def in_function(self, node: ast.AST) -> bool:
        return any(isinstance(holder, Function | ast.Lambda) for holder in self.holders(node))

    @cached_property
    def routes(self) -> list[Route]:
        return [route for function in self.functions.values() for route in self.routes_of(function)]

    def routes_of(self, function: Function) -> Iterator[Route]:
        for decorator in function.decorator_list:
            if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
                continue
            verb = decorator.func.attr
            path = decorator.args[0].value if decorator.args and isinstance(decorator.args[0], ast.Constant) else ""
            uses = {name.partition(".")[0] for name in self.imports.values()}
            framework = "fastapi" if {"fastapi", "starlette"} & uses else "flask"
            if verb == "route":
                given = next((word.value for word in decorator.keywords if word.arg == "methods"), None)
                methods = [each.value for each in getattr(given, "elts", []) if isinstance(each, ast.Constant)]
                yield Route(function, str(path), tuple(str(each).upper() for each in methods) or ("GET",), "flask")
            elif verb in VERBS and isinstance(path, str) and path.startswith("/"):
                yield Route(function, path, (verb.upper(),), framework)

    def reached(self, function: Function, depth: int = 4) -> list[Function]:
        """The function and those of this module that it calls."""
        found, waiting = [function], [function]
        for _ in range(depth):
            waiting = [
                self.functions[name]
                for each in waiting
                for _, name in self.calls(each)
                if name in self.functions and self.functions[name] not in found
            ]
            found.extend(each for each in waiting if each not in found)
        return found

    def text_of(self, node: ast.AST) -> str:
        """The first line of `node` as it is written."""
        lines = self.text.splitlines()
        number = int(getattr(node, "lineno", 1))
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def source_of(path: str, text: str, lines: Sequence[int] = ()) -> Source:
    """The module in `text`; a line that is no Python is left out, and noted."""
    code = textwrap.dedent(text)
    notes: list[str] = []
    for _ in range(MAX_MENDED):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the project's own business
                return Source(path, code, ast.parse(code), lines, notes)
        except SyntaxError as error:
            number = error.lineno or 1
            shown = lines[number - 1] if 0 < number <= len(lines) else number
            if not notes:
                notes.append(f"{path}, line {shown}: is no Python 3 ({error.msg}); what else is there was read")
            rows = code.splitlines()
            number = min(number, len(rows))
            if not rows or rows[number - 1].strip() == "pass":
                break
            rows[number - 1] = re.match(r"\s*", rows[number - 1])[0] + "pass"  # type: ignore[index]  # it always matches
            code = "\n".join(rows) + "\n"
        except (ValueError, RecursionError, MemoryError) as error:
            notes.append(f"{path} was not read: {error}")
            break
    return Source(path, code, ast.Module([], []), lines, notes)


def constant(node: ast.AST | None) -> object:
    """The value of a literal; None for what is none."""
    return node.value if isinstance(node, ast.Constant) else None


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)
