"""How a service reads a request, and what it answers where something is wrong."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule
from wherry.doctor.rules.asked import all_routes, bodies, payloads
from wherry.doctor.source import Source, constant, keyword

EVERYWHERE = ("0.0.0.0", "::", "")


@rule(
    "dangerous",
    consequence="the debugger runs Python for whoever opens the page of an error",
    fix="remove debug, and start the service with a server such as gunicorn or uvicorn",
    source="https://flask.palletsprojects.com/en/stable/debugging/",
)
def debug_server(project: Project) -> Iterator[Place]:
    """the debugger is on, on an address that others reach"""
    for source in project.sources:
        switched = [
            node
            for node in source.nodes
            if isinstance(node, ast.Assign)
            and constant(node.value) is True
            and any(isinstance(each, ast.Attribute) and each.attr == "debug" for each in node.targets)
        ]
        for call, name in source.calls():
            if name.rpartition(".")[2] != "run" or constant(keyword(call, "host")) not in EVERYWHERE:
                continue
            if constant(keyword(call, "debug")) is True:
                yield Place(source.path, source.at(call), source.text_of(call))
            elif switched and keyword(call, "debug") is None:
                yield Place(source.path, source.at(switched[-1]), source.text_of(switched[-1]))
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("ENV"):
            if re.search(r"\bFLASK_(DEBUG[= ]\"?(1|true)|ENV[= ]\"?development)", one.rest, re.I):
                yield Place(dockerfile.path, one.line, one.rest)


def says_failure(node: ast.AST) -> bool:
    """Whether an expression is a reply that says it failed: {"success": False}, jsonify(status="error")."""
    pairs: list[tuple[object, object]] = []
    if isinstance(node, ast.Dict):
        pairs = [(constant(key), constant(value)) for key, value in zip(node.keys, node.values, strict=True)]
    elif isinstance(node, ast.Call):
        pairs = [(word.arg, constant(word.value)) for word in node.keywords]
        if any(says_failure(each) for each in node.args):
            return True
    return any(
        (key in ("success", "ok") and value is False)
        or (key == "status" and value in ("error", "fail", "failed", "failure"))
        or (key == "error" and value is not None and value is not False)
        for key, value in pairs
    )


def with_status(source: Source, value: ast.AST) -> bool:
    """Whether what a route returns names a status."""
    if isinstance(value, ast.Tuple):
        return True
    return isinstance(value, ast.Call) and any(
        word.arg in ("status", "status_code") and not isinstance(constant(word.value), str) for word in value.keywords
    )


@rule(
    "dangerous",
    consequence="a client, a proxy and a dashboard that look at the status see a success",
    fix="answer a 4xx status with it: return jsonify(...), 400",
    source="https://www.rfc-editor.org/rfc/rfc9110#section-15",
)
def failure_as_success(project: Project) -> Iterator[Place]:
    """a request that asks for nothing is answered 200 with "success": false"""
    for source, route in all_routes(project):
        failing = {
            target.id: node
            for node in ast.walk(route.function)
            if isinstance(node, ast.Assign) and says_failure(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(route.function):
            if not isinstance(node, ast.Return) or node.value is None or with_status(source, node.value):
                continue
            if any(isinstance(holder, ast.ExceptHandler) for holder in source.holders(node)):
                continue  # error_as_success
            given = node.value.args[0] if isinstance(node.value, ast.Call) and node.value.args else node.value
            if isinstance(given, ast.Name) and given.id in failing:
                yield Place(source.path, source.at(failing[given.id]), source.text_of(failing[given.id]))
            elif says_failure(node.value):
                yield Place(source.path, source.at(node), source.text_of(node))


@rule(
    "dangerous",
    consequence="the caller takes the reply for a prediction, and nobody is told of the failure",
    fix="answer 400 for the caller's mistakes and 500 for your own: return jsonify(...), 400",
    source="https://www.rfc-editor.org/rfc/rfc9110#section-15",
)
def error_as_success(project: Project) -> Iterator[Place]:
    """an exception is answered 200"""
    for source, route in all_routes(project):
        for node in ast.walk(route.function):
            if not isinstance(node, ast.ExceptHandler):
                continue
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None and not with_status(source, inner.value):
                    name = source.named(inner.value.func) if isinstance(inner.value, ast.Call) else ""
                    if not name or name.rpartition(".")[2] in ("jsonify", "dict", "dumps"):
                        yield Place(source.path, source.at(inner), source.text_of(inner))


@rule(
    "dangerous",
    consequence="broken JSON is answered with a page of HTML, which no client of the service reads",
    fix="read it within the try: content = request.get_json(silent=True), and answer 400 where it is None",
    source="https://flask.palletsprojects.com/en/stable/api/#flask.Request.get_json",
)
def body_read_unguarded(project: Project) -> Iterator[Place]:
    """the body is read outside the try, so broken JSON gets an HTML page"""
    for source, route in all_routes(project):
        handled = "errorhandler" in source.text
        for node in bodies(source, route.function):
            call = source.parents.get(node)
            silent = isinstance(call, ast.Call) and constant(keyword(call, "silent")) is True
            if not silent and not handled and not source.guarded(node):
                yield Place(source.path, source.at(node), source.text_of(node))


@rule(
    "misleading",
    consequence="a request without it, or with a row of the wrong length, is a 500",
    fix="check the fields and the number of values first, and answer 400 with what is missing",
    source="https://www.rfc-editor.org/rfc/rfc9110#section-15.5.1",
)
def payload_not_checked(project: Project) -> Iterator[Place]:
    """a field of the request is taken as if it were always there"""
    for source, route in all_routes(project):
        names = payloads(source, route.function)
        tested = {
            constant(node.left)
            for node in ast.walk(route.function)
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn))
        }
        for node in ast.walk(route.function):
            taken = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in names
            if taken and constant(node.slice) not in tested and not source.guarded(node):  # type: ignore[attr-defined]  # a Subscript
                yield Place(source.path, source.at(node), source.text_of(node))


@rule(
    "dangerous",
    consequence="whoever wants to leave no trace leaves none, and what is kept is no record",
    fix="decide it in the service's configuration",
    source="https://owasp.org/Top10/A09_2021-Security_Logging_and_Monitoring_Failures/",
)
def client_decides_recording(project: Project) -> Iterator[Place]:
    """the caller decides whether the prediction is recorded"""
    words = ("store", "save", "record", "log", "persist")
    for source, route in all_routes(project):
        names = payloads(source, route.function)
        for node in ast.walk(route.function):
            held = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in names
            got = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "get"
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in names
            )
            key = constant(node.slice) if isinstance(node, ast.Subscript) and held else None
            if isinstance(node, ast.Call) and got and node.args:
                key = constant(node.args[0])
            if key in words:
                yield Place(source.path, source.at(node), source.text_of(node))


@rule(
    "misleading",
    consequence="every client has to encode and decode twice, and no tool can say what the service takes",
    fix='take and give lists: {"data": [[...]]} in, {"predictions": [...]} out',
    source="https://www.rfc-editor.org/rfc/rfc8259",
)
def json_in_json(project: Project) -> Iterator[Place]:
    """a JSON text lies within the JSON"""
    for source, route in all_routes(project):
        names = payloads(source, route.function)
        for call, name in source.calls(route.function):
            given = call.args[0] if call.args else None
            of_payload = (
                any(isinstance(each, ast.Name) and each.id in names for each in ast.walk(given)) if given else False
            )
            into_reply = any(isinstance(holder, ast.Dict) for holder in source.holders(call))
            subscript = isinstance(given, (ast.Subscript, ast.Call))
            if (name == "json.loads" and of_payload and subscript) or (name == "json.dumps" and into_reply):
                yield Place(source.path, source.at(call), source.text_of(call))
