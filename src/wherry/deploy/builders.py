"""From a plan to an image in a registry: by whichever builder is there, and only when it is not there already."""

from __future__ import annotations

import errno
import shutil
import tempfile
import time
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.contract.manifest import Manifest
from wherry.contract.names import ANNOTATION_CONTENT
from wherry.contract.project import Project
from wherry.deploy import lock, pins, registry
from wherry.deploy.build_failures import failed
from wherry.deploy.buildah import Buildah
from wherry.deploy.docker import Docker
from wherry.deploy.programs import Ran
from wherry.deploy.wheel import requirements, wheel
from wherry.errors import BuildFailed, DiskFull, FileMissing, ImageTaken, NoBuilder, RegistryRefused
from wherry.release import image
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference


class Builder(Protocol):
    """A program that builds images. What it runs is returned as it ended: `build` makes the errors."""

    @property
    def name(self) -> str: ...

    def trouble(self) -> str: ...

    def build(self, folder: Path, reference: Reference, platform: str, tell: Tell = silent) -> Ran: ...

    def push(self, reference: Reference, tell: Tell = silent) -> tuple[Ran, str]: ...

    def load(self, reference: Reference, tell: Tell = silent) -> Ran: ...


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


def choose(name: Literal["auto", "docker", "buildah"] | str) -> Builder:
    """The builder of that name, or the first that can be used: Docker, then buildah. Raises NoBuilder."""
    known: dict[str, Builder] = {"docker": Docker(), "buildah": Buildah()}
    reasons = {}
    for builder in known.values() if name == "auto" else [known[name]]:
        reasons[builder.name] = builder.trouble()
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
    tell: Tell = silent,
) -> ImagePlan:
    """The plan of the manifest's image with everything resolved: what wherry.lock says, and what it does not say yet.

    Raises LockUnreadable, BaseMissing, PipMissing, RequirementsUnresolved, SettingsRefused.
    """
    asked = image.wanted(project, manifest)
    open_ones = dict(zip(asked, requirements(asked), strict=True))
    settled = lock.settle(
        lock_file,
        base=base or project.image.base or image.default_base(manifest),
        wanted=tuple(f"{name}=={version}" if version else open_ones[name] for name, version in asked.items()),
        python=manifest.requirements.python,
        platform=platform or pins.native_platform(),
        tell=tell,
    )
    return image.plan(
        project,
        manifest,
        base=str(settled.base),
        base_name=settled.base_name,
        requirements=settled.requirements,
        wheel=wheel(),
    )


def build(
    plan: ImagePlan,
    bundle: Path,
    reference: str,
    *,
    builder: Literal["auto", "docker", "buildah"] | str = "auto",
    push: bool = True,
    load: bool = False,
    force: bool = False,
    platform: str = "",
    tell: Tell = silent,
) -> Built:
    """The image of `plan` and the files of `bundle` under `reference`; without a tag, under the tag of its content.

    push: into the registry that the reference names; what lies there already with this content is not built again, and
    a tag that is another image is moved only with `force`. load: into the local Docker daemon too, which Docker does
    anyway. Raises NoBuilder, BaseMissing, RegistryFailed, RegistryRefused, ImageTaken, DiskFull, BuildFailed.
    """
    wanted = Reference.parse(reference)
    wanted = wanted.tagged(wanted.tag or plan.content_tag)
    if push and not force:
        held, content = holding(wanted)
        if held and content != plan.content_tag:
            raise ImageTaken(str(wanted), held)
        if held and not load:
            tell(Note(f"{wanted} is in the registry already, with this content: nothing to build"))
            return Built(str(wanted), held, "", pushed=True)
    chosen = choose(builder)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wherry-build-") as name:
        folder = Path(name)
        lay_out(plan, bundle, folder)
        tell(Step(f"building {wanted} with {chosen.name}"))
        ran = chosen.build(folder, wanted, "" if platform == pins.native_platform() else platform, tell)
        if ran.status != 0:
            raise failed(chosen.name, plan.base, wanted.host, ran)
        digest = (folder / ".iid").read_text(encoding="utf-8").strip()
    tell(Step(f"built {wanted}", time.monotonic() - started))
    if load:
        ran = chosen.load(wanted, tell)
        if ran.status != 0:
            raise failed(chosen.name, plan.base, wanted.host, ran)
    if push:
        started = time.monotonic()
        tell(Step(f"pushing {wanted}"))
        ran, digest = chosen.push(wanted, tell)
        if ran.status != 0:
            raise failed(chosen.name, plan.base, wanted.host, ran)
        digest = digest or registry.digest(wanted) or ""
        if not digest:
            raise BuildFailed(f"{wanted} was pushed, and its registry does not know it", lines=ran.last)
        tell(Step(f"pushed {wanted}", time.monotonic() - started))
    return Built(str(wanted), digest, chosen.name, pushed=push)


def holding(reference: Reference) -> tuple[str, str]:
    """The digest under the reference's tag and the content that its image says it has; empty where there is none.

    A registry may refuse to say whether it has what it has not; whether it takes a push shows when it is pushed to.
    """
    try:
        held = registry.digest(reference)
        return (held, registry.labels(reference).get(ANNOTATION_CONTENT, "")) if held else ("", "")
    except RegistryRefused:
        return "", ""


def lay_out(plan: ImagePlan, bundle: Path, folder: Path) -> None:
    """Write the build context: nothing but what the image needs, readable by any user. Raises FileMissing, DiskFull."""
    held = {"Dockerfile": plan.dockerfile.encode(), ".dockerignore": plan.dockerignore.encode(), **plan.context}
    try:
        for path, content in held.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for path in plan.bundle_files:
            (folder / "bundle" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle / path, folder / "bundle" / path)
    except FileNotFoundError as error:
        raise FileMissing(str(error.filename), "file of the bundle", "pack the model again") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(str(folder)) from error
        raise
    for made in folder.rglob("*"):
        made.chmod(0o755 if made.is_dir() else 0o644)
