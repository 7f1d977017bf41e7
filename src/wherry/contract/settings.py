"""From tables and texts to a Project: flag over environment over PORT over file over default; all problems at once."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

import msgspec

from wherry.contract.names import ENV_KNOWN, ENV_PREFIX
from wherry.contract.project import Chain, Project
from wherry.contract.reply import ERROR_PLACEHOLDERS, PLACEHOLDERS, REQUEST_PLACEHOLDERS, Reply, placeholders
from wherry.contract.views import store_contradictions
from wherry.errors import SettingProblem, SettingsRefused

CALLED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")  # what a model may be, in paths and labels
LONGEST_ROOT = 100_000  # bytes of the page at /


class Setting(msgspec.Struct, frozen=True):
    """One declared setting: its dotted path, type, default and one-line help."""

    path: str
    type: Any
    default: Any
    help: str

    @property
    def env(self) -> str:
        """WHERRY_TABLE_KEY."""
        return ENV_PREFIX + self.path.replace(".", "_").upper()


class Resolved(msgspec.Struct, frozen=True):
    """A project, where each value that is not a default came from, and what is odd but harmless."""

    project: Project
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()


def declared(struct: type[msgspec.Struct] = Project, prefix: str = "") -> Iterator[Setting]:
    """Every setting, in the order of declaration."""
    hints = typing.get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        path = f"{prefix}{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from declared(field.type, f"{path}.")
        else:
            yield Setting(
                path,
                hints[field.name],
                field.default if field.default is not msgspec.NODEFAULT else {},
                help_of(hints[field.name]),
            )


def help_of(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        for extra in get_args(kind)[1:]:
            if isinstance(extra, msgspec.Meta) and extra.description:
                return extra.description
    return ""


def resolve(
    table: Mapping[str, Any],
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    source: str = "wherry.toml",
) -> Resolved:
    """The project that the file's `table`, the environment and the flags (dotted path to value) declare.

    Raises SettingsRefused with every problem found, each with its path and, where one is near, a suggestion.
    """
    known = {setting.path: setting for setting in declared()}
    problems: list[SettingProblem] = []
    warnings: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}

    for path, value in flatten(table, known, problems):
        take(known[path], value, True, source, path, values, origins, problems)
    if "PORT" in environ:
        take(known["serve.port"], environ["PORT"], False, "PORT", "PORT", values, origins, problems)
    by_env = {setting.env: setting for setting in known.values()}
    for name in sorted(key for key in environ if key.startswith(ENV_PREFIX)):
        if name in by_env:
            take(by_env[name], environ[name], False, name, name, values, origins, problems)
        elif name not in ENV_KNOWN:
            near = difflib.get_close_matches(name, [*by_env, *ENV_KNOWN], n=1, cutoff=0.6)
            warnings.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    for path, value in flags.items():
        if value is not None:
            take(
                known[path],
                value,
                True,
                "flag",
                f"--{path.rpartition('.')[2].replace('_', '-')}",
                values,
                origins,
                problems,
            )

    project = build(Project, values)
    problems.extend(contradictions(project))
    if problems:
        raise SettingsRefused(tuple(problems), source)
    return Resolved(project, origins, tuple(warnings))


def with_root(resolved: Resolved, text: str) -> Resolved:
    """`resolved` with the text of the file that `reply.root_file` names as `reply.root`, which travels into images.

    Raises SettingsRefused where it is too long for that: an environment variable carries it.
    """
    if len(text.encode()) > LONGEST_ROOT:
        problem = SettingProblem("reply.root_file", f"is longer than {LONGEST_ROOT:,} bytes", "serve it elsewhere")
        raise SettingsRefused((problem,), resolved.origins.get("reply.root_file", "settings"))
    root = f"${text}" if text.startswith("$") else text
    replace = msgspec.structs.replace
    project = resolved.project
    project = replace(project, reply=replace(project.reply, root=root, root_file=""))
    return replace(resolved, project=project)


def flatten(
    table: Mapping[str, Any], known: Mapping[str, Setting], problems: list[SettingProblem], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """The settings in a nested table; a key that is none becomes a problem with the nearest that is."""
    for raw, value in table.items():
        path = f"{prefix}{raw.replace('-', '_')}"
        if path in known:
            yield path, value
        elif any(other.startswith(f"{path}.") for other in known):
            if isinstance(value, Mapping):
                yield from flatten(value, known, problems, f"{path}.")
            else:
                problems.append(SettingProblem(path, "is a table, not a value", f"write [{path}]"))
        else:
            problems.append(SettingProblem(f"{prefix}{raw}", "is not a setting", nearest(path, known)))


def nearest(path: str, known: Mapping[str, Setting]) -> str:
    head, _, tail = path.rpartition(".")
    siblings = {key[len(head) + 1 if head else 0 :].split(".")[0] for key in known if key.startswith(head)}
    elsewhere = sorted(
        (key for key in known if key.rpartition(".")[2] == tail), key=lambda key: not key.startswith(head)
    )
    if elsewhere:  # the right key in the wrong table
        return f"did you mean {elsewhere[0]}?"
    near = difflib.get_close_matches(tail, sorted(siblings), n=1, cutoff=0.6)
    if near:
        return f"did you mean {f'{head}.' if head else ''}{near[0]}?"
    near = difflib.get_close_matches(path, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else "`wherry config` lists the settings"


def take(
    setting: Setting,
    value: Any,
    strict: bool,
    source: str,
    shown: str,
    values: dict[str, Any],
    origins: dict[str, str],
    problems: list[SettingProblem],
) -> None:
    """Convert one value to its setting's type and keep it; what does not fit becomes a problem."""
    try:
        converted = msgspec.convert(value if strict else from_text(setting, value), setting.type, strict=strict)
    except (msgspec.ValidationError, ValueError) as error:
        problems.append(SettingProblem(shown, f"is {value!r}: {error}", setting.help))
        return
    values[setting.path] = converted
    origins[setting.path] = source


