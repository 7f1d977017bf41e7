"""Which of a service's models is meant, by `--model NAME[/VERSION]` or by an address that names one, and its paths."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import click
import msgspec

from wherry.cli.ask import Answer, Service
from wherry.contract.wire import INFO, MODELS, PREDICT
from wherry.errors import CallRefused

# Where a service of several holds one, as people write it down; what stands before is where the service is mounted.
PLACE = re.compile(r"(?P<below>.*?)(?:/v[12])?/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[^/:]+))?(?:/predict)?")
model_option = click.option(
    "--model", metavar="NAME[/VERSION]", help="Ask this one of the service's models; by default its first."
)


class Door(NamedTuple):
    """predict: the path where predictions are asked; about: the one that says what the model is; model: as named."""

    predict: str
    about: str
    model: str = ""


def named(path: str) -> str:
    """The model that the path of an address names, as NAME[/VERSION]; empty where it names none."""
    place = PLACE.fullmatch(path.partition("?")[0])
    return "/".join(unquote(part) for part in place.group("name", "version") if part) if place else ""


def door(service: Service, model: str | None) -> Door:
    """Where the model is asked; without one, where the service's address says. Raises CallRefused, UsageError."""
    path, _, query = service.path.partition("?")
    place = PLACE.fullmatch(path)
    if place is None and not model:
        return Door(service.path or PREDICT, INFO)
    if place is not None:
        there = named(path)
        if model and model != there:
            raise click.UsageError(f"the address names the model {there}, and --model {model}; give one")
        below, model = place["below"], there
    else:
        below = path.removesuffix(PREDICT)
    assert model is not None
    held = models(service, below)
    found = next((each for each in held if model in (f"{each['name']}/{each['version']}", each["name"])), None)
    if held and found is None:
        names = ", ".join(f"{each['name']}/{each['version']}" for each in held)
        reason = f"there is no model {model} here"
        hint = f"--model with one of {names}" if held[1:] else f"leave --model out: {names} is all there is"
        raise CallRefused(f"{service.root}{below}", 404, reason, hint)
    name, _, version = model.partition("/")
    guess = f"{MODELS}/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
    predict = f"{guess}{PREDICT}" if found is None else str(found.get("predict", PREDICT))
    about = INFO if predict == PREDICT else predict.removesuffix(PREDICT)
    return Door(f"{below}{predict}{'?' if query else ''}{query}", f"{below}{about}", model)


def models(service: Service, below: str) -> list[dict[str, Any]]:
    """Those of the service that say their name; none where it does not tell."""
    several = read(service.get(f"{below}{MODELS}")).get("models")
    listed = several if isinstance(several, list) else [read(service.get(f"{below}{INFO}"))]
    return [each for each in listed if isinstance(each, dict) and {"name", "version"} <= each.keys()]


def read(answer: Answer) -> dict[str, Any]:
    """The JSON object that was answered; empty where none was."""
    try:
        found = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) and answer.status < 300 else {}
