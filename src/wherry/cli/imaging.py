"""From a bundle to an image: named, planned, built and pushed, as `build` and `deploy` both do it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.cli import supply
from wherry.cli.console import Console
from wherry.contract.manifest import Manifest
from wherry.contract.names import LOCK_FILE, object_name
from wherry.contract.project import Project
from wherry.errors import NoImageName
from wherry.release.reference import Reference

if TYPE_CHECKING:
    from wherry.deploy.engines import Engine
    from wherry.deploy.explain import Explanation
    from wherry.release.image import ImagePlan


def named(project: Project, manifest: Manifest, verb: str) -> Reference:
    """The image's name, its tag if one was typed. Raises NoImageName, ImageNameRefused."""
    if not project.deploy.image:
        raise NoImageName(verb, object_name(manifest.name))
    return with_tag(project.deploy.image, project.image.tag)


def written(project: Project, manifest: Manifest) -> str:
    """The image as it is rendered: as it is named, else NAME:VERSION of the model. Raises ImageNameRefused."""
    reference = with_tag(project.deploy.image or object_name(manifest.name), project.image.tag)
    version = re.sub(r"[^A-Za-z0-9_.-]+", "-", manifest.version)
    return str(reference if reference.tag or reference.digest else reference.tagged(version))


def with_tag(image: str, tag: str) -> Reference:
    """`image` under `tag`, where one is given."""
    reference = Reference.parse(image)
    return Reference.parse(str(reference.tagged(tag))) if tag else reference


def built(
    console: Console,
    project: Project,
    manifest: Manifest,
    bundle: Path,
    reference: Reference,
    *,
    push: bool,
    load: Engine | None = None,
    force: bool = False,
    output: Path | None = None,
    platform: str = "",
) -> supply.Made:
    """The image, built unless its registry holds it already; without a typed tag, one derived from its content.

    What is pushed gets its documents and, where a key is set, its signature.
    """
    from wherry.deploy.builders import build, prepare

    key = supply.private_key(console, project) if push else None
    database = supply.database(project)
    plan = prepare(project, manifest, Path(LOCK_FILE), platform=platform, tell=console.tell)
    known = supply.known(console, project, database, plan, platform)
    made = build(
        plan,
        bundle,
        str(reference),
        builder=project.image.builder,
        push=push,
        load=load,
        force=force,
        output=output,
        platform=platform,
        tell=console.tell,
    )
    if not push:
        return supply.Made(made, known=known)
    attached = supply.attached(console, project, plan, manifest, bundle, made, platform)
    if key is not None:
        supply.signed(console, key, made)
    return supply.Made(made, attached, key is not None, known)


def refreshed(console: Console, project: Project, manifest: Manifest, platform: str) -> None:
    """Have wherry.lock say what the base and the packages are now, and tell what differs."""
    from wherry.deploy.builders import prepare

    prepare(project, manifest, Path(LOCK_FILE), platform=platform, refresh=True, tell=console.tell)


def explained(
    console: Console, project: Project, manifest: Manifest, bundle: Path, reference: Reference, platform: str
) -> Explanation:
    """Where the image's bytes come from."""
    from wherry.deploy.builders import explained, prepare

    plan = prepare(project, manifest, Path(LOCK_FILE), platform=platform, tell=console.tell)
    return explained(plan, bundle, str(reference), platform=platform, tell=console.tell)


def foreseen(project: Project, manifest: Manifest, reference: Reference) -> str:
    """What a build would name the image, as far as wherry.lock tells it; nothing is resolved, built or written."""
    if reference.digest:
        return str(reference)
    if not reference.tag and Path(LOCK_FILE).is_file():
        from wherry.deploy.builders import prepare

        reference = reference.tagged(prepare(project, manifest, Path(LOCK_FILE)).content_tag)
    return pinned(reference) if reference.tag else str(reference)


def pinned(reference: Reference) -> str:
    """An image that is there already, by its digest where the registry tells it: a tag may be moved meanwhile."""
    from wherry.deploy import registry
    from wherry.errors import RegistryFailed

    if reference.digest:
        return str(reference)
    try:
        digest = registry.digest(reference)
    except RegistryFailed:
        return str(reference)  # the nodes may reach a registry that this machine does not
    return str(reference.pinned(digest)) if digest else str(reference)


def context(project: Project, manifest: Manifest) -> ImagePlan:
    """The Dockerfile and its context as far as wherry.lock tells them; resolves nothing.

    What the lock does not say is left open: the base is named by its tag, requirements.txt is empty.
    """
    from wherry.deploy import lock, pins
    from wherry.deploy.builders import program
    from wherry.deploy.wheel import wheel
    from wherry.release.image import default_base, plan

    base = project.image.base or default_base(manifest)
    held = lock.read(Path(LOCK_FILE))
    digest = held.base.get(base)
    by_digest = str(Reference.parse(base).pinned(digest)) if digest else base
    packages = held.packages.get(f"{manifest.requirements.python} {pins.native_platform()}")
    return plan(
        project,
        manifest,
        base=by_digest,
        base_name=base,
        requirements="".join(f"{line}\n" for line in packages.locked) if packages else "",
        wheel=wheel(),
        unpack=program(),
    )
