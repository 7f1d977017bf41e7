"""`wherry render`: everything that deploy would make, as one YAML stream; touches nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from wherry.cli import imaging, project
from wherry.cli.console import Console
from wherry.cli.verb import Verb, bundle_argument, image_options, stacked
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.contract.settings import Resolved
from wherry.errors import SettingsRefused
from wherry.release.composing.file import compose_file
from wherry.release.objects.dashboard import as_json
from wherry.release.objects.identity import identity
from wherry.release.release import Object, Release, compose
from wherry.release.rendering.helm import chart
from wherry.release.rendering.kserve import inference_service
from wherry.release.rendering.kustomize import base_with_overlays
from wherry.release.rendering.seldon import seldon_deployment
from wherry.release.text import files_of, to_yaml

DEFAULT_NAMESPACE = "default"
FORMS = {
    "helm": "A Helm chart.",
    "kustomize": "A Kustomize base with overlays.",
    "compose": "A compose file; `wherry compose` makes its passwords too.",
    "kserve": "A KServe InferenceService.",
    "seldon": "A SeldonDeployment (v1).",
    "dashboard": "A Grafana dashboard, as JSON to import; [deploy.metrics] dashboard has it in a ConfigMap.",
    "dockerfile": "The Dockerfile in place of the objects; with --to all that it needs.",
}


def in_compose(project: Project, manifest: Manifest) -> str:
    return compose_file(project, manifest, image=imaging.written(project, manifest)).text


def dashboard(project: Project, manifest: Manifest) -> str:
    namespace = project.deploy.namespace or DEFAULT_NAMESPACE
    return as_json(identity(project, manifest, imaging.written(project, manifest), namespace), project)


# The forms that are one file, by its name.
LONE_FILES: dict[str | None, tuple[str, Callable[[Project, Manifest], str]]] = {
    "compose": ("compose.yaml", in_compose),
    "dashboard": ("dashboard.json", dashboard),
}
# What a release is written as: a folder of files, or other objects in place of its own.
FOLDERS: dict[str | None, Callable[[Release, Project, Manifest], dict[str, str]]] = {
    "helm": chart,
    "kustomize": base_with_overlays,
}
KINDS: dict[str | None, Callable[[Release, Project, Manifest], Sequence[Object]]] = {
    "kserve": inference_service,
    "seldon": seldon_deployment,
}


@click.command(
    cls=Verb,
    examples=[
        "wherry render --image registry.example/breast:1 > breast.yaml",
        "wherry render --to manifests",
        "wherry render --helm --to chart",
        "wherry render --dashboard > dashboard.json",
        "wherry render --dockerfile",
    ],
)
@bundle_argument
@image_options
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the objects; by default [deploy] namespace.")
@stacked(*(click.option(f"--{form}", is_flag=True, help=text) for form, text in FORMS.items()))
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write a file an object into DIR."
)
@click.pass_obj
def render(
    console: Console,
    /,
    bundle: Path,
    image: str | None,
    tag: str | None,
    namespace: str | None,
    to: Path | None,
    **forms: bool,
) -> None:
    """Print everything that deploy would make of BUNDLE; needs no cluster, engine or registry, and touches nothing.

    Standard output holds one YAML stream and nothing else.
    """

    chosen = [f"--{form}" for form, given in forms.items() if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)}: one form at a time")
    form = chosen[0].removeprefix("--") if chosen else None
    resolved = project.load(console, {"deploy.image": image, "image.tag": tag, "deploy.namespace": namespace})
    bundle, manifest = project.packed(resolved.project, bundle)
    if form == "dockerfile":
        render_dockerfile(console, resolved.project, manifest, bundle, to)
        return
    if form in LONE_FILES:
        name, written = LONE_FILES[form]
        text = written(resolved.project, manifest)
        write(console, to, {name: text}) if to else click.echo(text, nl=False)
        return
    release = composed(console, resolved, manifest)
    if form in FOLDERS:
        files = FOLDERS[form](release, resolved.project, manifest)
        console.document(files) if console.as_json else write(console, to, files)
        return
    objects = KINDS[form](release, resolved.project, manifest) if form in KINDS else release.objects
    if console.as_json:
        console.document(objects)
    elif to is None:
        click.echo(to_yaml(objects), nl=False)
    else:
        write(console, to, files_of(objects))


def render_dockerfile(console: Console, project: Project, manifest: Manifest, bundle: Path, to: Path | None) -> None:
    """The Dockerfile on stdout, or all that `docker build` needs into a folder."""
    plan = imaging.context(project, manifest)
    if to is None:
        click.echo(plan.dockerfile, nl=False)
        return
    from wherry.deploy.dockerfiles import lay_out
    from wherry.release.image import REQUIREMENTS_FILE

    to.mkdir(parents=True, exist_ok=True)
    lay_out(plan, bundle, to)
    for name in ("Dockerfile", ".dockerignore", *plan.context, "bundle"):
        console.say(str(to / name))
    if not plan.context[REQUIREMENTS_FILE]:
        console.note(
            f"{REQUIREMENTS_FILE} is empty: wherry.lock does not say yet what is installed",
            hint="wherry build --explain --image NAME, then render again",
            warn=True,
        )


def composed(console: Console, resolved: Resolved, manifest: Manifest) -> Release:
    """The release, with what there is to know about it told as notes."""
    wanted: Project = resolved.project
    reference = imaging.written(wanted, manifest)
    if not wanted.deploy.image:
        console.note(f"no image is named: wrote {reference}", hint="wherry render --image REGISTRY/NAME:TAG")
    elif reference != str(imaging.named(wanted, manifest, "render")):
        console.note(f"no tag is named: wrote {reference}", hint=f"wherry build --push --image {reference}")
    namespace = wanted.deploy.namespace or DEFAULT_NAMESPACE
    try:
        release = compose(wanted, manifest, image=reference, namespace=namespace, local=False)
    except SettingsRefused as refused:
        # Which cluster it is for is not known here: what only a local one may have is shown, with a warning.
        release = compose(wanted, manifest, image=reference, namespace=namespace, local=True)
        for problem in refused.problems:
            console.note(
                f"on a cluster that is not local: {problem.path} {problem.reason}", hint=problem.hint, warn=True
            )
    for note in release.warnings:
        console.tell(note)
    return release


def write(console: Console, to: Path | None, files: dict[str, str]) -> None:
    """The files into a folder, or their texts on stdout, each behind a line with its name."""
    if to is None:
        for name, text in files.items():
            click.echo(f"# {name}\n{text}", nl=False)
        return
    for name, text in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text, encoding="utf-8")
        console.say(str(to / name))
