"""From a plan to an image in a registry: by whichever builder is there, and only when it is not there already."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from wherry.contract.events import Note, Tell, silent
from wherry.contract.manifest import Manifest
from wherry.contract.names import ANNOTATION_CONTENT
from wherry.contract.project import Project
from wherry.deploy import direct, lock, pins, registry, unpack
from wherry.deploy.buildah import Buildah
from wherry.deploy.direct import Direct
from wherry.deploy.docker import Docker
from wherry.deploy.dockerfiles import ByDockerfile
from wherry.deploy.engines import Engine
from wherry.deploy.explain import Explanation, explain
from wherry.deploy.order import Builder, Order
from wherry.deploy.session import patiently
from wherry.deploy.wheel import requirements, wheel
from wherry.errors import BuildFailed, ImageTaken, NoBuilder, RegistryRefused
from wherry.release import image
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference


class Built(msgspec.Struct, frozen=True):
    """An image that exists. digest: the registry's when it was pushed, else the local image's id.

    builder: empty when the registry held the image already and nothing was built.
    """

    reference: str
    digest: str
    builder: str
    pushed: bool

    @property
    def pinned(self) -> str:
        """The name that never means another image: REPOSITORY@sha256:... once pushed, else the tag."""
        return str(Reference.parse(self.reference).pinned(self.digest)) if self.pushed else self.reference


def choose(name: Literal["auto", "direct", "docker", "buildah"] | str, order: Order) -> Builder:
    """The builder of that name, or the first that can be used: wherry itself, Docker, buildah.

    Raises NoBuilder; of a builder that was named, also why it cannot have the base.
    """
    every: tuple[Builder, ...] = (Direct(), ByDockerfile(Docker()), ByDockerfile(Buildah()))
    reasons = {}
    for builder in every:
        if name in ("auto", builder.name):
            try:
                reasons[builder.name] = builder.trouble(order)
            except BuildFailed as error:
                if name != "auto":
                    raise
                reasons[builder.name] = str(error)
            if not reasons[builder.name]:
                return builder
    raise NoBuilder(reasons)


def prepare(
    project: Project,
    manifest: Manifest,
    lock_file: Path,
    *,
    base: str = "",
    platform: str = "",
    refresh: bool = False,
    tell: Tell = silent,
) -> ImagePlan:
    """The plan of the manifest's image with everything resolved: what wherry.lock says, and what it does not say yet.

    refresh: have base and packages resolved again, whatever it says.

    Raises LockUnreadable, BaseMissing, PipMissing, RequirementsUnresolved, SettingsRefused.
    """
    platform = platform or pins.native_platform()
    asked = image.wanted(project, manifest)
    open_ones = dict(zip(asked, requirements(asked), strict=True))
    settled = lock.settle(
        lock_file,
        base=base or project.image.base or image.default_base(manifest),
        wanted=tuple(f"{name}=={version}" if version else open_ones[name] for name, version in asked.items()),
        python=manifest.requirements.python,
        platform=platform,
        refresh=refresh,
        tell=tell,
    )
    return image.plan(
        project,
        manifest,
        base=str(settled.base),
        base_name=settled.base_name,
        requirements=settled.requirements,
        wheel=wheel(platform),
        unpack=program(),
    )


def program() -> bytes:
    """The program that lays wheels down, as a Dockerfile takes it into its build."""
    return Path(unpack.__file__).read_bytes()


def build(
    plan: ImagePlan,
    bundle: Path,
    reference: str,
    *,
    builder: Literal["auto", "direct", "docker", "buildah"] | str = "auto",
    push: bool = True,
    load: Engine | None = None,
    output: Path | None = None,
    force: bool = False,
    platform: str = "",
    tell: Tell = silent,
) -> Built:
    """The image of `plan` and the files of `bundle` under `reference`; without a tag, under the tag of its content.

    push: into the registry that the reference names; what lies there already with this content is not built again, and
    a tag that is another image is moved only with `force`. load: into this engine too; Docker as a builder has it
    anyway, and the direct builder loads it there where it is told of no other place. output: into this tar file too.
    Raises NoBuilder, BaseMissing, RegistryFailed, RegistryRefused, ImageTaken, WheelMissing, DiskFull, BuildFailed.
    """
    wanted = Reference.parse(reference)
    wanted = wanted.tagged(wanted.tag or plan.content_tag)
    if push and not force:
        held, content = holding(wanted)
        if held and content != plan.content_tag:
            raise ImageTaken(str(wanted), held)
        if held and not load and output is None:
            tell(Note(f"{wanted} is in the registry already, with this content: nothing to build"))
            return Built(str(wanted), held, "", pushed=True)
    order = Order(plan, bundle, wanted, platform or pins.native_platform(), push, load, output)
    chosen = choose(builder, order)
    return Built(str(wanted), chosen.make(order, tell), chosen.name, pushed=push)


def explained(plan: ImagePlan, bundle: Path, reference: str, *, platform: str = "", tell: Tell = silent) -> Explanation:
    """Where the bytes of the image come from, as the direct builder lays them; nothing is pushed or loaded.

    Raises BaseMissing, RegistryFailed, WheelMissing, DiskFull.
    """
    order = Order(plan, bundle, Reference.parse(reference), platform or pins.native_platform(), push=False)
    made = direct.compute(order, tell)
    return explain(order, made.base, made.layers, tell)


def holding(reference: Reference) -> tuple[str, str]:
    """The digest under the reference's tag and the content that its image says it has; empty where there is none.

    A registry may refuse to say whether it has what it has not; whether it takes a push shows when it is pushed to.
    """
    try:
        held = patiently(partial(registry.digest, reference))
        return (held, registry.labels(reference).get(ANNOTATION_CONTENT, "")) if held else ("", "")
    except RegistryRefused:
        return "", ""
