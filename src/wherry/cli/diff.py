"""`wherry diff`: what a deploy would change in the cluster, as the cluster itself says; exit 4 when anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wherry.cli import imaging, project
from wherry.cli.clusters import connected
from wherry.cli.console import Console
from wherry.cli.failures import NO
from wherry.cli.verb import Verb, bundle_argument, cluster_options, image_options

if TYPE_CHECKING:
    from wherry.deploy.applying import Planned

MARKS = {"create": "+", "change": "~", "keep": "="}


@click.command(
    cls=Verb,
    examples=[
        "wherry diff --image localhost:5000/breast",
        "wherry diff --image registry.example/breast:7 --context production",
        "wherry diff --json",
    ],
)
@bundle_argument
@image_options
@cluster_options
@click.pass_obj
def diff(
    console: Console,
    bundle: Path,
    image: str | None,
    tag: str | None,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> int:
    """Say what a deploy of BUNDLE would change in the cluster. Nothing is built or changed.

    The exit code is 4 when there is a difference, 0 when there is none. Each field is shown as it is and as it would
    be, as the cluster itself says; what `wherry scale` or an autoscaler has set is no difference.
    """
    from wherry.deploy import preflight
    from wherry.deploy.deploy import rehearse
    from wherry.release.release import compose

    flags = {"deploy.image": image, "image.tag": tag, "deploy.context": context, "deploy.namespace": namespace}
    wanted = project.load(console, flags).project
    bundle, manifest = project.packed(wanted, bundle)
    reference = imaging.named(wanted, manifest, "diff")
    with connected(console, wanted, kubeconfig) as cluster:
        release = compose(
            wanted,
            manifest,
            image=imaging.foreseen(wanted, manifest, reference),
            namespace=cluster.namespace,
            local=cluster.is_local,
            create_namespace=preflight.must_create_namespace(cluster, allowed=True),
        )
        planned = rehearse(release, cluster, console.tell)
    different = [one for one in planned if one.action != "keep"]
    if console.as_json:
        console.document({"changes": different})
    else:
        console.say_all(line for one in different for line in lines(one))
        if not different:
            console.note(f"{release.name} in namespace {release.namespace} is as this bundle and wherry.toml say")
    return NO if different else 0


def lines(planned: Planned) -> Iterator[str]:
    """The object, and under it each field as it is and as it would be."""
    yield f"{MARKS[planned.action]} {planned.what}"
    for change in planned.changes:
        if change.before is not None:
            yield f"  - {change.path} = {written(change.before)}"
        if change.after is not None:
            yield f"  + {change.path} = {written(change.after)}"


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
