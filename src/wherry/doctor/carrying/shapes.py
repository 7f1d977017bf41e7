"""The shapes of a service's requests and replies, read off its routes, as templates of `[reply]`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, TypeAlias

from wherry.doctor.carrying.carried import Carried
from wherry.doctor.carrying.pictures import read_pictures, takes_pictures
from wherry.doctor.project import Project
from wherry.doctor.rules.asked import payloads, predicts
from wherry.doctor.source import Function, Route, Source, constant

NUMBERS = ("int", "float", "str", "round")
OWN = {"/": "root", "/info": "info", "/health": "health"}


# The names that hold what the model answered, each with what it was given.
Answers: TypeAlias = dict[str, ast.expr]


class Unclear(Exception):
    """An expression that is no template."""


def read_shapes(project: Project, carried: Carried) -> None:
    """Put what the routes say into `carried`."""
    for source in project.sources:
        for route in source.routes:
            if any(predicts(source, function) for function in source.reached(route.function)):
                read_predict(source, route, carried)
            elif "GET" in route.methods:
                read_constant(project, source, route, carried)
            else:
                carried.lose(f"{source.path}:{source.at(route.function)}: {' '.join(route.methods)} {route.path}")


def read_constant(project: Project, source: Source, route: Route, carried: Carried) -> None:
    """A path that answers the same to everybody: a text, JSON, or a page."""
    where = f"{source.path}:{source.at(route.function)}: GET {route.path}"
    for value in returned(route.function):
        if isinstance(value, ast.Call) and source.named(value.func).endswith("render_template"):
            read_page(project, source, route, str(constant(value.args[0]) if value.args else ""), carried)
            return
        try:
            template = shape(source, value, {})
        except Unclear:
            carried.lose(where)
            return
        if route.path in OWN:
            carried.set(f"reply.{OWN[route.path]}", template)
        else:
            carried.put("reply.paths", route.path, template)
        return
    carried.lose(where)


def read_page(project: Project, source: Source, route: Route, name: str, carried: Carried) -> None:
    found = [text for text in project.texts if text.name == name]
    if route.path != "/" or not found:
        missing = (
            "" if found else f'; {name} is not here: put it beside wherry.toml, and root_file = "{name}" under [reply]'
        )
        carried.lose(f"{source.path}:{source.at(route.function)}: the page at {route.path}{missing}")
    elif "{{" in found[0].text or "{%" in found[0].text:
        carried.lose(f"{found[0].path}: a template; wherry shows a page as it stands")
    else:
        carried.set("reply.root_file", name)
        carried.files[name] = found[0].path


def read_predict(source: Source, route: Route, carried: Carried) -> None:
    function = route.function
    where = f"{source.path}:{source.at(function)}"
    if takes_pictures(source, function):
        read_pictures(source, function, where, carried)
        return
    if route.path != "/predict":
        carried.set("reply.predict_paths", [route.path])
    declared = read_request(source, function, carried)
    if route.framework == "fastapi" and "GET" in route.methods:
        carried.columns = tuple(arg.arg for arg in function.args.args)
    answers = predictions(source, function)
    for value, caught in replies(source, function):
        try:
            template = shape(source, value, answers)
        except Unclear as error:
            carried.lose(f"{where}: the reply `{error}`")
            continue
        if caught:
            if isinstance(template, dict):
                carried.set("reply.error", {**template, "detail": "$detail"})
        elif mentions(template):
            carried.set("reply.rows" if declared else "reply.record", template)
            for each in ast.walk(value):
                if isinstance(each, ast.IfExp) and (labels := labels_in(source, each, answers)):
                    carried.set("reply.labels", labels)
    for node in ast.walk(source.tree):  # the order of the columns, as a constant that is taken from the frame
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name) and not carried.columns:
            carried.columns = texts_of(source, node.slice.id)


def read_request(source: Source, function: Function, carried: Carried) -> bool:
    """Whether the rows come under a key of the request."""
    names = payloads(source, function)
    template: dict[str, Any] = {}
    for node in ast.walk(function):
        taken = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in names
        key = constant(node.slice) if isinstance(node, ast.Subscript) and taken else None
        if not isinstance(key, str):
            continue
        if key == "store":
            template[key] = "$store"
            carried.set("store.client_may_skip", True)
        else:
            loads = any(
                source.named(each.func) == "json.loads" for each in source.holders(node) if isinstance(each, ast.Call)
            )
            template[key] = "$json:rows" if loads else "$rows"
    rows = [key for key, value in template.items() if value != "$store"]
    if len(rows) > 1:
        carried.lose(f"{source.path}:{source.at(function)}: the request's fields {', '.join(rows)}: name each a column")
        return False
    if rows:
        carried.set("reply.request", template)
    return bool(rows)


def predictions(source: Source, function: Function) -> Answers:
    """The names that hold what the model answered, each with the expression that it was given."""
    found: Answers = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and answers_in(source, node.value, found):
            found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def answers_in(source: Source, node: ast.AST, names: Answers) -> bool:
    predicted = any(name.rpartition(".")[2] == "predict" for _, name in source.calls(node))
    return predicted or any(isinstance(each, ast.Name) and each.id in names for each in ast.walk(node))


def returned(function: Function) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value


def replies(source: Source, function: Function) -> Iterator[tuple[ast.expr, bool]]:
    """What the function returns, and whether it does so where an exception was caught."""
    for value in returned(function):
        caught = any(isinstance(holder, ast.ExceptHandler) for holder in source.holders(value))
        yield (value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value), caught


def shape(source: Source, node: ast.expr, answers: Answers) -> Any:
    """An expression as a template. Raises Unclear with its text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool)):
        return f"${node.value}" if isinstance(node.value, str) and node.value.startswith("$") else node.value
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(constant(node.operand), (int, float))
    ):
        return -node.operand.value  # type: ignore[attr-defined]  # a number, as was just seen
    if isinstance(node, ast.Dict):
        keys = [constant(key) for key in node.keys]
        if all(isinstance(key, str) for key in keys):
            return {str(key): shape(source, value, answers) for key, value in zip(keys, node.values, strict=True)}
    if isinstance(node, ast.List):
        return [shape(source, each, answers) for each in node.elts]
    if isinstance(node, ast.Call) and source.named(node.func).endswith(("jsonify", "JSONResponse", "dict")):
        if node.args:
            return shape(source, node.args[0], answers)
        return {str(word.arg): shape(source, word.value, answers) for word in node.keywords if word.arg}
    if labels_in(source, node, answers):
        return "$label"
    if answers_in(source, node, answers):
        return answer(source, node, answers)
    raise Unclear(ast.unparse(node)[:80])


