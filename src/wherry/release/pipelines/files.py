"""The pipeline's files as text, the same bytes for the same project, and the commands that put them to work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import yaml

from wherry.contract.events import Note
from wherry.errors import AccessRule
from wherry.release.pipelines import cronjob, github, google
from wherry.release.pipelines.steps import Delivery
from wherry.release.text import Plain, to_yaml

MARK = "# Written by `wherry pipeline`, which writes it again: change wherry.toml, not this file."


class Pipeline(msgspec.Struct, frozen=True):
    """files: text by path. commands: what to type once, and what for. left_out: what is not written, and why."""

    files: dict[str, str]
    commands: tuple[Note, ...]
    left_out: tuple[Note, ...]


def pipeline(delivery: Delivery, needed: Iterable[AccessRule]) -> Pipeline:
    """Everything of a delivery. needed: the rights that deploying takes in its namespace."""
    files = {
        github.file(delivery): text([github.workflow(delivery)]),
        cronjob.ROLE_FILE: text(cronjob.role(delivery, needed)),
    }
    if delivery.google:
        files[google.FILE] = text([google.cloud_build(delivery, delivery.google)])
    if delivery.repository:
        files[cronjob.FILE] = text([cronjob.cron_job(delivery)])
    return Pipeline(dict(sorted(files.items())), tuple(commands(delivery)), tuple(left_out(delivery)))


def text(objects: Iterable[dict[str, object]]) -> str:
    return f"{MARK}\n{to_yaml(objects, Scripts)}"


class Scripts(Plain):
    """Writes a script as its lines."""


def lines(dumper: Scripts, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Scripts.add_representer(str, lines)


def commands(delivery: Delivery) -> Iterator[Note]:
    """What to type, once; in this order."""
    yield Note("the least rights in the cluster", hint=f"kubectl apply -f {cronjob.ROLE_FILE}")
    if delivery.google:
        yield from google.rights(delivery, delivery.google)
        yield google.trigger(delivery, delivery.google)
        yield from google.federation(delivery, delivery.google)
    else:
        yield from github.secrets(delivery)
    if delivery.repository:
        yield Note(
            "the CronJob's credentials: .netrc for a private repository, config.json for the registry",
            hint=f"kubectl -n {delivery.namespace} create secret generic {delivery.account} "
            "--from-file=.netrc --from-file=config.json",
        )
        yield Note(f"the cluster runs it, at {delivery.schedule} UTC", hint=f"kubectl apply -f {cronjob.FILE}")


def left_out(delivery: Delivery) -> Iterator[Note]:
    if not delivery.context:
        hint = "wherry pipeline --context NAME, or context under [deploy]"
        yield Note("no context is named, and off this machine `wherry deploy` wants one", hint=hint)
    if not delivery.google:
        yield Note(
            f"{google.FILE} is left out: the cluster is not known to be GKE's",
            hint="wherry pipeline --context gke_PROJECT_PLACE_NAME",
        )
    if not delivery.repository:
        yield Note(
            f"{cronjob.FILE} is left out: nothing says where its sources are",
            hint="wherry pipeline --repository https://github.com/OWNER/NAME",
        )
