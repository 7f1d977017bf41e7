"""`wherry render`: everything that deploy would make, as one YAML stream; touches nothing."""

from __future__ import annotations

import re
from pathlib import Path

import click

from wherry.cli import imaging, project
from wherry.cli.console import Console
from wherry.cli.verb import Verb, bundle_argument, image_options
from wherry.contract.manifest import Manifest
from wherry.contract.names import object_name
from wherry.contract.project import Project
from wherry.contract.settings import Resolved
from wherry.errors import SettingsRefused
from wherry.release.release import Release, compose
from wherry.release.text import to_yaml

DEFAULT_NAMESPACE = "default"


@click.command(
    cls=Verb,
    examples=[
        "wherry render --image registry.example/breast:1 > breast.yaml",
        "wherry render --to manifests",
        "wherry render --dockerfile",
    ],
)
@bundle_argument
@image_options
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the objects; by default [deploy] namespace.")
@click.option("--dockerfile", is_flag=True, help="The Dockerfile in place of the objects; with --to all that it needs.")
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write a file an object into DIR."
)
@click.pass_obj
def render(
    console: Console,
    bundle: Path,
    image: str | None,
    tag: str | None,
    namespace: str | None,
    dockerfile: bool,
    to: Path | None,
) -> None:
    """Print everything that deploy would make of BUNDLE; needs no cluster, engine or registry, and touches nothing.

    Standard output holds one YAML stream and nothing else.
    """
    from wherry.model.bundle import verify

    resolved = project.load(console, {"deploy.image": image, "image.tag": tag, "deploy.namespace": namespace})
    manifest = verify(bundle)
    if dockerfile:
        render_dockerfile(console, resolved.project, manifest, bundle, to)
        return
    release = composed(console, resolved, manifest)
    if console.as_json:
        console.document(release.objects)
    elif to is None:
        click.echo(to_yaml(release.objects), nl=False)
    else:
        names = (f"{place:02}-{made['kind'].lower()}.yaml" for place, made in enumerate(release.objects, 1))
        write(console, to, {name: to_yaml([made]) for name, made in zip(names, release.objects, strict=True)})


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
    reference = wanted.deploy.image
    if not reference:
        reference = f"{object_name(manifest.name)}:{re.sub(r'[^A-Za-z0-9_.-]+', '-', manifest.version)}"
        console.note(f"no image is named: wrote {reference}", hint="wherry render --image REGISTRY/NAME:TAG")
    elif wanted.image.tag:
        reference = str(imaging.with_tag(reference, wanted.image.tag))
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
    """The files into a folder, or their texts on stdout."""
    if to is None:
        for text in files.values():
            click.echo(text, nl=False)
        return
    to.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (to / name).write_text(text, encoding="utf-8")
        console.say(str(to / name))
