"""What a service makes of features and of scores."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator

from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule
from wherry.doctor.rules.asked import all_routes, predicts
from wherry.doctor.source import constant


@rule(
    "dangerous",
    consequence="what is asked ends up in access logs, caches and browser histories",
    fix="take the features in the body of a POST",
    source="https://owasp.org/www-community/vulnerabilities/Information_exposure_through_query_strings_in_url",
)
def features_in_url(project: Project) -> Iterator[Place]:
    """features are taken from the address of a GET"""
    for source, route in all_routes(project):
        if "GET" not in route.methods or not predicts(source, route.function):
            continue
        arguments = [arg for arg in route.function.args.args + route.function.args.kwonlyargs if arg.arg != "self"]
        asked = any(source.named(node) == "flask.request.args" for node in ast.walk(route.function))
        if asked or (route.framework == "fastapi" and arguments):
            yield Place(source.path, source.at(route.function), f"GET {route.path}")


@rule(
    "misleading",
    consequence="a request that forgets a feature gets an answer to another question",
    fix="leave the default out, so that a missing feature is refused",
    source="https://fastapi.tiangolo.com/tutorial/query-params/#required-query-parameters",
)
def silent_default(project: Project) -> Iterator[Place]:
    """a feature that is missing is taken as a number"""
    for source, route in all_routes(project):
        if not predicts(source, route.function):
            continue
        given = route.function.args
        defaults = [(arg, value) for arg, value in zip(reversed(given.args), reversed(given.defaults), strict=False)]
        silent = [arg.arg for arg, value in reversed(defaults) if is_number(value)]
        if silent and route.framework == "fastapi":
            yield Place(source.path, source.at(route.function), ", ".join(silent))
        for call, name in source.calls(route.function):
            if name == "flask.request.args.get" and len(call.args) > 1 and is_number(call.args[1]):
                yield Place(source.path, source.at(call), source.text_of(call))


def is_number(node: ast.AST) -> bool:
    value = constant(node)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@rule(
    "misleading",
    consequence="everything above a half is told as 100",
    fix="round after the multiplication: round(score * 100)",
    source="https://docs.python.org/3/library/functions.html#round",
)
def rounded_share(project: Project) -> Iterator[Place]:
    """a share is rounded before it is made a percentage"""
    for source in project.sources:
        for node in source.nodes:
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
                continue
            for one, other in ((node.left, node.right), (node.right, node.left)):
                rounds = (
                    isinstance(one, ast.Call)
                    and source.named(one.func) in ("round", "numpy.round")
                    and len(one.args) == 1
                )
                if rounds and constant(other) == 100:
                    yield Place(source.path, source.at(node), source.text_of(node))


@rule(
    "misleading",
    consequence="requests that the model was trained to answer are refused",
    fix="allow what the data hold: ge=0 in place of gt=0",
    source="https://docs.pydantic.dev/latest/concepts/fields/#numeric-constraints",
)
def range_refuses_own_data(project: Project) -> Iterator[Place]:
    """a field's range refuses rows of the project's own data"""
    bounds = {"gt": lambda a, b: a <= b, "ge": lambda a, b: a < b, "lt": lambda a, b: a >= b, "le": lambda a, b: a > b}
    limits = [
        (source, node, node.target.id, word.arg, constant(word.value))
        for source in project.sources
        for node in source.nodes
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Call)
        for word in node.value.keywords
        if word.arg in bounds and isinstance(constant(word.value), (int, float))
    ]
    if not limits:
        return
    tables = list(columns_of(project))
    for source, node, name, word, limit in limits:
        for file, columns in tables:
            wrong = sum(bounds[word](value, limit) for value in columns.get(name, ()))
            if wrong:
                yield Place(source.path, source.at(node), f"{word}={limit} refuses {wrong} rows of {file}")


def columns_of(project: Project) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """The numbers of each CSV file, by column."""
    for path in project.paths:
        if path.suffix.lower() != ".csv" or path.stat().st_size > 16 << 20:
            continue
        columns: dict[str, list[float]] = {}
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                for row in csv.DictReader(file):
                    for name, cell in row.items():
                        if name and isinstance(cell, str) and re.fullmatch(r"\s*-?\d+(\.\d+)?([eE][-+]?\d+)?\s*", cell):
                            columns.setdefault(name, []).append(float(cell))
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
        yield project.below(path), columns
