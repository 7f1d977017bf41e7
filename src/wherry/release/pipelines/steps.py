"""The steps of a pipeline: each one command that also runs on a desk, the same whoever runs it."""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

import msgspec

from wherry.contract.names import BUNDLE_DIR, EXAMPLE_FILE
from wherry.contract.project import Project
from wherry.errors import SettingProblem, SettingsRefused
from wherry.release.objects import cron
from wherry.release.reference import Reference

IMAGE = "python:3.11-slim"  # what the steps run in, wherever they are containers
GOOGLE_CONTEXT = re.compile(r"gke_(?P<project>[^_]+)_(?P<place>[^_]+)_(?P<cluster>[^_]+)")
PACKAGES = "sklearn,kubernetes"  # the extras of wherry that the steps take


class Step(msgspec.Struct, frozen=True):
    """One command. why: what it is for, and what its failure means."""

    id: str
    command: str
    why: str


class Google(msgspec.Struct, frozen=True):
    """A cluster of GKE, as its context names it."""

    project: str
    place: str
    cluster: str

    @staticmethod
    def of(context: str) -> Google | None:
        found = GOOGLE_CONTEXT.fullmatch(context)
        return Google(**found.groupdict()) if found else None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What all files of a pipeline say, each in its own way. google: None where the cluster is not GKE's."""

    name: str
    image: str
    namespace: str
    context: str
    branch: str
    schedule: str
    repository: str
    steps: tuple[Step, ...]
    google: Google | None = None

    @property
    def account(self) -> str:
        """The name of the account that delivers, in the cluster and at Google, which takes 6 to 30 characters."""
        return f"{self.name[:21].rstrip('-')}-pipeline"

    @property
    def registry(self) -> str:
        return Reference.parse(self.image).host

    @property
    def slug(self) -> str:
        """OWNER/NAME of the repository, a stand-in where none is named."""
        path = urlsplit(self.repository).path.strip("/").removesuffix(".git")
        return path or "OWNER/NAME"


def delivery(project: Project, name: str, *, image: str, namespace: str, version: str, golden: bool = True) -> Delivery:
    """The pipeline of a project. version: of wherry, which the pipeline installs; golden: whether the bundle holds
    golden rows, which its test asks. Raises SettingsRefused."""
    said = project.pipeline
    if wrong := cron.trouble(said.schedule):
        problem = SettingProblem("pipeline.schedule", wrong, '"0 4 * * 1" is each Monday at four')
        raise SettingsRefused((problem,), "this pipeline cannot be written")
    return Delivery(
        name=name,
        image=image,
        namespace=namespace,
        context=project.deploy.context,
        branch=said.branch,
        schedule=said.schedule,
        repository=said.repository,
        steps=tuple(steps(project, image, namespace, version, golden=golden)),
        google=Google.of(project.deploy.context),
    )


def where_flags(context: str, namespace: str) -> str:
    """What a command needs to find the cluster. In a pod it finds its own, whatever the context."""
    given = (("--context", context), ("-n", namespace))
    return "".join(f" {flag} {shlex.quote(value)}" for flag, value in given if value)


def steps(project: Project, image: str, namespace: str, version: str, *, golden: bool = True) -> list[Step]:
    """From an empty Python to a new version that serves. A step that fails ends it, and what served goes on serving."""
    said = project.pipeline
    packages = [f"wherry[{PACKAGES}]=={version}", *(("-r", said.requirements) if said.requirements else ())]
    install = shlex.join(["pip", "install", "--user", "--no-warn-script-location", *packages])
    named = shlex.quote(image)
    where = where_flags(project.deploy.context, namespace)
    return [
        Step("install", install, "what training and delivering take"),
        Step("train", said.train, "leaves ./bundle, and rows that it has not seen"),
        Step("test", "wherry predict --check", "the bundle answers its golden rows as the estimator did")
        if golden
        else Step("test", f"wherry predict {BUNDLE_DIR}/{EXAMPLE_FILE}", "the bundle loads, and answers its example"),
        Step(
            "gate", f"wherry gate{where}", "better than the mean or the largest class, and not worse than what serves"
        ),
        Step("build", f"wherry build --push --image {named}", "the image, under a tag derived from its content"),
        Step("deploy", f"wherry deploy --image {named}{where}", "the rollout, proven; restores what ran if it fails"),
    ]
