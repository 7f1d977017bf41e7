"""What of a service its rules ask: its routes, what predicts, where the JSON of a request is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from wherry.doctor.project import Project
from wherry.doctor.source import Function, Route, Source

BODIES = ("flask.request.json", "flask.request.get_json")


def all_routes(project: Project) -> Iterator[tuple[Source, Route]]:
    for source in project.sources:
        for route in source.routes:
            yield source, route


def predicts(source: Source, function: Function) -> bool:
    return any(name.rpartition(".")[2] in ("predict", "predict_proba") for _, name in source.calls(function))


def bodies(source: Source, function: Function) -> Iterator[ast.AST]:
    """Where the function reads the JSON of a request."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and source.named(node) in BODIES:
            yield node


def payloads(source: Source, function: Function) -> set[str]:
    """The names that hold the JSON of a request."""
    reads = set(bodies(source, function))
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(each in reads for each in ast.walk(node.value)):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return found
