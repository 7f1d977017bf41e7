"""Writes docs/reference from the declarations: commands, settings, errors, metrics and the HTTP interface.

python scripts/reference.py            write what has changed
python scripts/reference.py --check    exit 1 when a page is stale, naming it
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from wherry import errors
from wherry.cli.config import shown
from wherry.cli.failures import exit_code
from wherry.cli.main import VERBS, wherry
from wherry.contract import project, wire
from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Origin, Requirements
from wherry.contract.settings import declared, type_words
from wherry.contract.signature import Column, OutputSpec, Signature

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Written by scripts/reference.py; change the declaration, then run `./dev docs`. -->"


def commands() -> Iterator[str]:
    """Every verb with its flags and examples."""
    yield "# Commands\n"
    yield "`-q`, `-v` and `--json` may stand before or behind the verb. Exit codes are in [errors](errors.md).\n"
    root = click.Context(wherry, info_name="wherry", **wherry.context_settings)
    for name, entry in VERBS.items():
        verb = wherry.get_command(root, name)
        assert verb is not None
        yield f"- [{name}](#{name}): {entry.help}."
    for name in VERBS:
        verb = wherry.get_command(root, name)
        assert verb is not None
        context = click.Context(verb, info_name=name, parent=root)
        yield f"\n## {name}\n"
        yield f"    wherry {name} {' '.join(verb.collect_usage_pieces(context))}\n"
        yield inspect.cleandoc(verb.help or "") + "\n"
        yield "| flag | meaning |\n|---|---|"
        for parameter in verb.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                yield f"| `{escaped(record[0])}` | {escaped(record[1])} |"
        yield "\nExamples:\n"
        yield from (f"    {example}" for example in getattr(verb, "examples", ()))


def settings() -> Iterator[str]:
    """Every setting by table: key, type, default, environment, meaning."""
    yield "# Settings\n"
    yield (
        "They stand in `wherry.toml`, or under `[tool.wherry]` in `pyproject.toml`. A flag goes over the environment, "
        "that over the file, that over the default. `wherry config` prints every value and where it comes from. In the "
        "environment a list is written with commas between its items, a table as JSON.\n"
    )
    helps = {path: inspect.getdoc(struct) or "" for path, struct in tables(project.Project)}
    last = None
    for setting in declared():
        table, _, key = setting.path.rpartition(".")
        if table != last:
            yield f"\n## [{table}]\n\n{helps[table]}\n"
            yield "| key | type | default | environment | meaning |\n|---|---|---|---|---|"
            last = table
        default = "" if shown(setting.default) == "-" else f"`{escaped(shown(setting.default))}`"
        yield f"| `{key}` | {type_words(setting.type)} | {default} | `{setting.env}` | {escaped(setting.help)} |"


def tables(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, type[msgspec.Struct]]]:
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield f"{prefix}{field.name}", field.type
            yield from tables(field.type, f"{prefix}{field.name}.")


def error_classes(base: type[errors.WherryError] = errors.WherryError) -> Iterator[type[errors.WherryError]]:
    """The tree of errors, each before those that are kinds of it."""
    for kind in base.__subclasses__():
        if kind.__module__.startswith(f"{errors.__name__}."):
            yield kind
            yield from error_classes(kind)


def error_pages() -> Iterator[str]:
    """Every error with the exit code or the HTTP status that it leads to."""
    from wherry.server.problems import STATUS

    yield "# Errors\n"
    yield (
        "Every error says what is wrong and what to do next: on the terminal as `error:` and `hint:`, with `--json` as "
        '`{"error": {"kind", "message", "hint", ...}}`, over HTTP as problem JSON (RFC 9457).\n'
    )
    yield "## Exit codes\n"
    yield "| code | meaning |\n|---|---|"
    for code, meaning in EXIT_MEANINGS.items():
        yield f"| {code} | {meaning} |"
    yield "\n## Errors of the command line\n\n| error | exit code | meaning |\n|---|---|---|"
    refused = list(error_classes(errors.RequestRefused))
    for kind in error_classes():
        if kind not in refused and kind is not errors.RequestRefused:
            yield f"| {kind.__name__} | {exit_code(kind.__new__(kind))} | {promise(kind)} |"
    yield "\n## Errors of the service\n"
    yield f"`type` of a problem is `{wire.PROBLEM_TYPE}` and the code.\n\n| code | status | meaning |\n|---|---|---|"
    for kind in refused:
        status = next(STATUS[base] for base in kind.__mro__ if base in STATUS)
        yield f'| <a id="{kind.code}"></a>`{kind.code}` | {status} | {promise(kind)} |'


def metrics() -> Iterator[str]:
    """Every metric as /metrics says it."""
    from wherry.contract import names
    from wherry.server.metrics import GAUGES, Metrics

    yield "# Metrics\n"
    yield (
        f"Prometheus reads them from `{wire.METRICS}` on the admin port ({names.ADMIN_PORT} unless set otherwise), "
        "which is not in the Service.\n"
    )
    yield "| metric | type | meaning |\n|---|---|---|"
    said = told(Metrics().render([(name, "", 0.0) for name in GAUGES]))
    for name in (getattr(names, constant) for constant in vars(names) if constant.startswith("METRIC_")):
        kind, meaning = said[name]
        yield f"| `{name}` | {kind} | {escaped(meaning)} |"


def told(text: str) -> dict[str, tuple[str, str]]:
    """Type and help of each metric in the text of /metrics."""
    helps = dict(line.split(" ", 3)[2:] for line in text.splitlines() if line.startswith("# HELP "))
    kinds = dict(line.split(" ", 3)[2:] for line in text.splitlines() if line.startswith("# TYPE "))
    return {name: (kinds[name], helps[name]) for name in helps}


def http() -> Iterator[str]:
    """Paths, requests, replies, headers and statuses, out of the document that the service makes of an example."""
    import json

    from wherry.contract.names import ADMIN_PORT, SERVING_PORT
    from wherry.server.openapi import PROBLEMS, openapi

    document = openapi(example(), project.Project())
    yield "# The HTTP interface\n"
    yield (
        f"The serving port is {SERVING_PORT}, the admin port {ADMIN_PORT}. A running service describes itself with its "
        f"own columns at `{wire.DOCS}` and `{wire.OPENAPI}`.\n"
    )
    yield "## Paths\n\n| path | method | answers |\n|---|---|---|"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"| `{path}` | {method.upper()} | {operation['summary']} |"
    yield f"| `{wire.ROOT}` | GET | The page for browsers, JSON for others |"
    yield f"| `{wire.DOCS}`, `{wire.OPENAPI}` | GET | The documentation of this model's service |"
    yield f"| `{wire.LIVEZ}`, `{wire.READYZ}`, `{wire.METRICS}` on the admin port | GET | For probes and Prometheus |"
    yield "\n## Requests\n\nFor a model with the columns `area` (a number) and `age` (a whole number):\n"
    content = document["paths"][wire.PREDICT]["post"]["requestBody"]["content"][wire.JSON]
    for shown_as in content["examples"].values():
        yield f"- {shown_as['summary']}: `{json.dumps(shown_as['value'])}`"
    yield f"- In the address: `GET {wire.PREDICT}?area=0.5&age=40`"
    yield (
        '\nA record is answered with `{"prediction": v}`, several rows with `{"predictions": [v, ...]}`; '
        "`probabilities` stands beside them with `?probabilities=true` or by the setting `serve.probabilities`. "
        "`[reply]` gives replies another shape.\n"
    )
    success = document["paths"][wire.PREDICT]["post"]["responses"]["200"]
    yield "## Headers of a reply\n\n| header | meaning |\n|---|---|"
    for name, header in success["headers"].items():
        yield f"| `{name}` | {header['description']} |"
    yield "\n## Refusals\n\nProblem JSON (RFC 9457); every `type` is in [errors](errors.md).\n"
    yield "| status | meaning |\n|---|---|"
    for status, meaning in PROBLEMS.items():
        yield f"| {status} | {meaning} |"


def example() -> Manifest:
    """A manifest to show the interface with."""
    columns = (Column("area", "number", example=0.5), Column("age", "integer", example=40))
    return Manifest(
        format=1,
        name="example",
        version="1",
        digest="",
        flavor="linear",
        model="",
        signature=Signature(columns, OutputSpec("class", "integer", (0, 1), probabilities=True)),
        golden=Golden("", 0),
        baseline="",
        requirements=Requirements("3.11", {}),
        files={},
        origin=Origin(""),
        conversion=Conversion("linear"),
        measured=Measured(0.0, 0),
    )


EXIT_MEANINGS = {
    0: "done",
    1: "failed",
    2: "the command or a setting is not one that wherry can carry out",
    3: "somebody else holds the lock",
    4: "it ran to the end, and the answer is no: `predict --check` differs, `doctor` finds some, `status` is unhealthy",
    130: "interrupted",
}


def promise(thing: object) -> str:
    """The first line of a docstring."""
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "").split("\n\n")[0]
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def rules() -> Iterator[str]:
    """Every rule of `wherry doctor`, by how bad it is."""
    from wherry.doctor.rule import SEVERITIES
    from wherry.doctor.rules import ALL

    yield "# Rules of `wherry doctor`\n"
    yield "How a project is read, and what `--fix` does, is told in [doctor](../doctor.md)."
    for severity, title in SEVERITIES.items():
        yield f"\n## {title}\n\n| rule | what is wrong | what comes of it | what to do |\n|---|---|---|---|"
        for rule in ALL:
            if rule.severity == severity:
                linked = f"[{rule.id}]({rule.source})"
                yield f"| {linked} | {escaped(rule.title)} | {escaped(rule.consequence)} | {escaped(rule.fix)} |"


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "commands.md": commands,
    "settings.md": settings,
    "errors.md": error_pages,
    "metrics.md": metrics,
    "http.md": http,
    "rules.md": rules,
}


def page(name: str) -> str:
    """The text of one page."""
    first, *rest = PAGES[name]()
    return "\n".join([first, MADE + "\n", *rest]).rstrip("\n") + "\n"


def stale() -> list[str]:
    """The pages that do not say what the declarations say."""
    return [name for name in PAGES if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != page(name)]


def main(arguments: list[str]) -> int:
    found = stale()
    if "--check" in arguments:
        for name in found:
            print(f"docs/reference/{name} is stale: run ./dev docs", file=sys.stderr)
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in found:
        (FOLDER / name).write_text(page(name))
        print(f"wrote docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