def from_text(setting: Setting, text: str) -> Any:
    """A list from commas, a table from JSON; anything else is converted from the text itself."""
    if isinstance(setting.default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(setting.default, dict) or setting.default is msgspec.UNSET:
        return msgspec.json.decode(text)
    return text


def build(struct: type[Any], values: Mapping[str, Any], prefix: str = "") -> Any:
    made: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        path = f"{prefix}{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            made[field.name] = build(field.type, values, f"{path}.")
        elif path in values:
            made[field.name] = values[path]
    return struct(**made)


def contradictions(project: Project) -> Iterator[SettingProblem]:
    """Settings that are each well formed and cannot work together."""
    scale, service, resources = project.deploy.autoscale, project.deploy.service, project.deploy.resources
    if scale.min > scale.max:
        yield SettingProblem(
            "deploy.autoscale.min", f"is {scale.min}, above deploy.autoscale.max {scale.max}", "raise max"
        )
    if service.node_port is not None:
        if not 30000 <= service.node_port <= 32767:
            yield SettingProblem("deploy.service.node_port", f"is {service.node_port}", "choose 30000 to 32767")
        if service.type == "ClusterIP":
            yield SettingProblem(
                "deploy.service.node_port", "needs type NodePort or LoadBalancer", 'set type = "NodePort"'
            )
    if resources.cpu_limit and quantity(resources.cpu) > quantity(resources.cpu_limit):
        yield SettingProblem(
            "deploy.resources.cpu",
            f"requests {resources.cpu}, above cpu_limit {resources.cpu_limit}",
            "raise cpu_limit",
        )
    if project.serve.port == project.serve.admin_port:
        yield SettingProblem("serve.admin_port", "is the serving port too", "choose another")
    for name in ("request", "record", "rows", "error", "root", "info", "health", "paths"):
        allowed = {"error": {**PLACEHOLDERS, **ERROR_PLACEHOLDERS}, "request": REQUEST_PLACEHOLDERS}.get(
            name, PLACEHOLDERS
        )
        for where, text in placeholders(getattr(project.reply, name)):
            key = text.removeprefix("json:")
            if key not in allowed:
                near = difflib.get_close_matches(key, list(allowed), n=1)
                hint = f"did you mean ${near[0]}?" if near else "known: " + ", ".join(f"${p}" for p in allowed)
                yield SettingProblem(f"reply.{name}{'.' if where else ''}{where}", f"names ${key}", hint)
    chain = project.serve.chain
    for setting, given in (("name", chain.name), ("version", chain.version)):
        if not CALLED.fullmatch(given):
            hint = "letters, digits, dots, - and _, 63 at most, the first and the last a letter or digit"
            yield SettingProblem(f"serve.chain.{setting}", f"is {given!r}, which a path cannot hold", hint)
    if not chain.steps and chain != Chain():
        yield SettingProblem(
            "serve.chain.steps", f"names none for the chain {chain.name}", 'steps = ["first", "second"]'
        )
    yield from reply_contradictions(project.reply)
    yield from store_contradictions(project.store)


def reply_contradictions(reply: Reply) -> Iterator[SettingProblem]:
    """Shapes that no request or reply can have."""
    if reply.request is not msgspec.UNSET:
        held = [text.removeprefix("json:") for _, text in placeholders(reply.request)]
        if not isinstance(reply.request, dict) or held.count("rows") != 1 or held.count("store") > 1:
            yield SettingProblem(
                "reply.request", "does not say where the rows are", 'write a table such as { X = "$rows" }'
            )
    if reply.root_file and reply.root is not msgspec.UNSET:
        yield SettingProblem("reply.root_file", "stands beside reply.root", "give one of them")
    for setting, paths in (("predict_paths", reply.predict_paths), ("paths", reply.paths)):
        for path in paths:
            if not path.startswith("/") or not path.isascii() or any(mark in path for mark in "?#% "):
                yield SettingProblem(f"reply.{setting}", f"has {path!r}, which is no path", 'write one as "/score"')


def to_environ(project: Project, tables: tuple[str, ...] = ("serve", "store", "reply")) -> dict[str, str]:
    """The settings of `tables` that are not defaults, as the environment that declares them again.

    This is how a project's settings travel into an image and a ConfigMap.
    """
    environ: dict[str, str] = {}
    for setting in declared():
        value: Any = project
        for part in setting.path.split("."):
            value = getattr(value, part)
        if setting.path.split(".")[0] in tables and value != setting.default:
            environ[setting.env] = to_text(setting, value)
    return environ


def to_text(setting: Setting, value: Any) -> str:
    """The inverse of `from_text`."""
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, str) and setting.default is not msgspec.UNSET:
        return value
    return msgspec.json.encode(value).decode()


UNITS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: 250m is 0.25, 1Gi is 1073741824."""
    for unit in sorted(UNITS, key=len, reverse=True):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * UNITS[unit]
    return float(text)


def type_words(kind: Any) -> str:
    """A setting's type as the reference writes it."""
    if get_origin(kind) is Annotated:
        return type_words(get_args(kind)[0])
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Literal:
        return " or ".join(str(arg) for arg in args if arg != "")
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_words(arg) for arg in args if arg not in (type(None), msgspec.UnsetType)))
    if origin is tuple:
        return f"list of {type_words(args[0])}"
    if origin is dict:
        return "table"
    return {int: "integer", float: "number", bool: "true or false", str: "text", Any: "any value"}.get(kind, str(kind))
