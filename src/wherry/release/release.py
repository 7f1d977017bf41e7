"""Everything that will exist in a cluster for one packed model, as one frozen value made by a pure function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from wherry.contract.defaults import unfit
from wherry.contract.events import Note
from wherry.contract.manifest import Manifest
from wherry.contract.names import LABEL_NAME, object_name
from wherry.contract.project import Project
from wherry.contract.reply import misnamed
from wherry.errors import SettingProblem, SettingsRefused
from wherry.release.databases import beside
from wherry.release.objects import (
    config,
    database,
    model,
    monitoring,
    network,
    routing,
    scaling,
    schedule,
    storage,
    workload,
)
from wherry.release.objects.identity import Identity, identity, namespace_object, service_account

# A Kubernetes object as plain data, ready for the API or for YAML.
Object: TypeAlias = dict[str, Any]


class Ports(msgspec.Struct, frozen=True):
    """Where it listens: in the pod, and in front of the pods. `node` is None when the cluster chooses, or none is."""

    serving: int
    admin: int
    service: int
    node: int | None = None


class SecretFile(msgspec.Struct, frozen=True):
    """A Secret that the objects mount and that is never rendered. `source`: the file or setting it may be made from.

    random: keys that `deploy` fills with passwords of its own where nobody has.
    """

    name: str
    key: str
    source: str
    random: tuple[str, ...] = ()


class ModelPlace(msgspec.Struct, frozen=True):
    """Where the pods read the model and the settings that are not rendered; empty where there is none of it.

    claim: the claim that holds the bundle, in `folder`. config_map: the user's own ConfigMap.
    """

    claim: str = ""
    folder: str = ""
    config_map: str = ""


class Release(msgspec.Struct, frozen=True):
    """What `render` prints, `deploy` makes true and `down` makes untrue.

    objects: in the order to apply them. startup_seconds: what a pod may take until it is ready.
    replicas: how many pods a finished rollout has at least. autoscaled: whether an autoscaler owns their number.
    warnings: what the user should know, each with what to type about it.
    """

    name: str
    namespace: str
    image: str
    model_digest: str
    objects: tuple[Object, ...]
    ports: Ports
    startup_seconds: int
    replicas: int
    autoscaled: bool
    secrets: tuple[SecretFile, ...] = ()
    warnings: tuple[Note, ...] = ()
    model: ModelPlace = ModelPlace()

    @property
    def workload(self) -> Object:
        """What runs the service's pods, in whatever track: a Deployment, or a StatefulSet where the store is strict."""
        running = (made for made in self.objects if made["kind"] in ("Deployment", "StatefulSet"))
        return next(made for made in running if made["metadata"]["labels"][LABEL_NAME] == self.name)

    def find(self, kind: str) -> Object | None:
        """The object of this kind that bears the release's name, else the first; None when there is none.

        A database beside the service has a Service, a policy and a StatefulSet too.
        """
        found = [made for made in self.objects if made["kind"] == kind]
        return next((made for made in found if made["metadata"]["name"] == self.name), found[0] if found else None)


def startup_seconds(manifest: Manifest) -> int:
    """The start-up budget: five times the load time measured at pack, 30 to 300 seconds."""
    return min(300, max(30, math.ceil(5 * manifest.measured.load_seconds)))


def progress_seconds(manifest: Manifest) -> int:
    """How long a rollout may make no progress: the start-up budget and two minutes, at least three."""
    return max(180, startup_seconds(manifest) + 120)


def compose(
    project: Project,
    manifest: Manifest,
    *,
    image: str,
    namespace: str,
    local: bool,
    create_namespace: bool = False,
) -> Release:
    """The release of `manifest` as `project` declares it. Same input, same release.

    image: the reference as it will be applied. local: whether the cluster is one of this machine's own, where a
    service may be open without a token. Raises SettingsRefused with every setting that cannot work in a cluster.
    """
    found = tuple(problems(project, manifest, local=local))
    if found:
        raise SettingsRefused(found, "this cannot be deployed")
    who = identity(project, manifest, image, namespace)
    project = storage.settled(project, manifest, who.name)
    autoscaled = scaling.autoscaled(project)
    service = project.deploy.service
    return Release(
        name=who.name,
        namespace=namespace,
        image=image,
        model_digest=manifest.digest,
        objects=tuple(objects(who, project, manifest, create_namespace)),
        ports=Ports(project.serve.port, project.serve.admin_port, service.port, service.node_port),
        startup_seconds=startup_seconds(manifest),
        replicas=project.deploy.autoscale.min if project.deploy.replicas is None else project.deploy.replicas,
        autoscaled=autoscaled,
        secrets=tuple(secrets(who, project)),
        warnings=tuple(notes(who, project)),
        model=ModelPlace(
            project.deploy.model.claim,
            model.folder(project, manifest.digest) if model.outside(project) else "",
            project.deploy.config_map,
        ),
    )


