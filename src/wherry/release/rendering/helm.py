"""A Helm chart: its values say what differs from one cluster to the next, its defaults are the plain rendering."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from wherry.contract.manifest import Manifest
from wherry.contract.names import ANNOTATION_IMAGE
from wherry.contract.project import Project
from wherry.contract.settings import declared
from wherry.release.objects import storage
from wherry.release.objects.config import is_settings
from wherry.release.objects.identity import identity
from wherry.release.objects.scaling import autoscaler, disruption_budget, scaled_object
from wherry.release.release import Object, Release
from wherry.release.rendering.pods import is_own, workload_of
from wherry.release.text import Plain, to_yaml

SEMVER = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
NOT_FIXED = 'kindIs "invalid" .Values.replicas'
# ConfigMaps are named by their content, so that changed settings are a new rollout.
HASH = "{{ .Values.settings | toRawJson | sha256sum | trunc 10 }}"
SLOT = "wherryslot"
SCALING = ("HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget")


class Slots:
    """Places of an object that a template fills: put into the object as marks, taken out of its text as expressions."""

    def __init__(self) -> None:
        self.expressions: list[str] = []

    def value(self, expression: str) -> str:
        """A mark for a value on one line."""
        self.expressions.append(f"{{{{ {expression} }}}}")
        return f"{SLOT}{len(self.expressions) - 1}end"

    def block(self, path: str) -> str:
        """A mark for a mapping, written below its key with two blanks more."""
        self.expressions.append(path)
        return f"{SLOT}{len(self.expressions) - 1}block"

    def template(self, made: Object) -> str:
        """The object's text with every mark replaced; what looks like a template in it stays what it is."""
        text = to_yaml([made]).removeprefix("---\n").replace("{{", '{{ "{{" }}')

        def filled(match: re.Match[str]) -> str:
            indent, key, place, kind = match[1], match[2], int(match[3]), match[4]
            if kind == "end":
                return f"{indent}{key}{self.expressions[place]}"
            return f"{indent}{key}\n{indent}  {{{{- toYaml {self.expressions[place]} | nindent {len(indent) + 2} }}}}"

        return re.sub(rf"(?m)^( *)((?:- )?\S+: )'?{SLOT}(\d+)(end|block)'?", filled, text).replace(": \n", ":\n")


def chart(release: Release, project: Project, manifest: Manifest) -> dict[str, str]:
    """The chart's files by their path. `helm template` with the default values gives the release's objects."""
    values = defaults(release, project)
    files = {
        "Chart.yaml": plain(head(release, manifest)),
        "values.yaml": documented(values),
        "values.schema.json": json.dumps(schema(values, project), indent=2) + "\n",
        "templates/NOTES.txt": notes(release),
    }
    for made in release.objects:
        if made["kind"] not in ("Namespace", *SCALING):
            files[f"templates/{file_of(made, release)}"] = template(
                made, own=is_own(made, release), image=release.image
            )
    if storage.keeping(project).kind != "claim":
        # Which of them there are follows from `replicas`, so both are here, each behind its condition.
        who = identity(project, manifest, release.image, release.namespace)
        keda = project.deploy.autoscale.keda.enabled
        scaler = scaled_object(who, project) if keda else autoscaler(who, project)
        files[f"templates/{file_of(scaler, release)}"] = only(NOT_FIXED, template(scaler))
        several = f"or ({NOT_FIXED}) (gt (int .Values.replicas) 1)"
        budget = disruption_budget(who)
        files[f"templates/{file_of(budget, release)}"] = only(several, template(budget))
    return files


def file_of(made: Object, release: Release) -> str:
    """service.yaml; of what stands beside the service, service-NAME.yaml."""
    kind, name = made["kind"].lower(), made["metadata"]["name"]
    return f"{kind}.yaml" if is_own(made, release) or is_settings(made) else f"{kind}-{name}.yaml"


