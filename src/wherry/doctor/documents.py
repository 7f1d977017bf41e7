"""YAML with the line of each value, read as far as it goes: what stands before a mistake is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

MAX_EVENTS = 200_000


class Scalar(str):
    """A scalar as it is written, and the line that it is on."""

    __slots__ = ("line", "plain")
    line: int
    plain: bool


class Mapping(dict[str, Any]):
    """A mapping; `at` has the line of each key."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.at: dict[str, int] = {}


class Listed(list[Any]):
    """A sequence; a value that is no scalar has its own line."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


Node: TypeAlias = Any  # Scalar, Mapping, Listed or None


class Document:
    """One YAML document. problem: the line and the reason where its reading ended early, else None."""

    def __init__(self, path: str, root: Node, problem: tuple[int, str] | None) -> None:
        self.path, self.root, self.problem = path, root, problem

    @property
    def kind(self) -> str:
        """The kind of a Kubernetes object; empty for what is none."""
        root = self.root
        return str(root.get("kind") or "") if isinstance(root, dict) and "apiVersion" in root else ""

    @property
    def is_compose(self) -> bool:
        root = self.root
        if not isinstance(root, dict) or self.kind or not isinstance(root.get("services"), dict):
            return False
        return any(isinstance(each, dict) and ({"image", "build"} & set(each)) for each in root["services"].values())

    @property
    def name(self) -> str:
        return str(dig(self.root, "metadata", "name") or "")


def dig(node: Node, *keys: str) -> Node:
    """What lies at `keys`; None where there is no such thing."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def items(node: Node) -> list[Any]:
    return list(node) if isinstance(node, list) else []


def line_of(node: Node, fallback: int = 1) -> int:
    return getattr(node, "line", fallback)


def walk(node: Node) -> Iterator[tuple[Mapping, str, Node]]:
    """Every key of every mapping below `node`, with its mapping and its value."""
    waiting, seen = [node], set[int]()
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        if isinstance(here, (Mapping, Listed)):
            seen.add(id(here))
        if isinstance(here, Mapping):
            for key, value in here.items():
                yield here, key, value
            waiting.extend(reversed(list(here.values())))
        elif isinstance(here, list):
            waiting.extend(reversed(here))


def documents_of(path: str, text: str) -> Iterator[Document]:
    """The documents of one file; each is read though the one before it is broken."""
    if re.search(r"^\s*\{\{|\{\{-", text, re.MULTILINE):  # a template of Helm's or of Jinja's is no YAML yet
        return
    start = 0
    parts: list[list[str]] = [[]]
    starts = [0]
    for number, line in enumerate(text.splitlines(keepends=True)):
        if re.match(r"---(\s|$)", line):
            parts.append([])
            starts.append(number + 1)
            rest = line[3:].strip()
            if rest and not rest.startswith("#"):
                parts[-1].append(line[3:])
                starts[-1] = number
        else:
            parts[-1].append(line)
    for start, part in zip(starts, parts, strict=True):
        root, problem = read("".join(part), start)
        if root is not None or problem is not None:
            yield Document(path, root, problem)


def read(text: str, before: int) -> tuple[Node, tuple[int, str] | None]:
    """The value in `text` as far as it can be read, and where and why that was not to its end."""
    builder = Builder(before)
    try:
        for count, event in enumerate(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            if count > MAX_EVENTS:
                return builder.root, (before + 1, "there is too much of it")
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = before + int(getattr(mark, "line", 0)) + 1
        return builder.root, (line, str(error.problem or error.context or "it is no YAML"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return builder.root, (before + 1, str(error).splitlines()[0])
    return builder.root, None


class Builder:
    """Values out of events; whatever is still open when they stop is kept as it is."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.root: Node = None
        self.open: list[Mapping | Listed] = []
        self.keys: list[str | None] = []
        self.anchors: dict[str, Node] = {}

    def take(self, event: Any) -> None:
        line = self.before + event.start_mark.line + 1
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.open.pop()
            self.keys.pop()
            return
        node: Node
        if isinstance(event, yaml.MappingStartEvent):
            node = Mapping(line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Listed(line)
        elif isinstance(event, yaml.ScalarEvent):
            node = Scalar(event.value)
            node.line, node.plain = line, event.style is None
        elif isinstance(event, yaml.AliasEvent):
            node = self.anchors.get(str(event.anchor))
        else:
            return
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self.anchors[event.anchor] = node
        self.place(node, line)
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.open.append(node)
            self.keys.append(None)

    def place(self, node: Node, line: int) -> None:
        if not self.open:
            self.root = node
        elif isinstance(self.open[-1], Listed):
            self.open[-1].append(node)
        elif self.keys[-1] is None:
            key = str(node)
            self.keys[-1] = key
            self.open[-1].at[key] = line
            self.open[-1].setdefault(key, None)
        else:
            key = str(self.keys[-1])
            self.keys[-1] = None
            if isinstance(node, Scalar) and node.plain and node in ("", "~", "null"):
                node = None
            if key == "<<" and isinstance(node, Mapping):
                for name, value in node.items():
                    self.open[-1].setdefault(name, value)
            self.open[-1][key] = node
