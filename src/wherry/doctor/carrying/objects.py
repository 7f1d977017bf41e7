"""Ports, scale, resources and the store, read off manifests, compose files, a Dockerfile and commands."""

from __future__ import annotations

import re
from collections import Counter

from wherry.contract.names import ENV_MODEL_NAME, ENV_MODEL_PATH, ENV_PREFIX, MODEL_DIR
from wherry.doctor.carrying.carried import Carried
from wherry.doctor.documents import Document, Mapping, dig, items
from wherry.doctor.project import Project
from wherry.doctor.rules import compose
from wherry.doctor.rules.containers import containers, environment
from wherry.doctor.rules.database import is_database

SERVING = 8080
SCALE = {"min": r"minReplicas:\s*(\d+)", "max": r"maxReplicas:\s*(\d+)"}
TARGET = r"(?:averageUtilization|targetCPUUtilizationPercentage):\s*(\d+)"
QUANTITY = re.compile(r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")


def read_objects(project: Project, carried: Carried) -> None:
    read_port(project, carried)
    read_services(project, carried)
    read_scale(project, carried)
    read_workloads(project, carried)
    read_databases(project, carried)
    for dockerfile in project.dockerfiles:
        carried.found.append(dockerfile.path)
        start = dockerfile.start
        if start and (workers := re.search(r"(?:--workers|-w)[ =](\d+)", " ".join(start.words))):
            carried.lose(
                f"{dockerfile.path}:{start.line}: {workers[1]} workers; wherry starts one, [serve] workers more"
            )
        for one in dockerfile.of("RUN"):
            if re.search(r"\bapt(-get)? install\b", one.rest) and "update" not in one.rest.split("install")[-1]:
                carried.lose(f"{dockerfile.path}:{one.line}: {one.rest[:80]}; wherry's image needs no system package")


def read_port(project: Project, carried: Carried) -> None:
    """The port that most of the others call; else the one that the service listens on."""
    called = Counter(port for *_, port in compose.expected(project) if port.isdigit())
    heard = [port for *_, port in compose.listening(project)]
    port = called.most_common(1)[0][0] if called else heard[0] if heard else ""
    if port and int(port) != SERVING and 0 < int(port) < 65536:
        carried.set("serve.port", int(port))


def read_services(project: Project, carried: Carried) -> None:
    for document in compose.documents_of_kind(project, "Service"):
        carried.found.append(document.path)
        spec = dig(document.root, "spec")
        kind = str(dig(spec, "type") or "")
        first = (items(dig(spec, "ports")) or [None])[0]
        if kind in ("NodePort", "LoadBalancer"):
            carried.set("deploy.service.type", kind)
        for key, name in (("port", "port"), ("nodePort", "node_port")):
            given = str(dig(first, key) or "")
            if given.isdigit() and not (name == "port" and given == "80"):
                carried.set(f"deploy.service.{name}", int(given))
        ranges = [str(each) for each in items(dig(spec, "loadBalancerSourceRanges"))]
        if ranges:
            carried.set("deploy.service.allow_from", ranges)
    for command in project.commands:
        if exposed := re.search(
            r"kubectl expose\b(?=.*--type[= ](NodePort|LoadBalancer))(?=.*--port[= ](\d+))", command.text
        ):
            carried.set("deploy.service.type", exposed[1])
            if exposed[2] != "80":
                carried.set("deploy.service.port", int(exposed[2]))


def read_scale(project: Project, carried: Carried) -> None:
    """The autoscaler, by its words alone: they are there though the file does not parse."""
    for text in project.named(".yaml", ".yml"):
        if not re.search(r"^kind:\s*HorizontalPodAutoscaler", text.text, re.MULTILINE):
            continue
        carried.found.append(text.path)
        for name, pattern in {**SCALE, "cpu": TARGET}.items():
            if found := re.search(pattern, text.text):
                value = int(found[1])
                if name == "cpu" and value < 10:
                    carried.lose(f"{text.path}: a CPU target of {value} %; wherry's is 60, [deploy.autoscale] cpu")
                else:
                    carried.set(f"deploy.autoscale.{name}", value)


def read_workloads(project: Project, carried: Carried) -> None:
    for document in project.documents:
        if document.kind == "ConfigMap":
            carried.found.append(document.path)
            read_config_map(document, carried)
        if document.kind not in ("Deployment", "StatefulSet"):
            continue
        carried.found.append(document.path)
        replicas = str(dig(document.root, "spec", "replicas") or "")
        if replicas.isdigit() and int(replicas) > 1 and "deploy.autoscale.max" not in carried.settings:
            carried.set("deploy.replicas", int(replicas))
        for container in containers(document):
            for name in ("cpu", "memory"):
                asked = str(dig(container.node, "resources", "requests", name) or "")
                if QUANTITY.match(asked):
                    carried.set(f"deploy.resources.{name}", asked)
            named = compose.bare(container.image)
            if "/" in named and "." in named.partition("/")[0] and "gcr.io" not in named:
                carried.set("deploy.image", named)
            elif container.image:
                carried.lose(
                    f"{document.path}:{container.line}: the image {container.image}; name one: image under [deploy]"
                )


def read_config_map(document: Document, carried: Carried) -> None:
    """What pods go on reading from it: the model's name, and the folder that it is in; nothing else of it."""
    data = dig(document.root, "data")
    if not isinstance(data, Mapping):
        return
    if ENV_MODEL_NAME in data or ENV_MODEL_PATH in data:
        carried.set("deploy.config_map", str(dig(document.root, "metadata", "name") or ""))
    for key, value in data.items():
        where = f"{document.path}:{data.at[key]}"
        if key == ENV_MODEL_PATH:
            carried.lose(
                f"{where}: {key} {value}: take the key away, as the bundle is in the image; or have it name the "
                f'folder of a bundle below {MODEL_DIR}, which [deploy.model] claim = "models" puts there'
            )
        elif key != ENV_MODEL_NAME and not key.startswith(ENV_PREFIX):
            carried.lose(f"{where}: {key}, which no setting reads; `wherry config` lists those that there are")


def read_databases(project: Project, carried: Carried) -> None:
    for document in project.documents:
        for container in containers(document):
            if database := is_database(container):
                carried.lose(
                    f"{document.path}:{container.line}: the database {container.image}; WHERRY_STORE_URL="
                    f"{'postgresql' if database == 'postgres' else 'mysql'}://USER:PASSWORD@HOST/DATABASE has it used"
                )
            elif document.is_compose and any(key for key, *_ in environment(container)):
                keys = ", ".join(key for key, *_ in environment(container))
                carried.lose(f"{document.path}:{container.line}: the environment {keys}")
        if document.is_compose:
            carried.found.append(document.path)
