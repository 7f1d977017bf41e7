"""`wherry build`: the bundle and its service as an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wherry.cli import explaining, imaging, project, supply, table
from wherry.cli.console import Console
from wherry.cli.verb import LONE, Verb, bundle_argument, image_options

if TYPE_CHECKING:
    from wherry.deploy.builders import Built


@click.command(
    cls=Verb,
    lone=("--load",),
    examples=[
        "wherry build --image localhost:5000/breast",
        "wherry build -t registry.example/team/breast:7 --push",
        "image=$(wherry build -q -t registry.example/team/breast --push)",
        "wherry build -t registry.example/breast --push --sign image.key",
        "wherry build -t breast:7 --vulnerabilities all.zip",
        "wherry build -t breast:7 --output breast.tar --platform linux/arm64",
        "wherry build -t breast:7 --load=kind:test",
        "wherry build -t breast --explain",
    ],
)
@bundle_argument
@image_options
@click.option("--push", is_flag=True, help="Push it to its registry.")
@click.option(
    "--load",
    metavar="[=ENGINE]",
    help="Put it among the images of Docker here; or =containerd, =kind[:CLUSTER], =minikube[:PROFILE].",
)
@click.option("--force", is_flag=True, help="Move a tag that names another image.")
@click.option(
    "--builder",
    type=click.Choice(["auto", "direct", "docker", "buildah"]),
    help="What builds: direct is wherry itself and needs no daemon.",
)
@click.option("--base", metavar="REF", help="Image to build on; by default python:X.Y-slim of the bundle's Python.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it into a tar file that docker load, ctr, podman and skopeo read.",
)
@click.option("--refresh", is_flag=True, help="Resolve base image and packages again, into wherry.lock.")
@click.option("--platform", metavar="OS/ARCH", help="Platform to build for; by default this machine's.")
@supply.attest_options
@click.option("--explain", is_flag=True, help="Print where its bytes come from; builds only if told where to.")
@click.pass_obj
def build(
    console: Console,
    bundle: Path,
    image: str | None,
    tag: str | None,
    push: bool,
    load: str | None,
    force: bool,
    builder: str | None,
    base: str | None,
    output: Path | None,
    refresh: bool,
    platform: str | None,
    attest: bool | None,
    sign: Path | None,
    vulnerabilities: Path | None,
    severity: str | None,
    explain: bool,
) -> None:
    """Put BUNDLE (./bundle when none is named) and its service into an image: by wherry itself, Docker or buildah.

    Base image and packages are resolved once and kept in wherry.lock, until --refresh. Without a tag the image gets one
    derived from its content. With -q only REF@sha256:... is printed.
    """
    from wherry.deploy.engines import Engine

    engine = None if load is None else Engine.parse("docker" if load == LONE else load)
    if sign is not None and not push:
        raise click.UsageError("--sign signs what is in a registry; add --push")
    flags = {
        "deploy.image": image,
        "image.tag": tag,
        "image.builder": builder,
        "image.base": base,
        "image.attest": attest,
        "image.sign": supply.text(sign),
        "image.vulnerabilities": supply.text(vulnerabilities),
        "image.severity": severity,
    }
    resolved = project.load(console, flags)
    bundle, manifest = project.packed(resolved.project, bundle)
    reference = imaging.named(resolved.project, manifest, "build")
    if refresh:
        imaging.refreshed(console, resolved.project, manifest, platform or "")
    if explain:
        explanation = imaging.explained(console, resolved.project, manifest, bundle, reference, platform or "")
        explaining.show(console, explanation)
        if not (push or load or output):
            return
    with leaving(console):
        all_made = imaging.built(
            console,
            resolved.project,
            manifest,
            bundle,
            reference,
            push=push,
            load=engine,
            force=force,
            output=output,
            platform=platform or "",
        )
    made = all_made.built
    if console.as_json:
        console.document(document(all_made))
    elif console.quiet:
        console.say(pinned_name(made))
    else:
        facts = [("image", made.reference), ("digest", made.digest), ("built by", made.builder)]
        facts += [
            ("attached", attached(all_made)),
            ("signed with", resolved.project.image.sign if all_made.signed else ""),
        ]
        console.say_all(table.pairs([*facts, ("written to", output or "")]))
        if not push:
            console.note("It is on this machine only. Next:", hint=f"wherry deploy --image {reference}")


@contextmanager
def leaving(console: Console) -> Iterator[None]:
    """Says at Ctrl-C what stands then, and what to type."""
    try:
        yield
    except KeyboardInterrupt:
        console.note(
            "interrupted: no tag was set, no file is half-written, and what was computed and sent is kept. To go on:",
            hint="run the same command again",
            warn=True,
        )
        raise


def document(made: supply.Made) -> dict[str, Any]:
    """The image, and beside it what was attached and what is known of it."""
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(made)
    known = facts.pop("known")
    return {**facts.pop("built"), **facts, "vulnerabilities": known}


def attached(made: supply.Made) -> str:
    """What refers to the image: SBOM, provenance."""
    held = made.attached
    names = {"SBOM": held.sbom, "provenance": held.provenance} if held else {}
    return ", ".join(name for name, digest in names.items() if digest)


def pinned_name(made: Built) -> str:
    """REF@sha256:..., for scripts."""
    return f"{made.reference.partition('@')[0]}@{made.digest}"