def problems(project: Project, manifest: Manifest, *, local: bool) -> Iterator[SettingProblem]:
    """Every setting that is well formed and cannot work in a cluster."""
    try:
        object_name(project.deploy.name or manifest.name)
    except ValueError as error:
        yield SettingProblem("deploy.name", f"is needed: {error}", '[deploy] name = "model"')
    yield from misnamed(project.reply, manifest.signature)
    yield from unfit(project.serve.defaults, manifest.signature)
    yield from storage.problems(project)
    yield from model.problems(project, local=local)
    yield from config.problems(project)
    yield from network.problems(project, local=local)
    yield from routing.problems(project, local=local)
    yield from scaling.problems(project)
    yield from monitoring.problems(project)
    yield from schedule.problems(project, manifest)


def objects(who: Identity, project: Project, manifest: Manifest, create_namespace: bool) -> Iterator[Object]:
    """What will exist, in the order to apply it: what a pod needs comes before the pods."""
    settings = config.config_map(who, project)
    if create_namespace:
        yield namespace_object(who, enforced=not project.deploy.model.host_path)
    yield service_account(who)
    yield settings
    yield network.network_policy(who, project)
    if storage.keeping(project).kind == "claim":
        yield storage.claim(who)
    recipe = beside(project)
    if recipe and storage.keeping(project).beside:
        yield from database.objects(who, project, manifest, recipe)
    yield network.service(who, project)
    yield workload.workload(
        who,
        project,
        manifest,
        config=settings["metadata"]["name"],
        startup_seconds=startup_seconds(manifest),
        progress_seconds=progress_seconds(manifest),
    )
    if scaling.autoscaled(project):
        keda = project.deploy.autoscale.keda.enabled
        yield scaling.scaled_object(who, project) if keda else scaling.autoscaler(who, project)
    if scaling.protected(project):
        yield scaling.disruption_budget(who)
    yield from routing.routes(who, project)
    yield from monitoring.monitors(who, project)
    yield from schedule.objects(who, project, manifest, settings["metadata"]["name"])


def secrets(who: Identity, project: Project) -> Iterator[SecretFile]:
    kept, recipe = storage.keeping(project), beside(project)
    if recipe and kept.beside:
        yield SecretFile(kept.secret, kept.password_key, "store.database", recipe.keys)
    elif kept.secret:
        yield SecretFile(kept.secret, kept.url_key or kept.password_key, "store.url")
    if project.serve.token_file:
        yield SecretFile(f"{who.name}-token", config.TOKEN_KEY, project.serve.token_file)


def notes(who: Identity, project: Project) -> Iterator[Note]:
    """What the user should know about this release."""
    if storage.keeping(project).kind == "nothing" and project.store.enabled is None:
        yield Note("predictions are not stored", hint='to store them: [store] url = "postgresql://USER@HOST/DATABASE"')
    if beside(project) and storage.keeping(project).beside:
        yield Note("the database beside the service is one pod, for trials; rows wait until it is up")
    for needed in secrets(who, project):
        if needed.random:
            continue
        yield Note(
            f"the pods read {needed.source} from the Secret {needed.name}, key {needed.key}",
            hint=f"kubectl -n {who.namespace} create secret generic {needed.name} {given(needed)}",
        )
    yield from model.notes(who, project)
    yield from network.notes(project)
    yield from routing.notes(project)


def given(needed: SecretFile) -> str:
    """How kubectl is told the Secret's content, never the content itself."""
    if needed.source == "store.url":
        value = "$WHERRY_STORE_URL" if needed.key == storage.STORE_KEY else "$PASSWORD"
        return f'--from-literal={needed.key}="{value}"'
    return f"--from-file={needed.key}={needed.source}"
