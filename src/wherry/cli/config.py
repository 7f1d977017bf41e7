"""`wherry config`: every setting, its value and where the value comes from."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from wherry.cli import project, table
from wherry.cli.console import Console
from wherry.cli.verb import Verb
from wherry.contract.settings import Setting, declared

VALUE_WIDTH = 24


@click.command(
    cls=Verb,
    examples=["wherry config", "wherry config --env", "wherry config --json | python -m json.tool"],
)
@click.option("--env", "as_env", is_flag=True, help="Show the environment variable that declares each setting.")
@click.pass_obj
def config(console: Console, as_env: bool) -> None:
    """Print every setting, its value and where the value comes from.

    A flag goes over the environment, that over wherry.toml (or [tool.wherry] of pyproject.toml), that over the default.
    """
    resolved = project.load(console)
    known = [(setting, value_of(resolved.project, setting)) for setting in declared()]
    origin = {setting.path: resolved.origins.get(setting.path, "default") for setting, _ in known}
    if console.as_json:
        console.document(
            [
                {"name": s.path, "value": json_value(v), "origin": origin[s.path], "env": s.env, "help": s.help}
                for s, v in known
            ]
        )
    elif console.quiet:
        console.say_all(f"{s.path}={shown(v)}" for s, v in known)
    else:
        names = (s.env if as_env else s.path for s, _ in known)
        # On a terminal a long value would push the meanings out of sight; a file gets all of it.
        room = VALUE_WIDTH if console.width else 0
        rows = [
            (name, table.cut(shown(v), room), origin[s.path], s.help) for name, (s, v) in zip(names, known, strict=True)
        ]
        console.say_all(table.lines(("setting", "value", "from", "meaning"), rows, width=console.width))


def value_of(project_value: Any, setting: Setting) -> Any:
    for part in setting.path.split("."):
        project_value = getattr(project_value, part)
    return project_value


def json_value(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def shown(value: Any) -> str:
    """A value as wherry.toml would write it; a dash where nothing is set."""
    if value in (None, "", (), {}) or value is msgspec.UNSET:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list, dict)):
        return msgspec.json.encode(value).decode()
    return str(value)