def labels_in(source: Source, node: ast.expr, answers: Answers) -> dict[str, str]:
    """What two classes are called, where the expression tells them apart: `"M" if answer == 1 else "B"`."""
    if not isinstance(node, ast.IfExp) or not isinstance(node.test, ast.Compare):
        return {}
    test, names = node.test, (constant(node.body), constant(node.orelse))
    known = constant(test.comparators[0])
    alike = len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq) and answers_in(source, test.left, answers)
    if not alike or known not in (0, 1) or not all(isinstance(name, str) for name in names):
        return {}
    return {str(int(known)): str(names[0]), str(1 - int(known)): str(names[1])}


def answer(source: Source, node: ast.expr, answers: Answers) -> str:
    """What of the model's answers an expression is: all, the first, or all as a JSON text."""
    if isinstance(node, ast.Call):
        name = source.named(node.func) or (node.func.attr if isinstance(node.func, ast.Attribute) else "")
        if name == "json.dumps" and node.args:
            return f"$json:{answer(source, node.args[0], answers).removeprefix('$')}"
        if name in (*NUMBERS, "list") and node.args:
            return answer(source, node.args[0], answers)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("tolist", "item"):
            inner = answer(source, node.func.value, answers)
            return "$prediction" if node.func.attr == "item" else inner
        if name.rpartition(".")[2] == "predict":
            return "$predictions"
    if isinstance(node, ast.Subscript) and constant(node.slice) == 0:
        return "$prediction"
    if isinstance(node, ast.Name):
        given = answers.get(node.id)
        others = {name: value for name, value in answers.items() if name != node.id}
        try:
            return answer(source, given, others) if given is not None else "$predictions"
        except Unclear:
            return "$predictions"
    raise Unclear(ast.unparse(node)[:80])


def mentions(template: Any) -> bool:
    """Whether a template says anything of the answers."""
    if isinstance(template, dict):
        return any(mentions(value) for value in template.values())
    if isinstance(template, list):
        return any(mentions(value) for value in template)
    return isinstance(template, str) and template.startswith("$") and not template.startswith("$$")


def texts_of(source: Source, name: str) -> tuple[str, ...]:
    """The texts of a module's constant list; empty for what is none."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == name for each in node.targets
        ):
            values = [constant(each) for each in getattr(node.value, "elts", [])]
            if values and all(isinstance(value, str) for value in values):
                return tuple(str(value) for value in values)
    return ()