def template(made: Object, *, own: bool = True, image: str = "") -> str:
    """The template of one object: every place that a value fills, by the object's kind, where it is the service's.

    image: the service's own, which scheduled work may run too.
    """
    slots, made = Slots(), copy.deepcopy(made)
    namespace = made["metadata"]["namespace"]
    made["metadata"]["namespace"] = slots.value(".Release.Namespace")
    kind, spec = made["kind"] if own else "", made.get("spec", {})
    if is_settings(made):
        made["metadata"]["name"] = made["metadata"]["name"].rpartition("-")[0] + "-" + SLOT
        made["data"] = slots.block(".Values.settings")
    elif kind == "Service":
        (port,) = spec["ports"]
        port["port"] = slots.value("int .Values.service.port")
        if "nodePort" in port:
            port["nodePort"] = slots.value("int .Values.service.nodePort")
    elif kind == "HorizontalPodAutoscaler":
        spec["minReplicas"] = slots.value("int .Values.autoscale.min")
        spec["maxReplicas"] = slots.value("int .Values.autoscale.max")
        spec["metrics"][0]["resource"]["target"]["averageUtilization"] = slots.value("int .Values.autoscale.cpu")
    elif kind == "ScaledObject":
        spec["minReplicaCount"] = slots.value("int .Values.autoscale.min")
        spec["maxReplicaCount"] = slots.value("int .Values.autoscale.max")
        spec["triggers"][0]["metadata"]["value"] = slots.value(".Values.autoscale.cpu | quote")
    elif kind in ("Deployment", "StatefulSet"):
        spec.pop("replicas", None)
        pod = spec["template"]
        for metadata in (made["metadata"], pod["metadata"]):
            metadata["annotations"][ANNOTATION_IMAGE] = slots.value(".Values.image | quote")
        (server,) = pod["spec"]["containers"]
        server["image"] = slots.value(".Values.image | quote")
        server["resources"] = slots.block(".Values.resources")
        source = server["envFrom"][0]  # after it, a ConfigMap of the user's keeps its name
        source["configMapRef"]["name"] = source["configMapRef"]["name"].rpartition("-")[0] + "-" + SLOT
    elif made["kind"] == "CronJob":
        (job,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        if job["image"] == image:
            job["image"] = slots.value(".Values.image | quote")
        source = job["envFrom"][0]
        source["configMapRef"]["name"] = source["configMapRef"]["name"].rpartition("-")[0] + "-" + SLOT
    text = slots.template(made).replace(SLOT, HASH)
    if kind in ("PrometheusRule", "ScaledObject"):  # their queries name it
        text = text.replace(f'namespace="{namespace}"', 'namespace="{{ .Release.Namespace }}"')
    if kind in ("Deployment", "StatefulSet"):
        fixed = (
            f"\nspec:\n{{{{- if not ({NOT_FIXED}) }}}}\n  replicas: {{{{ int .Values.replicas }}}}\n{{{{- end }}}}\n"
        )
        text = text.replace("\nspec:\n", fixed, 1)
    return text


def only(condition: str, text: str) -> str:
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"


def defaults(release: Release, project: Project) -> dict[str, Any]:
    """The values, as the project has them."""
    settings = release.find("ConfigMap")
    assert settings is not None, "every release has its settings"
    server = workload_of(release)["spec"]["template"]["spec"]["containers"][0]
    scale, service = project.deploy.autoscale, project.deploy.service
    ports = {"port": service.port} | ({} if service.node_port is None else {"nodePort": service.node_port})
    return {
        "image": release.image,
        "replicas": project.deploy.replicas,
        "autoscale": {"min": scale.min, "max": scale.max, "cpu": scale.cpu},
        "service": ports,
        "resources": server["resources"],
        "settings": settings["data"],
    }


HELP = {
    "image": "the image, by tag or by digest",
    "replicas": "fixed number of replicas, and no autoscaler; null: the autoscaler decides",
    "autoscale": "the HorizontalPodAutoscaler; not there where replicas is a number",
    "service": "the Service; its type is the project's, from which the network policy follows",
    "resources": "what each pod asks for, as Kubernetes has it",
    "settings": "the service's own settings by their environment names; a changed one replaces the pods",
}


def documented(values: dict[str, Any]) -> str:
    """values.yaml, each value behind what it means."""

    def lines() -> Iterator[str]:
        yield "# Written by wherry render --helm from wherry.toml.\n"
        for key, value in values.items():
            yield f"\n# {HELP[key]}\n{plain({key: value})}"

    return "".join(lines())


def schema(values: dict[str, Any], project: Project) -> dict[str, Any]:
    """The JSON Schema of the values: unknown keys and wrong types are refused by Helm before anything is applied."""
    help_of = {setting.path: setting.help for setting in declared()}
    count = {"type": "integer", "minimum": 1, "maximum": 1000}
    port = {"type": "integer", "minimum": 1, "maximum": 65535, "description": help_of["deploy.service.port"]}
    node_port = {"type": "integer", "minimum": 1, "maximum": 65535, "description": help_of["deploy.service.node_port"]}
    strings = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
    # SQLite on a claim serves one pod and no more.
    fixed: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0, "maximum": 1000}
    if storage.keeping(project).kind == "claim":
        fixed = {"type": "integer", "minimum": 0, "maximum": 1}
    properties: dict[str, Any] = {
        "image": {"type": "string", "minLength": 1},
        "replicas": fixed,
        "autoscale": {
            "properties": {
                key: {**count, "description": help_of[f"deploy.autoscale.{key}"]} for key in values["autoscale"]
            }
        },
        "service": {
            "properties": {"port": port} | ({"nodePort": node_port} if "nodePort" in values["service"] else {})
        },
        "resources": {"properties": {"requests": strings, "limits": strings}},
        "settings": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
    }
    for key, each in properties.items():
        each["description"] = HELP[key]
        if "properties" in each:
            each |= {"type": "object", "additionalProperties": False, "required": sorted(values[key])}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart",
        "type": "object",
        "properties": {**properties, "global": {"type": "object"}},
        "required": ["image", "autoscale", "service", "resources", "settings"],
        "additionalProperties": False,
    }


def head(release: Release, manifest: Manifest) -> dict[str, Any]:
    """Chart.yaml. A chart's version has three numbers: the model's own version is the application's."""
    version = manifest.version
    if not SEMVER.fullmatch(version):
        version = f"{version}.0.0" if version.isdecimal() else "0.1.0"
    return {
        "apiVersion": "v2",
        "name": release.name,
        "description": f"The prediction service of {manifest.name}",
        "type": "application",
        "version": version,
        "appVersion": manifest.version,
        "kubeVersion": ">=1.30.0-0",
    }


def notes(release: Release) -> str:
    """What Helm says after an installation."""
    secrets = "".join(
        f"It reads {each.source} from the Secret {each.name}, key {each.key}, which must be there.\n"
        for each in release.secrets
    )
    return (
        f"{secrets}Ask it from this machine:\n\n"
        f"  kubectl -n {{{{ .Release.Namespace }}}} port-forward service/{release.name} "
        "8080:{{ .Values.service.port }}\n"
        "  wherry predict http://127.0.0.1:8080 bundle/example.json\n"
    )


def plain(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120)
