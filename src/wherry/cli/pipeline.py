"""`wherry pipeline`: the files that let others train, test, judge and deliver a model, and what to type once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

import wherry
from wherry.cli import imaging, project
from wherry.cli.clusters import cluster_flags
from wherry.cli.console import Console
from wherry.cli.verb import Verb, bundle_argument, cluster_options
from wherry.contract.manifest import Manifest
from wherry.contract.names import object_name
from wherry.contract.project import Project
from wherry.errors import AccessRule, FileTaken, SettingsRefused

DEFAULT_NAMESPACE = "default"


@click.command(
    cls=Verb,
    examples=[
        "wherry pipeline --image ghcr.io/owner/prices --context NAME -n models",
        "wherry pipeline --repository https://github.com/OWNER/NAME",
        "wherry pipeline --dry-run",
    ],
)
@bundle_argument
@click.option("-t", "--image", metavar="REF", help="Image name without a tag: each content gets its own.")
@click.option("--repository", metavar="URL", help="Where the sources are, as https://...; for the CronJob.")
@click.option("--branch", metavar="NAME", help="Branch that is delivered.")
@click.option("--schedule", metavar="CRON", help="When it is trained again, in UTC.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Folder to write into.",
)
@click.option("--dry-run", is_flag=True, help="Print the files and the steps, and write nothing.")
@cluster_options
@click.pass_obj
def pipeline(
    console: Console,
    bundle: Path,
    image: str | None,
    repository: str | None,
    branch: str | None,
    schedule: str | None,
    to: Path,
    dry_run: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> None:
    """Write what trains, tests, judges, builds, pushes and deploys the model of BUNDLE: for GitHub Actions, for Cloud
    Build where the context is GKE's, and as a CronJob where a repository is named.

    Every step is one command that runs here, too. A step that fails ends it, and what served goes on serving.
    """
    from wherry.release.pipelines import files
    from wherry.release.pipelines.steps import delivery

    flags = {
        "deploy.image": image,
        **cluster_flags(context, namespace),
        "pipeline.repository": repository,
        "pipeline.branch": branch,
        "pipeline.schedule": schedule,
    }
    wanted = project.load(console, flags).project
    bundle, manifest = project.packed(wanted, bundle)
    named = imaging.named(wanted, manifest, "pipeline").written
    space = wanted.deploy.namespace or DEFAULT_NAMESPACE
    name = object_name(wanted.deploy.name or manifest.name)
    golden = manifest.golden.rows > 0
    told = delivery(wanted, name, image=named, namespace=space, version=wherry.__version__, golden=golden)
    made = files.pipeline(told, rights(wanted, manifest, named, space))
    if not dry_run:
        write(to, made.files)
    if console.as_json:
        steps = [{"id": step.id, "command": step.command} for step in told.steps]
        commands = [{"why": each.text, "command": each.hint} for each in made.commands]
        console.document({"files": made.files, "steps": steps, "commands": commands})
        return
    for path, text in made.files.items():
        console.say(f"# {path}\n{text}" if dry_run else str(to / path))
    for note in made.left_out:
        console.tell(note)
    if not golden:
        text = f"{bundle} holds no golden rows: the test step asks its example alone, and compares no answer"
        console.note(text, warn=True, hint="give rows to `wherry pack --data FILE` in training, and write it again")
    console.note("each step here:", hint="\n  ".join(step.command for step in told.steps))
    if not console.quiet:
        console.say("\n# once, before it runs:")
        console.say_all(f"# {each.text}\n{each.hint}" for each in made.commands)


def rights(wanted: Project, manifest: Manifest, image: str, namespace: str) -> Iterable[AccessRule]:
    """What deploying takes, in the namespace."""
    from wherry.deploy.preflight import needed
    from wherry.release.release import compose

    try:
        release = compose(wanted, manifest, image=image, namespace=namespace, local=False)
    except SettingsRefused:
        release = compose(wanted, manifest, image=image, namespace=namespace, local=True)  # `deploy` says what lacks
    return needed(release)


def write(to: Path, files: dict[str, str]) -> None:
    """All files or none: what somebody else wrote is never replaced. Raises FileTaken."""
    from wherry.release.pipelines.files import MARK

    for name in files:
        path = to / name
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
            raise FileTaken(str(path))
    for name, text in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text, encoding="utf-8")
